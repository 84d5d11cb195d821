//! Calls that are submitted, and waited for later.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use engine_api::Val;
use proxy_core::{
    CallError, Durability, Error, Fault, Handle, Identity, JournalQueue, MemoryJournal, Policy,
    Proxy, Submitted, Value, args,
};

use super::held_store::HeldStore;
use super::world::{World, add, counter, hash, swap, until, value};

fn open_with(world: &World, store: &HeldStore, mode: Durability, callers_max: usize) -> Proxy {
    let queue = JournalQueue {
        callers_max,
        ..JournalQueue::default()
    };
    let builder = world.builder(&world.script.engine());
    let builder = builder.journal(Arc::new(store.clone()), mode);
    builder.journal_queue(queue).build().unwrap()
}

/// A durable proxy whose appends can be held, and a counter in it.
fn held(world: &World) -> (Proxy, HeldStore, Handle) {
    let policy: Policy = world.policy.parse().unwrap();
    let identity = Identity::of(&world.script.wasm(), &policy).unwrap();
    let store = HeldStore::new(MemoryJournal::new(identity));
    let proxy = open_with(world, &store, Durability::Durable, 4096);
    let one = counter(&proxy);
    (proxy, store, one)
}

fn submit(proxy: &Proxy, counter: Handle, number: i32) -> Submitted {
    proxy.submit("counter_add", args![counter, number]).unwrap()
}

/// Counts how often a task is woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn one_thread_has_many_durable_calls_in_flight() {
    let world = World::new().chain(0);
    let (proxy, held, _) = held(&world);
    held.gate.close();
    // The store takes nothing, and nobody waits.
    let calls: Vec<_> = (0..1000_i64)
        .map(|step| proxy.submit("chain_step", args![step]).unwrap())
        .collect();
    assert_eq!(proxy.debug_info().journal_callers, 1000);
    held.gate.open();
    let mut expected = 0;
    for (step, call) in (0..1000_i64).zip(calls) {
        expected = hash(expected, step);
        let results = call.wait().unwrap();
        assert_eq!(results.as_slice()[0], Value::Val(Val::from(expected)));
    }
    assert_eq!(proxy.debug_info().journal_callers, 0);
    // The last was acknowledged, so all are there after the power was lost.
    let left = HeldStore::new(held.store.lose_power());
    drop(proxy);
    let proxy = open_with(&world, &left, Durability::Durable, 4096);
    let results = proxy.call("chain_step", args![1000_i64]).unwrap();
    let expected = Value::Val(Val::from(hash(expected, 1000)));
    assert_eq!(results.as_slice()[0], expected);
}

#[test]
fn a_task_is_woken_when_its_call_is_acknowledged_and_not_before() {
    let (proxy, held, one) = held(&World::new());
    held.gate.close();
    let woken = [(); 3].map(|()| Arc::new(Woken::default()));
    let poll = |call: &mut Submitted, by: usize| {
        let waker = Waker::from(Arc::clone(&woken[by]));
        Pin::new(call).poll(&mut Context::from_waker(&waker))
    };
    let mut first = submit(&proxy, one, 1);
    let mut second = submit(&proxy, one, 2);
    for _ in 0..3 {
        assert!(poll(&mut first, 0).is_pending());
    }
    // A task may be polled by another executor, and is then woken there.
    assert!(poll(&mut second, 1).is_pending());
    assert!(poll(&mut second, 2).is_pending());
    let times = || [0, 1, 2].map(|one: usize| woken[one].0.load(Ordering::SeqCst));
    assert_eq!(times(), [0, 0, 0]);
    held.gate.open();
    until("both are woken", || times() == [1, 0, 1]);
    let Poll::Ready(results) = poll(&mut first, 0) else {
        panic!("it was woken for nothing");
    };
    results.unwrap();
    second.wait().unwrap();
    assert_eq!(value(&proxy, one), 3);
}

#[test]
fn a_waiting_task_and_a_waiting_thread_are_both_told() {
    let (proxy, held, one) = held(&World::new());
    held.gate.close();
    let (mut task, call) = (submit(&proxy, one, 1), submit(&proxy, one, 2));
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let polled = Pin::new(&mut task).poll(&mut Context::from_waker(&waker));
    assert!(polled.is_pending());
    thread::scope(|scope| {
        let waiting = scope.spawn(|| call.wait());
        held.gate.open();
        waiting.join().unwrap().unwrap();
    });
    until("the task is woken", || woken.0.load(Ordering::SeqCst) == 1);
    task.wait().unwrap();
}

#[test]
fn calls_whose_entries_cannot_be_written_are_lost_together_and_undone() {
    let world = World::new();
    let (proxy, held, one) = held(&world);
    add(&proxy, one, 5);
    held.store.inject(Fault::Full);
    held.gate.close();
    let calls = [10, 20, 30].map(|number| submit(&proxy, one, number));
    held.gate.open();
    for call in calls {
        let error = call.wait().unwrap_err();
        assert!(matches!(error, Error::NotDurable { .. }), "{error}");
    }
    assert_eq!(value(&proxy, one), 5);
    held.store.mend();
    until("a call is taken again", || {
        let call = proxy.submit("counter_add", args![one, 1]);
        call.is_ok_and(|call| call.wait().is_ok())
    });
    assert_eq!(value(&proxy, one), 6);
    assert_eq!(world.events.count("calls-undone"), 1);
}

