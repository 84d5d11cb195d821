//! A scripted engine: modules whose signatures are real wasm, and whose functions are closures.
//!
//! Nothing is compiled and nothing is emulated. A [`Script`] declares exports with their types and
//! what they do to a [`FakeInstance`], which has a linear memory that only grows, an allocator,
//! objects and counters. Tests hold calls at a [`Gate`], make the n-th instance behave differently,
//! refuse instantiations, and count the live instances with a [`Probe`].

#![allow(
    dead_code,
    unused_imports,
    reason = "the doc tests and the integration tests each use a part of it"
)]

mod gate;
mod instance;

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use engine_api::{
    Capabilities, Engine, EngineId, Error, Extern, GlobalIndex, Imports, Instance, Limits,
    MemoryType, Module, ModuleInfo, PAGE_BYTES, Precompiled, SharedMemory, Snapshot, Val,
};
use guest_calls::{Bare, Policy};

pub(crate) use gate::Gate;
pub(crate) use instance::FakeInstance;

/// What an export does, from the instance and the arguments to the results.
pub(crate) type Behaviour =
    Arc<dyn Fn(&mut FakeInstance, &[Val]) -> Result<Vec<Val>, Error> + Send + Sync>;

type BeforeInstantiate = Arc<dyn Fn(u64) -> Result<(), Error> + Send + Sync>;

/// How long a thread waits at a gate before the test counts as hung.
const HANG: Duration = Duration::from_secs(20);

/// The parts of a module, and what its functions do.
#[derive(Clone)]
pub(crate) struct Script {
    functions: Vec<(String, String, Behaviour)>,
    imports: Vec<(String, String, String)>,
    items: Vec<String>,
    memory: Option<(u64, Option<u64>)>,
    start: Option<Behaviour>,
    before_instantiate: Option<BeforeInstantiate>,
    compiler: &'static str,
    interruption: bool,
    snapshots: bool,
    replays_alike: bool,
}

impl Script {
    /// A module with a memory of one page and nothing else.
    pub(crate) fn new() -> Self {
        Self {
            functions: Vec::new(),
            imports: Vec::new(),
            items: Vec::new(),
            memory: Some((1, None)),
            start: None,
            before_instantiate: None,
            compiler: "script",
            interruption: true,
            snapshots: false,
            replays_alike: true,
        }
    }

    /// A module with counters, snapshots of them, and an allocator.
    pub(crate) fn counter() -> Self {
        Self::new()
            .func("counter_new", "(result i32)", |guest, _| {
                let address = guest.alloc(16)?;
                guest.objects.insert(address, 0);
                Ok(vec![Val::from(address)])
            })
            .func("counter_add", "(param i32 i32)", |guest, args| {
                *guest.object(&args[0])? += i64::from(number(&args[1]));
                Ok(vec![])
            })
            .func(
                "counter_value",
                "(param i32) (result i32)",
                |guest, args| {
                    let value = *guest.object(&args[0])?;
                    Ok(vec![Val::from(
                        i32::try_from(value).expect("counters stay small"),
                    )])
                },
            )
            .func("counter_free", "(param i32)", |guest, args| {
                guest.object(&args[0])?;
                let address = address(&args[0]);
                guest.objects.remove(&address);
                guest.free(address, 16);
                Ok(vec![])
            })
            .func("snapshot", "(param i32) (result i32)", |guest, args| {
                let value = *guest.object(&args[0])?;
                let address = guest.alloc(8)?;
                guest.write(address, &value.to_le_bytes())?;
                Ok(vec![Val::from(address)])
            })
            .func(
                "snapshot_value",
                "(param i32) (result i32)",
                |guest, args| {
                    let bytes = guest.read(address(&args[0]), 4)?;
                    let bytes = bytes.try_into().expect("four were read");
                    Ok(vec![Val::I32(i32::from_le_bytes(bytes))])
                },
            )
            .func("snapshot_free", "(param i32)", |guest, args| {
                guest.free(address(&args[0]), 8);
                Ok(vec![])
            })
            .func("guest_alloc", "(param i32) (result i32)", |guest, args| {
                Ok(vec![Val::from(
                    guest.try_alloc(address(&args[0])).unwrap_or(0),
                )])
            })
            .func("guest_free", "(param i32 i32)", |guest, args| {
                guest.free(address(&args[0]), address(&args[1]));
                Ok(vec![])
            })
    }

