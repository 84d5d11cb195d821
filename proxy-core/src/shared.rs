//! The common ground of calls and upkeep: facts that never change, and state that both of them
//! write.
//!
//! Nothing here knows the two owners, [`crate::data_plane`] and [`crate::upkeep`]. Each field that
//! is written has a lock of its own, held for moments, or none.

mod artifacts;
mod condemned;
mod exhaustion;
mod failure;
mod journal;
mod look;
mod objects;
mod pure_calls;
mod repetitions;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use engine_api::{EngineId, FuncIndex, GlobalIndex, ModuleInfo};

use crate::budget::Budget;
use crate::committer::Committer;
use crate::event::Event;
use crate::generation::{Exhaustion, Failure, Generation, RecordedInstance};
use crate::holding::Holding;
use crate::ledger::Ledger;
use crate::live_generations::LiveGenerations;
use crate::memory::mib;
use crate::open_turns::OpenTurns;
use crate::policy::plan::{ExportPlan, Plan};
use crate::reentrancy::Entered;
use crate::value::Arg;
use crate::wakeup::Wakeup;
use crate::{CallError, Divergence, Error, SequenceNumber, SwapTriggers};

pub(crate) use artifacts::{Artifacts, Recall};
pub(crate) use condemned::Condemned;
pub(crate) use exhaustion::Exhaustions;
pub(crate) use failure::Failed;
pub(crate) use journal::SharedJournal;
pub use objects::LiveObject;
pub(crate) use pure_calls::{PureCall, PureCalls, PureLog};
pub(crate) use repetitions::Repetitions;

/// The facts that never change.
pub(crate) struct Config {
    pub(crate) name: Arc<str>,
    pub(crate) info: Arc<ModuleInfo>,
    pub(crate) plan: Arc<Plan>,
    pub(crate) drain_timeout: Duration,
    /// The tag in the proxy's handles.
    pub(crate) tag: u32,
    /// The largest size that the engine and the module allow the memories, in bytes.
    pub(crate) memory_bytes_max: u64,
    /// Whether host functions exist that could call the proxy back.
    pub(crate) has_host_functions: bool,
    pub(crate) first_engine: EngineId,
    /// What generations and journal may take together, in bytes.
    pub(crate) total_bytes_max: Option<u64>,
    /// The global with the guest's stack pointer, if it is watched.
    pub(crate) stack_pointer: Option<GlobalIndex>,
    /// When to swap for another reason than the size of the memory.
    pub(crate) triggers: SwapTriggers,
    /// What a turn may remember of its raw calls, in bytes.
    pub(crate) turn_log_bytes_max: u64,
}

/// The state that calls and upkeep both use.
pub(crate) struct Shared {
    pub(crate) config: Config,
    /// `None` after the shutdown.
    pub(crate) active: ArcSwapOption<Generation>,
    pub(crate) journal: SharedJournal,
    pub(crate) condemned: Condemned,
    /// What appends the journal to a store, if there is one.
    pub(crate) committer: OnceLock<Committer>,
    pub(crate) artifacts: Artifacts,
    pub(crate) pure_calls: PureCalls,
    pub(crate) budget: Budget,
    /// Whether the guest's stack pointer was ever lower after a call than before it.
    pub(crate) drifts: AtomicBool,
    /// How far it may come down, in bytes, if there is a bound.
    pub(crate) stack_drift_max: AtomicU64,
    pub(crate) exhaustions: Exhaustions,
    /// The entry that kept the last standby from being made, until one is made or it is settled.
    pub(crate) divergence: Mutex<Option<Divergence>>,
    pub(crate) ledger: Ledger,
    pub(crate) wakeup: Wakeup,
    pub(crate) holding: Holding,
    pub(crate) open_turns: OpenTurns,
    pub(crate) live_generations: Arc<LiveGenerations>,
    pub(crate) enabled: AtomicBool,
}

impl Shared {
    pub(crate) fn plan_of(&self, name: &str) -> Result<&Arc<ExportPlan>, CallError> {
        self.config.plan.named(&self.config.info, name)
    }