#[test]
fn a_task_learns_that_its_call_was_lost() {
    let (proxy, held, one) = held(&World::new());
    held.store.inject(Fault::Full);
    held.gate.close();
    let mut call = submit(&proxy, one, 10);
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut poll = || Pin::new(&mut call).poll(&mut Context::from_waker(&waker));
    assert!(poll().is_pending());
    held.gate.open();
    until("it is woken", || woken.0.load(Ordering::SeqCst) == 1);
    let Poll::Ready(Err(Error::NotDurable { .. })) = poll() else {
        panic!("it was lost");
    };
    assert_eq!(value(&proxy, one), 0);
}

#[test]
fn a_lost_call_that_nobody_waited_for_is_undone_by_the_next_one() {
    let world = World::new();
    let (proxy, held, one) = held(&world);
    held.store.inject(Fault::Full);
    drop(submit(&proxy, one, 10));
    until("it is lost", || proxy.debug_info().journal_backlog == 0);
    let error = proxy.call("counter_add", args![one, 1]).unwrap_err();
    assert!(matches!(error, Error::JournalFull { .. }), "{error}");
    assert_eq!(value(&proxy, one), 0);
    assert_eq!(world.events.count("calls-undone"), 1);
    held.store.mend();
    until("a call is taken again", || {
        proxy.call("counter_add", args![one, 1]).is_ok()
    });
    assert_eq!(value(&proxy, one), 1);
}

#[test]
fn a_call_that_nobody_waits_for_stands() {
    let world = World::new();
    let (proxy, held, one) = held(&world);
    drop(submit(&proxy, one, 10));
    // A later call is acknowledged after it.
    add(&proxy, one, 1);
    let left = HeldStore::new(held.store.lose_power());
    drop(proxy);
    let proxy = open_with(&world, &left, Durability::Durable, 4096);
    let again = proxy.object(one.sequence(), one.result()).unwrap();
    assert_eq!(value(&proxy, again), 11);
}

#[test]
fn calls_in_flight_are_bounded_and_those_given_up_do_not_count() {
    let world = World::new();
    let (proxy, held, _) = held(&world);
    drop(proxy);
    let store = HeldStore::new(held.store.reopen());
    let proxy = open_with(&world, &store, Durability::Durable, 2);
    let one = counter(&proxy);
    store.gate.close();
    let (first, second) = (submit(&proxy, one, 1), submit(&proxy, one, 2));
    let error = proxy.submit("counter_add", args![one, 4]).unwrap_err();
    assert!(
        matches!(error, Error::JournalBusy { callers_max: 2 }),
        "{error}"
    );
    drop(first);
    let third = submit(&proxy, one, 8);
    store.gate.open();
    second.wait().unwrap();
    third.wait().unwrap();
    assert_eq!(value(&proxy, one), 11);
    assert_eq!(proxy.debug_info().journal_callers, 0);
}

#[test]
fn results_are_there_at_once_where_nothing_is_waited_for() {
    let world = World::new();
    let (proxy, held, one) = held(&world);
    held.gate.close();
    // A pure call has no entry.
    let pure = proxy.submit("counter_value", args![one]).unwrap();
    assert_eq!(pure.wait().unwrap().i32().unwrap(), 0);
    held.gate.open();
    drop(proxy);
    let store = HeldStore::new(held.store.reopen());
    let every = Duration::from_hours(1);
    let relaxed = open_with(&world, &store, Durability::Relaxed { every }, 4096);
    let one = relaxed.object(one.sequence(), one.result()).unwrap();
    let mut call = submit(&relaxed, one, 3);
    let polled = Pin::new(&mut call).poll(&mut Context::from_waker(Waker::noop()));
    assert!(polled.is_ready());
    // And without a journal on a disk.
    let (plain, _) = World::new().build();
    let one = counter(&plain);
    submit(&plain, one, 7).wait().unwrap();
    assert_eq!(value(&plain, one), 7);
}

#[test]
fn what_refuses_a_call_is_told_when_it_is_submitted() {
    let (proxy, _, one) = held(&World::new());
    let error = proxy.submit("nothing", args![one]).unwrap_err();
    let unknown = matches!(error, Error::Call(CallError::UnknownExport { .. }));
    assert!(unknown, "{error}");
    let wrong = proxy.submit("counter_add", args![one, "text"]);
    let error = wrong.and_then(Submitted::wait).unwrap_err();
    assert!(matches!(error, Error::Call(_)), "{error}");
    assert!(proxy.shutdown());
    let error = proxy.submit("counter_add", args![one, 1]).unwrap_err();
    assert!(matches!(error, Error::ShutDown), "{error}");
}

#[test]
fn a_swap_between_a_call_and_its_acknowledgement_keeps_it() {
    let (proxy, held, one) = held(&World::new());
    held.gate.close();
    let call = submit(&proxy, one, 4);
    swap(&proxy);
    assert_eq!(value(&proxy, one), 4);
    held.gate.open();
    call.wait().unwrap();
    assert_eq!(value(&proxy, one), 4);
}
