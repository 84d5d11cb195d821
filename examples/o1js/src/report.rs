//! The report of a run.

use std::fmt;
use std::time::Duration;

use proxy_core::{Prepared, Source};
use serde::Serialize;

/// A time, for reports.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize)]
pub(crate) struct Milliseconds(f64);

impl From<Duration> for Milliseconds {
    fn from(duration: Duration) -> Self {
        Self(duration.as_secs_f64() * 1000.0)
    }
}

/// A swap, with memory in bytes.
#[derive(Debug, Serialize)]
pub(crate) struct Swap {
    pub(crate) pause_us: f64,
    pub(crate) memory_before: u64,
    pub(crate) memory_after: u64,
}

/// The swap to another engine.
#[derive(Debug, Serialize)]
pub(crate) struct Moved {
    engine: String,
    from_checkpoint: bool,
    /// Whether a proof that was made there verifies.
    verified: bool,
}

impl Moved {
    pub(crate) fn new(engine: &str, prepared: &Prepared, verified: bool) -> Self {
        Self {
            engine: engine.to_owned(),
            from_checkpoint: matches!(prepared.source, Source::Checkpoint(_)),
            verified,
        }
    }
}

/// Threads and mappings of this process.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Process {
    threads: usize,
    mappings: usize,
}

impl Process {
    fn now() -> Self {
        let count = |path: &str| {
            std::fs::read_to_string(path)
                .unwrap_or_default()
                .lines()
                .count()
        };
        Self {
            threads: std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count),
            mappings: count("/proc/self/maps"),
        }
    }
}

/// The report of a run. Memory is in bytes.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    engine: String,
    compile_ms: f64,
    /// Exports that the walk visited.
    pub(crate) exports: Option<usize>,
    pub(crate) proofs: u32,
    pub(crate) failed: u32,
    unverified: u32,
    pub(crate) died_of: Option<String>,
    /// Creating the reference string.
    pub(crate) srs: Option<Milliseconds>,
    /// Reference strings that the first generation, and the replays, read instead of computing
    /// them.
    pub(crate) srs_read: (u64, u64),
    /// After the indexes were made.
    pub(crate) baseline: u64,
    /// At the end.
    pub(crate) memory: u64,
    pub(crate) swaps: Vec<Swap>,
    proof_ms_median: f64,
    pub(crate) compared_proxy: Vec<Milliseconds>,
    pub(crate) compared_bare: Vec<Milliseconds>,
    /// The median proof time behind the proxy, divided by that on a bare instance.
    proxy_to_bare: Option<f64>,
    /// Standbys made from a checkpoint.
    pub(crate) from_checkpoints: Vec<Milliseconds>,
    /// After each of them, a loop that takes as much time of a processor.
    pub(crate) loops: Vec<Milliseconds>,
    /// Standbys made by replay, and replays that were asked for.
    pub(crate) by_replay: Vec<Milliseconds>,
    pub(crate) moved: Option<Moved>,
    /// While the first generation and its pool exist.
    before: Process,
    /// After all generations were freed.
    after: Process,
    #[serde(skip)]
    times: Vec<Milliseconds>,
}

impl Report {
    pub(crate) fn new(engine: &str, compile: Duration) -> Self {
        Self {
            engine: engine.to_owned(),
            compile_ms: Milliseconds::from(compile).0,
            ..Self::default()
        }
    }

    /// Notes the memory and the process when one generation has all its lasting objects.
    pub(crate) fn begin(&mut self, memory: u64) {
        self.baseline = memory;
        self.before = Process::now();
    }

    pub(crate) fn proof(&mut self, took: Duration, verified: bool) {
        self.proofs += 1;
        self.unverified += u32::from(!verified);
        self.times.push(took.into());
    }

    /// Looks at the process for the last time, and sums up.
    pub(crate) fn end(&mut self) {
        self.after = Process::now();
        self.proof_ms_median = median(&self.times).unwrap_or(0.0);
        self.proxy_to_bare = median(&self.compared_proxy)
            .zip(median(&self.compared_bare))
            .map(|(proxy, bare)| proxy / bare);
    }

    pub(crate) fn is_success(&self) -> bool {
        let moved = self.moved.as_ref().is_none_or(|moved| moved.verified);
        self.failed == 0 && self.unverified == 0 && moved
    }
}

fn median(times: &[Milliseconds]) -> Option<f64> {
    percentile(times, 50)
}

/// The time that this many of 100 do not exceed.
fn percentile(times: &[Milliseconds], percent: usize) -> Option<f64> {
    let mut times: Vec<f64> = times.iter().map(|time| time.0).collect();
    times.sort_by(f64::total_cmp);
    let at = times.len() * percent / 100;
    times.get(at.min(times.len().saturating_sub(1))).copied()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        #[expect(clippy::cast_precision_loss, reason = "shown with two digits")]
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        writeln!(
            f,
            "{}: {} proofs, {} failed, {} do not verify; {:.1} ms in the median, compiled in {:.1} s",
            self.engine,
            self.proofs,
            self.failed,
            self.unverified,
            self.proof_ms_median,
            self.compile_ms / 1000.0
        )?;
        if let Some(exports) = self.exports {
            writeln!(f, "all {exports} exports are reached through the proxy")?;
        }
        if let Some(cause) = &self.died_of {
            writeln!(f, "the first failure: {cause}")?;
        }
        if let Some(srs) = self.srs {
            let (calls, replays) = self.srs_read;
            writeln!(
                f,
                "reference string in {:.0} ms; {calls} calls and {replays} replays read one",
                srs.0
            )?;
        }
        writeln!(
            f,
            "memory: {:.2} MiB after the indexes, {:.2} MiB at the end",
            mib(self.baseline),
            mib(self.memory)
        )?;
        if !self.swaps.is_empty() {
            let after = self.swaps.iter().map(|swap| mib(swap.memory_after));
            let (low, high) = after.fold((f64::MAX, 0.0_f64), |(low, high), mib| {
                (low.min(mib), high.max(mib))
            });
            let mut pauses: Vec<f64> = self.swaps.iter().map(|swap| swap.pause_us).collect();
            pauses.sort_by(f64::total_cmp);
            writeln!(
                f,
                "{} swaps, memory after each {low:.2} to {high:.2} MiB, pause {:.0} us in the median, \
                 {:.0} us at most",
                self.swaps.len(),
                pauses[pauses.len() / 2],
                pauses[pauses.len() - 1]
            )?;
        }
        if let Some(ratio) = self.proxy_to_bare {
            writeln!(
                f,
                "proof time behind the proxy: {ratio:.3} of that on a bare instance"
            )?;
        }
        for (what, times) in [
            ("standbys from a checkpoint", &self.from_checkpoints),
            ("loops of the same processor's time", &self.loops),
            ("standbys by replay", &self.by_replay),
        ] {
            if let (Some(p50), Some(p99)) = (percentile(times, 50), percentile(times, 99)) {
                let count = times.len();
                writeln!(
                    f,
                    "{count} {what}: {p50:.2} ms in the median, {p99:.2} ms at the 99th \
                     percentile"
                )?;
            }
        }
        if let Some(moved) = &self.moved {
            let source = if moved.from_checkpoint {
                "from the checkpoint"
            } else {
                "by replay"
            };
            let outcome = if moved.verified {
                "a proof verifies"
            } else {
                "a proof does not verify"
            };
            writeln!(f, "moved to {} {source}: {outcome}", moved.engine)?;
        }
        write!(
            f,
            "threads: {} with one generation, {} at the end; mappings: {}, {}",
            self.before.threads, self.after.threads, self.before.mappings, self.after.mappings
        )
    }
}
