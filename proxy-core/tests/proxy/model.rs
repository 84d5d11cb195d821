//! Random histories against a model: objects are created, changed and freed between swaps and
//! deaths, and every handle names the object that the model says. With a journal in a store, the
//! power is lost and the disk is full now and then, and calls have ids.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use engine_api::{Error as EngineError, Trap, Val};
use proptest::prelude::*;
use proxy_core::{
    Builder, CallError, CheckpointPolicy, Durability, Error, Fault, Handle, History, HistoryBound,
    Identity, JournalStore, MemoryJournal, Policy, Proxy, SequenceNumber, args,
};

use super::world::{EAGER, World, until};
use crate::fake::{FakeEngine, address, number};

#[derive(Clone, Debug)]
enum Op {
    New,
    Sum(usize, usize),
    Move(usize, usize),
    Add(usize, i32),
    AddAndDie(usize, i32),
    Free(usize),
    Value(usize),
    Stale(usize),
    Boom,
    Leak(u32),
    Prepare,
    Swap,
    Tick,
    Pinned(usize),
    Switch,
    Checkpoint,
    Compact,
    LosePower,
    FillDisk,
    MendDisk,
    Keep,
    WithId(u8, usize, i32),
}

/// What may happen to a proxy whose journal is in a store.
fn durable_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        60 => op(),
        2 => Just(Op::LosePower),
        1 => Just(Op::FillDisk),
        2 => Just(Op::MendDisk),
        2 => Just(Op::Keep),
        6 => (0..6_u8, 0..32_usize, -50..50).prop_map(|(id, at, n)| Op::WithId(id, at, n)),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let at = || 0..32_usize;
    prop_oneof![
        5 => Just(Op::New),
        3 => (at(), at()).prop_map(|(a, b)| Op::Sum(a, b)),
        2 => (at(), at()).prop_map(|(a, b)| Op::Move(a, b)),
        6 => (at(), -50..50).prop_map(|(a, n)| Op::Add(a, n)),
        1 => (at(), -50..50).prop_map(|(a, n)| Op::AddAndDie(a, n)),
        4 => at().prop_map(Op::Free),
        4 => at().prop_map(Op::Value),
        1 => at().prop_map(Op::Stale),
        1 => Just(Op::Boom),
        2 => (0..6_u32).prop_map(Op::Leak),
        3 => Just(Op::Prepare),
        3 => Just(Op::Swap),
        2 => Just(Op::Tick),
        1 => at().prop_map(Op::Pinned),
        1 => Just(Op::Switch),
        1 => Just(Op::Checkpoint),
        1 => Just(Op::Compact),
    ]
}

/// Switches that make the next call of an export trap.
#[derive(Default)]
struct Mines {
    journaled: Arc<AtomicBool>,
    pure: Arc<AtomicBool>,
}

/// `boom` and `add_and_die` trap once each time they are armed.
fn world(mines: &Mines) -> World {
    let (armed, bomb) = (Arc::clone(&mines.journaled), Arc::clone(&mines.pure));
    World::new()
        .leaking()
        .pages(24)
        .booming(move |_| bomb.swap(false, Ordering::SeqCst))
        .func(
            "counter_sum",
            "(param i32 i32) (result i32)",
            "role = \"create\"\nargs = [\"handle:counter\", \"handle:counter\"]\n\
             results = [\"handle:counter\"]",
            |guest, args| {
                let sum = *guest.object(&args[0])? + *guest.object(&args[1])?;
                let address = guest.alloc(16)?;
                guest.objects.insert(address, sum);
                Ok(vec![Val::from(address)])
            },
        )
        .func(
            "counter_move",
            "(param i32 i32)",
            "role = \"mutate\"\nargs = [\"handle:counter\", \"handle:counter\"]\n\
             mutates = [0]\nconsumes = [1]",
            |guest, args| {
                let moved = *guest.object(&args[1])?;
                guest.objects.remove(&address(&args[1]));
                *guest.object(&args[0])? += moved;
                guest.free(address(&args[1]), 16);
                Ok(vec![])
            },
        )
        .func(
            "add_and_die",
            "(param i32 i32)",
            "role = \"mutate\"\nargs = [\"handle:counter\", \"value\"]\nmutates = [0]",
            move |guest, args| {
                *guest.object(&args[0])? += i64::from(number(&args[1]));
                if armed.swap(false, Ordering::SeqCst) {
                    return Err(EngineError::Trap(Trap::StackOverflow));
                }
                Ok(vec![])
            },
        )
}

