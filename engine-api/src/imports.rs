//! The imports that the host gives a module.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::{
    Caller, Error, ExternType, FuncType, GlobalType, Import, MemoryType, ModuleInfo, SharedMemory,
    TableType, Val, ValType,
};

type Function = dyn Fn(&mut dyn Caller, &[Val], &mut [Val]) -> Result<(), Error> + Send + Sync;

/// A function of the host that guests can import.
#[derive(Clone)]
pub struct HostFunc {
    module: Arc<str>,
    name: Arc<str>,
    ty: FuncType,
    function: Arc<Function>,
    repeatable: bool,
    is_local: bool,
    observer: Option<Arc<dyn ReplayObserver>>,
}

/// The part that a host has in the replays of its functions. A replay never calls a host function:
/// its results, and the bytes that it wrote, come from the journal.
///
/// The journal has the addresses of the instance in which a call was first made. In another instance
/// an object may lie elsewhere, so a host whose functions take pointers says what belongs where. And
/// a host that keeps state of its own, such as open files, makes that state again in a new process,
/// from what it sees here.
pub trait ReplayObserver: Send + Sync {
    /// The arguments that a replay compares with the recorded ones: those that are the same in every
    /// instance, without addresses.
    fn comparable(&self, function: &HostFunc, args: &[Val]) -> Vec<Val>;

    /// Writes again what the function had written, in the order in which it was `written`, to the
    /// places that these arguments mean in this instance.
    ///
    /// # Errors
    ///
    /// It does not fit there. The replay ends as a divergence.
    fn rewrite(
        &self,
        function: &HostFunc,
        caller: &mut dyn Caller,
        args: &[Val],
        written: &[&[u8]],
    ) -> Result<(), Error>;

    /// A replay has answered a call of `function` from the journal. The guest's memory is as it was
    /// when the function had returned. `note` is what the call had [noted](Caller::note), empty if
    /// nothing.
    ///
    /// # Errors
    ///
    /// Reading the guest's memory failed. The replay ends as a divergence.
    fn replayed(
        &self,
        function: &HostFunc,
        caller: &mut dyn Caller,
        args: &[Val],
        results: &[Val],
        note: &[u8],
    ) -> Result<(), Error>;

    /// The state of the guest was made from a checkpoint of another process. What the host did
    /// before it will not be replayed.
    fn restored(&self);
}

impl HostFunc {
    /// A host function, for [`Imports::define`]; [`Imports::func`] says what it has to keep to.
    pub fn new<F>(module: &str, name: &str, ty: FuncType, function: F) -> Self
    where
        F: Fn(&mut dyn Caller, &[Val], &mut [Val]) -> Result<(), Error> + Send + Sync + 'static,
    {
        Self {
            module: module.into(),
            name: name.into(),
            ty,
            function: Arc::new(function),
            repeatable: false,
            is_local: false,
            observer: None,
        }
    }

    /// The same import as one that may run twice without harm, such as a clock: a call that used
    /// only such functions can be repeated after a trap. A policy that names the import overrides
    /// this.
    #[must_use]
    pub fn repeatable(self) -> Self {
        Self {
            repeatable: true,
            ..self
        }
    }

    /// Whether it was declared as [repeatable](HostFunc::repeatable).
    #[must_use]
    pub fn is_repeatable(&self) -> bool {
        self.repeatable
    }

    /// The same import, with an observer of its replays.
    #[must_use]
    pub fn observed(self, observer: Arc<dyn ReplayObserver>) -> Self {
        Self {
            observer: Some(observer),
            ..self
        }
    }

    /// Who wants to know of its replays.
    #[must_use]
    pub fn observer(&self) -> Option<&Arc<dyn ReplayObserver>> {
        self.observer.as_ref()
    }

    /// The type it was declared with.
    #[must_use]
    pub fn ty(&self) -> &FuncType {
        &self.ty
    }

    /// The import's module name.
    #[must_use]
    pub fn module(&self) -> &str {
        &self.module
    }

