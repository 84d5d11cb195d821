//! Histories of several threads are linearizable, over swaps and over calls that were undone: some
//! order of the calls, in which none comes before one that had ended when it began, gives every
//! caller what it got. `HISTORIES=5000` checks more of them.

#[path = "../../proxy-core/tests/fake/mod.rs"]
mod fake;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Mutex, PoisonError};
use std::thread;

use engine_api::Val;
use fake::Script;
use proxy_core::{
    Durability, Error, Fault, Identity, JournalStore, MemoryJournal, Policy, Proxy, Value, args,
};
use stateright::semantics::{ConsistencyTester, LinearizabilityTester, SequentialSpec};

const POLICY: &str = r#"
[[export]]
match = "step"
role = "mutate"

[[export]]
match = "look"
role = "pure"
"#;

/// What the module keeps: a hash of all steps, in their order.
#[derive(Clone, Debug, Default)]
struct Chain(i64);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Op {
    Step(i64),
    Look,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Ret {
    Hash(i64),
    /// It was refused or undone: it has done nothing.
    Nothing,
}

fn hash(chain: i64, arg: i64) -> i64 {
    (chain ^ arg)
        .wrapping_mul(-0x61c8_8646_80b5_83eb)
        .rotate_left(31)
}

impl SequentialSpec for Chain {
    type Op = Op;
    type Ret = Ret;

    fn invoke(&mut self, op: &Op) -> Ret {
        if let Op::Step(arg) = op {
            self.0 = hash(self.0, *arg);
        }
        Ret::Hash(self.0)
    }

    fn is_valid_step(&mut self, op: &Op, ret: &Ret) -> bool {
        *ret == Ret::Nothing || self.invoke(op) == *ret
    }
}

/// Something that callers call.
trait Service: Send + Sync {
    fn call(&self, op: Op) -> Ret;

    /// What happens beside the calls, again and again.
    fn disturb(&self);
}

fn script() -> Script {
    Script::new()
        .func("step", "(param i64) (result i64)", |guest, args| {
            let arg = args[0].i64().expect("it takes an i64");
            let chain = guest.counters.entry("chain").or_default();
            let before = *chain;
            // The longer a call takes, the more others come meanwhile.
            thread::yield_now();
            *chain = hash(before, arg);
            Ok(vec![Val::from(*chain)])
        })
        .func("look", "(result i64)", |guest, _| {
            let chain = guest.counters.get("chain").copied();
            Ok(vec![Val::from(chain.unwrap_or_default())])
        })
}

fn policy() -> Policy {
    POLICY.parse().expect("it is well-formed")
}

fn proxy(store: Option<MemoryJournal>) -> Proxy {
    let script = script();
    let mut builder = Proxy::builder(script.engine())
        .module(script.wasm())
        .policy(policy());
    if let Some(store) = store {
        let store: Arc<dyn JournalStore> = Arc::new(store);
        builder = builder.journal(store, Durability::Durable);
    }
    builder.build().expect("it is sound")
}

fn call(proxy: &Proxy, op: Op) -> Result<Ret, Error> {
    let results = match op {
        Op::Step(arg) => proxy.call("step", args![arg])?,
        Op::Look => proxy.call("look", args![])?,
    };
    match results.as_slice() {
        [Value::Val(Val::I64(hash))] => Ok(Ret::Hash(*hash)),
        other => panic!("{other:?}"),
    }
}

fn swap(proxy: &Proxy) {
    match proxy.prepare_standby().and_then(|_| proxy.swap()) {
        // An undo may have taken the standby away.
        Ok(_) | Err(Error::StillDraining | Error::NoStandby) => {}
        Err(error) => panic!("{error}"),
    }
}

/// A proxy that is swapped.
struct Swapped(Proxy);

impl Service for Swapped {
    fn call(&self, op: Op) -> Ret {
        call(&self.0, op).expect("nothing fails")
    }

    fn disturb(&self) {
        swap(&self.0);
    }
}

/// A proxy whose disk is full now and then, and that is swapped.
struct Undone {
    proxy: Proxy,
    store: MemoryJournal,
    refused: AtomicU64,
}

impl Service for Undone {
    /// Of steps alone: a look may see what is undone later.
    fn call(&self, op: Op) -> Ret {
        match call(&self.proxy, op) {
            Ok(ret) => ret,
            Err(Error::NotDurable { .. }) => {
                self.refused.fetch_add(1, Ordering::SeqCst);
                Ret::Nothing
            }
            Err(Error::JournalFull { .. }) => Ret::Nothing,
            Err(error) => panic!("{error}"),
        }
    }

