//! The parts of a module that wasm-bindgen made, read from its imports and exports.

use std::sync::Arc;

use engine_api::{
    ExportKind, ExternType, FuncIndex, FuncType, FunctionInfo, Import, MemoryIndex, MemoryType,
    ModuleInfo, TableIndex, ValType,
};

use crate::allocator::{self, Allocator};
use crate::casts::Casts;
use crate::heap::Constants;
use crate::{
    FORGET_JS, FREE, GIVE_JS, GIVE_JS_REF, MALLOC, TAKE_ERROR, TAKE_JS, TAKE_JS_REF,
    THREAD_POOL_START, THREAD_POOL_STOP, names, system,
};

/// Whether wasm-bindgen made a module. Its imports then need a host.
#[must_use]
pub fn is_bindgen(info: &ModuleInfo) -> bool {
    let mut functions = info.functions().iter();
    wasm_bindgen_functions(info).next().is_some()
        || functions.any(|function| function.name.starts_with("__wbindgen_"))
}

/// The types of the imported functions that have names of wasm-bindgen.
fn wasm_bindgen_functions(info: &ModuleInfo) -> impl Iterator<Item = &FuncType> {
    info.imports().iter().filter_map(|import| match &import.ty {
        ExternType::Func(ty) if names::base(&import.name).is_some() => Some(ty),
        _ => None,
    })
}

/// The two generations of wasm-bindgen's ABI, by how a module names objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Abi {
    /// By slots, which are numbers, of a heap that the host keeps. Results come through a return
    /// pointer.
    Slots,
    /// By externrefs. Functions have several results.
    Externrefs,
}

/// The parts of a module that wasm-bindgen made.
#[derive(Debug)]
pub(crate) struct Surface {
    pub(crate) abi: Abi,
    /// The module as its engine sees it.
    pub(crate) inner: Arc<ModuleInfo>,
    /// The module as the host shows it: see the crate's documentation.
    pub(crate) outer: Arc<ModuleInfo>,
    /// The memory that the guest's pointers point into.
    pub(crate) memory: MemoryIndex,
    /// The shared memory that it imports.
    pub(crate) shared_memory: Option<(Import, MemoryType)>,
    /// `__wbindgen_start`, and whether it takes the size of a stack.
    pub(crate) start: Option<(FuncIndex, bool)>,
    pub(crate) allocator: Option<Allocator>,
    pub(crate) exn_store: Option<FuncIndex>,
    pub(crate) externrefs: Option<Externrefs>,
    pub(crate) thread_destroy: Option<(FuncIndex, usize)>,
    pub(crate) pool: Option<PoolExports>,
    /// The values that conversions convert, by the names of the imports.
    pub(crate) casts: Casts,
    /// The exports that call closures.
    pub(crate) invokers: Vec<FuncIndex>,
    /// The functions that the host adds, in the order of their indices.
    added: Vec<Added>,
    /// Where the constants are in the heap of the older ABI.
    pub(crate) constants: Constants,
    /// `__wbindgen_destroy_closure`.
    pub(crate) destroy_closure: Option<FuncIndex>,
    /// Whether `debugString` escapes texts and marks big integers, as of release 0.2.130 on.
    pub(crate) debugs_as_literals: bool,
}

/// The table through which externrefs become numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Externrefs {
    pub(crate) table: TableIndex,
    /// Makes a number for an object. JavaScript does not need it in every module.
    pub(crate) alloc: Option<FuncIndex>,
    pub(crate) dealloc: Option<FuncIndex>,
}

/// The exports of a thread pool by the protocol of wasm-bindgen-rayon.
#[derive(Clone, Debug)]
pub(crate) struct PoolExports {
    pub(crate) init: FuncIndex,
    pub(crate) init_type: FuncType,
    pub(crate) exit: Option<(FuncIndex, FuncType)>,
    pub(crate) threads: FuncIndex,
    pub(crate) receiver: FuncIndex,
    pub(crate) build: FuncIndex,
    /// Frees the builder, and the number of its parameters.
    pub(crate) free: Option<(FuncIndex, usize)>,
    pub(crate) start_worker: FuncIndex,
}

