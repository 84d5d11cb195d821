//! Turns on real engines: raw objects that outlive the instance that made them.

use conformance::prelude::*;
use conformance::proxied::PROVER;
use proxy_core::{CallError, Error, Handle, Pointer, Policy, Proxy, Turn, args};

const POINTS: &str = include_str!("../../../guests/wat/points.wat");
const POINTS_POLICY: &str = include_str!("../../../guests/policies/points.toml");
const PROVER_POLICY: &str = include_str!("../../../guests/policies/prover.toml");

const LIMIT: u64 = 24 << 20;
const LEAK: u32 = 3 << 20;
const PROOFS: u64 = 12;

/// A prover whose proofs leak, and whose policy says that `proof_free` uses a proof up.
fn leaking(engine: &EngineUnderTest) -> (Proxy, Handle) {
    let freeing = "match = \"proof_free\"";
    let policy = PROVER_POLICY.replace(freeing, &format!("{freeing}\nconsumes = [0]"));
    let policy: Policy = policy.parse().unwrap();
    let limits = Limits {
        memory_bytes_max: Some(LIMIT),
        ..Limits::default()
    };
    let proxy = PROVER
        .on(engine)
        .policy(policy)
        .limits(limits)
        .build()
        .unwrap();
    proxy.call("leak_per_proof", args![LEAK]).unwrap();
    let srs = proxy
        .call("srs_create", args![4])
        .unwrap()
        .handle()
        .unwrap();
    let index = proxy.call("index_create", args![srs, 0]).unwrap();
    (proxy, index.handle().unwrap())
}

fn prove(turn: &mut Turn, index: Handle, witness: u64) -> Result<Pointer, Error> {
    Ok(turn.call("prove", args![index, witness])?.pointer()?)
}

fn bytes(turn: &mut Turn, proof: Pointer) -> Result<Vec<u8>, Error> {
    Ok(turn.call("proof_bytes", args![proof])?.bytes()?)
}

#[apply(every_engine)]
fn a_turn_outlives_the_instances_that_it_fills(engine: &EngineUnderTest) {
    let (proxy, index) = leaking(engine);
    let mut turn = proxy.turn().unwrap();
    let first = prove(&mut turn, index, 0).unwrap();
    let expected = bytes(&mut turn, first).unwrap();
    for witness in 1..PROOFS {
        let proof = prove(&mut turn, index, witness).unwrap();
        let proof_bytes = bytes(&mut turn, proof).unwrap();
        turn.call("proof_free", args![proof]).unwrap();
        let verified = turn.call("verify", args![index, &proof_bytes]).unwrap();
        assert_eq!(verified.i32().unwrap(), 1);
    }
    let info = proxy.debug_info();
    assert!(info.emergencies >= 1, "{info}");
    assert_eq!((info.swaps, info.divergences), (info.emergencies, 0));
    assert_eq!(
        bytes(&mut turn, first).unwrap(),
        expected,
        "it was made again"
    );
    turn.end();
    proxy.prepare_standby().unwrap();
    proxy.swap().unwrap();
    assert!(proxy.memory_bytes() < LIMIT / 4);
}

#[apply(every_engine)]
fn structs_come_as_raw_objects_where_a_turn_wants_them(engine: &EngineUnderTest) {
    let proxy = engine.proxied_wat(POINTS, POINTS_POLICY).build().unwrap();
    let srs = proxy
        .call("srs_create", args![3])
        .unwrap()
        .handle()
        .unwrap();
    let live = |turn: &mut Turn| turn.call("live", args![]).unwrap().i32().unwrap();
    let mut turn = proxy.turn().unwrap().with_raw_structs();
    let before = live(&mut turn);
    for get in ["srs_get", "srs_get_directly"] {
        let points = turn.call(get, args![srs]).unwrap().pointers().unwrap();
        assert_eq!(points.len(), 3);
        for point in points {
            let x = turn.call("point_x", args![point]).unwrap().bytes().unwrap();
            assert_eq!(x.len(), 8);
            turn.call("point_free", args![point]).unwrap();
        }
    }
    let first = turn
        .call("srs_first", args![srs])
        .unwrap()
        .pointer()
        .unwrap();
    turn.call("point_free", args![first]).unwrap();
    assert_eq!(live(&mut turn), before, "each was the caller's to free");
}

#[apply(every_engine)]
fn raw_structs_are_journaled_by_their_values(engine: &EngineUnderTest) {
    let proxy = engine.proxied_wat(POINTS, POINTS_POLICY).build().unwrap();
    let one = proxy
        .call("srs_create", args![3])
        .unwrap()
        .handle()
        .unwrap();
    let points = |srs: Handle| proxy.call("srs_get", args![srs]).unwrap().bytes().unwrap();
    let expected = points(one);
    let mut turn = proxy.turn().unwrap().with_raw_structs();
    let raw = turn
        .call("srs_get", args![one])
        .unwrap()
        .pointers()
        .unwrap();
    let two = turn
        .call("srs_set", args![&*raw])
        .unwrap()
        .handle()
        .unwrap();
    let used = turn.call("point_x", args![raw[0]]).unwrap_err();
    assert!(
        matches!(used, Error::Call(CallError::UsedPointer { .. })),
        "{used}"
    );
    assert_eq!(turn.log_bytes(), 0, "nothing of it is raw any more");
    turn.end();
    proxy.call("srs_free", args![one]).unwrap();
    let live = || proxy.call("live", args![]).unwrap().i32().unwrap();
    let before = live();
    proxy.prepare_standby().unwrap();
    proxy.swap().unwrap();
    assert_eq!(points(two), expected);
    assert_eq!(live(), before, "nothing was left behind");
}