/// A proxy of the world: without checkpoints, with them, with one for every tail, or with such that
/// take the place of entries, again and again.
fn builder(world: &World, engine: &FakeEngine, checkpoints: u8) -> Builder {
    let builder = world.builder(engine);
    match checkpoints {
        0 | 1 => builder,
        2 => builder.checkpoints(EAGER),
        _ => {
            let checkpoints = CheckpointPolicy {
                history: History::Checkpoint,
                ..EAGER
            };
            let bound = HistoryBound {
                entries: 8,
                bytes: u64::MAX,
            };
            builder.checkpoints(checkpoints).history_bound(bound)
        }
    }
}

fn model_world(mines: &Mines, checkpoints: u8) -> World {
    let world = world(mines);
    if checkpoints == 0 {
        world
    } else {
        world.checkpointed()
    }
}

/// The store of a journal, and what the next process needs to open it.
struct Durable {
    store: MemoryJournal,
    world: World,
    checkpoints: u8,
    /// The calls that had an id and were acknowledged: the object and the number that was added.
    answered: BTreeMap<u8, ((SequenceNumber, u32), i32)>,
    _folder: tempfile::TempDir,
}

impl Durable {
    fn new(world: World, checkpoints: u8) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let policy: Policy = world.policy.parse().unwrap();
        let identity = Identity::of(&world.script.wasm(), &policy).unwrap();
        Self {
            store: MemoryJournal::new(identity).with_checkpoint_folder(folder.path()),
            world,
            checkpoints,
            answered: BTreeMap::new(),
            _folder: folder,
        }
    }

    fn open(&self) -> (Proxy, FakeEngine) {
        let engine = self.world.script.engine();
        let store: Arc<dyn JournalStore> = Arc::new(self.store.clone());
        let builder = builder(&self.world, &engine, self.checkpoints);
        let opened = builder.journal(store, Durability::Durable).build();
        (opened.unwrap(), engine)
    }
}

struct Run {
    mines: Mines,
    proxy: Proxy,
    engine: FakeEngine,
    alive: Vec<(Handle, i32)>,
    dead: Vec<Handle>,
    durable: Option<Durable>,
}

impl Run {
    fn new(mines: Mines, (proxy, engine): (Proxy, FakeEngine), durable: Option<Durable>) -> Self {
        Self {
            mines,
            proxy,
            engine,
            alive: Vec::new(),
            dead: Vec::new(),
            durable,
        }
    }

    fn pick(&self, at: usize) -> Option<usize> {
        (!self.alive.is_empty()).then(|| at % self.alive.len())
    }

