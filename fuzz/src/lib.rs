//! What must hold whatever bytes are read: they are taken, or refused with an error. Nothing panics,
//! and nothing is served that was not written.
//!
//! Each target takes bytes. `fuzz/run.sh` looks for such that break it, by coverage, as does
//! `cargo fuzz run TARGET --features libfuzzer`, and `tests/smoke.rs` tries a few thousand on every
//! run. [`seeds`] are good inputs to begin with.

#[path = "../../proxy-core/tests/fake/mod.rs"]
mod fake;
mod files;
mod lifecycle;

use std::sync::Arc;

use proxy_core::{
    Durability, Flush, Identity, JournalStore, MemoryJournal, Policy, Position, Proxy,
};

use fake::{COUNTER_POLICY, FakeEngine, Script};

pub use files::{checkpoint, journal};
pub use lifecycle::lifecycle;

/// The records of a journal: bytes in pieces, each with its length in two bytes before it. A proxy
/// opens the journal, or says why not.
pub fn records(bytes: &[u8]) {
    let engine = FakeEngine::counter();
    let store = MemoryJournal::new(identity());
    let pieces = pieces(bytes);
    let head = store.head().expect("it is new");
    let appended = store.append(head.epoch, head.position, &pieces, Flush::Now);
    appended.expect("it has room");
    let Ok(proxy) = open(&engine, &store.reopen()) else {
        return;
    };
    // What it has taken, it must take again.
    let digests = proxy.journal_digests();
    drop(proxy);
    let proxy = open(&engine, &store.reopen()).expect("it was opened before");
    assert_eq!(proxy.journal_digests(), digests);
}

/// A policy: it is refused, or says the same after it was written down.
pub fn policy(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let Ok(policy) = text.parse::<Policy>() else {
        return;
    };
    let written = policy.to_toml();
    let again: Policy = written.parse().expect("what was written can be read");
    assert_eq!(again.to_toml(), written);
    // It fits the module, or is refused.
    let proxy = Proxy::builder(FakeEngine::counter())
        .module(fake::counter_wasm())
        .policy(policy);
    drop(proxy.build());
}

/// A workload, which is bound to a module if it can be read.
pub fn workload(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let Ok(workload) = workload::Workload::parse("fuzz", text) else {
        return;
    };
    let proxy = Proxy::builder(FakeEngine::counter())
        .module(fake::counter_wasm())
        .policy(COUNTER_POLICY.parse().expect("it is well-formed"))
        .build();
    let proxy = proxy.expect("it is sound");
    let bound = workload.bind(&|export| proxy.export(export), false);
    drop(bound);
    assert!(workload.calls() > 0, "it has steps");
}

/// Good inputs for each target.
#[must_use]
pub fn seeds(target: &str) -> Vec<Vec<u8>> {
    match target {
        "records" => vec![written_records()],
        "journal" | "checkpoint" | "lifecycle" => files::seeds(target),
        "policy" => vec![COUNTER_POLICY.into()],
        "workload" => vec![WORKLOAD.into()],
        _ => Vec::new(),
    }
}

const WORKLOAD: &str = r#"{"call":"counter_new","as":"c"}
{"call":"counter_add","args":[{"handle":"c"},5]}
{"repeat":3,"do":[{"call":"counter_value","args":[{"handle":"c"}],"expect":5}]}
{"call":"counter_free","args":[{"handle":"c"}]}
"#;

fn identity() -> Identity {
    let policy: Policy = COUNTER_POLICY.parse().expect("it is well-formed");
    Identity::of(&fake::counter_wasm(), &policy).expect("it can be written")
}

fn open(engine: &FakeEngine, store: &MemoryJournal) -> Result<Proxy, proxy_core::Error> {
    let shared: Arc<dyn JournalStore> = Arc::new(store.clone());
    builder(engine, shared).build()
}

fn builder(engine: &FakeEngine, store: Arc<dyn JournalStore>) -> proxy_core::Builder {
    Proxy::builder(engine.clone())
        .module(Script::counter().wasm())
        .policy(COUNTER_POLICY.parse().expect("it is well-formed"))
        .journal(store, Durability::Durable)
}

/// The records of a journal of a few calls, as [`records`] takes them.
fn written_records() -> Vec<u8> {
    let store = MemoryJournal::new(identity());
    let proxy = open(&FakeEngine::counter(), &store).expect("it is sound");
    files::some_calls(&proxy);
    drop(proxy);
    let records = store.read_after(Position::ZERO, usize::MAX);
    let records = records.expect("it runs");
    let mut bytes = Vec::new();
    for record in records {
        let len = u16::try_from(record.bytes.len()).expect("they are short");
        bytes.extend(len.to_le_bytes());
        bytes.extend(record.bytes);
    }
    bytes
}

/// Cuts bytes into pieces. The last may be shorter than its length says.
fn pieces(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    while let Some((len, rest)) = bytes.split_first_chunk() {
        let len = usize::from(u16::from_le_bytes(*len)).min(rest.len());
        let (piece, rest) = rest.split_at(len);
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}
