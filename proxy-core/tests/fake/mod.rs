//! A scripted engine: modules whose signatures are real wasm, and whose functions are closures.
//!
//! Nothing is compiled and nothing is emulated. A [`Script`] declares exports with their types and what
//! they do to a [`FakeInstance`], which has a linear memory that only grows, an allocator, objects and
//! counters. Tests hold calls at a [`Gate`], make the n-th instance behave differently, refuse
//! instantiations, and count the instances that are alive with a [`Probe`].

#![allow(
    dead_code,
    reason = "the doc tests and the integration tests each use a part of it"
)]

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use engine_api::{
    Artifact, Caller, Capabilities, Engine, EngineId, Error, Extern, FuncIndex, GlobalIndex,
    HostFunc, Imports, Instance, Interrupt, Interrupter, Limits, MemoryImage, MemoryIndex,
    MemoryMeter, MemoryType, Module, ModuleInfo, NumericType, PAGE_BYTES, SharedMemory, Slot,
    Snapshot, TableIndex, Trap, Val,
};
use proxy_core::{Policy, Proxy};

/// What an export does: the instance, the arguments, the results.
pub(crate) type Behaviour =
    Arc<dyn Fn(&mut FakeInstance, &[Val]) -> Result<Vec<Val>, Error> + Send + Sync>;

type BeforeInstantiate = Arc<dyn Fn(u64) -> Result<(), Error> + Send + Sync>;

/// How long anybody waits at a gate before the test is taken to hang.
const HANG: Duration = Duration::from_secs(20);

/// What a module consists of, and what its functions do.
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

    /// Adds an export, or replaces what the one of this name does. The type is as in the text format.
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

    /// How large the memory starts and may get, in pages.
    pub(crate) fn memory(mut self, pages_min: u64, pages_max: Option<u64>) -> Self {
        self.memory = Some((pages_min, pages_max));
        self
    }

    pub(crate) fn without_memory(mut self) -> Self {
        self.memory = None;
        self
    }

    /// What the start function does.
    pub(crate) fn start(
        mut self,
        behaviour: impl Fn(&mut FakeInstance, &[Val]) -> Result<Vec<Val>, Error> + Send + Sync + 'static,
    ) -> Self {
        self.start = Some(Arc::new(behaviour));
        self
    }

    /// Asked before each instantiation, with the number of the instance that is to be.
    pub(crate) fn before_instantiate(
        mut self,
        ask: impl Fn(u64) -> Result<(), Error> + Send + Sync + 'static,
    ) -> Self {
        self.before_instantiate = Some(Arc::new(ask));
        self
    }

    /// The second half of the engine's name.
    pub(crate) fn compiler(mut self, compiler: &'static str) -> Self {
        self.compiler = compiler;
        self
    }

    pub(crate) fn without_interruption(mut self) -> Self {
        self.interruption = false;
        self
    }

    /// Instances can be captured and restored, and put their objects at the same addresses each.
    pub(crate) fn snapshots(mut self) -> Self {
        self.snapshots = true;
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

    /// An engine on which the module's functions do this.
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

    /// How many instantiations were asked for.
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

/// An engine on which a script's functions run. Clones count their instances together.
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
match = "snapshot_*"
role = "pure"
args = ["pointer"]

[[export]]
match = "guest_*"
role = "pure"
"#;

/// A proxy of [`counter_wasm`].
pub(crate) fn counter_proxy() -> Result<Proxy, proxy_core::Error> {
    let policy: Policy = COUNTER_POLICY.parse()?;
    Proxy::builder(FakeEngine::counter())
        .module(counter_wasm())
        .policy(policy)
        .build()
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
            artifacts: false,
            nan_canonicalization: true,
        }
    }

    fn fingerprint(&self) -> String {
        self.id().to_string()
    }

    fn compile(&self, wasm: &[u8]) -> Result<Arc<dyn Module>, Error> {
        let info = Arc::new(ModuleInfo::parse(wasm)?);
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

    fn load(&self, _: &[u8], _: &Artifact) -> Result<Arc<dyn Module>, Error> {
        Err(unsupported(self.id(), "artifacts"))
    }

    fn shared_memory(&self, _: MemoryType) -> Result<SharedMemory, Error> {
        Err(unsupported(self.id(), "shared memories"))
    }
}

