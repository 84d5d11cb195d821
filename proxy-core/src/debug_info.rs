//! The state of a proxy, for debugging.

use std::fmt;

use engine_api::EngineId;

use crate::memory::mib;
use crate::{
    ArtifactUsage, Checkpointed, Cut, Divergence, History, SequenceNumber, SwapState, Swapped,
};

/// The state of a proxy at one moment. Getting it waits for no call and no preparation. Sizes are
/// in bytes.
///
/// ```
/// # #[path = "../tests/fake/proxied.rs"] mod fake;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let proxy = fake::counter_proxy()?;
/// use proxy_core::{SwapState, args};
///
/// proxy.call("counter_new", args![])?;
/// let info = proxy.debug_info();
/// assert_eq!((info.journal_entries, info.objects, info.swaps), (1, 1, 0));
/// assert_eq!(info.state, SwapState::Idle);
/// println!("{info}");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct DebugInfo {
    /// The proxy's name in metrics.
    pub name: String,
    /// The engine of the active generation.
    pub engine: EngineId,
    /// Whether the proxy prepares and swaps.
    pub enabled: bool,
    /// Where it is between one swap and the next.
    pub state: SwapState,
    /// The number of the active generation.
    pub generation: u64,
    /// Why the active generation's state is lost, if it is: the next call rebuilds it.
    pub tainted: Option<String>,
    /// Generations that have memory.
    pub generations_alive: usize,
    /// The size of the active generation's memories after its last call.
    pub memory: u64,
    /// The active generation's memory limit.
    pub memory_limit: u64,
    /// What all generations, the journal and what waits for its store take in memory together.
    pub total_memory: u64,
    /// What they may take, if that is bounded.
    pub total_memory_limit: Option<u64>,
    /// The size of the active generation when it took over.
    pub memory_baseline: u64,
    /// The memory that every generation takes again soon after it took over. It is no leak.
    pub working_set: u64,
    /// Whether the size of the memories tells how full they are. It does not if they begin at their
    /// limit.
    pub sees_growth: bool,
    /// How far the guest's stack pointer has come down between calls, in bytes.
    pub stack_drift: u64,
    /// The size of the standby, if there is one.
    pub standby_memory: Option<u64>,
    /// The largest growth of a recent single call.
    pub largest_growth: u64,
    /// Growth, in bytes per second.
    pub growth_rate: f64,
    /// Entries in the journal.
    pub journal_entries: usize,
    /// What they take in memory.
    pub journal_bytes: u64,
    /// Bytes of records that wait for the store of the journal, if there is one.
    pub journal_backlog: u64,
    /// Journaled calls that are under way on the way to that store.
    pub journal_callers: usize,
    /// How much of the past is kept.
    pub history: History,
    /// With [`History::Checkpoint`]: the newest entry in the checkpoint that has taken the place of
    /// older entries, if one has.
    pub history_base: Option<SequenceNumber>,
    /// How often one has.
    pub history_folds: u64,
    /// The newest entry.
    pub journal_last: SequenceNumber,
    /// Live objects.
    pub objects: usize,
    /// Swaps so far, emergencies included.
    pub swaps: u64,
    /// Swaps because a generation died.
    pub emergencies: u64,
    /// Entries replayed and found equal.
    pub entries_verified: u64,
    /// Objects that replays made from artifacts instead of computing them again.
    pub artifacts_imported: u64,
    /// The size of the artifact store, for all the proxies that share it.
    pub artifacts: ArtifactUsage,
    /// Calls that were answered from the artifact store.
    pub artifact_hits: u64,
    /// Artifacts that made a different object than the call, or ended the instance. They are not
    /// used again.
    pub artifact_refusals: u64,
    /// Artifacts that could not be read or kept.
    pub artifact_faults: u64,
    /// Replays that differed from the original.
    pub divergences: u64,
    /// Swaps that were not made because the policy's state digest differed.
    pub state_differences: u64,
    /// The entry that keeps a standby from being made, if one does.
    pub divergence: Option<Divergence>,
    /// The entries whose divergence was settled, oldest first.
    pub cuts: Vec<Cut>,
    /// Calls repeated on a clean generation.
    pub retries: u64,
    /// Calls near the memory limit that waited for a swap, at most for the bound.
    pub held_back: u64,
    /// Calls that waited, at most for the same bound, for a checkpoint to take the place of entries:
    /// the journal was twice as long as it is when a fold is due.
    pub held_for_fold: u64,
    /// Acknowledged calls of [`Durability::Relaxed`](crate::Durability::Relaxed) whose entries the
    /// store never took.
    pub calls_lost: u64,
    /// The turns that are open.
    pub open_turns: usize,
    /// How many of them a swap waits for that is due. No further turn begins then.
    pub turns_before_swap: Option<usize>,
    /// Preparations that failed in a row.
    pub failures: u32,
    /// The last error of a preparation or swap.
    pub last_error: Option<String>,
    /// The live state alone exceeds the warning threshold.
    pub state_exceeds_budget: bool,
    /// The last swap.
    pub last_swap: Option<Swapped>,
    /// The newest checkpoint, if there is one.
    pub checkpoint: Option<Checkpointed>,
    /// Standbys made from it since it was last compared with a replay from nothing.
    pub checkpoint_uses: u32,
    /// Checkpoints that differed from a replay.
    pub checkpoints_rejected: u64,
    /// Why no checkpoints are taken of this module, in words; none if they are.
    pub checkpoint_obstacles: Vec<String>,
}