    pub(crate) fn committer(&self) -> Option<&Committer> {
        self.committer.get()
    }

    pub(crate) fn is_enabled(&self) -> bool {
        self.enabled.load(Ordering::Acquire)
    }

    /// What the memories of all generations, the journal and what waits for its store take together,
    /// in bytes.
    pub(crate) fn total_bytes(&self) -> u64 {
        let waiting = self
            .committer()
            .map_or(0, |committer| committer.waiting().0);
        self.live_generations
            .memory_bytes()
            .saturating_add(self.journal.size.bytes())
            .saturating_add(waiting)
    }

    /// Refuses to take `more` bytes of the total.
    ///
    /// # Errors
    ///
    /// [`Error::TotalMemory`].
    pub(crate) fn check_total(&self, more: u64) -> Result<(), Error> {
        let Some(limit) = self.config.total_bytes_max else {
            return Ok(());
        };
        let needed = self.total_bytes().saturating_add(more);
        if needed <= limit {
            return Ok(());
        }
        Err(Error::TotalMemory {
            needed_mib: mib(needed),
            limit_mib: mib(limit),
        })
    }

    /// Refuses another instance, if one as large as the active generation was at first would be too
    /// much.
    ///
    /// # Errors
    ///
    /// [`Error::TotalMemory`].
    pub(crate) fn check_total_for_another(&self) -> Result<(), Error> {
        let active = self.active.load();
        self.check_total(active.as_ref().map_or(0, |active| active.fresh_bytes()))
    }

    /// Runs guest code, and settles what it left behind: size, taint, error. `repetitions` are those
    /// of a caller's call so far, or `None` for a call that the proxy makes for itself: that one is
    /// not repeated, whatever it met.
    #[inline]
    pub(crate) fn guarded<R>(
        &self,
        plan: &ExportPlan,
        generation: &Generation,
        guest: &mut RecordedInstance,
        repetitions: Option<Repetitions>,
        run: impl Fn(&mut RecordedInstance) -> Result<R, Failure>,
    ) -> Result<R, Failed> {
        self.check_fit(plan, guest)?;
        let unwinding = TaintOnUnwind(generation);
        let outcome = run(guest);
        std::mem::forget(unwinding);
        let bytes = guest.memory_bytes();
        let exhaustion = guest.take_exhaustion();
        let is_repeated = repetitions.is_some_and(Repetitions::any);
        match outcome {
            Ok(result) if exhaustion.is_none() && !is_repeated => {
                self.note_memory(plan, generation, bytes);
                Ok(result)
            }
            outcome => {
                let ended = Ended {
                    bytes,
                    exhaustion,
                    // Its size is not noted yet, so this is how the call before left it.
                    clean: generation.is_clean(),
                    side_effects: guest.had_side_effects(),
                    repetitions,
                };
                self.settle(plan, generation, &ended, outcome)
            }
        }
    }

    #[cold]
    fn settle<R>(
        &self,
        plan: &ExportPlan,
        generation: &Generation,
        ended: &Ended,
        outcome: Result<R, Failure>,
    ) -> Result<R, Failed> {
        let clean = ended.clean;
        let has_returned = outcome.as_ref().err().is_none_or(Failure::has_returned);
        let exhausted = if has_returned {
            self.ran_out(plan, generation, ended)
        } else {
            None
        };
        self.note_memory(plan, generation, ended.bytes);
        if let (None, Ok(_), Some(Exhaustion::GrowthRefused(bytes))) =
            (&exhausted, &outcome, ended.exhaustion)
        {
            // The result stands. A swap may still make room for the next one.
            generation.watch.note_refused(bytes);
            self.wakeup.wake();
        }
        if let Some(failed) = exhausted {
            return Err(Failed { clean, ..failed });
        }
        outcome.map_err(|failure| Failed {
            clean,
            ..self.failed(plan, generation, ended, failure)
        })
    }

    #[inline]
    fn note_memory(&self, plan: &ExportPlan, generation: &Generation, bytes: u64) {
        let grown = generation.note_memory(bytes);
        if grown > 0 {
            self.note_growth(plan, generation, grown, bytes);
        }
    }

