//! Objects that cross by value: lists of points as arguments, results and artifacts.

use conformance::prelude::*;
use proxy_core::{
    ArtifactStore, Bare, BareInstance, CallError, CheckpointPolicy, Handle, Policy, Proxy, args,
};

const POINTS: &str = include_str!("../../../guests/wat/points.wat");
const POLICY: &str = include_str!("../../../guests/policies/points.toml");

/// Rounds after which a leak of one byte each would show.
const ROUNDS: usize = 200;

fn bare(engine: &EngineUnderTest, wat: &str, policy: &str) -> BareInstance {
    let policy: Policy = policy.parse().unwrap();
    let (module, imports) = (engine.module(wat), Imports::new());
    let bare = Bare::new(module, &policy, imports, Limits::default()).unwrap();
    bare.instance().unwrap()
}

/// A number of four bytes, and things after it.
fn counted(count: u32, things: &[Vec<u8>]) -> Vec<u8> {
    [count.to_le_bytes().to_vec(), things.concat()].concat()
}

fn point(x: u64, y: u64, infinity: u32) -> Vec<u8> {
    let [x, y] = [x, y].map(|field| counted(8, &[field.to_le_bytes().to_vec()]));
    [x, y, infinity.to_le_bytes().to_vec()].concat()
}

/// Three commitments: of two points, of one with another beside it, and of nothing.
fn basis() -> Vec<u8> {
    let one = [
        counted(2, &[point(1, 2, 0), point(3, 4, 1)]),
        vec![0], // no other point
    ];
    let two = [
        counted(1, &[point(5, 6, 0)]),
        [vec![1], point(7, 8, 0)].concat(),
    ];
    let three = [counted(0, &[]), vec![0]];
    counted(3, &[one.concat(), two.concat(), three.concat()])
}

fn srs(proxy: &Proxy, points: &[u8]) -> Handle {
    proxy
        .call("srs_set", args![points])
        .unwrap()
        .handle()
        .unwrap()
}

fn bytes(proxy: &Proxy, export: &str, srs: Handle) -> Vec<u8> {
    proxy.call(export, args![srs]).unwrap().bytes().unwrap()
}

fn is_refused(outcome: &Result<proxy_core::Results, CallError>) -> bool {
    matches!(outcome, Err(CallError::Argument { .. }))
}

#[apply(every_engine)]
fn points_cross_by_value_and_nothing_is_left_of_them(engine: &EngineUnderTest) {
    let mut guest = bare(engine, POINTS, POLICY);
    let points = counted(3, &[point(10, 11, 0), point(12, 13, 1), point(14, 15, 0)]);
    let mut memory = None;
    for _ in 0..ROUNDS {
        let srs = guest.call("srs_set", args![&points]).unwrap();
        let srs = srs.handle().unwrap();
        for get in ["srs_get", "srs_get_directly"] {
            let got = guest.call(get, args![srs]).unwrap().bytes().unwrap();
            assert_eq!(got, points);
        }
        let first = guest.call("srs_first", args![srs]).unwrap();
        let expected = [vec![1], point(10, 11, 0)].concat();
        assert_eq!(first.bytes().unwrap(), expected);
        guest.call("srs_free", args![srs]).unwrap();
        assert_eq!(guest.call("live", args![]).unwrap().i32().unwrap(), 0);
        assert_eq!(
            *memory.get_or_insert(guest.memory_bytes()),
            guest.memory_bytes()
        );
    }
}

#[apply(every_engine)]
fn structs_in_structs_cross_by_value_and_nothing_is_left_of_them(engine: &EngineUnderTest) {
    let mut guest = bare(engine, POINTS, POLICY);
    for _ in 0..ROUNDS {
        let srs = guest
            .call("srs_create", args![5])
            .unwrap()
            .handle()
            .unwrap();
        for basis in [basis(), counted(0, &[]), basis()] {
            guest.call("srs_set_basis", args![srs, &basis]).unwrap();
            let got = guest.call("srs_get_basis", args![srs]).unwrap();
            assert_eq!(got.bytes().unwrap(), basis);
        }
        guest.call("srs_free", args![srs]).unwrap();
        assert_eq!(guest.call("live", args![]).unwrap().i32().unwrap(), 0);
    }
    let empty = guest.call("srs_create", args![0]).unwrap();
    let first = guest.call("srs_first", args![empty.handle().unwrap()]);
    assert_eq!(first.unwrap().as_slice(), [proxy_core::Value::Null]);
}