impl DebugInfo {
    fn write_total(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(limit) = self.total_memory_limit {
            let (total, limit) = (mib(self.total_memory), mib(limit));
            write!(f, "\nin total: {total:.1} of {limit:.1} MiB")?;
        }
        Ok(())
    }

    fn write_turns(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.open_turns, self.turns_before_swap) {
            (0, _) => Ok(()),
            (open, None) => write!(f, "; {open} open turns"),
            (open, Some(_)) => write!(f, "; {open} open turns, for which a swap waits"),
        }
    }
}

impl fmt::Display for DebugInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = if self.enabled {
            "on"
        } else {
            "off (passthrough)"
        };
        writeln!(
            f,
            "proxy `{}` on {}: {mode}, {}",
            self.name, self.engine, self.state
        )?;
        writeln!(
            f,
            "generation {}{}: {:.1} of {:.1} MiB, baseline {:.1} and {:.1} at work, growing {:.2} MiB/s, by up to \
             {:.2} MiB in a call",
            self.generation,
            self.tainted
                .as_ref()
                .map_or_else(String::new, |cause| format!(" (lost: {cause})")),
            mib(self.memory),
            mib(self.memory_limit),
            mib(self.memory_baseline),
            mib(self.working_set),
            self.growth_rate / crate::memory::MIB,
            mib(self.largest_growth),
        )?;
        if let Some(bytes) = self.standby_memory {
            writeln!(f, "standby: {:.1} MiB", mib(bytes))?;
        }
        writeln!(
            f,
            "journal: {} entries up to {}, {} live objects; {} entries verified, {} divergences",
            self.journal_entries,
            self.journal_last,
            self.objects,
            self.entries_verified,
            self.divergences
        )?;
        write!(
            f,
            "swaps: {}, {} of them emergencies; {} retries, {} calls held back; {} generations alive",
            self.swaps, self.emergencies, self.retries, self.held_back, self.generations_alive
        )?;
        self.write_turns(f)?;
        self.write_total(f)?;
        if self.journal_callers > 0 || self.journal_backlog > 0 {
            write!(
                f,
                "\njournal's store: {} calls under way, {:.1} MiB wait for a flush",
                self.journal_callers,
                mib(self.journal_backlog)
            )?;
        }
        if let Some(base) = self.history_base {
            write!(
                f,
                "\nhistory: a checkpoint has the entries up to {base}, after {} folds",
                self.history_folds
            )?;
        }
        if self.artifacts.contents > 0 || self.artifacts.directory_bytes.is_some() {
            let (used, refused) = (self.artifact_hits, self.artifact_refusals);
            write!(
                f,
                "\nartifacts: {} of {:.1} MiB; {} replays and {used} calls used one, {refused} were \
                 refused, {} unusable",
                self.artifacts.contents,
                mib(self.artifacts.bytes),
                self.artifacts_imported,
                self.artifact_faults,
            )?;
        }
        if let Some(swap) = &self.last_swap {
            write!(
                f,
                "\nlast swap ({}): prepared in {:.1?}, pause {:.1?}, {:.1} -> {:.1} MiB",
                swap.reason.name(),
                swap.prepare,
                swap.pause,
                mib(swap.memory_before),
                mib(swap.memory_after)
            )?;
        }
        if self.state_exceeds_budget {
            write!(
                f,
                "\nstate exceeds budget: free objects or raise the memory limit"
            )?;
        }
        for cut in &self.cuts {
            write!(f, "\ncut: {cut}")?;
        }
        if let Some(divergence) = &self.divergence {
            write!(f, "\nno standby can be made: {divergence}")?;
        }
        if let Some(error) = &self.last_error {
            write!(f, "\nlast error, after {} failures: {error}", self.failures)?;
        }
        Ok(())
    }
}
