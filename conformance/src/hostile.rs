//! Hostile modules: what they are, and what a host sees of them.
//!
//! Each [`Case`] is attacked with on a bare engine and through a proxy, in a process of its own and
//! beside a healthy neighbour. A host that is not ended, no panic and no hang is half of the promise;
//! the other half is that each ends in one of the ways that its case lists.

mod cpu;
mod host;
mod memory;
mod shape;
mod trap;

use std::time::Duration;

use engine_api::{
    Engine, Error, FuncType, Imports, InstanceExt, Limits, Trap, Val, ValType, memory_range,
};
use proxy_core::{CallError, Error as ProxyError, Proxy, args};

use crate::engines::EngineUnderTest;

/// Bytes of memory that a hostile guest may have.
const MEMORY_BYTES_MAX: u64 = 64 << 20;

/// How long a call of a hostile guest may take.
const DEADLINE: Duration = Duration::from_millis(100);

/// A hostile module, and how attacks with it may end.
pub struct Case {
    /// Its name, for the probe's command line.
    pub name: &'static str,
    module: fn(&EngineUnderTest) -> Vec<u8>,
    endings: &'static [Ending],
}

/// How an attack ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// The module is refused: it is invalid, too large, or needs what the engine lacks.
    Refused,
    /// The call, or the start function, traps.
    Trapped(Trap),
    /// A host function refuses what the guest asks of it.
    HostFailed,
    /// A host function panics.
    HostPanicked,
    /// The call finds no memory left, and the guest gives up.
    OutOfMemory,
    /// The guest does what it wants, which is within its limits.
    Returned,
}

/// Every case.
pub fn all() -> impl Iterator<Item = &'static Case> {
    [
        cpu::CASES,
        memory::CASES,
        shape::CASES,
        trap::CASES,
        host::CASES,
    ]
    .into_iter()
    .flatten()
}

/// The case of a name.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static Case> {
    all().find(|case| case.name == name)
}

impl Case {
    /// Attacks a bare engine and a proxy with the module, and returns what they said.
    ///
    /// # Panics
    ///
    /// If an attack ends in another way than the case lists, or the guest cannot be called any more
    /// although it is in a proxy.
    #[must_use]
    pub fn attack(&self, engine: &EngineUnderTest) -> String {
        let wasm = (self.module)(engine);
        let bare = attack_engine(engine.shared().as_ref(), &wasm);
        let proxied = attack_proxy(engine, &wasm);
        for (of, (ending, said)) in [("engine", &bare), ("proxy", &proxied)] {
            assert!(
                self.endings.contains(ending),
                "{} on the {of} {engine:?}: {ending:?}, {said}",
                self.name
            );
        }
        format!("engine: {}\nproxy: {}", bare.1, proxied.1)
    }
}

fn limits() -> Limits {
    Limits {
        memory_bytes_max: Some(MEMORY_BYTES_MAX),
        table_elements_max: Some(100_000),
        deadline: Some(DEADLINE),
        ..Limits::default()
    }
}

fn attack_engine(engine: &dyn Engine, wasm: &[u8]) -> (Ending, String) {
    let made = engine.compile(wasm).and_then(|module| {
        let mut imports = imports();
        imports.stub_missing(module.info());
        module.instantiate(&imports, &limits())
    });
    let called = made.and_then(|mut instance| instance.invoke("attack", &[]));
    match called {
        Ok(_) => (Ending::Returned, "returned".to_owned()),
        Err(error) => (ending_of(&error), error.to_string()),
    }
}

fn attack_proxy(engine: &EngineUnderTest, wasm: &[u8]) -> (Ending, String) {
    let mut imports = imports();
    if let Ok(info) = module_bytes::parse(wasm) {
        imports.stub_missing(&info);
    }
    let built = Proxy::builder(engine.shared().clone())
        .module(wasm)
        .imports(imports)
        .limits(limits())
        .build();
    let proxy = match built {
        Ok(proxy) => proxy,
        Err(error) => return (ending_in_proxy(&error), error.to_string()),
    };
    let attacked = match proxy.call("attack", args![]) {
        Ok(_) => (Ending::Returned, "returned".to_owned()),
        Err(error) => (ending_in_proxy(&error), error.to_string()),
    };
    let fine = proxy.call("fine", args![]).expect("a guest without harm");
    assert_eq!(fine.i32().expect("a number"), 1);
    attacked
}

fn ending_of(error: &Error) -> Ending {
    match error {
        Error::Trap(trap) => Ending::Trapped(*trap),
        Error::Host { .. } => Ending::HostFailed,
        Error::HostPanicked { .. } => Ending::HostPanicked,
        Error::InvalidModule { .. }
        | Error::ModuleLimit { .. }
        | Error::Unsupported { .. }
        | Error::Limit { .. } => Ending::Refused,
        error => panic!("an error that no case expects: {error:?}"),
    }
}

fn ending_in_proxy(error: &ProxyError) -> Ending {
    match error {
        ProxyError::Engine(error) | ProxyError::Call(CallError::Engine(error)) => ending_of(error),
        ProxyError::Call(CallError::Trapped { trap, .. }) => Ending::Trapped(*trap),
        ProxyError::Call(CallError::HostFailed { .. }) => Ending::HostFailed,
        ProxyError::Call(CallError::OutOfMemory { .. }) => Ending::OutOfMemory,
        error => panic!("an error that no case expects: {error:?}"),
    }
}

/// What the hostile guests import.
fn imports() -> Imports {
    let mut imports = Imports::new();
    imports.func("env", "nothing", FuncType::default(), |_, _, _| Ok(()));
    imports.func("env", "panic", FuncType::default(), |_, _, _| {
        panic!("a host function that panics, on purpose: \u{1b}[2J")
    });
    imports.func("env", "again", FuncType::default(), |caller, _, _| {
        caller.invoke("attack", &[]).map(drop)
    });
    let two = FuncType::new(&[ValType::I32, ValType::I32], &[]);
    imports.func("env", "take", two, |caller, args, _| {
        let memory = caller.memory_index("memory")?;
        let [pointer, len] = [0, 1].map(|at: usize| match args[at] {
            Val::I32(number) => number.cast_unsigned(),
            _ => unreachable!("the engine compares types"),
        });
        // A host that allocates what a guest names would be the guest's victim.
        let len = len as usize;
        memory_range(pointer.into(), len, caller.memory_size(memory)?)?;
        let mut bytes = vec![0; len];
        caller.memory_read(memory, pointer.into(), &mut bytes)
    });
    imports
}

/// A module in the text format, with the export that shows that the guest can still be called.
fn with_fine(items: &str) -> Vec<u8> {
    crate::expect::binary(&format!(
        "(module {items} (func (export \"fine\") (result i32) i32.const 1))"
    ))
}