    /// Adds an export, or replaces what the one of this name does. `ty` is in the text format.
    pub(crate) fn func(
        mut self,
        name: &str,
        ty: &str,
        behaviour: impl Fn(&mut FakeInstance, &[Val]) -> Result<Vec<Val>, Error> + Send + Sync + 'static,
    ) -> Self {
        self.functions.retain(|(other, ..)| other != name);
        self.functions
            .push((name.to_owned(), ty.to_owned(), Arc::new(behaviour)));
        self
    }

    /// Adds an imported function.
    pub(crate) fn import(mut self, module: &str, name: &str, ty: &str) -> Self {
        self.imports
            .push((module.to_owned(), name.to_owned(), ty.to_owned()));
        self
    }

    /// Adds a table or a global, in the text format.
    pub(crate) fn item(mut self, wat: &str) -> Self {
        self.items.push(wat.to_owned());
        self
    }

    /// Sets the memory's smallest and largest size, in pages.
    pub(crate) fn memory(mut self, pages_min: u64, pages_max: Option<u64>) -> Self {
        self.memory = Some((pages_min, pages_max));
        self
    }

    pub(crate) fn without_memory(mut self) -> Self {
        self.memory = None;
        self
    }

    /// Sets what the start function does.
    pub(crate) fn start(
        mut self,
        behaviour: impl Fn(&mut FakeInstance, &[Val]) -> Result<Vec<Val>, Error> + Send + Sync + 'static,
    ) -> Self {
        self.start = Some(Arc::new(behaviour));
        self
    }

    /// Sets what is asked before each instantiation, with the number of the new instance.
    pub(crate) fn before_instantiate(
        mut self,
        ask: impl Fn(u64) -> Result<(), Error> + Send + Sync + 'static,
    ) -> Self {
        self.before_instantiate = Some(Arc::new(ask));
        self
    }

    /// Sets the second half of the engine's name.
    pub(crate) fn compiler(mut self, compiler: &'static str) -> Self {
        self.compiler = compiler;
        self
    }

    pub(crate) fn without_interruption(mut self) -> Self {
        self.interruption = false;
        self
    }

    /// Lets instances be captured and restored. All of them put objects at the same addresses.
    pub(crate) fn snapshots(mut self) -> Self {
        self.snapshots = true;
        self
    }

    /// Says that the same calls do not leave the same bytes in every instance.
    pub(crate) fn replays_unlike(mut self) -> Self {
        self.replays_alike = false;
        self
    }

    pub(crate) fn has_snapshots(&self) -> bool {
        self.snapshots
    }

    /// The module's bytes: real imports, exports and types, and bodies that never run.
    pub(crate) fn wasm(&self) -> Vec<u8> {
        let mut wat = "(module\n".to_owned();
        let mut line = |text: fmt::Arguments<'_>| {
            writeln!(wat, "{text}").expect("a string takes everything");
        };
        for (module, name, ty) in &self.imports {
            line(format_args!("(import {module:?} {name:?} (func {ty}))"));
        }
        if let Some((min, max)) = self.memory {
            let max = max.map_or_else(String::new, |max| max.to_string());
            line(format_args!("(memory (export \"memory\") {min} {max})"));
            // For what the functions keep, see `FakeInstance::describe`.
            line(format_args!("(memory 0 0)"));
        }
        for item in &self.items {
            line(format_args!("{item}"));
        }
        for (name, ty, _) in &self.functions {
            line(format_args!("(func (export {name:?}) {ty} unreachable)"));
        }
        if self.start.is_some() {
            line(format_args!("(func $start unreachable) (start $start)"));
        }
        wat.push(')');
        wat::parse_str(&wat).unwrap_or_else(|error| panic!("{error}\n{wat}"))
    }

    /// An engine that runs the module's functions.
    pub(crate) fn engine(&self) -> FakeEngine {
        FakeEngine {
            script: Arc::new(self.clone()),
            probe: Probe::default(),
        }
    }
}

