//! Calls of the guests that the cases share. Each leaves a journal with every kind of entry.

use conformance::prelude::*;
use conformance::proxied::{CHAIN, KV, PROVER};
use proxy_core::{Handle, Proxy, args};

/// A prover with an index that outlives its parameters.
pub(super) fn prover(engine: &EngineUnderTest) -> (Proxy, Handle) {
    let proxy = PROVER.on(engine).build().unwrap();
    let srs = proxy
        .call("srs_create", args![4])
        .unwrap()
        .handle()
        .unwrap();
    let bytes = proxy
        .call("srs_write", args![srs])
        .unwrap()
        .bytes()
        .unwrap();
    let copy = proxy
        .call("srs_read", args![&bytes])
        .unwrap()
        .handle()
        .unwrap();
    let index = proxy
        .call("index_create", args![copy, 0])
        .unwrap()
        .handle()
        .unwrap();
    proxy.call("srs_free", args![copy]).unwrap();
    (proxy, index)
}

/// A proof of a seeded witness: its bytes, after the guest has verified them.
pub(super) fn prove(
    proxy: &Proxy,
    index: Handle,
    witness: u64,
) -> Result<Vec<u8>, proxy_core::Error> {
    proxy.pinned(|pinned| {
        let proof = pinned.call("prove", args![index, witness])?.pointer()?;
        let bytes = pinned.call("proof_bytes", args![proof])?.bytes()?;
        pinned.call("proof_free", args![proof])?;
        let verified = pinned.call("verify", args![index, &bytes])?.i32()?;
        assert_eq!(verified, 1, "a proof that does not verify");
        Ok(bytes)
    })
}

/// A chain after 50 steps.
pub(super) fn chain(engine: &EngineUnderTest) -> Proxy {
    let proxy = CHAIN.on(engine).build().unwrap();
    proxy.call("set_leak_kib", args![1]).unwrap();
    for step in 0..50_u64 {
        proxy.call("step", args![step, step * step]).unwrap();
    }
    proxy
}

/// Stores with dependencies between objects, some of them freed. Returns a live store.
pub(super) fn kv(engine: &EngineUnderTest) -> (Proxy, Handle) {
    let proxy = KV.on(engine).build().unwrap();
    let create = || {
        proxy
            .call("store_create", args![])
            .unwrap()
            .handle()
            .unwrap()
    };
    let (one, other, gone) = (create(), create(), create());
    for number in 0..20_u8 {
        let value = vec![number; usize::from(number) * 100];
        proxy
            .call("put", args![one, [number].as_slice(), &value])
            .unwrap();
        proxy
            .call("put", args![gone, [number].as_slice(), &value])
            .unwrap();
    }
    proxy
        .call("put", args![other, b"key".as_slice(), b"value".as_slice()])
        .unwrap();
    proxy.call("merge", args![one, other]).unwrap();
    proxy.call("delete", args![one, [3].as_slice()]).unwrap();
    let snapshot = proxy
        .call("snapshot_create", args![one])
        .unwrap()
        .handle()
        .unwrap();
    proxy
        .call("view_create", args![other, b"k".as_slice()])
        .unwrap();
    proxy.call("snapshot_free", args![snapshot]).unwrap();
    proxy.call("store_free", args![gone]).unwrap();
    (proxy, one)
}
