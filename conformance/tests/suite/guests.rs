//! The modules of a file: instances of an engine, or behind proxies.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use conformance::prelude::*;
use proxy_core::{Arg, CallError, Proxy, Thresholds, Value};

/// How a module is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Through {
    /// It is an instance of the engine.
    Nothing,
    /// A proxy. What has state is journaled, if its calls can be.
    Proxy,
    /// A proxy that swaps before each call that is journaled.
    Swaps,
}

impl Through {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Nothing => "alone",
            Self::Proxy => "proxied",
            Self::Swaps => "swapped",
        }
    }
}

/// Why there is no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Trap(Trap),
    /// The module is not valid.
    Invalid(String),
    /// An import is missing, or of another type.
    Import(String),
    /// The engine cannot run it.
    Unsupported(String),
    Other(String),
}

impl From<Error> for Ended {
    fn from(error: Error) -> Self {
        let reason = error.to_string();
        match error {
            Error::Trap(trap) => Self::Trap(trap),
            Error::InvalidModule { .. } => Self::Invalid(reason),
            Error::Import { .. } => Self::Import(reason),
            Error::Unsupported { .. } => Self::Unsupported(reason),
            _ => Self::Other(reason),
        }
    }
}

impl From<proxy_core::Error> for Ended {
    fn from(error: proxy_core::Error) -> Self {
        use proxy_core::Error;
        match error {
            Error::Call(CallError::Trapped { trap, .. }) => Self::Trap(trap),
            Error::Engine(error) | Error::Call(CallError::Engine(error)) => (*error).into(),
            error => Self::Other(error.to_string()),
        }
    }
}

/// One module that was made.
pub(super) enum Guest {
    Alone(Box<dyn Instance>),
    Proxied {
        proxy: Proxy,
        /// Counts its swaps, if it swaps before each call.
        swaps: Option<Arc<AtomicUsize>>,
    },
}

/// What makes modules of binaries.
pub(super) struct Modules {
    engine: &'static EngineUnderTest,
    through: Through,
    imports: Imports,
    compiled: HashMap<Vec<u8>, Arc<dyn Module>>,
    swaps: Arc<AtomicUsize>,
}

impl Modules {
    pub(super) fn new(engine: &'static EngineUnderTest, through: Through) -> Self {
        Self {
            engine,
            through,
            imports: spectest(),
            compiled: HashMap::new(),
            swaps: Arc::default(),
        }
    }

    /// How many swaps there were.
    pub(super) fn swaps(&self) -> usize {
        self.swaps.load(Ordering::Relaxed)
    }

    pub(super) fn make(&mut self, wasm: &[u8]) -> Result<Guest, Ended> {
        let module = if let Some(module) = self.compiled.get(wasm) {
            Arc::clone(module)
        } else {
            let module = self.engine.shared().compile(wasm)?;
            self.compiled.insert(wasm.to_owned(), Arc::clone(&module));
            module
        };
        if self.through == Through::Nothing {
            let instance = module.instantiate(&self.imports, &Limits::default())?;
            return Ok(Guest::Alone(instance));
        }
        let is_journalable = is_journalable(&*module);
        // A module with a reference in any type has calls that cannot be journaled. A trap takes
        // what they have changed.
        let role = if is_journalable { "mutate" } else { "pure" };
        let policy = format!("[[export]]\nmatch = \"*\"\nrole = \"{role}\"");
        let proxy = Proxy::builder(Arc::clone(self.engine.shared()))
            .module(wasm)
            .compiled(module)
            .policy(policy.parse().unwrap())
            .imports(self.imports.clone())
            .thresholds(Thresholds::new(0.99, 1.0).unwrap())
            .build()?;
        let swaps = is_journalable && self.through == Through::Swaps;
        let swaps = swaps.then(|| Arc::clone(&self.swaps));
        Ok(Guest::Proxied { proxy, swaps })
    }
}

impl Guest {
    pub(super) fn call(&mut self, export: &str, args: &[Val]) -> Result<Vec<Val>, Ended> {
        match self {
            Self::Alone(instance) => Ok(instance.invoke(export, args)?),
            Self::Proxied { proxy, swaps } => {
                if let Some(swaps) = swaps {
                    swaps.fetch_add(swap(proxy), Ordering::Relaxed);
                }
                let args: Vec<Arg<'_>> = args.iter().cloned().map(Arg::Val).collect();
                let results = proxy.call(export, &args)?.into_vec().into_iter();
                let numbers = results.map(|result| match result {
                    Value::Val(value) => Ok(value),
                    other => Err(Ended::Other(format!("the result {other:?}"))),
                });
                numbers.collect()
            }
        }
    }
}

/// Swaps, and returns how often: not at all where the memory is as large as it may be, because a
/// swap would give nothing back there.
fn swap(proxy: &Proxy) -> usize {
    use proxy_core::Error;
    loop {
        match proxy.prepare_standby() {
            Ok(_) => break,
            Err(Error::StateExceedsBudget { .. }) => return 0,
            Err(Error::StillDraining) => {
                proxy.tick(Instant::now());
                thread::yield_now();
            }
            Err(error) => panic!("{error}"),
        }
    }
    proxy.swap().unwrap();
    1
}

/// Whether calls of all exported functions can be journaled: references mean something in one
/// instance only.
fn is_journalable(module: &dyn Module) -> bool {
    module.info().exports().iter().all(|export| {
        let ExternType::Func(ty) = &export.ty else {
            return true;
        };
        let mut types = ty.params().iter().chain(ty.results());
        types.all(|ty| !ty.is_reference())
    })
}

/// The module that the suite's own modules import from.
fn spectest() -> Imports {
    let mut imports = Imports::new();
    let mut print = |name, params: &[ValType]| {
        let ty = FuncType::new(params, &[]);
        imports.func("spectest", name, ty, |_, _, _| Ok(()));
    };
    print("print", &[]);
    print("print_i32", &[ValType::I32]);
    print("print_i64", &[ValType::I64]);
    print("print_f32", &[ValType::F32]);
    print("print_f64", &[ValType::F64]);
    print("print_i32_f32", &[ValType::I32, ValType::F32]);
    print("print_f64_f64", &[ValType::F64, ValType::F64]);
    let numbers = [
        ("global_i32", Val::I32(666)),
        ("global_i64", Val::I64(666)),
        ("global_f32", Val::from(666.6_f32)),
        ("global_f64", Val::from(666.6_f64)),
    ];
    for (name, value) in numbers {
        let ty = GlobalType {
            value: value.ty(),
            mutable: false,
        };
        imports.define("spectest", name, Extern::Global(ty, value));
    }
    imports.define(
        "spectest",
        "memory",
        Extern::Memory(MemoryType::new(1, Some(2))),
    );
    let table = TableType {
        element: ValType::FuncRef,
        elements_min: 10,
        elements_max: Some(20),
    };
    imports.define("spectest", "table", Extern::Table(table));
    imports
}