/// In a pinned scope a pure call takes what the scope made, as it does where handles are wanted.
#[apply(every_engine)]
fn a_pure_call_takes_pointers_to_structs_too(engine: &EngineUnderTest) {
    let proxy = engine.proxied_wat(POINTS, POLICY).build().unwrap();
    let points = proxy
        .pinned(|scope| {
            let [one, two, three] = [(); 3].map(|()| scope.call("point_one", args![]));
            let listed = [one?.pointer()?, two?.pointer()?];
            let new = args![listed.as_slice(), three?.pointer()?];
            let commitment = scope.call("commitment_new", new)?.pointer()?;
            let points = scope
                .call("commitment_points", args![commitment])?
                .bytes()?;
            let shifted = scope
                .call("commitment_shifted", args![commitment])?
                .bytes()?;
            assert_eq!(shifted, [vec![1], point(1, 2, 0)].concat());
            scope.call("commitment_free", args![commitment])?;
            assert_eq!(scope.call("live", args![])?.i32()?, 0);
            Ok::<_, proxy_core::Error>(points)
        })
        .unwrap();
    assert_eq!(points, counted(2, &[point(1, 2, 0), point(1, 2, 0)]));
}

/// Arguments are kept by value, so replay makes the same objects again.
#[apply(every_engine)]
fn a_journaled_call_of_structs_is_replayed(engine: &EngineUnderTest) {
    for checkpoints in [CheckpointPolicy::off(), CheckpointPolicy::default()] {
        let builder = engine.proxied_wat(POINTS, POLICY).checkpoints(checkpoints);
        let proxy = builder.build().unwrap();
        let points = counted(2, &[point(1 << 40, 21, 0), point(22, 23, 1)]);
        let srs = srs(&proxy, &points);
        proxy.call("srs_set_basis", args![srs, &basis()]).unwrap();
        let live = proxy.call("live", args![]).unwrap();
        for _ in 0..3 {
            proxy.prepare_standby().unwrap();
            proxy.swap().unwrap();
            assert_eq!(bytes(&proxy, "srs_get", srs), points);
            assert_eq!(bytes(&proxy, "srs_get_basis", srs), basis());
            assert_eq!(proxy.call("live", args![]).unwrap(), live);
        }
        assert_eq!(proxy.debug_info().divergences, 0);
    }
}

/// One process computes the reference string, and replays and later processes read its points.
#[apply(every_engine)]
fn a_list_of_points_is_an_artifact(engine: &EngineUnderTest) {
    let directory = tempfile::tempdir().unwrap();
    let process = || {
        let store = ArtifactStore::directory(directory.path()).unwrap();
        let builder = engine.proxied_wat(POINTS, POLICY).artifacts(store);
        builder
            .checkpoints(CheckpointPolicy::off())
            .build()
            .unwrap()
    };
    let mut expected = None;
    for hits in [0, 1] {
        let proxy = process();
        let srs = proxy.call("srs_create", args![100]).unwrap();
        let srs = srs.handle().unwrap();
        let points = bytes(&proxy, "srs_get", srs);
        assert_eq!(*expected.get_or_insert(points.clone()), points);
        proxy.prepare_standby().unwrap();
        proxy.swap().unwrap();
        assert_eq!(bytes(&proxy, "srs_get", srs), points);
        proxy.call("srs_free", args![srs]).unwrap();
        assert_eq!(proxy.call("live", args![]).unwrap().i32().unwrap(), 0);
        let info = proxy.debug_info();
        assert_eq!((info.artifact_hits, info.artifacts_imported), (hits, 1));
        assert_eq!((info.artifact_refusals, info.artifact_faults), (0, 0));
        assert_eq!(info.divergences, 0);
    }
}

/// Another policy's structs are not read: what the bytes are is a part of the key.
#[apply(every_engine)]
fn an_artifact_of_a_struct_with_other_fields_is_not_found(engine: &EngineUnderTest) {
    let directory = tempfile::tempdir().unwrap();
    let hits = |policy: &str| {
        let store = ArtifactStore::directory(directory.path()).unwrap();
        let builder = engine.proxied_wat(POINTS, policy).artifacts(store);
        let proxy = builder.build().unwrap();
        proxy.call("srs_create", args![9]).unwrap();
        let info = proxy.debug_info();
        assert_eq!((info.artifact_refusals, info.generation), (0, 1));
        info.artifact_hits
    };
    let field = "    { get = \"point_infinity\", set = \"point_set_infinity\" },\n";
    let shorter = POLICY.replace(field, "");
    assert_ne!(shorter, POLICY);
    assert_eq!([POLICY, &shorter, POLICY].map(hits), [0, 0, 1]);
}

