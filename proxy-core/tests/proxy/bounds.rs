//! What a proxy may take is bounded: memory in all, and what waits for the store of its journal.

use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use engine_api::{
    Capabilities, Engine, EngineId, MemoryType, Module, PAGE_BYTES, Precompiled, SharedMemory,
};
use proxy_core::{
    CheckpointRef, Durability, Epoch, Error, Flush, Head, Identity, JournalId, JournalQueue,
    JournalStore, MemoryJournal, Position, Proxy, StoreError, StoredRecord, args,
};

use super::world::{World, add, counter, swap, until, value};
use crate::fake::FakeEngine;

/// `note(counter, text)`: journaled, adds 1.
fn noting(world: World) -> World {
    world.func(
        "note",
        "(param i32 i32 i32)",
        "role = \"mutate\"\nargs = [\"handle:counter\", \"string\"]\nmutates = [0]",
        |guest, args| {
            *guest.object(&args[0])? += 1;
            Ok(vec![])
        },
    )
}

#[test]
fn a_standby_that_would_exceed_the_total_is_not_made() {
    let world = World::new().holding().pages(50);
    let engine = world.script.engine();
    let limit = 60 * PAGE_BYTES;
    let proxy = world.builder(&engine).total_memory(limit).build().unwrap();
    let one = counter(&proxy);
    proxy.call("hold", args![40]).unwrap();
    let info = proxy.debug_info();
    assert_eq!(info.total_memory_limit, Some(limit));
    assert_eq!(info.total_memory, info.memory + info.journal_bytes);
    for _ in 0..2 {
        let error = proxy.prepare_standby().unwrap_err();
        assert!(matches!(error, Error::TotalMemory { .. }), "{error}");
        assert!(error.to_string().contains("Builder::total_memory"));
        assert_eq!(engine.probe().live(), 1);
    }
    add(&proxy, one, 3);
    assert_eq!(value(&proxy, one), 3);
    assert!(proxy.debug_info().to_string().contains("in total: 2."));
}

#[test]
fn beyond_the_total_pure_calls_go_on_and_objects_can_be_freed() {
    let world = noting(World::new().holding().pages(60));
    let engine = world.script.engine();
    let limit = 70 * PAGE_BYTES;
    let proxy = world.builder(&engine).total_memory(limit).build().unwrap();
    proxy.call("hold", args![25]).unwrap();
    let one = counter(&proxy);
    let page = "x".repeat(64 << 10);
    let note = || proxy.call("note", args![one, page.as_str()]);
    let taken = (0..100).take_while(|_| note().is_ok()).count();
    assert!((5..=50).contains(&taken), "{taken} pages of text");
    for _ in 0..3 {
        let error = note().unwrap_err();
        assert!(matches!(error, Error::TotalMemory { .. }), "{error}");
        let notes = i32::try_from(taken).unwrap();
        assert_eq!(value(&proxy, one), notes, "refused calls do not run");
    }
    assert!(proxy.debug_info().total_memory > limit);
    proxy.call("counter_free", args![one]).unwrap();
    // With its entries gone there is room for a standby and for calls.
    swap(&proxy);
    let two = counter(&proxy);
    add(&proxy, two, 1);
    assert_eq!(value(&proxy, two), 1);
    assert_eq!(proxy.debug_info().emergencies, 0);
}

#[test]
fn a_total_below_the_limit_of_one_generation_is_refused() {
    let world = World::new().pages(100);
    let builder = world.builder(&world.script.engine());
    let error = builder.total_memory(99 * PAGE_BYTES).build().unwrap_err();
    assert!(matches!(error, Error::Setting { .. }), "{error}");
    assert!(error.to_string().contains("memory_bytes_max"), "{error}");
}

#[test]
fn an_emergency_is_not_refused_for_the_total() {
    let world =
        World::new()
            .holding()
            .pages(60)
            .func("crash_once", "", "role = \"pure\"", |guest, _| {
                if guest.number == 1 {
                    return Err(engine_api::Error::Trap(engine_api::Trap::Unreachable));
                }
                Ok(vec![])
            });
    let engine = world.script.engine();
    let limit = 60 * PAGE_BYTES;
    let proxy = world.builder(&engine).total_memory(limit).build().unwrap();
    proxy.call("hold", args![50]).unwrap();
    proxy.call("crash_once", args![]).unwrap();
    assert_eq!(proxy.debug_info().emergencies, 1);
}

/// A store whose appends wait while it is held.
#[derive(Debug)]
struct Slow {
    inner: MemoryJournal,
    is_held: Mutex<bool>,
    changed: Condvar,
}

