//! A prover that leaks, at a limit that would kill it: the job that the proxy is for.

use std::sync::Mutex;

use conformance::prelude::*;
use conformance::proxied::PROVER;
use proxy_core::{Event, Handle, Proxy, Supervisor, args};

use super::guests;

const LIMIT: u64 = 24 << 20;
const LEAK: u32 = 1 << 20;
const PROOFS: u64 = 45;

fn leaking(engine: &EngineUnderTest, events: &Arc<Mutex<Vec<Event>>>) -> (Proxy, Handle) {
    let events = Arc::clone(events);
    let proxy = PROVER
        .on(engine)
        .limits(Limits {
            memory_bytes_max: Some(LIMIT),
            ..Limits::default()
        })
        .on_event(move |event| events.lock().unwrap().push(event.clone()))
        .build()
        .unwrap();
    proxy.call("leak_per_proof", args![LEAK]).unwrap();
    let srs = proxy
        .call("srs_create", args![4])
        .unwrap()
        .handle()
        .unwrap();
    let index = proxy
        .call("index_create", args![srs, 0])
        .unwrap()
        .handle()
        .unwrap();
    (proxy, index)
}

/// Sizes after each swap, in bytes, and whether it was an emergency.
fn swaps(events: &Mutex<Vec<Event>>) -> Vec<(u64, bool)> {
    let events = events.lock().unwrap();
    let swaps = events.iter().filter_map(|event| match event {
        Event::SwapComplete(swapped) => Some((
            swapped.memory_after,
            swapped.reason == proxy_core::Reason::Emergency,
        )),
        _ => None,
    });
    swaps.collect()
}

#[apply(every_engine)]
fn a_leaking_prover_goes_on_and_its_memory_returns_to_the_baseline(engine: &EngineUnderTest) {
    let events = Arc::default();
    let (proxy, index) = leaking(engine, &events);
    let baseline = proxy.memory_bytes();
    let supervisor = Supervisor::start(&proxy, Duration::from_secs(5)).unwrap();
    for witness in 0..PROOFS {
        guests::prove(&proxy, index, witness).unwrap();
    }
    drop(supervisor);
    let swaps = swaps(&events);
    assert!(swaps.len() >= 2, "{swaps:?}");
    for (after, _) in swaps {
        assert!(
            after * 20 <= baseline * 21,
            "{after} bytes after a swap, baseline {baseline}"
        );
    }
    let info = proxy.debug_info();
    assert_eq!((info.divergences, info.tainted), (0, None));
}

#[apply(every_engine)]
fn without_a_supervisor_the_same_prover_survives_by_emergencies(engine: &EngineUnderTest) {
    let events = Arc::default();
    let (proxy, index) = leaking(engine, &events);
    let expected = guests::prove(&proxy, index, 1).unwrap();
    for _ in 0..PROOFS {
        // The scope that runs out of memory is repeated, and gives the same proof.
        assert_eq!(guests::prove(&proxy, index, 1).unwrap(), expected);
    }
    let swaps = swaps(&events);
    assert!(
        !swaps.is_empty() && swaps.iter().all(|(_, emergency)| *emergency),
        "{swaps:?}"
    );
    assert_eq!(proxy.debug_info().generations_alive, 1);
}

#[apply(every_engine)]
fn switched_off_the_same_prover_dies_of_memory(engine: &EngineUnderTest) {
    let (proxy, index) = leaking(engine, &Arc::default());
    proxy.set_enabled(false);
    let died = (0..PROOFS).find_map(|witness| guests::prove(&proxy, index, witness).err());
    let error = died.expect("the limit is far below what the proofs leak");
    assert!(
        matches!(
            error,
            proxy_core::Error::Call(proxy_core::CallError::OutOfMemory { .. })
        ),
        "{error}"
    );
}