    fn disturb(&self) {
        self.store.inject(Fault::Full);
        thread::yield_now();
        self.store.mend();
        swap(&self.proxy);
    }
}

/// A swap that neither drains nor takes the turn: the new instance gets what was done so far, and
/// calls go to it from some moment on.
struct Undrained {
    active: Mutex<Arc<Proxy>>,
    done: Mutex<Vec<i64>>,
}

impl Service for Undrained {
    fn call(&self, op: Op) -> Ret {
        let active = Arc::clone(&lock(&self.active));
        let ret = call(&active, op).expect("nothing fails");
        if let Op::Step(arg) = op {
            lock(&self.done).push(arg);
        }
        ret
    }

    fn disturb(&self) {
        let done = lock(&self.done).clone();
        let next = proxy(None);
        for arg in done {
            call(&next, Op::Step(arg)).expect("nothing fails");
        }
        *lock(&self.active) = Arc::new(next);
    }
}

/// A call that could not be written is refused, and what it did stays.
struct NotUndone {
    proxy: Proxy,
    calls: AtomicU64,
}

impl Service for NotUndone {
    fn call(&self, op: Op) -> Ret {
        let ret = call(&self.proxy, op).expect("nothing fails");
        let number = self.calls.fetch_add(1, Ordering::SeqCst);
        if number % 7 == 3 { Ret::Nothing } else { ret }
    }

    fn disturb(&self) {
        swap(&self.proxy);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tells the others to stop, also by a panic.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Runs 4 to 8 threads with at most 40 calls together, and something beside them at least once.
/// Returns whether the history is linearizable.
fn is_linearizable(number: u64, service: &dyn Service, looks: bool) -> bool {
    let threads = 4 + number % 5;
    let calls = 40 / threads;
    let tester = Mutex::new(LinearizabilityTester::new(Chain::default()));
    let barrier = Barrier::new(usize::try_from(threads).expect("they are few") + 1);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let callers: Vec<_> = (0..threads)
            .map(|caller| {
                let (tester, barrier) = (&tester, &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    for step in 0..calls {
                        let arg = number << 16 | caller << 8 | step;
                        let op = if looks && step % 3 == 2 {
                            Op::Look
                        } else {
                            Op::Step(arg.cast_signed())
                        };
                        lock(tester).on_invoke(caller, op).expect("one at a time");
                        let ret = service.call(op);
                        lock(tester).on_return(caller, ret).expect("it was begun");
                    }
                })
            })
            .collect();
        let disturbing = scope.spawn(|| {
            barrier.wait();
            loop {
                service.disturb();
                if done.load(Ordering::SeqCst) {
                    break;
                }
                thread::yield_now();
            }
        });
        let stopping = Stop(&done);
        for caller in callers {
            caller.join().expect("a caller has its answers");
        }
        drop(stopping);
        disturbing.join().expect("it does not fail");
    });
    let tester = tester.into_inner().unwrap_or_else(PoisonError::into_inner);
    tester.is_consistent()
}

fn histories() -> u64 {
    let number = std::env::var("HISTORIES").ok();
    number.and_then(|number| number.parse().ok()).unwrap_or(500)
}

#[test]
fn histories_over_swaps_are_linearizable() {
    for number in 0..histories() {
        let service = Swapped(proxy(None));
        assert!(is_linearizable(number, &service, true), "history {number}");
        let swaps = service.0.debug_info().swaps;
        assert!(swaps > 0, "history {number} has no swap");
    }
}

#[test]
fn histories_over_undone_calls_are_linearizable() {
    let mut undone = 0;
    for number in 0..histories() {
        let script = script();
        let identity = Identity::of(&script.wasm(), &policy()).expect("it can be written");
        let store = MemoryJournal::new(identity);
        let service = Undone {
            proxy: proxy(Some(store.clone())),
            store,
            refused: AtomicU64::new(0),
        };
        assert!(is_linearizable(number, &service, false), "history {number}");
        undone += service.refused.into_inner();
    }
    assert!(undone > 0, "no call was undone in any history");
}

#[test]
fn a_swap_without_a_drain_is_found_within_fifty_histories() {
    let is_found = (0..50).any(|number| {
        let service = Undrained {
            active: Mutex::new(Arc::new(proxy(None))),
            done: Mutex::default(),
        };
        !is_linearizable(number, &service, true)
    });
    assert!(is_found);
}

#[test]
fn a_call_that_is_not_undone_is_found_within_fifty_histories() {
    let is_found = (0..50).any(|number| {
        let service = NotUndone {
            proxy: proxy(None),
            calls: AtomicU64::new(0),
        };
        !is_linearizable(number, &service, false)
    });
    assert!(is_found);
}