#[apply(every_engine)]
fn bytes_that_are_no_structs_are_refused_before_the_guest_runs(engine: &EngineUnderTest) {
    let mut guest = bare(engine, POINTS, POLICY);
    let whole = counted(2, &[point(1, 2, 0), point(3, 4, 0)]);
    for len in 0..whole.len() {
        assert!(
            is_refused(&guest.call("srs_set", args![&whole[..len]])),
            "{len}"
        );
    }
    let longer = [whole.clone(), vec![0]].concat();
    assert!(is_refused(&guest.call("srs_set", args![&longer])));
    let many = [u32::MAX.to_le_bytes().to_vec(), point(1, 2, 0)].concat();
    assert!(is_refused(&guest.call("srs_set", args![&many])));
    let vast = counted(1, &[u32::MAX.to_le_bytes().to_vec()]);
    assert!(is_refused(&guest.call("srs_set", args![&vast])));
    let srs = guest
        .call("srs_create", args![1])
        .unwrap()
        .handle()
        .unwrap();
    let live = guest.call("live", args![]).unwrap();
    // A point is there or not: the byte is 0 or 1.
    let neither = counted(1, &[counted(0, &[]), vec![2]]);
    assert!(is_refused(
        &guest.call("srs_set_basis", args![srs, &neither])
    ));
    assert_eq!(guest.call("live", args![]).unwrap(), live);
    assert!(guest.died().is_none());
}

/// What a guest returns is checked before it is read, and before memory is taken for it.
#[apply(every_engine)]
fn a_list_that_cannot_be_read_is_an_error(engine: &EngineUnderTest) {
    const LIST: &str = r#"(module
        (memory (export "memory") 2)
        (data (i32.const 64) "\00\04\00\00\00\04\00\00\00\00\00\00")
        (func (export "guest_alloc") (param i32) (result i32) (i32.const 2048))
        (func (export "guest_free") (param i32 i32))
        (func (export "new") (result i32) (i32.const 1024))
        (func (export "free") (param i32))
        (func (export "field") (param i32) (result i32 i32)
            (i32.load (i32.const 16)) (i32.load (i32.const 20)))
        (func (export "set_field") (param i32 i32 i32))
        (func (export "field_is") (param i32 i32)
            (i32.store (i32.const 16) (local.get 0)) (i32.store (i32.const 20) (local.get 1)))
        (func (export "list") (param i32 i32) (result i32 i32) (local.get 0) (local.get 1)))"#;
    const POLICY: &str = r#"
        [[struct]]
        name = "it"
        new = "new"
        free = "free"
        fields = [{ get = "field", set = "set_field" }]
        [[export]]
        match = "list"
        role = "pure"
        args = ["value", "value"]
        results = ["structs:it"]
        [[export]]
        match = "new"
        role = "pure"
        results = ["pointer"]
        [[export]]
        match = "free"
        role = "pure"
        args = ["pointer"]
        [[export]]
        match = "field"
        role = "pure"
        args = ["pointer"]
        results = ["bytes"]
        [[export]]
        match = "set_field"
        role = "pure"
        args = ["pointer", "bytes"]
        [[export]]
        match = "field_is"
        role = "pure"
        [[export]]
        match = "guest_*"
        role = "pure"
    "#;
    let mut guest = bare(engine, LIST, POLICY);
    let mut list = |field: (u32, u32), at: u32, len: u32| {
        guest.call("field_is", args![field.0, field.1]).unwrap();
        guest
            .call("list", args![at, len])
            .map(|results| results.bytes().unwrap())
    };
    let good = list((1024, 3), 64, 2).unwrap();
    assert_eq!(
        good,
        counted(2, &[counted(3, &[vec![0; 3]]), counted(3, &[vec![0; 3]])])
    );
    let page = 65_536;
    for (field, at, len, needle) in [
        ((1024, 3), 2 * page, 1, "outside the linear memory"),
        ((1024, 3), u32::MAX, 1, "outside the linear memory"),
        ((1024, 3), 64, u32::MAX, "outside the linear memory"),
        ((1024, 3), 64, 3, "null in it"),
        ((2 * page - 1, 2), 64, 1, "outside the linear memory"),
        ((u32::MAX, u32::MAX), 64, 1, "outside the linear memory"),
        ((0, 3), 64, 1, "null for a field"),
    ] {
        let error = list(field, at, len).unwrap_err().to_string();
        assert!(error.contains(needle), "{error}");
    }
    // 1,000 names of structs whose field is the whole memory are not read to the end.
    assert!(list((1, 2 * page - 1), 64, 1).is_ok());
    let fill = "(data (i32.const 64)";
    let names = format!("{fill} \"{}\")\n{fill}", "\\00\\04\\00\\00".repeat(1000));
    let mut guest = bare(
        engine,
        &LIST.replace(fill, &names).replace(
            "(data (i32.const 64) \"\\00\\04\\00\\00\\00\\04\\00\\00\\00\\00\\00\\00\")",
            "",
        ),
        POLICY,
    );
    guest.call("field_is", args![1, 2 * page - 1]).unwrap();
    let error = guest.call("list", args![64, 1000]).unwrap_err().to_string();
    assert!(error.contains("times the size of the memory"), "{error}");
}