/// How many instances an engine has made, and how many are alive.
#[derive(Clone, Debug, Default)]
pub(crate) struct Probe(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    live: AtomicUsize,
    peak: AtomicUsize,
    made: AtomicU64,
}

impl Probe {
    pub(crate) fn live(&self) -> usize {
        self.0.live.load(Ordering::SeqCst)
    }

    /// The most that were ever alive at once.
    pub(crate) fn peak(&self) -> usize {
        self.0.peak.load(Ordering::SeqCst)
    }

    /// How many instantiations were attempted.
    pub(crate) fn made(&self) -> u64 {
        self.0.made.load(Ordering::SeqCst)
    }

    fn begin(&self) -> u64 {
        self.0.made.fetch_add(1, Ordering::SeqCst) + 1
    }

    fn born(&self) {
        let live = self.0.live.fetch_add(1, Ordering::SeqCst) + 1;
        self.0.peak.fetch_max(live, Ordering::SeqCst);
    }

    fn dead(&self) {
        self.0.live.fetch_sub(1, Ordering::SeqCst);
    }
}

/// An engine that runs a script's functions. Clones share one count of instances.
#[derive(Clone)]
pub(crate) struct FakeEngine {
    script: Arc<Script>,
    probe: Probe,
}

impl FakeEngine {
    /// An engine for [`counter_wasm`].
    pub(crate) fn counter() -> Self {
        Script::counter().engine()
    }

    pub(crate) fn probe(&self) -> Probe {
        self.probe.clone()
    }
}

/// A module with counters: the example of the documentation.
pub(crate) fn counter_wasm() -> Vec<u8> {
    Script::counter().wasm()
}

/// What the exports of [`counter_wasm`] do.
pub(crate) const COUNTER_POLICY: &str = r#"
[[export]]
match = "counter_new"
role = "create"
results = ["handle:counter"]

[[export]]
match = "counter_add"
role = "mutate"
args = ["handle:counter", "value"]
mutates = [0]

[[export]]
match = "counter_value"
role = "pure"
args = ["handle:counter"]

[[export]]
match = "counter_free"
role = "free"
args = ["handle:counter"]

[[export]]
match = "snapshot"
role = "pure"
args = ["handle:counter"]
results = ["pointer"]

[[export]]
match = "snapshot_free"
role = "pure"
args = ["pointer"]
consumes = [0]

[[export]]
match = "snapshot_*"
role = "pure"
args = ["pointer"]

[[export]]
match = "guest_*"
role = "pure"
"#;

/// Bare instances of [`counter_wasm`].
pub(crate) fn counter_bare() -> Result<Bare, Box<dyn std::error::Error>> {
    let module = FakeEngine::counter().compile(&counter_wasm())?;
    let policy: Policy = COUNTER_POLICY.parse()?;
    Ok(Bare::new(
        module,
        &policy,
        Imports::new(),
        Limits::default(),
    )?)
}

impl From<FakeEngine> for Arc<dyn Engine> {
    fn from(engine: FakeEngine) -> Self {
        Arc::new(engine)
    }
}

impl fmt::Debug for FakeEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FakeEngine({}, {:?})", self.id(), self.probe)
    }
}

impl Engine for FakeEngine {
    fn id(&self) -> EngineId {
        EngineId {
            runtime: "fake",
            compiler: self.script.compiler,
        }
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            simd: true,
            externref: true,
            multi_memory: false,
            memory64: false,
            tail_calls: false,
            threads: false,
            fuel: false,
            interruption: self.script.interruption,
            stack_limit: false,
            precompiled: false,
            nan_canonicalization: true,
        }
    }

    fn fingerprint(&self) -> String {
        self.id().to_string()
    }

    fn compile(&self, wasm: &[u8]) -> Result<Arc<dyn Module>, Error> {
        let info = Arc::new(module_bytes::parse(wasm)?);
        let behaviour = |name: &str| {
            let functions = self.script.functions.iter();
            let mut same = functions.filter(|(other, ..)| other == name);
            same.next().map(|(.., behaviour)| Arc::clone(behaviour))
        };
        let behaviours = info
            .functions()
            .iter()
            .map(|function| behaviour(&function.name))
            .collect();
        Ok(Arc::new(FakeModule {
            info,
            behaviours,
            engine: self.clone(),
        }))
    }

    fn load(&self, _: &[u8], _: &Precompiled) -> Result<Arc<dyn Module>, Error> {
        Err(unsupported(self.id(), "precompiled modules"))
    }

    fn shared_memory(&self, _: MemoryType) -> Result<SharedMemory, Error> {
        Err(unsupported(self.id(), "shared memories"))
    }
}

