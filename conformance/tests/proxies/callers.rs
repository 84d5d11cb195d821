//! Callers and swaps at once: no call is lost or doubled, and none waits without need.

use std::collections::VecDeque;
use std::hash::Hasher;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;

use conformance::prelude::*;
use conformance::proxied::CHAIN;
use proxy_core::{Proxy, args};
use siphasher::sip::SipHasher24;

/// The computation of the guest `chain`, on the host.
fn advance(h: u64, id: u64, arg: u64) -> u64 {
    // `guests/chain/src/lib.rs` has the same second key.
    let mut hasher = SipHasher24::new_with_keys(h, DOMAIN);
    hasher.write(&id.to_le_bytes());
    hasher.write(&arg.to_le_bytes());
    hasher.finish()
}

const DOMAIN: u64 = u64::from_le_bytes(*b"chain/v1");
const CLIENTS: u64 = 8;
const STEPS: u64 = 250;
const SWAPS: usize = 20;

/// A step that a client made: its argument and its result.
type Step = (u64, u64);

#[apply(every_engine)]
fn swaps_under_eight_callers_lose_double_and_reorder_nothing(engine: &EngineUnderTest) {
    let proxy = CHAIN.on(engine).build().unwrap();
    let start = proxy.call("value", args![]).unwrap().u64().unwrap();
    let done = AtomicBool::new(false);
    let (histories, swaps) = thread::scope(|scope| {
        let swapper = scope.spawn(|| swap_until(&proxy, &done));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|id| {
                scope.spawn({
                    let proxy = &proxy;
                    move || steps(proxy, id)
                })
            })
            .collect();
        let histories: Vec<_> = clients
            .into_iter()
            .map(|client| client.join().unwrap())
            .collect();
        done.store(true, Ordering::Release);
        (histories, swapper.join().unwrap())
    });
    assert!(swaps >= SWAPS, "only {swaps} swaps");
    let end = follow(start, histories);
    assert_eq!(proxy.call("value", args![]).unwrap().u64().unwrap(), end);
    let info = proxy.debug_info();
    assert_eq!((info.divergences, info.retries), (0, 0));
}

/// Swaps until the callers are done, and at least [`SWAPS`] times.
fn swap_until(proxy: &Proxy, done: &AtomicBool) -> usize {
    let mut swaps = 0;
    while !done.load(Ordering::Acquire) || swaps < SWAPS {
        match proxy.prepare_standby() {
            Ok(_) => {
                proxy.swap().unwrap();
                swaps += 1;
            }
            // A caller is still on the generation before.
            Err(proxy_core::Error::StillDraining) => thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
    swaps
}

fn steps(proxy: &Proxy, id: u64) -> VecDeque<Step> {
    let step = proxy.typed::<(u64, u64), u64>("step").unwrap();
    (0..STEPS)
        .map(|arg| (arg, step.call((id, arg)).unwrap()))
        .collect()
}

/// Follows the chain through the histories: each link must be the next step of some client. Fails
/// unless it finds every call once, and those of each client in order.
fn follow(mut h: u64, mut histories: Vec<VecDeque<Step>>) -> u64 {
    while histories.iter().any(|history| !history.is_empty()) {
        let next = histories.iter().enumerate().find_map(|(id, history)| {
            let (arg, result) = *history.front()?;
            (advance(h, id as u64, arg) == result).then_some((id, result))
        });
        let (id, result) = next.expect("the chain goes on with some client's next step");
        histories[id].pop_front();
        h = result;
    }
    h
}

/// A pure call that stays in the guest until the host lets it go, a journaled call, and a counter.
const WAITING: &str = r#"(module
    (import "host" "wait" (func $wait))
    (global $count (mut i32) (i32.const 0))
    (func (export "wait") (result i32) (call $wait) (global.get $count))
    (func (export "count") (result i32) (global.get $count))
    (func (export "add") (param i32) (result i32)
        (global.set $count (i32.add (global.get $count) (local.get 0)))
        (global.get $count)))"#;

const WAITING_POLICY: &str = r#"
    [[export]]
    match = "add"
    role = "mutate"
    [[export]]
    match = "*"
    role = "pure"
    [[import]]
    match = "host.wait"
    effect = "none"
"#;

/// Imports whose `wait` reports its arrival, and stays until the case lets it go.
fn waiting() -> (Imports, mpsc::Receiver<()>, mpsc::SyncSender<()>) {
    let (entered, inside) = mpsc::sync_channel(8);
    let (release, released) = mpsc::sync_channel::<()>(8);
    let released = std::sync::Mutex::new(released);
    let mut imports = Imports::new();
    imports.func("host", "wait", FuncType::new(&[], &[]), move |_, _, _| {
        entered.send(()).unwrap();
        released.lock().unwrap().recv().unwrap();
        Ok(())
    });
    (imports, inside, release)
}

#[apply(every_engine)]
fn a_pure_call_in_flight_delays_no_swap_and_ends_where_it_began(engine: &EngineUnderTest) {
    let (imports, inside, release) = waiting();
    let proxy = engine
        .proxied_wat(WAITING, WAITING_POLICY)
        .imports(imports)
        .build()
        .unwrap();
    proxy.call("add", args![1]).unwrap();
    thread::scope(|scope| {
        let long = scope.spawn(|| proxy.call("wait", args![]).unwrap().i32().unwrap());
        inside.recv().unwrap();
        proxy.prepare_standby().unwrap();
        // Returns while the call is in the guest: the case lets it go later.
        let swapped = proxy.swap().unwrap();
        assert_eq!(swapped.to, 2);
        assert_eq!(proxy.call("add", args![1]).unwrap().i32().unwrap(), 2);
        assert_eq!(proxy.debug_info().generations_alive, 2);
        assert!(matches!(
            proxy.prepare_standby(),
            Err(proxy_core::Error::StillDraining)
        ));
        release.send(()).unwrap();
        assert_eq!(
            long.join().unwrap(),
            1,
            "it saw the state from before the swap"
        );
    });
    assert_eq!(proxy.debug_info().generations_alive, 1);
    assert_eq!(proxy.call("count", args![]).unwrap().i32().unwrap(), 2);
}

#[apply(every_engine)]
fn a_call_that_waits_behind_a_long_one_goes_to_the_new_generation(engine: &EngineUnderTest) {
    let (imports, inside, release) = waiting();
    let proxy = engine
        .proxied_wat(WAITING, WAITING_POLICY)
        .imports(imports)
        .build()
        .unwrap();
    thread::scope(|scope| {
        let long = scope.spawn(|| proxy.call("wait", args![]).unwrap());
        inside.recv().unwrap();
        let journaled = scope.spawn(|| proxy.call("add", args![5]).unwrap().i32().unwrap());
        let pure = scope.spawn(|| proxy.call("count", args![]).unwrap().i32().unwrap());
        proxy.prepare_standby().unwrap();
        proxy.swap().unwrap();
        // Both end while a call still occupies the old generation.
        assert_eq!(journaled.join().unwrap(), 5);
        assert!([0, 5].contains(&pure.join().unwrap()));
        release.send(()).unwrap();
        long.join().unwrap();
    });
    assert_eq!(proxy.debug_info().generations_alive, 1);
}