    /// Does one thing to the proxy and to the model.
    fn step(&mut self, op: &Op) -> Result<(), Error> {
        let proxy = self.proxy.clone();
        match *op {
            Op::New => {
                let made = proxy.call("counter_new", args![])?.handle()?;
                self.alive.push((made, 0));
            }
            Op::Sum(a, b) => {
                let (Some(a), Some(b)) = (self.pick(a), self.pick(b)) else {
                    return Ok(());
                };
                let ((a, one), (b, other)) = (self.alive[a], self.alive[b]);
                let made = proxy.call("counter_sum", args![a, b])?.handle()?;
                self.alive.push((made, one + other));
            }
            Op::Move(into, from) => {
                let (Some(into), Some(from)) = (self.pick(into), self.pick(from)) else {
                    return Ok(());
                };
                if into == from {
                    return Ok(());
                }
                let (gone, moved) = self.alive[from];
                proxy.call("counter_move", args![self.alive[into].0, gone])?;
                self.alive[into].1 += moved;
                self.alive.swap_remove(from);
                self.dead.push(gone);
            }
            Op::Add(at, n) | Op::AddAndDie(at, n) => {
                let Some(at) = self.pick(at) else {
                    return Ok(());
                };
                let dies = matches!(op, Op::AddAndDie(..));
                let export = if dies { "add_and_die" } else { "counter_add" };
                // If a recovery came first, its replay would step on the mine.
                let is_next = proxy.debug_info().tainted.is_none();
                self.mines
                    .journaled
                    .store(dies && is_next, Ordering::SeqCst);
                let outcome = proxy.call(export, args![self.alive[at].0, n]);
                // It may have been refused before it ran.
                self.mines.journaled.store(false, Ordering::SeqCst);
                outcome?;
                self.alive[at].1 += n;
            }
            Op::Free(at) => {
                let Some(at) = self.pick(at) else {
                    return Ok(());
                };
                proxy.call("counter_free", args![self.alive[at].0])?;
                self.dead.push(self.alive.swap_remove(at).0);
            }
            Op::Value(at) => {
                let Some(at) = self.pick(at) else {
                    return Ok(());
                };
                let (handle, expected) = self.alive[at];
                assert_eq!(proxy.call("counter_value", args![handle])?.i32()?, expected);
            }
            Op::Stale(at) => {
                if let Some(handle) = self.dead.get(at % self.dead.len().max(1)) {
                    let error = proxy.call("counter_value", args![*handle]).unwrap_err();
                    assert!(
                        matches!(
                            error,
                            Error::Call(CallError::FreedHandle { .. })
                                | Error::DiedInPassthrough { .. }
                        ),
                        "{error}"
                    );
                }
            }
            Op::Boom => {
                self.mines.pure.store(true, Ordering::SeqCst);
                let outcome = proxy.call("boom", args![]);
                self.mines.pure.store(false, Ordering::SeqCst);
                outcome?;
            }
            Op::Leak(pages) => drop(proxy.call("leak", args![pages])?),
            Op::Prepare => drop(proxy.prepare_standby()?),
            Op::Swap => drop(proxy.swap()?),
            Op::Tick => proxy.tick(std::time::Instant::now()),
            Op::Pinned(at) => {
                let Some(at) = self.pick(at) else {
                    return Ok(());
                };
                let (handle, expected) = self.alive[at];
                let seen = proxy.pinned(|pinned| {
                    let pointer = pinned.call("snapshot", args![handle])?.pointer()?;
                    Ok::<_, Error>(pinned.call("snapshot_value", args![pointer])?.i32()?)
                })?;
                assert_eq!(seen, expected);
            }
            Op::Checkpoint => drop(proxy.checkpoint()?),
            Op::Compact => drop(proxy.compact()?),
            Op::Switch => proxy.set_enabled(!proxy.is_enabled()),
            Op::LosePower | Op::FillDisk | Op::MendDisk | Op::Keep | Op::WithId(..) => {
                drop(proxy);
                self.step_durable(op)?;
            }
        }
        Ok(())
    }

    /// Does one thing to the store and to the model.
    fn step_durable(&mut self, op: &Op) -> Result<(), Error> {
        let Some(durable) = &mut self.durable else {
            return Ok(());
        };
        match *op {
            Op::LosePower => {
                durable.store = durable.store.lose_power();
                self.reopen();
            }
            Op::FillDisk => durable.store.inject(Fault::Full),
            Op::MendDisk => self.mend(),
            Op::Keep => drop(self.proxy.checkpoint_durably()?),
            Op::WithId(id, at, n) => self.call_with_id(id, at, n)?,
            _ => {}
        }
        Ok(())
    }

    /// Another process opens the journal.
    fn reopen(&mut self) {
        let Some(durable) = &self.durable else {
            return;
        };
        let (proxy, engine) = durable.open();
        let again = |handle: Handle| proxy.object(handle.sequence(), handle.result());
        for (handle, _) in &mut self.alive {
            *handle = again(*handle).expect("it was acknowledged");
        }
        for handle in self.dead.drain(..) {
            assert!(again(handle).is_none(), "{handle} was freed");
        }
        (self.proxy, self.engine) = (proxy, engine);
    }

    fn mend(&mut self) {
        let Some(durable) = &self.durable else {
            return;
        };
        durable.store.mend();
        let proxy = &self.proxy;
        let made = Cell::new(None);
        until("a call is taken", || {
            let outcome = proxy.call("counter_new", args![]);
            let is_refused = matches!(
                outcome,
                Err(Error::JournalFull { .. } | Error::NotDurable { .. })
            );
            made.set(outcome.ok());
            !is_refused
        });
        if let Some(made) = made.take() {
            self.alive.push((made.handle().unwrap(), 0));
        }
    }