pub(super) fn unsupported(engine: EngineId, what: &str) -> Error {
    Error::Unsupported {
        engine,
        what: what.to_owned(),
    }
}

struct FakeModule {
    info: Arc<ModuleInfo>,
    behaviours: Arc<[Option<Behaviour>]>,
    engine: FakeEngine,
}

impl fmt::Debug for FakeModule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FakeModule({})", self.info.hash())
    }
}

impl Module for FakeModule {
    fn info(&self) -> &Arc<ModuleInfo> {
        &self.info
    }

    fn precompiled(&self) -> Result<Precompiled, Error> {
        Err(unsupported(self.engine.id(), "precompiled modules"))
    }

    fn instantiate(&self, imports: &Imports, limits: &Limits) -> Result<Box<dyn Instance>, Error> {
        let mut instance = self.unstarted(imports, limits)?;
        if let Some(start) = &self.engine.script.start {
            instance.outermost(|instance| start(instance, &[]))?;
        }
        Ok(Box::new(instance))
    }

    fn snapshots(&self) -> Result<(), Error> {
        if self.engine.script.snapshots {
            Ok(())
        } else {
            Err(unsupported(self.engine.id(), "snapshots"))
        }
    }

    fn replays_alike(&self) -> bool {
        self.engine.script.replays_alike
    }

    fn stack_pointer(&self, wasm: &[u8]) -> Result<Option<GlobalIndex>, Error> {
        module_bytes::stack_pointer(wasm)
    }

    fn obstacles(&self, wasm: &[u8]) -> Result<Vec<String>, Error> {
        let obstacles = module_bytes::obstacles(wasm)?;
        Ok(obstacles.iter().map(ToString::to_string).collect())
    }

    fn restore(
        &self,
        imports: &Imports,
        limits: &Limits,
        snapshot: &Snapshot,
    ) -> Result<Box<dyn Instance>, Error> {
        snapshot.check_module(self.info.hash())?;
        let mut instance = self.unstarted(imports, limits)?;
        instance.take_over(snapshot)?;
        Ok(Box::new(instance))
    }
}

impl FakeModule {
    fn unstarted(&self, imports: &Imports, limits: &Limits) -> Result<FakeInstance, Error> {
        let script = &self.engine.script;
        let number = self.engine.probe.begin();
        if let Some(ask) = &script.before_instantiate {
            ask(number)?;
        }
        let mut hosts = HashMap::new();
        for import in self.info.imports() {
            if let Extern::Func(function) = imports.resolve(import)? {
                hosts.insert(
                    (import.module.clone(), import.name.clone()),
                    function.clone(),
                );
            }
        }
        let bytes = script.memory.map_or(0, |(pages, _)| pages * PAGE_BYTES);
        if let Some(limit) = limits.memory_bytes_max.filter(|limit| bytes > *limit) {
            return Err(Error::Limit {
                what: "bytes of memory",
                needed: bytes,
                limit,
            });
        }
        let tables = self.info.tables().iter();
        let globals = self.info.globals().iter();
        let mut instance = FakeInstance::new(self, hosts, limits.clone(), number);
        instance.memory = vec![0; usize::try_from(bytes).expect("fake memories are small")];
        instance.tables = tables.map(|table| table.elements_min).collect();
        instance.globals = globals.map(|global| Val::zero(global.value)).collect();
        Ok(instance)
    }
}

/// The bits of an i32 as an address.
pub(crate) fn address(val: &Val) -> u32 {
    number(val).cast_unsigned()
}

/// An i32 argument.
pub(crate) fn number(val: &Val) -> i32 {
    val.i32().expect("the function takes an i32 there")
}