fn unsupported(engine: EngineId, what: &str) -> Error {
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

    fn artifact(&self) -> Result<Artifact, Error> {
        Err(unsupported(self.engine.id(), "artifacts"))
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

/// An instance, as its functions see it.
pub(crate) struct FakeInstance {
    /// Which instance of its engine it is, from 1.
    pub(crate) number: u64,
    pub(crate) memory: Vec<u8>,
    /// Objects by their address, which differs from one instance to the next.
    pub(crate) objects: HashMap<u32, i64>,
    /// Numbers that the module keeps, by name.
    pub(crate) counters: HashMap<&'static str, i64>,
    heap_end: u64,
    /// Freed blocks by their size.
    freed: HashMap<u32, Vec<u32>>,
    tables: Vec<u64>,
    globals: Vec<Val>,
    info: Arc<ModuleInfo>,
    behaviours: Arc<[Option<Behaviour>]>,
    hosts: HashMap<(String, String), HostFunc>,
    limits: Limits,
    pages_max: u64,
    interruption: Option<Arc<Interruption>>,
    deadline: Option<Instant>,
    depth: u32,
    engine: EngineId,
    probe: Probe,
}

#[derive(Debug, Default)]
struct Interruption(AtomicBool);

impl Interrupt for Interruption {
    fn interrupt(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl FakeInstance {
    fn new(
        module: &FakeModule,
        hosts: HashMap<(String, String), HostFunc>,
        limits: Limits,
        number: u64,
    ) -> Self {
        let probe = module.engine.probe();
        probe.born();
        let script = &module.engine.script;
        Self {
            number,
            memory: Vec::new(),
            objects: HashMap::new(),
            counters: HashMap::new(),
            heap_end: 4096
                + if script.snapshots {
                    0
                } else {
                    64 * (number % 256)
                },
            freed: HashMap::new(),
            tables: Vec::new(),
            globals: Vec::new(),
            info: Arc::clone(&module.info),
            behaviours: Arc::clone(&module.behaviours),
            hosts,
            limits,
            pages_max: script.memory.and_then(|(_, max)| max).unwrap_or(1 << 16),
            interruption: script.interruption.then(Arc::default),
            deadline: None,
            depth: 0,
            engine: module.engine.id(),
            probe,
        }
    }

    fn outermost(
        &mut self,
        run: impl FnOnce(&mut Self) -> Result<Vec<Val>, Error>,
    ) -> Result<Vec<Val>, Error> {
        if self.depth == 0 {
            self.deadline = self.limits.deadline.map(|limit| Instant::now() + limit);
        }
        self.depth += 1;
        let outcome = self.check_time().and_then(|()| run(self));
        self.depth -= 1;
        outcome
    }

    /// Whether the call may go on: where a real engine would look at its epoch.
    pub(crate) fn check_time(&self) -> Result<(), Error> {
        if let Some(interruption) = &self.interruption
            && interruption.0.load(Ordering::SeqCst)
        {
            return Err(Error::Trap(Trap::Interrupted));
        }
        match self.deadline {
            Some(deadline) if Instant::now() >= deadline => {
                Err(Error::Trap(Trap::DeadlineExceeded))
            }
            _ => Ok(()),
        }
    }

    /// A block of the memory, which grows for it; a trap if it cannot.
    pub(crate) fn alloc(&mut self, len: u32) -> Result<u32, Error> {
        self.try_alloc(len).ok_or(Error::Trap(Trap::Unreachable))
    }

    pub(crate) fn try_alloc(&mut self, len: u32) -> Option<u32> {
        if let Some(address) = self.freed.get_mut(&len).and_then(Vec::pop) {
            return Some(address);
        }
        let address = u32::try_from(self.heap_end).ok()?;
        let end = self.heap_end + u64::from(len.next_multiple_of(8));
        let missing = end.saturating_sub(self.memory.len() as u64);
        if missing > 0 {
            self.memory_grow(MemoryIndex(0), missing.div_ceil(PAGE_BYTES))
                .ok()?;
        }
        self.heap_end = end;
        Some(address)
    }

    pub(crate) fn free(&mut self, address: u32, len: u32) {
        self.freed.entry(len).or_default().push(address);
    }

    pub(crate) fn object(&mut self, handle: &Val) -> Result<&mut i64, Error> {
        self.objects
            .get_mut(&address(handle))
            .ok_or(Error::Trap(Trap::MemoryOutOfBounds))
    }

    pub(crate) fn read(&self, address: u32, len: u32) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; len as usize];
        self.memory_read(MemoryIndex(0), u64::from(address), &mut bytes)
            .map_err(|_| Error::Trap(Trap::MemoryOutOfBounds))?;
        Ok(bytes)
    }

    pub(crate) fn write(&mut self, address: u32, bytes: &[u8]) -> Result<(), Error> {
        self.memory_write(MemoryIndex(0), u64::from(address), bytes)
            .map_err(|_| Error::Trap(Trap::MemoryOutOfBounds))
    }

    /// Adds to a counter and returns what it was before.
    pub(crate) fn count(&mut self, name: &'static str) -> i64 {
        let counter = self.counters.entry(name).or_default();
        *counter += 1;
        *counter - 1
    }

    /// Calls an import, as the guest does.
    pub(crate) fn host(
        &mut self,
        module: &str,
        name: &str,
        args: &[Val],
    ) -> Result<Vec<Val>, Error> {
        let function = self
            .hosts
            .get(&(module.to_owned(), name.to_owned()))
            .cloned()
            .expect("the script imports it");
        let types = function.ty().results().iter();
        let mut results: Vec<Val> = types.map(|ty| Val::zero(*ty)).collect();
        function.invoke(self, args, &mut results)?;
        Ok(results)
    }

    /// What a real instance would have in its memory too, in lines.
    fn describe(&self) -> String {
        let mut lines = Vec::new();
        lines.extend(
            self.objects
                .iter()
                .map(|(at, value)| format!("object {at} {value}")),
        );
        lines.extend(
            self.counters
                .iter()
                .map(|(name, value)| format!("counter {name} {value}")),
        );
        let freed = self.freed.iter();
        lines.extend(freed.map(|(len, blocks)| format!("freed {len} {blocks:?}")));
        lines.sort();
        lines.push(format!("heap {}", self.heap_end));
        lines.push(format!("tables {:?}", self.tables));
        lines.join("\n")
    }

    /// The state of a snapshot: the reverse of [`FakeInstance::describe`].
    fn take_over(&mut self, snapshot: &Snapshot) -> Result<(), Error> {
        let read = |index| {
            let image = snapshot.memory(MemoryIndex(index)).expect("both are there");
            let mut bytes = vec![0; usize::try_from(image.bytes()).expect("it is small")];
            image.read(0, &mut bytes).map(|()| bytes)
        };
        self.memory = read(0)?;
        let numbers = |text: &str| -> Vec<u64> {
            let numbers = text.trim_matches(['[', ']']).split(", ");
            numbers.filter_map(|number| number.parse().ok()).collect()
        };
        let small = |number: &str| number.parse().expect("a number");
        for line in String::from_utf8(read(1)?).expect("it is text").lines() {
            let (kind, rest) = line.split_once(' ').expect("a kind and more");
            let (key, value) = rest.split_once(' ').unwrap_or((rest, ""));
            match kind {
                "object" => drop(
                    self.objects
                        .insert(small(key), value.parse().expect("a number")),
                ),
                "counter" => {
                    let name: &'static str = Box::leak(key.to_owned().into_boxed_str());
                    self.counters.insert(name, value.parse().expect("a number"));
                }
                "freed" => {
                    let blocks = numbers(value).into_iter();
                    let blocks = blocks.map(|block| u32::try_from(block).expect("an address"));
                    self.freed.insert(small(key), blocks.collect());
                }
                "heap" => self.heap_end = key.parse().expect("a number"),
                _ => self.tables = numbers(rest),
            }
        }
        self.globals = snapshot
            .globals()
            .iter()
            .map(|(_, value)| value.clone())
            .collect();
        Ok(())
    }

    fn range(&self, memory: MemoryIndex, offset: u64, len: u64) -> Result<usize, Error> {
        let size = self.memory_size(memory)?;
        match offset.checked_add(len) {
            Some(end) if end <= size => Ok(usize::try_from(offset).expect("it is in the memory")),
            _ => Err(Error::OutOfBounds { offset, len, size }),
        }
    }
}

impl Drop for FakeInstance {
    fn drop(&mut self) {
        self.probe.dead();
    }
}

fn no_such(kind: &'static str, index: u32) -> Error {
    Error::NoSuchExport {
        kind,
        name: index.to_string(),
    }
}

impl Caller for FakeInstance {
    fn info(&self) -> &Arc<ModuleInfo> {
        &self.info
    }

    fn call(&mut self, func: FuncIndex, args: &[Val], results: &mut [Val]) -> Result<(), Error> {
        self.info.check_call(func, args, results)?;
        let behaviour = self.behaviours[func.0 as usize].clone();
        let given = self.outermost(|instance| match behaviour {
            Some(behaviour) => behaviour(instance, args),
            None => Err(Error::Trap(Trap::Unreachable)),
        })?;
        results.clone_from_slice(&given);
        self.info.check_call(func, args, results)
    }

    fn memory_size(&self, memory: MemoryIndex) -> Result<u64, Error> {
        if memory.0 == 0 && !self.info.memories().is_empty() {
            Ok(self.memory.len() as u64)
        } else {
            Err(no_such("memory", memory.0))
        }
    }

    fn memory_read(
        &self,
        memory: MemoryIndex,
        offset: u64,
        buffer: &mut [u8],
    ) -> Result<(), Error> {
        let from = self.range(memory, offset, buffer.len() as u64)?;
        buffer.copy_from_slice(&self.memory[from..from + buffer.len()]);
        Ok(())
    }

    fn memory_write(
        &mut self,
        memory: MemoryIndex,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), Error> {
        let from = self.range(memory, offset, bytes.len() as u64)?;
        self.memory[from..from + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn memory_grow(&mut self, memory: MemoryIndex, pages_delta: u64) -> Result<u64, Error> {
        let current = self.memory_size(memory)? / PAGE_BYTES;
        let pages = current.saturating_add(pages_delta);
        let bytes = pages.saturating_mul(PAGE_BYTES);
        let limit = self.limits.memory_bytes_max.unwrap_or(u64::MAX);
        if pages > self.pages_max || bytes > limit {
            return Err(Error::Growth {
                current,
                delta: pages_delta,
            });
        }
        let bytes = usize::try_from(bytes).expect("fake memories are small");
        self.memory.resize(bytes, 0);
        Ok(current)
    }

    fn global(&mut self, global: GlobalIndex) -> Result<Val, Error> {
        let value = self.globals.get(global.0 as usize).cloned();
        value.ok_or_else(|| no_such("global", global.0))
    }

    fn set_global(&mut self, global: GlobalIndex, value: &Val) -> Result<(), Error> {
        let slot = self
            .globals
            .get_mut(global.0 as usize)
            .ok_or_else(|| no_such("global", global.0))?;
        *slot = value.clone();
        Ok(())
    }

    fn table_size(&self, table: TableIndex) -> Result<u64, Error> {
        let size = self.tables.get(table.0 as usize).copied();
        size.ok_or_else(|| no_such("table", table.0))
    }

    fn table_grow(
        &mut self,
        table: TableIndex,
        elements_delta: u64,
        _: &Val,
    ) -> Result<u64, Error> {
        let size = self
            .tables
            .get_mut(table.0 as usize)
            .ok_or_else(|| no_such("table", table.0))?;
        *size += elements_delta;
        Ok(*size - elements_delta)
    }

    // Its tables have sizes and no elements.
    fn table_get(&mut self, table: TableIndex, element: u64) -> Result<Val, Error> {
        let size = self.table_size(table)?;
        if element < size {
            Ok(Val::FuncRef(None))
        } else {
            Err(Error::NoSuchElement { element, size })
        }
    }

    fn table_set(&mut self, table: TableIndex, element: u64, _: &Val) -> Result<(), Error> {
        self.table_get(table, element).map(drop)
    }
}

impl Instance for FakeInstance {
    fn call_numbers(
        &mut self,
        func: FuncIndex,
        ty: NumericType,
        slots: &mut [Slot],
    ) -> Result<(), Error> {
        self.info.check_numbers(func, ty, slots)?;
        let vals = ty.params().zip(&*slots);
        let args: Vec<Val> = vals.filter_map(|(ty, slot)| slot.to_val(ty)).collect();
        let mut results: Vec<Val> = ty.results().map(Val::zero).collect();
        self.call(func, &args, &mut results)?;
        for (slot, result) in slots.iter_mut().zip(&results) {
            *slot = Slot::of(result).expect("the type is one of numbers");
        }
        Ok(())
    }

    fn memory_meter(&self) -> Option<MemoryMeter> {
        None
    }

    fn memory_bytes(&self) -> u64 {
        self.memory.len() as u64
    }

    fn interrupter(&self) -> Result<Interrupter, Error> {
        match &self.interruption {
            Some(interruption) => Ok(Interrupter::new(Arc::clone(interruption) as _)),
            None => Err(unsupported(self.engine, "interruption")),
        }
    }

    fn fuel_left(&mut self) -> Option<u64> {
        None
    }

    fn as_caller(&mut self) -> &mut dyn Caller {
        self
    }

    fn capture(&mut self) -> Result<Snapshot, Error> {
        let memories = [&self.memory[..], self.describe().as_bytes()].map(MemoryImage::of_bytes);
        let memories = (0..).map(MemoryIndex).zip(memories).collect();
        let globals = (0..).map(GlobalIndex).zip(self.globals.iter().cloned());
        Ok(Snapshot::new(self.info.hash(), memories, globals.collect()))
    }

    fn discard_memories(&mut self) {
        self.memory.fill(0xdd);
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

/// Where a test holds guests, hooks and host functions.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct GateState {
    closed: bool,
    arrived: usize,
}

impl Gate {
    /// A gate that lets everybody through until it is closed.
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// A gate that holds everybody until it is opened.
    pub(crate) fn closed() -> Arc<Self> {
        let gate = Self::new();
        gate.close();
        gate
    }

    pub(crate) fn close(&self) {
        self.lock().closed = true;
    }

    pub(crate) fn open(&self) {
        self.lock().closed = false;
        self.changed.notify_all();
    }

    /// Waits until so many have come to the gate since it was made, held or not.
    pub(crate) fn wait_for(&self, arrived: usize) {
        let end = Instant::now() + HANG;
        let mut state = self.lock();
        while state.arrived < arrived {
            assert!(Instant::now() < end, "only {} came", state.arrived);
            state = self.wait(state);
        }
    }

    /// Passes as a guest, which can be interrupted while it waits.
    pub(crate) fn pass(&self, guest: &FakeInstance) -> Result<(), Error> {
        self.go_through(|| guest.check_time())
    }

    /// Passes as a host function, a hook or a listener, which cannot be interrupted.
    pub(crate) fn pass_host(&self) {
        self.go_through(|| Ok(())).expect("nothing ends it");
    }

    fn go_through(&self, check: impl Fn() -> Result<(), Error>) -> Result<(), Error> {
        let end = Instant::now() + HANG;
        let mut state = self.lock();
        state.arrived += 1;
        self.changed.notify_all();
        while state.closed {
            check()?;
            assert!(Instant::now() < end, "nobody opened the gate");
            state = self.wait(state);
        }
        Ok(())
    }

    fn wait<'a>(&self, state: MutexGuard<'a, GateState>) -> MutexGuard<'a, GateState> {
        // An interrupter does not notify, so its flag is looked at every few milliseconds.
        let waited = self.changed.wait_timeout(state, Duration::from_millis(2));
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn lock(&self) -> MutexGuard<'_, GateState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