impl Slow {
    fn of(world: &World) -> Arc<Self> {
        let identity = Identity::of(&world.script.wasm(), &world.policy.parse().unwrap());
        Arc::new(Self {
            inner: MemoryJournal::new(identity.unwrap()),
            is_held: Mutex::new(false),
            changed: Condvar::new(),
        })
    }

    fn hold(&self, is_held: bool) {
        *self.is_held.lock().unwrap() = is_held;
        self.changed.notify_all();
    }
}

/// Lets the store go when a test ends, however it ends: its callers would wait for ever.
struct LetGo<'a>(&'a Slow);

impl Drop for LetGo<'_> {
    fn drop(&mut self) {
        self.0.hold(false);
    }
}

impl JournalStore for Slow {
    fn id(&self) -> JournalId {
        self.inner.id()
    }

    fn identity(&self) -> &Identity {
        self.inner.identity()
    }

    fn head(&self) -> Result<Head, StoreError> {
        self.inner.head()
    }

    fn append(
        &self,
        epoch: Epoch,
        after: Position,
        records: &[&[u8]],
        flush: Flush,
    ) -> Result<Head, StoreError> {
        let held = self.is_held.lock().unwrap();
        drop(self.changed.wait_while(held, |is_held| *is_held).unwrap());
        self.inner.append(epoch, after, records, flush)
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.inner.flush()
    }

    fn read_after(
        &self,
        position: Position,
        bytes_max: usize,
    ) -> Result<Vec<StoredRecord>, StoreError> {
        self.inner.read_after(position, bytes_max)
    }

    fn hash_at(&self, position: Position) -> Result<[u8; 32], StoreError> {
        self.inner.hash_at(position)
    }

    fn checkpoints(&self) -> Result<Vec<CheckpointRef>, StoreError> {
        self.inner.checkpoints()
    }

    fn truncate(&self, epoch: Epoch, checkpoints: &[CheckpointRef]) -> Result<Head, StoreError> {
        self.inner.truncate(epoch, checkpoints)
    }

    fn checkpoint_folder(&self) -> Option<std::path::PathBuf> {
        self.inner.checkpoint_folder()
    }

    fn bytes(&self) -> Result<u64, StoreError> {
        self.inner.bytes()
    }
}

fn queued(world: &World, store: &Arc<Slow>, mode: Durability, queue: JournalQueue) -> Proxy {
    let builder = world.builder(&world.script.engine());
    let store: Arc<dyn JournalStore> = store.clone();
    let builder = builder.journal(store, mode).journal_queue(queue);
    builder.build().unwrap()
}

#[test]
fn one_journaled_call_too_many_is_refused_and_pure_ones_are_not() {
    let world = World::new();
    let store = Slow::of(&world);
    let queue = JournalQueue {
        callers_max: 2,
        ..JournalQueue::default()
    };
    let proxy = queued(&world, &store, Durability::Durable, queue);
    let one = counter(&proxy);
    thread::scope(|scope| {
        let _let_go = LetGo(&store);
        store.hold(true);
        let callers: Vec<_> = (0..2)
            .map(|_| scope.spawn(|| proxy.call("counter_add", args![one, 1])))
            .collect();
        until("two calls wait", || proxy.debug_info().journal_callers == 2);
        let error = proxy.call("counter_add", args![one, 100]).unwrap_err();
        assert!(
            matches!(error, Error::JournalBusy { callers_max: 2 }),
            "{error}"
        );
        proxy.call("counter_value", args![one]).unwrap();
        store.hold(false);
        for caller in callers {
            caller.join().unwrap().unwrap();
        }
    });
    add(&proxy, one, 1);
    assert_eq!(value(&proxy, one), 3);
    assert_eq!(proxy.debug_info().journal_callers, 0);
    assert_eq!(proxy.debug_info().journal_backlog, 0);
}

#[test]
fn calls_wait_before_they_run_while_the_backlog_is_full() {
    for mode in [
        Durability::Durable,
        Durability::Relaxed {
            every: Duration::ZERO,
        },
    ] {
        let world = World::new();
        let store = Slow::of(&world);
        let queue = JournalQueue {
            backlog_bytes_max: 1,
            ..JournalQueue::default()
        };
        let proxy = queued(&world, &store, mode, queue);
        let one = counter(&proxy);
        until("the first record is flushed", || {
            proxy.debug_info().journal_backlog == 0
        });
        thread::scope(|scope| {
            let _let_go = LetGo(&store);
            store.hold(true);
            let first = scope.spawn(|| proxy.call("counter_add", args![one, 1]));
            until("the first call has run", || {
                proxy.debug_info().journal_backlog > 0
            });
            let later: Vec<_> = (0..3)
                .map(|_| scope.spawn(|| proxy.call("counter_add", args![one, 1])))
                .collect();
            until("all are admitted or wait to be", || {
                proxy.debug_info().journal_callers == 4
            });
            assert_eq!(value(&proxy, one), 1, "none of the later ones has run");
            store.hold(false);
            for caller in later.into_iter().chain([first]) {
                caller.join().unwrap().unwrap();
            }
        });
        assert_eq!(value(&proxy, one), 4);
    }
}