    /// An id that is known gets its answer, and changes nothing. With another call it is refused.
    fn call_with_id(&mut self, id: u8, at: usize, n: i32) -> Result<(), Error> {
        let Some(at) = self.pick(at) else {
            return Ok(());
        };
        let handle = self.alive[at].0;
        let object = (handle.sequence(), handle.result());
        let Some(durable) = &mut self.durable else {
            return Ok(());
        };
        let call = |handle: Handle, n: i32| {
            let args = args![handle, n];
            self.proxy
                .call_with_id(&[id], "counter_add", args)
                .map(drop)
        };
        if let Some(&((sequence, result), before)) = durable.answered.get(&id) {
            if let Some(handle) = self.proxy.object(sequence, result) {
                call(handle, before)?;
            }
            let reused = call(handle, n.wrapping_add(1000));
            assert!(
                matches!(reused, Err(Error::CallIdReused { .. })),
                "{reused:?}"
            );
            return Ok(());
        }
        call(handle, n)?;
        durable.answered.insert(id, (object, n));
        self.alive[at].1 += n;
        Ok(())
    }

    /// Does all of a history. A failed call has changed nothing, and the model has not moved either.
    fn go(&mut self, ops: &[Op]) -> Result<(), TestCaseError> {
        for op in ops {
            match self.step(op) {
                Ok(())
                | Err(
                    Error::NoStandby
                    | Error::StillDraining
                    | Error::Passthrough
                    | Error::NoCheckpoint { .. }
                    | Error::NotDurable { .. }
                    | Error::JournalFull { .. }
                    | Error::DiedInPassthrough { .. },
                ) => {}
                Err(Error::Call(CallError::Trapped { .. } | CallError::OutOfMemory { .. }))
                    if !self.proxy.is_enabled() => {}
                Err(error) => return Err(TestCaseError::fail(format!("{op:?}: {error}"))),
            }
        }
        Ok(())
    }

    /// Everything is as the model says, and still is after swaps, replays and frees.
    fn end(mut self) -> Result<(), TestCaseError> {
        self.proxy.set_enabled(true);
        self.check();
        if self.proxy.prepare_standby().is_ok() {
            self.proxy.swap().unwrap();
        }
        self.check();
        let other = world(&self.mines)
            .checkpointed()
            .script
            .compiler("other")
            .engine();
        self.proxy.verify_on(other).unwrap();
        for (handle, _) in std::mem::take(&mut self.alive) {
            self.proxy.call("counter_free", args![handle]).unwrap();
        }
        self.check();
        prop_assert!(self.proxy.shutdown());
        prop_assert_eq!(self.engine.probe().live(), 0);
        Ok(())
    }

    fn check(&self) {
        for (handle, expected) in &self.alive {
            let value = self.proxy.call("counter_value", args![*handle]).unwrap();
            assert_eq!(value.i32().unwrap(), *expected);
        }
        assert_eq!(self.proxy.debug_info().objects, self.alive.len());
        assert_eq!(self.proxy.debug_info().divergences, 0);
        assert_eq!(self.proxy.debug_info().checkpoints_rejected, 0);
        // Active, standby or draining, and one aside.
        assert!(self.engine.probe().peak() <= 3);
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 400,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_history_ends_as_the_model_says(
        ops in proptest::collection::vec(op(), 0..150),
        checkpoints in 0..4_u8,
    ) {
        let mines = Mines::default();
        let world = model_world(&mines, checkpoints);
        let engine = world.script.engine();
        let proxy = builder(&world, &engine, checkpoints).build().unwrap();
        let mut run = Run::new(mines, (proxy, engine), None);
        run.go(&ops)?;
        run.end()?;
    }
}

proptest! {
    // Each time that there is room again, a call finds out after 100 ms.
    #![proptest_config(ProptestConfig {
        cases: 120,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_durable_history_ends_as_the_model_says(
        ops in proptest::collection::vec(durable_op(), 0..120),
        checkpoints in 0..4_u8,
    ) {
        let mines = Mines::default();
        let durable = Durable::new(model_world(&mines, checkpoints), checkpoints);
        let opened = durable.open();
        let mut run = Run::new(mines, opened, Some(durable));
        run.go(&ops)?;
        run.proxy.set_enabled(true);
        run.mend();
        run.check();
        // The next process has the same.
        run.step_durable(&Op::LosePower).unwrap();
        run.check();
        run.end()?;
    }
}
