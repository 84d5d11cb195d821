//! The prover's parameters as bytes: on every engine, from every engine, and after a restart.

use conformance::prelude::*;
use conformance::proxied::PROVER;
use proxy_core::{ArtifactStore, CheckpointPolicy, Handle, Proxy, args};

use super::guests;

/// Parameters and an index made from them.
fn index(proxy: &Proxy) -> Handle {
    let srs = proxy.call("srs_create", args![5]).unwrap();
    let srs = srs.handle().unwrap();
    let index = proxy.call("index_create", args![srs, 1]).unwrap();
    index.handle().unwrap()
}

/// The first replay computes the parameters and keeps them as bytes, and later ones read these. The
/// index that is made from them has the same digest, or the replay would have diverged.
#[apply(every_engine)]
fn parameters_are_read_from_their_artifact_once_there_is_one(engine: &EngineUnderTest) {
    let proxy = PROVER
        .on(engine)
        .checkpoints(CheckpointPolicy::off())
        .build()
        .unwrap();
    let index = index(&proxy);
    let proof = guests::prove(&proxy, index, 7).unwrap();
    for imported in [0, 1, 2] {
        proxy.prepare_standby().unwrap();
        assert_eq!(proxy.debug_info().artifacts_imported, imported);
        proxy.swap().unwrap();
        assert_eq!(guests::prove(&proxy, index, 7).unwrap(), proof);
    }
    assert_eq!(proxy.debug_info().divergences, 0);
    assert_eq!(proxy.debug_info().artifacts.contents, 1);
}

/// One engine computes the parameters and all others read them. Journals and proofs are equal.
#[apply(every_engine)]
fn an_artifact_of_one_engine_is_used_on_every_other(engine: &EngineUnderTest) {
    let directory = tempfile::tempdir().unwrap();
    let process = |engine: &EngineUnderTest| {
        let store = ArtifactStore::directory(directory.path()).unwrap();
        PROVER.on(engine).artifacts(store).build().unwrap()
    };
    let proxy = process(engine);
    let made = index(&proxy);
    let expected = guests::prove(&proxy, made, 7).unwrap();
    let digests = proxy.journal_digests();
    assert_eq!(proxy.debug_info().artifact_hits, 0);
    drop(proxy);
    for other in engines::all() {
        let proxy = process(other);
        let made = index(&proxy);
        assert_eq!(proxy.debug_info().artifact_hits, 1, "{other:?}");
        assert_eq!(guests::prove(&proxy, made, 7).unwrap(), expected);
        assert_eq!(proxy.journal_digests(), digests);
        // Replay reads it too, and agrees with an engine that computed.
        proxy.prepare_standby().unwrap();
        proxy.swap().unwrap();
        assert_eq!(guests::prove(&proxy, made, 7).unwrap(), expected);
        let info = proxy.debug_info();
        assert_eq!((info.artifacts_imported, info.divergences), (1, 0));
        assert_eq!((info.artifact_refusals, info.artifact_faults), (0, 0));
    }
}

/// The guest never sees the damaged bytes, and its instance goes on.
#[apply(every_engine)]
fn damaged_bytes_are_found_and_the_parameters_computed(engine: &EngineUnderTest) {
    let directory = tempfile::tempdir().unwrap();
    let process = || {
        let store = ArtifactStore::directory(directory.path()).unwrap();
        PROVER.on(engine).artifacts(store).build().unwrap()
    };
    let proxy = process();
    let expected = guests::prove(&proxy, index(&proxy), 7).unwrap();
    drop(proxy);
    let contents = std::fs::read_dir(directory.path().join("contents"));
    let content = contents.unwrap().next().unwrap().unwrap().path();
    let whole = std::fs::read(&content).unwrap();
    let mut damaged = whole.clone();
    damaged[40] ^= 1;
    std::fs::write(&content, &damaged).unwrap();
    let proxy = process();
    assert_eq!(guests::prove(&proxy, index(&proxy), 7).unwrap(), expected);
    let info = proxy.debug_info();
    assert_eq!((info.artifact_hits, info.artifact_faults), (0, 1));
    assert_eq!(info.generation, 1);
    assert_eq!(std::fs::read(&content).unwrap(), whole);
}
