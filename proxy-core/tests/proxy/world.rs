//! The start of most tests: a module with counters, its policy, and a listener.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use engine_api::{Error as EngineError, Extern, Imports, Limits, PAGE_BYTES, Trap, Val};
use proxy_core::{Builder, CheckpointPolicy, Event, Handle, History, Proxy, args};

use crate::fake::{COUNTER_POLICY, FakeEngine, FakeInstance, Gate, Script, number};

/// How long a slow machine may take for something that should take microseconds.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// A scripted module with its policy.
pub(crate) struct World {
    pub(crate) script: Script,
    pub(crate) policy: String,
    pub(crate) imports: Imports,
    pub(crate) limits: Limits,
    pub(crate) events: Events,
}

impl World {
    /// Counters, and nothing else.
    pub(crate) fn new() -> Self {
        Self {
            script: Script::counter(),
            policy: COUNTER_POLICY.to_owned(),
            imports: Imports::new(),
            limits: Limits::default(),
            events: Events::default(),
        }
    }

    /// Adds an export. `entry` is the rest of its entry in the policy; an empty one leaves it
    /// unlisted.
    pub(crate) fn func(
        mut self,
        name: &str,
        ty: &str,
        entry: &str,
        behaviour: impl Fn(&mut FakeInstance, &[Val]) -> Result<Vec<Val>, EngineError>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        self.script = self.script.func(name, ty, behaviour);
        if !entry.is_empty() {
            // It goes first, because the first entry that matches decides.
            self.policy = format!("[[export]]\nmatch = \"{name}\"\n{entry}\n{}", self.policy);
        }
        self
    }

    pub(crate) fn script(mut self, change: impl FnOnce(Script) -> Script) -> Self {
        self.script = change(self.script);
        self
    }

    pub(crate) fn policy(mut self, more: &str) -> Self {
        self.policy.push_str(more);
        self
    }

    /// Limits the memory to this many pages.
    pub(crate) fn pages(mut self, pages: u64) -> Self {
        self.limits.memory_bytes_max = Some(pages * PAGE_BYTES);
        self
    }

    /// Adds an import that the host serves.
    pub(crate) fn import(
        mut self,
        name: &str,
        ty: (&str, engine_api::FuncType),
        host: impl Fn(&mut dyn engine_api::Caller, &[Val], &mut [Val]) -> Result<(), EngineError>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        self.script = self.script.import("env", name, ty.0);
        self.imports.func("env", name, ty.1, host);
        self
    }

    /// Says that an import has no effect outside.
    pub(crate) fn effect_none(self, name: &str) -> Self {
        let entry = format!("\n[[import]]\nmatch = \"env.{name}\"\neffect = \"none\"\n");
        self.policy(&entry)
    }

    /// Has the host function itself say that it may run twice.
    pub(crate) fn repeatable(mut self, name: &str) -> Self {
        let Some(Extern::Func(function)) = self.imports.get("env", name).cloned() else {
            panic!("no host function `{name}`");
        };
        let function = Extern::Func(function.repeatable());
        self.imports.define("env", name, function);
        self
    }

    /// `leak(pages)`: pure, grows the memory, and traps if it cannot.
    pub(crate) fn leaking(self) -> Self {
        self.func("leak", "(param i32)", "role = \"pure\"", leak)
    }

    /// `hold(pages)`: creates an object that takes this many pages. `hold_free` frees the object,
    /// but the memory stays as large.
    pub(crate) fn holding(self) -> Self {
        self.func(
            "hold",
            "(param i32) (result i32)",
            "role = \"create\"\nresults = [\"handle:hold\"]",
            |guest, args| {
                leak(guest, args)?;
                Ok(vec![Val::from(guest.alloc(8)?)])
            },
        )
        .func(
            "hold_free",
            "(param i32)",
            "role = \"free\"\nargs = [\"handle:hold\"]",
            |_, _| Ok(vec![]),
        )
    }

    /// `block()`: pure, waits at the gate, returns the number of its instance.
    pub(crate) fn blocking(self, gate: &Arc<Gate>) -> Self {
        let gate = Arc::clone(gate);
        self.func(
            "block",
            "(result i32)",
            "role = \"pure\"",
            move |guest, _| {
                gate.pass(guest)?;
                Ok(vec![Val::from(instance_number(guest))])
            },
        )
    }

    /// `block_add(counter, n)`: journaled, waits at the gate.
    pub(crate) fn blocking_journaled(self, gate: &Arc<Gate>) -> Self {
        let gate = Arc::clone(gate);
        self.func(
            "block_add",
            "(param i32 i32)",
            "role = \"mutate\"\nargs = [\"handle:counter\", \"value\"]\nmutates = [0]",
            move |guest, args| {
                gate.pass(guest)?;
                *guest.object(&args[0])? += i64::from(number(&args[1]));
                Ok(vec![])
            },
        )
    }

    /// `boom()`: pure, traps on instances for which `dies` is true, and returns the instance's
    /// number on others.
    pub(crate) fn booming(self, dies: impl Fn(u64) -> bool + Send + Sync + 'static) -> Self {
        self.func(
            "boom",
            "(result i32)",
            "role = \"pure\"",
            move |guest, _| {
                if dies(guest.number) {
                    return Err(EngineError::Trap(Trap::IntegerDivisionByZero));
                }
                Ok(vec![Val::from(instance_number(guest))])
            },
        )
    }