    /// The import's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it touches nothing but the instance that calls it: see [`Imports::local_func`].
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.is_local
    }

    /// The same import with another function behind it. The proxy puts its recorder between the
    /// guest and the host this way.
    #[must_use]
    pub fn replaced<F>(&self, function: F) -> Self
    where
        F: Fn(&mut dyn Caller, &[Val], &mut [Val]) -> Result<(), Error> + Send + Sync + 'static,
    {
        Self {
            function: Arc::new(function),
            ..self.clone()
        }
    }

    /// For engines: runs the function on behalf of a guest. `args` have the declared types;
    /// `results` holds zeros of the declared types before, and values of these types after.
    ///
    /// A panic stops here, because it must not unwind through the guest's frames.
    ///
    /// # Errors
    ///
    /// The function's error: an [`Error::Trap`] (its own, or of a nested call) or [`Error::Exit`] as
    /// it is, and every other error as the source of [`Error::Host`]; [`Error::HostPanicked`].
    pub fn invoke(
        &self,
        caller: &mut dyn Caller,
        args: &[Val],
        results: &mut [Val],
    ) -> Result<(), Error> {
        let outcome = catch_unwind(AssertUnwindSafe(|| (self.function)(caller, args, results)));
        match outcome {
            Ok(Ok(())) => self.check_results(results),
            Ok(Err(
                error @ (Error::Trap(_)
                | Error::Exit { .. }
                | Error::Host { .. }
                | Error::HostPanicked { .. }),
            )) => Err(error),
            Ok(Err(error)) => Err(self.failed(error)),
            Err(panic) => Err(Error::HostPanicked {
                module: self.module.to_string(),
                name: self.name.to_string(),
                message: panic_message(panic.as_ref()),
            }),
        }
    }

    fn check_results(&self, results: &[Val]) -> Result<(), Error> {
        let mut declared = self.ty.results().iter().zip(results);
        declared
            .try_for_each(|(expected, got)| got.check_type(*expected))
            .map_err(|error| self.failed(error))
    }

    fn failed(&self, source: Error) -> Error {
        Error::Host {
            module: self.module.to_string(),
            name: self.name.to_string(),
            source: Box::new(source),
        }
    }
}

impl fmt::Debug for HostFunc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostFunc({} {} {})", self.module, self.name, self.ty)
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}

/// What the host gives for one import.
///
/// For memories, tables and globals the host gives a type: the engine makes a fresh one for every
/// instance, and two generations never share state. Only a [`SharedMemory`] is an object, because
/// the instances of one threaded guest share it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Extern {
    /// A function.
    Func(HostFunc),
    /// A fresh linear memory of this type, which must fit the import's.
    Memory(MemoryType),
    /// A memory shared by several instances.
    SharedMemory(SharedMemory),
    /// A fresh table of this type, every element null.
    Table(TableType),
    /// A fresh global of this type with this value.
    Global(GlobalType, Val),
}

/// Everything that the host gives a module, by module name and name.
///
/// The functions of WASI are host functions like others; the crate `wasi` gives them.
///
/// ```
/// use engine_api::{Error, FuncType, Imports, Val, ValType};
///
/// let mut imports = Imports::new();
/// let ty = FuncType::new(&[ValType::I32], &[ValType::I32]);
/// imports.func("env", "double", ty, |_, args, results| {
///     let Val::I32(number) = args[0] else { unreachable!("declared as i32") };
///     results[0] = Val::I32(number.wrapping_mul(2));
///     Ok::<(), Error>(())
/// });
/// assert!(imports.get("env", "double").is_some());
/// ```
#[derive(Clone, Debug, Default)]
pub struct Imports {
    // Keyed by module first: a look-up then borrows both names.
    modules: HashMap<String, HashMap<String, Extern>>,
}

