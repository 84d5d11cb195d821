//! Random histories against a model: objects are created, changed and freed between swaps and
//! deaths, and every handle names the object that the model says.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use engine_api::{Error as EngineError, Trap, Val};
use proptest::prelude::*;
use proxy_core::{CallError, CheckpointPolicy, Error, Handle, History, HistoryBound, Proxy, args};

use super::world::{EAGER, World};
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

/// A proxy whose checkpoints take the place of entries, again and again.
fn folding(world: &World) -> (Proxy, FakeEngine) {
    let engine = world.script.engine();
    let checkpoints = CheckpointPolicy {
        history: History::Checkpoint,
        ..EAGER
    };
    let bound = HistoryBound {
        entries: 8,
        bytes: u64::MAX,
    };
    let builder = world.builder(&engine).checkpoints(checkpoints);
    (builder.history_bound(bound).build().unwrap(), engine)
}

struct Run {
    mines: Mines,
    proxy: Proxy,
    engine: FakeEngine,
    alive: Vec<(Handle, i32)>,
    dead: Vec<Handle>,
}

impl Run {
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
                proxy.call(export, args![self.alive[at].0, n])?;
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
        }
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
        let (proxy, engine) = match checkpoints {
            0 => world(&mines).build(),
            1 => world(&mines).checkpointed().build(),
            2 => world(&mines).checkpointed().build_eager(),
            _ => folding(&world(&mines).checkpointed()),
        };
        let mut run = Run { mines, proxy, engine, alive: Vec::new(), dead: Vec::new() };
        for op in &ops {
            match run.step(op) {
                // A failed call has changed nothing, and the model has not moved either.
                Ok(())
                | Err(
                    Error::NoStandby
                    | Error::StillDraining
                    | Error::Passthrough
                    | Error::NoCheckpoint { .. }
                    | Error::DiedInPassthrough { .. },
                ) => {}
                Err(Error::Call(CallError::Trapped { .. } | CallError::OutOfMemory { .. }))
                    if !run.proxy.is_enabled() => {}
                Err(error) => return Err(TestCaseError::fail(format!("{op:?}: {error}"))),
            }
        }
        run.proxy.set_enabled(true);
        run.check();
        if run.proxy.prepare_standby().is_ok() {
            run.proxy.swap().unwrap();
        }
        run.check();
        let other = world(&run.mines).checkpointed().script.compiler("other").engine();
        run.proxy.verify_on(other).unwrap();
        for (handle, _) in std::mem::take(&mut run.alive) {
            run.proxy.call("counter_free", args![handle]).unwrap();
        }
        run.check();
        prop_assert!(run.proxy.shutdown());
        prop_assert_eq!(run.engine.probe().live(), 0);
    }
}