/// The functions that a host adds, in the order of their indices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Added {
    TakeError,
    PoolStart,
    PoolStop,
    GiveJs,
    GiveJsRef,
    TakeJs,
    TakeJsRef,
    ForgetJs,
    Malloc,
    Free,
}

impl Added {
    fn name(self) -> &'static str {
        match self {
            Added::TakeError => TAKE_ERROR,
            Added::PoolStart => THREAD_POOL_START,
            Added::PoolStop => THREAD_POOL_STOP,
            Added::GiveJs => GIVE_JS,
            Added::GiveJsRef => GIVE_JS_REF,
            Added::TakeJs => TAKE_JS,
            Added::TakeJsRef => TAKE_JS_REF,
            Added::ForgetJs => FORGET_JS,
            Added::Malloc => MALLOC,
            Added::Free => FREE,
        }
    }

    fn ty(self, allocator: Option<&Allocator>) -> FuncType {
        const NUMBER: &[ValType] = &[ValType::I32];
        const REFERENCE: &[ValType] = &[ValType::ExternRef];
        let numbers = |count: Option<usize>| vec![ValType::I32; count.unwrap_or_default()];
        match self {
            Added::TakeError | Added::TakeJs => FuncType::new(NUMBER, REFERENCE),
            Added::PoolStart => FuncType::new(NUMBER, NUMBER),
            Added::PoolStop | Added::ForgetJs => FuncType::new(NUMBER, &[]),
            Added::GiveJs => FuncType::new(REFERENCE, NUMBER),
            Added::GiveJsRef | Added::TakeJsRef => FuncType::new(REFERENCE, REFERENCE),
            Added::Malloc => FuncType::new(&numbers(allocator.map(|own| own.malloc.1)), NUMBER),
            Added::Free => {
                let free = allocator.and_then(|own| own.free);
                FuncType::new(&numbers(free.map(|(_, params)| params)), &[])
            }
        }
    }
}

/// The functions that a host adds to a module.
fn added(pool: Option<&PoolExports>, has_hidden_allocator: bool) -> Vec<Added> {
    let mut added = vec![Added::TakeError];
    if let Some(pool) = pool {
        added.push(Added::PoolStart);
        if pool.exit.is_some() {
            added.push(Added::PoolStop);
        }
    }
    added.extend([
        Added::GiveJs,
        Added::GiveJsRef,
        Added::TakeJs,
        Added::TakeJsRef,
        Added::ForgetJs,
    ]);
    if has_hidden_allocator {
        added.extend([Added::Malloc, Added::Free]);
    }
    added
}

impl Surface {
    /// Reads a module whose imports the host serves where `is_served` says so. `None` if
    /// wasm-bindgen did not make the module. The conversions, which only the module's bytes tell,
    /// are left empty.
    pub(crate) fn read(
        inner: &Arc<ModuleInfo>,
        is_served: impl Fn(&Import) -> bool,
    ) -> Option<Self> {
        if !is_bindgen(inner) {
            return None;
        }
        let pool = PoolExports::find(inner);
        let allocator = allocator::find(inner);
        let is_hidden = allocator.is_some_and(|own| own.is_hidden && own.free.is_some());
        let added = added(pool.as_ref(), is_hidden);
        let functions = added.iter().map(|one| FunctionInfo {
            name: one.name().to_owned(),
            ty: one.ty(allocator.as_ref()),
        });
        let imports = inner.imports().iter();
        let visible = imports.filter(|import| !is_served(import)).cloned();
        let outer = inner.wrapped(
            visible.chain(system::listed()).collect(),
            functions.collect(),
        );
        Some(Self {
            abi: abi(inner),
            outer: Arc::new(outer),
            memory: memory(inner),
            shared_memory: shared_memory(inner),
            start: function(inner, "__wbindgen_start")
                .map(|(func, ty)| (func, !ty.params().is_empty())),
            allocator,
            exn_store: allocator::exn_store(inner),
            externrefs: externrefs(inner),
            thread_destroy: function(inner, "__wbindgen_thread_destroy").map(with_arity),
            pool,
            casts: Casts::default(),
            invokers: invokers(inner),
            added,
            constants: Constants::of_release(None),
            destroy_closure: function(inner, "__wbindgen_destroy_closure").map(|(func, _)| func),
            debugs_as_literals: false,
            inner: Arc::clone(inner),
        })
    }