impl Imports {
    /// No imports.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an import of any kind, or replaces the one of that name.
    pub fn define(&mut self, module: &str, name: &str, item: Extern) -> &mut Self {
        self.modules
            .entry(module.to_owned())
            .or_default()
            .insert(name.to_owned(), item);
        self
    }

    /// Adds a host function. Its `args` have the parameter types of `ty`; it writes values of the
    /// result types into `results`, which holds zeros of them. An [`Error::Trap`] that it returns
    /// becomes the guest's trap.
    pub fn func<F>(&mut self, module: &str, name: &str, ty: FuncType, function: F) -> &mut Self
    where
        F: Fn(&mut dyn Caller, &[Val], &mut [Val]) -> Result<(), Error> + Send + Sync + 'static,
    {
        self.host_func(module, name, ty, function, false)
    }

    /// As [`Imports::func`], for a function that touches nothing but the instance that calls it:
    /// what it gives and what it does depend on its arguments and on that instance alone. The proxy
    /// does not record its calls, and a replay runs it again, as it runs the guest's own code. A
    /// standby may have it called with other arguments than the active generation did, or less
    /// often: its memory has another size.
    pub fn local_func<F>(
        &mut self,
        module: &str,
        name: &str,
        ty: FuncType,
        function: F,
    ) -> &mut Self
    where
        F: Fn(&mut dyn Caller, &[Val], &mut [Val]) -> Result<(), Error> + Send + Sync + 'static,
    {
        self.host_func(module, name, ty, function, true)
    }

    fn host_func<F>(
        &mut self,
        module: &str,
        name: &str,
        ty: FuncType,
        function: F,
        is_local: bool,
    ) -> &mut Self
    where
        F: Fn(&mut dyn Caller, &[Val], &mut [Val]) -> Result<(), Error> + Send + Sync + 'static,
    {
        let function = HostFunc {
            is_local,
            ..HostFunc::new(module, name, ty, function)
        };
        self.define(module, name, Extern::Func(function))
    }

    /// The entry for an import, if there is one.
    #[must_use]
    pub fn get(&self, module: &str, name: &str) -> Option<&Extern> {
        self.modules.get(module)?.get(name)
    }

