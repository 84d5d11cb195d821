//! How long a standby takes and how long a swap pauses, against the size of the state and the
//! length of the journal, by replay and from a checkpoint. Peers do the same for the same state:
//! Wizer, and a copy of the memory.
//!
//! Times are wall-clock times. If the system put the thread aside for another process during a
//! sample (an involuntary context switch), the sample says nothing about the proxy: it is counted
//! and left out.

mod figures;
#[cfg(feature = "wasmtime")]
mod peers;
mod tables;
#[cfg(feature = "wasmtime")]
mod wizer;

use std::sync::Arc;
use std::time::{Duration, Instant};

use comparison::Origin;
use engine_api::{Imports, Limits};
use hdrhistogram::Histogram;
use proxy_core::{CheckpointPolicy, Proxy, Source, Supervisor, args};
use serde::{Deserialize, Serialize};

use crate::engines::Column;
use crate::guests::GuestModule;
use crate::results::put_aside;

/// Sizes of the state in MiB.
pub const SIZES: [i32; 5] = [1, 16, 64, 256, 512];

/// Lengths of the journal in entries.
pub const LENGTHS: [i32; 3] = [10, 1_000, 100_000];

/// The numbers of samples.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Swaps from a checkpoint for each row.
    pub checkpointed: u32,
    /// Swaps by replay for each row.
    pub replayed: u32,
    /// Samples of everything else.
    pub others: u32,
}

impl Effort {
    /// For the tables: about a minute for all engines.
    pub const FULL: Self = Self {
        checkpointed: 2_000,
        replayed: 5,
        others: 1_000,
    };

    /// Enough to see that it works.
    pub const QUICK: Self = Self {
        checkpointed: 50,
        replayed: 2,
        others: 20,
    };
}

/// All measurements. The JSON form has the same fields, and `docs/benchmarks.md` describes it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Swaps {
    /// The origin of the figures.
    #[serde(flatten)]
    pub origin: Origin,
    /// One cell for each engine, measurement, and size or length.
    pub cells: Vec<Cell>,
}

/// Percentiles of one measurement, in nanoseconds.
#[derive(Clone, Debug, Serialize, Deserialize)]
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

/// A measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// A standby, until it is ready.
    Prepare,
    /// A swap, for as long as calls wait for it.
    Pause,
    /// The prover, from the binary format to machine code.
    Compile,
    /// The same, from the precompiled module.
    Load,
    /// The same, from machine code to an instance.
    Instantiate,
    /// A proof through the proxy.
    Proof,
    /// An instance of a module that Wizer made.
    Wizer,
    /// A copy of the memory.
    Memcpy,
}

/// The source of a standby.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// A checkpoint.
    Checkpoint,
    /// The journal alone.
    Replay,
}

impl By {
    /// Both, in the order of the tables.
    pub const ALL: [Self; 2] = [Self::Checkpoint, Self::Replay];
}

/// One cell of the tables.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Cell {
    /// The name of the engine; `None` where no engine takes part.
    pub engine: Option<String>,
    /// The measurement.
    pub what: What,
    /// The source of the standby, for `prepare` and `pause`.
    pub by: Option<By>,
    /// MiB of state, if the size varies.
    pub mib: Option<i32>,
    /// Entries of the journal, if its length varies.
    pub entries: Option<i32>,
    /// The percentiles.
    pub summary: Summary,
}

impl Swaps {
    /// The engines, in the order in which they were measured.
    fn engines(&self) -> Vec<&str> {
        let mut engines = Vec::new();
        for cell in self.cells.iter().filter(|cell| cell.by.is_some()) {
            engines.extend(cell.engine.as_deref());
        }
        engines.dedup();
        engines
    }

    /// The cells of one line: a measurement, from a source, on an engine.
    fn line<'a>(
        &'a self,
        what: What,
        by: Option<By>,
        engine: Option<&'a str>,
    ) -> impl Iterator<Item = &'a Cell> {
        self.cells.iter().filter(move |cell| {
            let is_there = engine.is_none() || cell.engine.as_deref() == engine;
            is_there && (cell.what, cell.by) == (what, by)
        })
    }
}