    #[cold]
    fn note_growth(&self, plan: &ExportPlan, generation: &Generation, grown: u64, bytes: u64) {
        if !plan.role.is_journaled() {
            generation.watch.note_pure_growth(grown);
        }
        let is_due = self.budget.note_growth(grown, bytes);
        if self.budget.is_large(grown) {
            generation.note_large_growth(bytes);
        }
        if is_due {
            self.wakeup.wake();
        }
    }

    /// Keeps a pure call for an audit, if it has run and the instance goes on.
    #[inline]
    pub(crate) fn log_pure_call<R>(
        &self,
        guest: &RecordedInstance,
        plan: &ExportPlan,
        args: &[Arg<'_>],
        outcome: &Result<R, Failure>,
    ) {
        let failure = outcome.as_ref().err();
        if self.pure_calls.is_logging() && failure.is_none_or(Failure::leaves_guest_whole) {
            let (after, repeatable) = (guest.applied(), !guest.host_ran());
            self.pure_calls.log_call(plan, args, after, repeatable);
        }
    }

    /// Calls one of the module's own reports, unless another thread is inside.
    pub(crate) fn ask(&self, generation: &Generation, func: FuncIndex) -> Option<f64> {
        let mut guest = generation.try_enter()?;
        let _inside = self.enter_thread().ok()?;
        self.ask_inside(generation, &mut guest, func)
    }

    /// Calls one of the module's own reports.
    fn ask_inside(
        &self,
        generation: &Generation,
        guest: &mut RecordedInstance,
        func: FuncIndex,
    ) -> Option<f64> {
        let plan = self.config.plan.export(func);
        self.pure_calls.note_export(func);
        let report = |guest: &mut RecordedInstance| guest.report(func);
        let outcome = self.guarded(plan, generation, guest, None, report);
        outcome.ok().flatten()
    }

    pub(crate) fn taint(&self, generation: &Generation, cause: String) {
        let number = generation.number;
        generation.set_taint(cause.clone());
        self.ledger.emit(&Event::GenerationTainted {
            generation: number,
            cause,
        });
        self.wakeup.wake();
    }

    /// Drops the entries that nothing live needs. For upkeep alone, as [`SharedJournal::compact`].
    pub(crate) fn compact(&self, standby: SequenceNumber) {
        let (removed, kept) = self.journal.compact(standby);
        if removed > 0 {
            self.artifacts.of_entries().sweep();
            self.ledger.emit(&Event::JournalCompacted { removed, kept });
        }
    }

    /// Refuses a call by a host function of this very proxy: it would wait for itself.
    #[inline]
    pub(crate) fn enter_thread(&self) -> Result<Option<Entered>, Error> {
        if self.config.has_host_functions {
            Entered::guest(self.config.tag).map(Some)
        } else {
            Ok(None)
        }
    }

    /// Refuses upkeep by host functions and hooks of this very proxy, for the same reason.
    pub(crate) fn check_outside(&self) -> Result<(), Error> {
        if Entered::is_inside(self.config.tag) {
            Err(Error::Reentrant)
        } else {
            Ok(())
        }
    }
}

/// What the guest code of a call left behind, besides its outcome.
pub(crate) struct Ended {
    /// The size of the memories, in bytes.
    pub(crate) bytes: u64,
    pub(crate) exhaustion: Option<Exhaustion>,
    /// Whether the generation was like one that is made now, before the call.
    pub(crate) clean: bool,
    /// Whether host functions with effects outside had run.
    pub(crate) side_effects: bool,
    /// How often the call had been repeated, if it may be.
    pub(crate) repetitions: Option<Repetitions>,
}

/// Taints the generation if a panic unwinds through guest code. That is a bug of the engine, which
/// the proxy survives.
struct TaintOnUnwind<'a>(&'a Generation);

impl Drop for TaintOnUnwind<'_> {
    fn drop(&mut self) {
        self.0.set_taint("a panic went through it".to_owned());
    }
}