    /// All entries with their module name and name, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str, &Extern)> {
        self.modules.iter().flat_map(|(module, names)| {
            names
                .iter()
                .map(move |(name, item)| (module.as_str(), name.as_str(), item))
        })
    }

    /// Adds every import of the module that is still missing: functions that fail when called, with
    /// the import's name in the error, and fresh memories and tables of the smallest type that fits.
    /// The host then need not write imports that the module never uses. A global stays missing: the
    /// module reads its value, and nobody can know it.
    pub fn stub_missing(&mut self, info: &ModuleInfo) -> &mut Self {
        self.stub_missing_where(info, |_| true)
    }

    /// As [`Imports::stub_missing`], for the imports that `is_stub` chooses.
    pub fn stub_missing_where(
        &mut self,
        info: &ModuleInfo,
        is_stub: impl Fn(&Import) -> bool,
    ) -> &mut Self {
        for import in info.imports() {
            if self.get(&import.module, &import.name).is_some() || !is_stub(import) {
                continue;
            }
            let (module, name) = (&import.module, &import.name);
            match &import.ty {
                ExternType::Func(ty) => {
                    let missing = import.clone();
                    self.func(module, name, ty.clone(), move |_, _, _| {
                        Err(missing.refused("only a stub: give the host function to call it"))
                    });
                }
                ExternType::Memory(ty) if !ty.shared => {
                    self.define(module, name, Extern::Memory(*ty));
                }
                ExternType::Table(ty) => {
                    self.define(module, name, Extern::Table(*ty));
                }
                // A global's value is the module's business, a shared memory belongs to an engine,
                // and a tag cannot be given at all.
                ExternType::Global(_) | ExternType::Memory(_) | ExternType::Tag => {}
            }
        }
        self
    }

    /// Compares the entries with all imports of a module, before anything is made of them.
    ///
    /// # Errors
    ///
    /// [`Error::Import`] for the first that is missing or of another type; its reason names all
    /// others, up to 20.
    pub fn check_all(&self, info: &ModuleInfo) -> Result<(), Error> {
        const NAMED: usize = 20;
        let refused = info.imports().iter().filter_map(|import| {
            let error = self.resolve(import).err()?;
            Some((format!("`{}` `{}`", import.module, import.name), error))
        });
        let mut refused: Vec<_> = refused.collect();
        if refused.is_empty() {
            return Ok(());
        }
        let (_, mut first) = refused.swap_remove(0);
        let others: Vec<String> = refused.into_iter().map(|(name, _)| name).collect();
        if let (Error::Import { reason, .. }, false) = (&mut first, others.is_empty()) {
            let named = others.iter().take(NAMED).cloned().collect::<Vec<_>>();
            let more = others.len().saturating_sub(NAMED);
            reason.push_str("; so are ");
            reason.push_str(&named.join(", "));
            if more > 0 {
                reason.push_str(", and ");
                reason.push_str(&more.to_string());
                reason.push_str(" more");
            }
        }
        Err(first)
    }

    /// For engines: the entries for all imports of a module, in the module's order.
    ///
    /// # Errors
    ///
    /// As [`Imports::resolve`].
    pub fn resolve_all(&self, info: &ModuleInfo) -> Result<Vec<&Extern>, Error> {
        let needed = info.imports().iter();
        needed.map(|import| self.resolve(import)).collect()
    }

    /// For engines: the entry for one import of a module, whose type has been checked.
    ///
    /// # Errors
    ///
    /// [`Error::Import`] if it is missing or of another type.
    pub fn resolve(&self, import: &Import) -> Result<&Extern, Error> {
        let Some(given) = self.get(&import.module, &import.name) else {
            let wasi = import.module.starts_with("wasi_");
            return Err(import.refused(if wasi {
                "missing: WASI preview 1 is given by `wasi::Wasi::add_to` and by `wasm-proxy run`; \
                 another version of WASI has to be given in the imports"
            } else if import.module == "wasm-proxy" {
                "missing: start from the imports of `bindgen_host::system()`"
            } else {
                "missing: give it in the imports"
            }));
        };
        match (given, &import.ty) {
            (Extern::Func(func), ExternType::Func(ty)) if func.ty() == ty => Ok(given),
            (Extern::Func(func), _) => {
                Err(import.refused(format!("given a function {}", func.ty())))
            }
            (Extern::Memory(ty), ExternType::Memory(needed)) if memory_fits(*ty, *needed) => {
                Ok(given)
            }
            (Extern::SharedMemory(memory), ExternType::Memory(needed))
                if memory_fits(memory.ty(), *needed) =>
            {
                Ok(given)
            }
            (Extern::Table(ty), ExternType::Table(needed))
                if ty.element == needed.element
                    && ty.elements_min >= needed.elements_min
                    && maximum_fits(ty.elements_max, needed.elements_max) =>
            {
                Ok(given)
            }
            (Extern::Global(ty, value), ExternType::Global(needed))
                if ty == needed && value.ty() == ty.value =>
            {
                Ok(given)
            }
            (other, _) => Err(import.refused(format!("given {other:?}"))),
        }
    }
}

/// Import subtyping of memories (core specification, section 3.2.8, "Import Subtyping").
fn memory_fits(given: MemoryType, needed: MemoryType) -> bool {
    given.shared == needed.shared
        && given.memory64 == needed.memory64
        && given.pages_min >= needed.pages_min
        && maximum_fits(given.pages_max, needed.pages_max)
}

fn maximum_fits(given: Option<u64>, needed: Option<u64>) -> bool {
    needed.is_none_or(|needed| given.is_some_and(|given| given <= needed))
}

impl ValType {
    /// Whether values of the type are references rather than numbers or vectors.
    #[must_use]
    pub fn is_reference(self) -> bool {
        matches!(self, ValType::FuncRef | ValType::ExternRef)
    }
}