    /// Takes what is different from release to release. `None` if the module does not say which made it.
    pub(crate) fn set_release(&mut self, release: Option<u32>) {
        self.constants = Constants::of_release(release);
        self.debugs_as_literals = release.is_some_and(|release| release >= 130);
    }

    /// Takes the conversions, and the exports that call closures by them.
    pub(crate) fn set_casts(&mut self, casts: Casts) {
        for invoke in casts.invokes.values() {
            if !self.invokers.contains(invoke) {
                self.invokers.push(*invoke);
            }
        }
        self.invokers.sort_unstable_by_key(|func| func.0);
        self.casts = casts;
    }

    /// The added function that an index of the outer module means, if it means one.
    #[inline]
    pub(crate) fn added(&self, func: FuncIndex) -> Option<Added> {
        let position = (func.0 as usize).checked_sub(self.inner.functions().len())?;
        self.added.get(position).copied()
    }
}

/// How a module of wasm-bindgen's passes objects.
#[must_use]
pub fn abi(info: &ModuleInfo) -> Abi {
    let mut passed =
        wasm_bindgen_functions(info).flat_map(|ty| ty.params().iter().chain(ty.results()));
    let passes_externrefs = passed.any(|ty| *ty == ValType::ExternRef);
    if passes_externrefs || info.function("__externref_table_alloc").is_ok() {
        Abi::Externrefs
    } else {
        Abi::Slots
    }
}

/// The exports that call closures, by the names that releases of wasm-bindgen gave them.
pub(crate) fn invokers(info: &ModuleInfo) -> Vec<FuncIndex> {
    let calls_closures = |name: &str| {
        (name.contains("closure") && name.contains("invoke")) || name.contains("closure_shim")
    };
    (0..)
        .zip(info.functions())
        .filter(|(_, function)| calls_closures(&function.name))
        .map(|(position, _)| FuncIndex(position))
        .collect()
}

fn memory(info: &ModuleInfo) -> MemoryIndex {
    match info.export("memory").map(|export| export.kind) {
        Some(ExportKind::Memory(index)) => index,
        _ => MemoryIndex(0),
    }
}

fn shared_memory(info: &ModuleInfo) -> Option<(Import, MemoryType)> {
    info.imports().iter().find_map(|import| match &import.ty {
        ExternType::Memory(ty) if ty.shared => Some((import.clone(), *ty)),
        _ => None,
    })
}

pub(crate) fn function(info: &ModuleInfo, name: &str) -> Option<(FuncIndex, FuncType)> {
    let (func, function) = info.function(name).ok()?;
    Some((func, function.ty.clone()))
}

fn with_arity((func, ty): (FuncIndex, FuncType)) -> (FuncIndex, usize) {
    (func, ty.params().len())
}

fn externrefs(info: &ModuleInfo) -> Option<Externrefs> {
    let table = info.exports().iter().find_map(|export| match export.kind {
        ExportKind::Table(table)
            if info.tables()[table.0 as usize].element == ValType::ExternRef =>
        {
            Some(table)
        }
        _ => None,
    })?;
    Some(Externrefs {
        table,
        alloc: function(info, "__externref_table_alloc").map(|(func, _)| func),
        dealloc: function(info, "__externref_table_dealloc").map(|(func, _)| func),
    })
}

impl PoolExports {
    fn find(info: &ModuleInfo) -> Option<Self> {
        // wasm-bindgen-rayon's own names, and those of o1js's copy of it.
        let builder = |name: &str| {
            let names = [
                format!("wbg_rayon_poolbuilder_{name}"),
                format!("poolbuilder_{name}"),
                format!("__wbg_wbg_rayon_poolbuilder_{name}"),
                format!("__wbg_poolbuilder_{name}"),
            ];
            names.iter().find_map(|name| function(info, name))
        };
        let (init, init_type) = function(info, "initThreadPool")?;
        Some(Self {
            init,
            init_type,
            exit: function(info, "exitThreadPool"),
            threads: builder("numThreads")?.0,
            receiver: builder("receiver")?.0,
            build: builder("build")?.0,
            free: builder("free").map(with_arity),
            start_worker: function(info, "wbg_rayon_start_worker")?.0,
        })
    }
}