/// Ten minutes; longer times count as this.
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
        self.note(started.elapsed(), put_aside() != before);
        result
    }

    fn note(&mut self, took: Duration, was_put_aside: bool) {
        if was_put_aside {
            self.put_aside += 1;
        } else {
            self.taken
                .saturating_record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
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

/// Measures the peers and these engines. `on_progress` gets a line about the next step.
///
/// # Errors
///
/// An engine's, the proxy's, or Wizer's.
pub fn measure(
    columns: &[Column],
    effort: Effort,
    origin: Origin,
    on_progress: &mut dyn FnMut(&str),
) -> anyhow::Result<Swaps> {
    let mut cells = Vec::new();
    #[cfg(feature = "wasmtime")]
    {
        on_progress("swaps, the peers");
        peers::measure(effort, &mut cells)?;
    }
    for column in columns {
        on_progress(&format!("swaps, {}", column.name));
        engine(*column, effort, &mut cells)?;
    }
    Ok(Swaps { origin, cells })
}

fn engine(column: Column, effort: Effort, cells: &mut Vec<Cell>) -> anyhow::Result<()> {
    let cell = |what, samples: &Samples| Cell {
        engine: Some(column.name.to_owned()),
        what,
        by: None,
        mib: None,
        entries: None,
        summary: samples.summary(),
    };
    for (what, samples) in modules(column, effort)? {
        cells.push(cell(what, &samples));
    }
    cells.push(cell(What::Proof, &proofs(column, effort)?));
    let state = GuestModule::state();
    let engine = column.engine();
    let module = engine.compile(&state.wasm)?;
    let axes = SIZES
        .map(|mib| (Some(mib), None))
        .into_iter()
        .chain(LENGTHS.map(|entries| (None, Some(entries))));
    for (mib, entries) in axes {
        for by in By::ALL {
            let proxy = Proxy::builder(Arc::clone(&engine))
                .module(state.wasm.clone())
                .compiled(Arc::clone(&module))
                .policy(state.policy.clone())
                .checkpoints(match by {
                    By::Checkpoint => CheckpointPolicy {
                        verify_every: 0,
                        ..CheckpointPolicy::default()
                    },
                    By::Replay => CheckpointPolicy::off(),
                })
                .build()?;
            fill(&proxy, mib, entries)?;
            let (prepare, pause) = swaps(&proxy, by, effort)?;
            for (what, samples) in [(What::Prepare, &prepare), (What::Pause, &pause)] {
                cells.push(Cell {
                    by: Some(by),
                    mib,
                    entries,
                    ..cell(what, samples)
                });
            }
        }
    }
    Ok(())
}

/// A state of one entry for each MiB, or of entries that only count.
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
fn swaps(proxy: &Proxy, by: By, effort: Effort) -> anyhow::Result<(Samples, Samples)> {
    let supervisor = Supervisor::start(proxy, Duration::from_hours(1))?;
    let (mut prepare, mut pause) = (Samples::new(), Samples::new());
    let rounds = match by {
        By::Checkpoint => {
            proxy.checkpoint()?;
            effort.checkpointed
        }
        By::Replay => effort.replayed,
    };
    for _ in 0..rounds {
        // Otherwise the preparation would wait for a generation that the reaper still frees.
        while proxy.debug_info().generations_alive > 1 {
            std::thread::yield_now();
        }
        let prepared = prepare.time(|| proxy.prepare_standby())?;
        anyhow::ensure!(
            matches!(prepared.source, Source::Checkpoint(_)) == (by == By::Checkpoint),
            "the standby was made by {}",
            prepared.source
        );
        let before = put_aside();
        let swapped = proxy.swap()?;
        pause.note(swapped.pause, put_aside() != before);
    }
    drop(supervisor);
    anyhow::ensure!(proxy.shutdown(), "the proxy is not used any more");
    Ok((prepare, pause))
}

/// Compiling, loading and instantiating the prover.
fn modules(column: Column, effort: Effort) -> anyhow::Result<[(What, Samples); 3]> {
    let guest = GuestModule::prover();
    let engine = column.engine();
    let (mut compile, mut load, mut instantiate) = (Samples::new(), Samples::new(), Samples::new());
    for _ in 0..effort.replayed.min(5) {
        compile.time(|| engine.compile(&guest.wasm))?;
    }
    let module = engine.compile(&guest.wasm)?;
    let precompiled = module.precompiled()?;
    for _ in 0..effort.others.min(50) {
        load.time(|| engine.load(&guest.wasm, &precompiled))?;
    }
    for _ in 0..effort.others {
        instantiate.time(|| module.instantiate(&Imports::new(), &Limits::default()))?;
    }
    Ok([
        (What::Compile, compile),
        (What::Load, load),
        (What::Instantiate, instantiate),
    ])
}

/// Proofs of the prover through the proxy.
fn proofs(column: Column, effort: Effort) -> anyhow::Result<Samples> {
    let proxy = column.proxy(&GuestModule::prover());
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// One engine, with medians that tell the cells apart.
    fn measured() -> Swaps {
        let mut cells = Vec::new();
        for (what, by, mib, entries) in [
            (What::Prepare, Some(By::Checkpoint), Some(1), None),
            (What::Prepare, Some(By::Checkpoint), Some(512), None),
            (What::Prepare, Some(By::Replay), None, Some(10)),
            (What::Pause, Some(By::Replay), Some(16), None),
            (What::Load, None, None, None),
            (What::Wizer, None, Some(64), None),
        ] {
            let mut samples = Samples::new();
            samples.note(Duration::from_nanos(100), false);
            cells.push(Cell {
                engine: Some("e".to_owned()),
                what,
                by,
                mib,
                entries,
                summary: samples.summary(),
            });
        }
        for (cell, p50) in cells.iter_mut().zip(101..) {
            cell.summary.p50 = p50;
        }
        Swaps {
            origin: Origin::now("c".to_owned(), BTreeMap::new()),
            cells,
        }
    }

    #[test]
    fn each_cell_is_in_its_row() {
        let tables = measured().markdown();
        for row in [
            "| 1 MiB, checkpoint | 101 ns / 100 ns |",
            "| 512 MiB, checkpoint | 102 ns / 100 ns |",
            "| 10 entries, replay | 103 ns / 100 ns |",
            "| 16 MiB, replay | 104 ns / 100 ns |",
            "| load | 105 ns |",
            "|  |  | 106 ns / 100 ns |  |  |",
        ] {
            assert!(tables.contains(row), "no {row} in\n{tables}");
        }
    }

    #[test]
    fn the_json_gives_the_same_tables_and_plots() {
        let measured = measured();
        let json = serde_json::to_string(&measured).unwrap();
        let read: Swaps = serde_json::from_str(&json).unwrap();
        assert_eq!(read.markdown(), measured.markdown());
        let [figure] = &read.figures()[..] else {
            panic!("one figure");
        };
        assert_eq!(figure, &measured.figures()[0]);
        assert!(figure.svg.contains("Wizer"));
    }

    #[test]
    fn what_the_system_put_aside_is_counted_apart() {
        let mut samples = Samples::new();
        samples.note(Duration::from_secs(1), true);
        samples.note(Duration::from_micros(2), false);
        let summary = samples.summary();
        assert_eq!((summary.samples, summary.put_aside), (1, 1));
        assert!((1_990..2_010).contains(&summary.max));
    }
}
