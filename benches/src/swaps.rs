//! How long a standby takes and how long a swap pauses, against the size of the state and the length of the journal, by
//! replay and from a checkpoint, with what others do for the same state beside it.
//!
//! Times are on the wall. A sample in whose middle the system put the thread aside for another process (an involuntary
//! context switch) says nothing about the proxy: it is counted, and left out.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use engine_api::{Imports, Limits};
use hdrhistogram::Histogram;
use proxy_core::{CheckpointPolicy, Proxy, Source, Supervisor, args};
use serde::Serialize;

use crate::engines::Column;
use crate::guests::Guest;

/// Sizes of the state in MiB.
pub const SIZES: [i32; 5] = [1, 16, 64, 256, 512];

/// Lengths of the journal in entries.
pub const LENGTHS: [i32; 3] = [10, 1_000, 100_000];

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Swaps from a checkpoint for each row.
    pub checkpointed: u32,
    /// Swaps by replay for each row.
    pub replayed: u32,
    /// Samples of everything else.
    pub others: u32,
}

/// Percentiles of one thing measured, in nanoseconds.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Samples that count.
    pub samples: u64,
    /// Samples that were put aside by the system, and left out.
    pub put_aside: u64,
    /// The median.
    pub p50: u64,
    /// 99 of 100 are at most this.
    pub p99: u64,
    /// 999 of 1,000 are at most this.
    pub p999: u64,
    /// The largest.
    pub max: u64,
}

/// One cell of the tables.
#[derive(Clone, Debug, Serialize)]
pub struct Cell {
    /// As in `wasmtime.cranelift`.
    pub engine: String,
    /// `prepare`, `pause`, `compile`, `load`, `instantiate`, `proof`, `wizer` or `memcpy`.
    pub what: &'static str,
    /// `checkpoint` or `replay` for `prepare` and `pause`.
    pub source: Option<&'static str>,
    /// MiB of state, if that is what varies.
    pub mib: Option<i32>,
    /// Entries of the journal, if that is what varies.
    pub entries: Option<i32>,
    /// What was measured.
    pub summary: Summary,
}

/// Ten minutes: what takes longer is counted as this.
const LONGEST_NS: u64 = 600_000_000_000;

struct Samples {
    taken: Histogram<u64>,
    put_aside: u64,
}

impl Samples {
    fn new() -> Self {
        Self {
            taken: Histogram::new_with_bounds(1, LONGEST_NS, 3).expect("three digits are fine"),
            put_aside: 0,
        }
    }

    /// Times `run`, and counts it if the thread ran all the while.
    fn time<T>(&mut self, run: impl FnOnce() -> T) -> T {
        let before = put_aside();
        let started = Instant::now();
        let result = run();
        self.note(started.elapsed(), before);
        result
    }

    fn note(&mut self, took: Duration, before: u64) {
        if put_aside() == before {
            self.taken
                .saturating_record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        } else {
            self.put_aside += 1;
        }
    }

    fn summary(&self) -> Summary {
        Summary {
            samples: self.taken.len(),
            put_aside: self.put_aside,
            p50: self.taken.value_at_quantile(0.5),
            p99: self.taken.value_at_quantile(0.99),
            p999: self.taken.value_at_quantile(0.999),
            max: self.taken.max(),
        }
    }
}

/// How often this thread was put aside against its will.
fn put_aside() -> u64 {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("nonvoluntary_ctxt_switches:"));
    line.and_then(|count| count.trim().parse().ok())
        .unwrap_or(0)
}

/// Measures one engine, and tells `done` each cell as it comes.
///
/// # Errors
///
/// The engine's or the proxy's.
pub fn measure(column: Column, effort: Effort, mut done: impl FnMut(Cell)) -> anyhow::Result<()> {
    let cell = |what, samples: &Samples| Cell {
        engine: column.name.to_owned(),
        what,
        source: None,
        mib: None,
        entries: None,
        summary: samples.summary(),
    };
    for (what, samples) in modules(column, effort)? {
        done(cell(what, &samples));
    }
    done(cell("proof", &proofs(column, effort)?));
    let state = Guest::state();
    let engine = column.engine();
    let module = engine.compile(&state.wasm)?;
    let axes = SIZES
        .map(|mib| (Some(mib), None))
        .into_iter()
        .chain(LENGTHS.map(|entries| (None, Some(entries))));
    for (mib, entries) in axes {
        for is_checkpointed in [true, false] {
            let proxy = Proxy::builder(Arc::clone(&engine))
                .module(state.wasm.clone())
                .compiled(Arc::clone(&module))
                .policy(state.policy.clone())
                .checkpoints(if is_checkpointed {
                    CheckpointPolicy {
                        verify_every: 0,
                        ..CheckpointPolicy::default()
                    }
                } else {
                    CheckpointPolicy::off()
                })
                .build()?;
            fill(&proxy, mib, entries)?;
            let (prepare, pause) = swaps(&proxy, is_checkpointed, effort)?;
            for (what, samples) in [("prepare", &prepare), ("pause", &pause)] {
                done(Cell {
                    source: Some(if is_checkpointed {
                        "checkpoint"
                    } else {
                        "replay"
                    }),
                    mib,
                    entries,
                    ..cell(what, samples)
                });
            }
        }
    }
    Ok(())
}

