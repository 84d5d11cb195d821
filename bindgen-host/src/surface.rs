//! The parts of a module that wasm-bindgen made, read from its imports and exports.

use std::collections::HashMap;
use std::sync::Arc;

use engine_api::{
    ExportKind, ExternType, FuncIndex, FuncType, FunctionInfo, Import, MemoryIndex, MemoryType,
    ModuleInfo, TableIndex, ValType,
};

use crate::casts::Cast;
use crate::{TAKE_ERROR, THREAD_POOL_START, THREAD_POOL_STOP, names, system};

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
    pub(crate) malloc: Option<(FuncIndex, usize)>,
    pub(crate) free: Option<(FuncIndex, usize)>,
    pub(crate) exn_store: Option<FuncIndex>,
    pub(crate) externrefs: Option<Externrefs>,
    pub(crate) thread_destroy: Option<(FuncIndex, usize)>,
    pub(crate) pool: Option<PoolExports>,
    /// The values that conversions convert, by the names of the imports.
    pub(crate) casts: HashMap<String, Cast>,
    /// The exports that call closures.
    pub(crate) invokers: Vec<FuncIndex>,
    /// `__wbindgen_destroy_closure`.
    pub(crate) destroy_closure: Option<FuncIndex>,
}

/// The table through which externrefs become numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Externrefs {
    pub(crate) table: TableIndex,
    pub(crate) alloc: FuncIndex,
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
}

const ADDED: [Added; 3] = [Added::TakeError, Added::PoolStart, Added::PoolStop];

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
        let mut added = vec![FunctionInfo {
            name: TAKE_ERROR.to_owned(),
            ty: FuncType::new(&[ValType::I32], &[ValType::ExternRef]),
        }];
        if let Some(pool) = &pool {
            added.push(FunctionInfo {
                name: THREAD_POOL_START.to_owned(),
                ty: FuncType::new(&[ValType::I32], &[ValType::I32]),
            });
            if pool.exit.is_some() {
                added.push(FunctionInfo {
                    name: THREAD_POOL_STOP.to_owned(),
                    ty: FuncType::new(&[ValType::I32], &[]),
                });
            }
        }
        let imports = inner.imports().iter();
        let visible = imports.filter(|import| !is_served(import)).cloned();
        let outer = inner.wrapped(visible.chain(system::listed()).collect(), added);
        Some(Self {
            abi: abi(inner),
            outer: Arc::new(outer),
            memory: memory(inner),
            shared_memory: shared_memory(inner),
            start: function(inner, "__wbindgen_start")
                .map(|(func, ty)| (func, !ty.params().is_empty())),
            malloc: function(inner, "__wbindgen_malloc").map(with_arity),
            free: function(inner, "__wbindgen_free").map(with_arity),
            exn_store: function(inner, "__wbindgen_exn_store").map(|(func, _)| func),
            externrefs: externrefs(inner),
            thread_destroy: function(inner, "__wbindgen_thread_destroy").map(with_arity),
            pool,
            casts: HashMap::new(),
            invokers: invokers(inner),
            destroy_closure: function(inner, "__wbindgen_destroy_closure").map(|(func, _)| func),
            inner: Arc::clone(inner),
        })
    }

    /// The added function that an index of the outer module means, if it means one.
    #[inline]
    pub(crate) fn added(&self, func: FuncIndex) -> Option<Added> {
        let position = (func.0 as usize).checked_sub(self.inner.functions().len())?;
        ADDED.get(position).copied()
    }
}

pub(crate) fn abi(info: &ModuleInfo) -> Abi {
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
fn invokers(info: &ModuleInfo) -> Vec<FuncIndex> {
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

fn function(info: &ModuleInfo, name: &str) -> Option<(FuncIndex, FuncType)> {
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
        alloc: function(info, "__externref_table_alloc")?.0,
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
