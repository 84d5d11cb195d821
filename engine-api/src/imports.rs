//! The imports that the host gives a module.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::{
    Caller, Error, ExternType, FuncType, GlobalType, MemoryType, ModuleInfo, SharedMemory,
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
}

impl HostFunc {
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
    /// The function's error: an [`Error::Trap`] (its own, or of a nested call) as it is, and every
    /// other error as the source of [`Error::Host`]; [`Error::HostPanicked`].
    pub fn invoke(
        &self,
        caller: &mut dyn Caller,
        args: &[Val],
        results: &mut [Val],
    ) -> Result<(), Error> {
        let outcome = catch_unwind(AssertUnwindSafe(|| (self.function)(caller, args, results)));
        match outcome {
            Ok(Ok(())) => self.check_results(results),
            Ok(Err(error @ (Error::Trap(_) | Error::Host { .. } | Error::HostPanicked { .. }))) => {
                Err(error)
            }
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
/// WASI will be one more kind of entry here: a namespace that the engine's own implementation
/// serves. Until then a WASI import is missing like any other, and the error names it.
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
        let function = HostFunc {
            module: module.into(),
            name: name.into(),
            ty,
            function: Arc::new(function),
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
    /// the import's name in the error, and fresh memories, tables and globals of the smallest type
    /// that fits. The host then need not write imports that the module never uses.
    pub fn stub_missing(&mut self, info: &ModuleInfo) -> &mut Self {
        for import in info.imports() {
            if self.get(&import.module, &import.name).is_some() {
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
                ExternType::Global(ty) => {
                    self.define(module, name, Extern::Global(*ty, Val::zero(ty.value)));
                }
                // A shared memory belongs to an engine, and a tag cannot be given at all.
                ExternType::Memory(_) | ExternType::Tag => {}
            }
        }
        self
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
    pub fn resolve(&self, import: &crate::Import) -> Result<&Extern, Error> {
        let Some(given) = self.get(&import.module, &import.name) else {
            let wasi = import.module.starts_with("wasi_");
            return Err(import.refused(if wasi {
                "WASI is not provided yet: build the guest without it, or give the host function"
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