#[test]
fn a_stopped_store_refuses_those_that_wait_for_room() {
    let world = World::new();
    let store = Slow::of(&world);
    let queue = JournalQueue {
        backlog_bytes_max: 1,
        ..JournalQueue::default()
    };
    let proxy = queued(&world, &store, Durability::Durable, queue);
    let one = counter(&proxy);
    thread::scope(|scope| {
        let _let_go = LetGo(&store);
        store.hold(true);
        let first = scope.spawn(|| proxy.call("counter_add", args![one, 1]));
        until("the first call has run", || {
            proxy.debug_info().journal_backlog > 0
        });
        let second = scope.spawn(|| proxy.call("counter_add", args![one, 1]));
        until("the second one waits", || {
            proxy.debug_info().journal_callers == 2
        });
        store.inner.inject(proxy_core::Fault::Flush);
        store.hold(false);
        let error = first.join().unwrap().unwrap_err();
        assert!(matches!(error, Error::NotDurable { .. }), "{error}");
        let error = second.join().unwrap().unwrap_err();
        assert!(matches!(error, Error::JournalStopped { .. }), "{error}");
    });
    assert_eq!(value(&proxy, one), 0);
}

#[test]
fn a_call_whose_record_is_too_large_is_undone() {
    let world = noting(World::new());
    let store = Slow::of(&world);
    let queue = JournalQueue {
        record_bytes_max: 1_000,
        ..JournalQueue::default()
    };
    let proxy = queued(&world, &store, Durability::Durable, queue);
    let one = counter(&proxy);
    proxy.call("note", args![one, "short"]).unwrap();
    let long = "x".repeat(1_000);
    let error = proxy.call("note", args![one, long.as_str()]).unwrap_err();
    let is_too_large = matches!(
        &error,
        Error::JournalStore(source) if matches!(**source, StoreError::TooLarge { bytes_max: 1_000, .. })
    );
    assert!(is_too_large, "{error}");
    assert_eq!(value(&proxy, one), 1, "what it did is undone");
    proxy.call("note", args![one, "short"]).unwrap();
    assert_eq!(value(&proxy, one), 2);
}

/// An engine whose compiler waits until it is told to go on.
#[derive(Debug)]
struct Stuck {
    inner: FakeEngine,
    go_on: Mutex<Receiver<()>>,
}

impl Engine for Stuck {
    fn id(&self) -> EngineId {
        self.inner.id()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn fingerprint(&self) -> String {
        self.inner.fingerprint()
    }

    fn compile(&self, wasm: &[u8]) -> Result<Arc<dyn Module>, engine_api::Error> {
        let _ = self.go_on.lock().unwrap().recv();
        self.inner.compile(wasm)
    }

    fn load(
        &self,
        wasm: &[u8],
        precompiled: &Precompiled,
    ) -> Result<Arc<dyn Module>, engine_api::Error> {
        self.inner.load(wasm, precompiled)
    }

    fn shared_memory(&self, ty: MemoryType) -> Result<SharedMemory, engine_api::Error> {
        self.inner.shared_memory(ty)
    }
}

#[test]
fn a_compiler_that_takes_too_long_is_left_behind() {
    let world = World::new();
    let (go_on, waits) = channel();
    let stuck: Arc<dyn Engine> = Arc::new(Stuck {
        inner: world.script.engine(),
        go_on: Mutex::new(waits),
    });
    let short = Duration::from_millis(20);
    let builder = Proxy::builder(Arc::clone(&stuck)).module(world.script.wasm());
    let error = builder.compile_timeout(short).build().unwrap_err();
    assert!(matches!(error, Error::CompileTimeout { .. }), "{error}");
    // A proxy that moves to it stays where it is.
    let builder = world.builder(&world.script.engine());
    let proxy = builder.compile_timeout(short).build().unwrap();
    let one = counter(&proxy);
    let error = proxy.prepare_standby_on(stuck).unwrap_err();
    assert!(matches!(error, Error::CompileTimeout { .. }), "{error}");
    add(&proxy, one, 1);
    assert_eq!(value(&proxy, one), 1);
    drop(go_on);
}