    /// `chain_step(arg)`: hashes `arg` into the module's state, and returns the new hash and the
    /// number of steps before it. One call lost, doubled or out of order changes all later hashes.
    pub(crate) fn chain(self, leaked_bytes: u32) -> Self {
        self.func(
            "chain_step",
            "(param i64) (result i64 i64)",
            "role = \"mutate\"",
            move |guest, args| {
                guest.alloc(leaked_bytes)?;
                let arg = args[0].i64().expect("it takes an i64");
                let chain = guest.counters.entry("chain").or_default();
                *chain = hash(*chain, arg);
                let chain = *chain;
                let index = guest.count("steps");
                Ok(vec![Val::from(chain), Val::from(index)])
            },
        )
    }

    pub(crate) fn builder(&self, engine: &FakeEngine) -> Builder {
        let events = self.events.clone();
        Proxy::builder(engine.clone())
            .module(self.script.wasm())
            .policy(self.policy.parse().expect("the policy is well-formed"))
            .imports(self.imports.clone())
            .limits(self.limits.clone())
            .checkpoints(if self.script.has_snapshots() {
                CheckpointPolicy::default()
            } else {
                CheckpointPolicy::off()
            })
            .on_event(move |event| events.push(event))
    }

    /// Lets instances be captured and restored.
    pub(crate) fn checkpointed(self) -> Self {
        self.script(Script::snapshots)
    }

    /// A proxy with the checkpoints of [`EAGER`], and its engine.
    pub(crate) fn build_eager(&self) -> (Proxy, FakeEngine) {
        let engine = self.script.engine();
        let builder = self.builder(&engine).checkpoints(EAGER);
        (builder.build().expect("the world is sound"), engine)
    }

    /// A proxy with the defaults, and its engine. Events of the building are cleared.
    pub(crate) fn build(&self) -> (Proxy, FakeEngine) {
        let engine = self.script.engine();
        let proxy = self.builder(&engine).build().expect("the world is sound");
        self.events.clear();
        (proxy, engine)
    }
}

/// A checkpoint for every tail, and a comparison after every use.
pub(crate) const EAGER: CheckpointPolicy = CheckpointPolicy {
    enabled: true,
    tail_replay_max: Duration::ZERO,
    verify_every: 1,
    history: History::Full,
};

/// One step of the chain.
pub(crate) fn hash(chain: i64, arg: i64) -> i64 {
    (chain ^ arg)
        .wrapping_mul(-0x61c8_8646_80b5_83eb)
        .rotate_left(31)
}

fn leak(guest: &mut FakeInstance, args: &[Val]) -> Result<Vec<Val>, EngineError> {
    let pages = u64::from(number(&args[0]).cast_unsigned());
    let grown = engine_api::Caller::memory_grow(guest, engine_api::MemoryIndex(0), pages);
    grown.map_err(|_| EngineError::Trap(Trap::Unreachable))?;
    Ok(vec![])
}

pub(crate) fn instance_number(guest: &FakeInstance) -> i32 {
    i32::try_from(guest.number).expect("tests make few instances")
}

/// The events that the proxy has sent.
#[derive(Clone, Default)]
pub(crate) struct Events(Arc<Mutex<Vec<Event>>>);

impl Events {
    pub(crate) fn push(&self, event: &Event) {
        self.lock().push(event.clone());
    }

    pub(crate) fn all(&self) -> Vec<Event> {
        self.lock().clone()
    }

    /// Their names, without the memory checks that every tick makes.
    pub(crate) fn names(&self) -> Vec<&'static str> {
        let events = self.lock();
        let names = events.iter().map(Event::name);
        names.filter(|name| *name != "memory-check").collect()
    }

    pub(crate) fn count(&self, name: &str) -> usize {
        self.lock()
            .iter()
            .filter(|event| event.name() == name)
            .count()
    }

    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Event>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) fn counter(proxy: &Proxy) -> Handle {
    let made = proxy.call("counter_new", args![]);
    made.and_then(|made| Ok(made.handle()?))
        .expect("a counter can be made")
}

pub(crate) fn add(proxy: &Proxy, counter: Handle, n: i32) {
    proxy
        .call("counter_add", args![counter, n])
        .expect("a counter can be added to");
}

pub(crate) fn value(proxy: &Proxy, counter: Handle) -> i32 {
    let value = proxy.call("counter_value", args![counter]);
    value
        .and_then(|value| Ok(value.i32()?))
        .expect("a counter has a value")
}

pub(crate) fn leak_pages(proxy: &Proxy, pages: u32) {
    for _ in 0..pages {
        proxy.call("leak", args![1]).expect("a page can be leaked");
    }
}

pub(crate) fn swap(proxy: &Proxy) {
    proxy.prepare_standby().expect("a standby can be made");
    proxy.swap().expect("the standby can be swapped in");
}

/// Tells threads to stop when it is dropped. A panic of the thread that has it must end the others
/// too: a scope waits for its threads, and the test would hang in place of failing.
pub(crate) struct Stop<'a>(pub(crate) &'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Waits until `so` is true, which another thread sees to.
#[track_caller]
pub(crate) fn until(what: &str, so: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !so() {
        assert!(Instant::now() < end, "never happened: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Waits until only `live` instances are alive, and ticks, which frees the others.
#[track_caller]
pub(crate) fn until_live(proxy: &Proxy, engine: &FakeEngine, live: usize) {
    until("the old generation is freed", || {
        proxy.tick(Instant::now());
        engine.probe().live() == live
    });
}

/// Runs something on a thread of its own. If it takes longer than `limit`, the test fails instead
/// of hanging.
#[track_caller]
pub(crate) fn within<T: Send + 'static>(
    what: &str,
    limit: Duration,
    run: impl FnOnce() -> T + Send + 'static,
) -> T {
    let (sender, receiver) = std::sync::mpsc::channel();
    thread::spawn(move || sender.send(run()));
    receiver
        .recv_timeout(limit)
        .unwrap_or_else(|error| panic!("{what}: {error}"))
}