/// A state of one entry for each MiB, or of entries that count.
fn fill(proxy: &Proxy, mib: Option<i32>, entries: Option<i32>) -> anyhow::Result<()> {
    for _ in 0..mib.unwrap_or(0) {
        proxy.call("fill_mib", args![1])?;
    }
    let count = proxy.typed::<(), i32>("count")?;
    for _ in 0..entries.unwrap_or(0) {
        count.call(())?;
    }
    Ok(())
}

/// Swaps of a proxy whose old generations a reaper frees, as they happen in operation.
fn swaps(
    proxy: &Proxy,
    is_checkpointed: bool,
    effort: Effort,
) -> anyhow::Result<(Samples, Samples)> {
    let supervisor = Supervisor::start(proxy, Duration::from_hours(1))?;
    let (mut prepare, mut pause) = (Samples::new(), Samples::new());
    if is_checkpointed {
        proxy.checkpoint()?;
    }
    let rounds = if is_checkpointed {
        effort.checkpointed
    } else {
        effort.replayed
    };
    for _ in 0..rounds {
        // What the reaper still frees would be waited for.
        while proxy.debug_info().generations_alive > 1 {
            std::thread::yield_now();
        }
        let prepared = prepare.time(|| proxy.prepare_standby())?;
        anyhow::ensure!(
            matches!(prepared.source, Source::Checkpoint(_)) == is_checkpointed,
            "the standby was made by {}",
            prepared.source
        );
        let before = put_aside();
        let swapped = proxy.swap()?;
        pause.note(swapped.pause, before);
    }
    drop(supervisor);
    anyhow::ensure!(proxy.shutdown(), "the proxy is not used any more");
    Ok((prepare, pause))
}

/// Compiling, loading and instantiating the prover.
fn modules(column: Column, effort: Effort) -> anyhow::Result<Vec<(&'static str, Samples)>> {
    let guest = Guest::prover();
    let engine = column.engine();
    let (mut compile, mut load, mut instantiate) = (Samples::new(), Samples::new(), Samples::new());
    for _ in 0..effort.replayed.min(5) {
        compile.time(|| engine.compile(&guest.wasm))?;
    }
    let module = engine.compile(&guest.wasm)?;
    let artifact = module.artifact()?;
    for _ in 0..effort.others.min(50) {
        load.time(|| engine.load(&guest.wasm, &artifact))?;
    }
    for _ in 0..effort.others {
        instantiate.time(|| module.instantiate(&Imports::new(), &Limits::default()))?;
    }
    Ok(vec![
        ("compile", compile),
        ("load", load),
        ("instantiate", instantiate),
    ])
}

/// Proofs of the prover through the proxy.
fn proofs(column: Column, effort: Effort) -> anyhow::Result<Samples> {
    let proxy = column.proxy(&Guest::prover());
    let srs = proxy.call("srs_create", args![4])?.handle()?;
    let index = proxy.call("index_create", args![srs, 0])?.handle()?;
    let mut proof = Samples::new();
    for witness in 0..effort.others.min(30) {
        proof.time(|| {
            proxy.pinned(|pinned| {
                let proof = pinned
                    .call("prove", args![index, u64::from(witness)])?
                    .pointer()?;
                pinned.call("proof_free", args![proof]).map(drop)
            })
        })?;
    }
    Ok(proof)
}

/// What others do for a state of each size: a module that Wizer has initialised, instantiated on wasmtime, whose images are
/// mapped copy-on-write too; and a copy of the memory.
///
/// # Errors
///
/// Wizer's or wasmtime's.
#[cfg(feature = "wasmtime")]
pub fn peers(effort: Effort, mut done: impl FnMut(Cell)) -> anyhow::Result<()> {
    use std::hint::black_box;

    use anyhow::Context;
    use engine_api::{Engine, Module};

    let engine: Arc<dyn Engine> = Arc::new(engine_wasmtime::Wasmtime::cranelift()?);
    for mib in SIZES {
        let wasm = crate::wizer::initialised(&Guest::state().wasm, mib)
            .with_context(|| format!("initialise {mib} MiB"))?;
        let module: Arc<dyn Module> = engine.compile(&wasm)?;
        drop(wasm);
        let mut instantiate = Samples::new();
        for _ in 0..effort.checkpointed {
            instantiate.time(|| module.instantiate(&Imports::new(), &Limits::default()))?;
        }
        let bytes = usize::try_from(mib)? << 20;
        let from = vec![7_u8; bytes];
        let mut memcpy = Samples::new();
        for _ in 0..effort.replayed {
            // A fresh place each time, as a new instance has.
            drop(memcpy.time(|| black_box(black_box(&from).clone())));
        }
        for (what, engine, samples) in [
            ("wizer", "wasmtime.cranelift", &instantiate),
            ("memcpy", "-", &memcpy),
        ] {
            done(Cell {
                engine: engine.to_owned(),
                what,
                source: None,
                mib: Some(mib),
                entries: None,
                summary: samples.summary(),
            });
        }
    }
    Ok(())
}
