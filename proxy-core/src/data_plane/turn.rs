//! A turn: pure and journaled calls, one after the other, between which no swap takes place.
//!
//! Raw objects have names in a turn. The turn knows what the generation that serves calls them, and
//! how they came about: if that generation dies, the turn makes them again on the next one.

mod log;

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use guest_calls::{Callee, Scope};
use smallvec::SmallVec;

use super::DataPlane;
use super::attempts::{Closed, Near};
use super::pinned::new_scope;
use crate::event::Event;
use crate::generation::{Generation, Kept, RecordedInstance, Records};
use crate::journal::ResultRecord;
use crate::open_turns::Opener;
use crate::policy::plan::{Changes, ExportPlan};
use crate::shared::{Failed, Repetitions, Shared};
use crate::value::{Arg, Results};
use crate::{ArgKind, CallError, Error, ResultKind, Role, SequenceNumber};

use log::{Done, KeptCall, TurnLog, pointers};

/// Calls that belong together, made by [`Proxy::turn`](crate::Proxy::turn).
pub struct Turn {
    plane: Arc<DataPlane>,
    opener: Opener,
    /// Where its pointers are good.
    scope: Scope,
    /// The generation whose addresses the log has.
    generation: u64,
    log: TurnLog,
    /// How many entries had been undone, and how many cut, when it began.
    revised: (u64, usize),
}

/// The outcome of an attempt: nothing if the generation was closed meanwhile.
type Attempt<R> = Result<Option<R>, Failed>;

/// The name of a turn in events.
const TURN: &str = "a turn";

thread_local! {
    static OPENER: Opener = {
        static OPENERS: AtomicU64 = AtomicU64::new(1);
        OPENERS.fetch_add(1, Ordering::Relaxed)
    };
}

impl DataPlane {
    pub(crate) fn turn(self: &Arc<Self>) -> Result<Turn, Error> {
        let shared = &self.shared;
        // A swap may wait for a thread inside a guest or a hook.
        shared.check_outside()?;
        let mut held = None;
        loop {
            let active = shared.active.load();
            let generation = active.as_ref().ok_or_else(|| shared.why_ended())?;
            let left = if shared.is_held_back(generation) {
                self.may_wait(&mut held)
            } else {
                None
            };
            let Some(left) = left else { break };
            let number = generation.number;
            drop(active);
            self.hold_back(&TURN.into(), number, left);
        }
        let opener = OPENER.with(|opener| *opener);
        shared.open_turns.begin(opener, shared.config.drain_timeout);
        let active = shared.active.load();
        Ok(Turn {
            plane: Arc::clone(self),
            opener,
            scope: Scope {
                number: new_scope(),
                raw_structs: false,
                raw_calls: true,
            },
            generation: active.as_ref().map_or(0, |active| active.number),
            log: TurnLog::new(shared.config.turn_log_bytes_max),
            revised: revisions(shared),
        })
    }
}

impl Turn {
    /// Calls an export, as [`Proxy::call`](crate::Proxy::call) does, and raw ones too. A pointer that
    /// a call of this turn gave is good for its later calls, whatever becomes of the generation: it
    /// is a name, and no address. Null is [`Value::Null`](crate::Value::Null). A journaled call takes
    /// raw structs too: it is journaled with their values, and they are used up.
    ///
    /// # Errors
    ///
    /// As [`Proxy::call`](crate::Proxy::call). [`CallError::PointerOutsideScope`] and
    /// [`CallError::UsedPointer`] for pointers that are none or no longer; [`Error::TurnLost`] if the
    /// generation died and the raw objects of this turn could not be made again. Calls that need no
    /// raw object go on even then.
    pub fn call(&mut self, export: &str, args: &[Arg<'_>]) -> Result<Results, Error> {
        let plane = Arc::clone(&self.plane);
        let plan = plane.shared.plan_of(export)?;
        if !plan.listed {
            plane.warn_unlisted(plan)?;
        }
        if plan.role.is_journaled() && !is_about_raw(plan, args) {
            let span = tracing::debug_span!("journaled_call", export = &*plan.name);
            let _entered = span.enter();
            return self.call_journaled(&plane, plan, args);
        }
        if !self.is_raw(plan, args) {
            return plane.call_pure(plan, args, Near::GoesOn);
        }
        let outcome = self.call_raw(&plane, plan, args);
        if outcome.is_err() {
            plane.shared.ledger.counts.failed_calls.add(1);
        }
        outcome
    }

    /// The same turn, in which structs come as raw pointers and not as bytes: results of the kinds
    /// `struct:TYPE` and `structs:TYPE` are as those of the kinds `pointer` and `pointers`. The
    /// objects are the caller's then, and nobody frees them otherwise.
    #[must_use]
    pub fn with_raw_structs(mut self) -> Self {
        self.scope.raw_structs = true;
        self
    }

    /// Whether a call takes or gives raw objects. A pure call takes them for handles too.
    fn is_raw(&self, plan: &ExportPlan, args: &[Arg<'_>]) -> bool {
        let takes = |arg: &Arg<'_>| matches!(arg, Arg::Pointer(_) | Arg::Pointers(_));
        let gives = |kind: &ResultKind| {
            let is_struct = matches!(kind, ResultKind::Struct(_) | ResultKind::Structs(_));
            kind.is_pointer() || is_struct && self.scope.raw_structs
        };
        args.iter().any(takes) || plan.results.iter().any(|result| gives(&result.kind))
    }

    /// The number of the generation that has the raw objects of this turn: 1 for the first, one more
    /// after each swap.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// What the turn remembers of its raw calls, in bytes. It is bounded by
    /// [`Builder::turn_log_bytes_max`](crate::Builder::turn_log_bytes_max).
    #[must_use]
    pub fn log_bytes(&self) -> u64 {
        self.log.bytes()
    }

    /// Ends the turn, as dropping it does. Its pointers mean nothing any more. A swap that waited for
    /// it takes place.
    pub fn end(self) {
        drop(self);
    }

    /// Makes a journaled call. Raw structs go into the journal by value.
    fn call_journaled(
        &mut self,
        plane: &DataPlane,
        plan: &Arc<ExportPlan>,
        args: &[Arg<'_>],
    ) -> Result<Results, Error> {
        let is_raw = |arg: &Arg<'_>| matches!(arg, Arg::Pointer(_) | Arg::Pointers(_));
        if !args.iter().any(is_raw) || !are_raw_structs(plan, args) {
            return plane.call_journaled(plan, args, None, Near::GoesOn);
        }
        let mut values = Vec::with_capacity(args.len());
        for (arg, kind) in args.iter().zip(&plan.args) {
            values.push(if is_raw(arg) {
                Some(self.take_structs(plane, plan, arg, kind)?)
            } else {
                None
            });
        }
        let given = args.iter().zip(&values).map(|(arg, value)| match value {
            Some(value) => Arg::Bytes(value),
            None => arg.clone(),
        });
        let given: SmallVec<[Arg<'_>; 8]> = given.collect();
        plane.call_journaled(plan, &given, None, Near::GoesOn)
    }

    /// Reads raw structs, which the call that they are an argument of takes over. They are freed now,
    /// and made anew from their bytes for the call, also in a replay.
    fn take_structs(
        &mut self,
        plane: &DataPlane,
        plan: &Arc<ExportPlan>,
        arg: &Arg<'_>,
        kind: &ArgKind,
    ) -> Result<Vec<u8>, Error> {
        let scope = self.scope.number;
        let one = std::slice::from_ref(arg);
        let bytes = self.on_active(plane, plan, |turn, shared, generation, repetitions| {
            let Some(mut guest) = generation.enter() else {
                return Ok(None);
            };
            turn.move_to(shared, generation, &mut guest)?;
            let raw = turn.log.raw_args(plan, one, scope);
            let raw = raw.map_err(Failed::for_good)?;
            let raw = raw.as_args();
            let read = |guest: &mut RecordedInstance| guest.take_structs(kind, pointers(&raw[0]));
            let repetitions = Some(repetitions);
            let read = shared.guarded(plan, generation, &mut guest, repetitions, read);
            read.map(Some)
        });
        let bytes = bytes.inspect_err(|_| plane.shared.ledger.counts.failed_calls.add(1))?;
        self.log.take(pointers(arg).iter());
        Ok(bytes)
    }

    /// Makes a raw call.
    fn call_raw(
        &mut self,
        plane: &DataPlane,
        plan: &Arc<ExportPlan>,
        args: &[Arg<'_>],
    ) -> Result<Results, Error> {
        self.on_active(plane, plan, |turn, shared, generation, repetitions| {
            turn.attempt(shared, generation, plan, args, repetitions)
        })
    }

    /// Makes attempts: on the generation that serves, and if it dies, on the next.
    fn on_active<R>(
        &mut self,
        plane: &DataPlane,
        plan: &Arc<ExportPlan>,
        attempt: impl Fn(&mut Self, &Shared, &Arc<Generation>, Repetitions) -> Attempt<R>,
    ) -> Result<R, Error> {
        let shared = &*plane.shared;
        let mut repetitions = Repetitions::default();
        loop {
            let Some(generation) = shared.active.load_full() else {
                return Err(shared.why_ended());
            };
            let inside = shared.enter_thread()?;
            let outcome = attempt(self, shared, &generation, repetitions);
            drop(inside);
            if let Ok(Some(result)) = outcome {
                return Ok(result);
            }
            // Whoever waits for the next generation must not keep this one.
            let closed = Closed::of(&generation);
            drop(generation);
            plane.next_attempt(plan, &closed, outcome.err(), &mut repetitions)?;
        }
    }

    /// One attempt; `None` if the generation was closed meanwhile.
    fn attempt(
        &mut self,
        shared: &Shared,
        generation: &Arc<Generation>,
        plan: &Arc<ExportPlan>,
        args: &[Arg<'_>],
        repetitions: Repetitions,
    ) -> Result<Option<Results>, Failed> {
        let Some(mut guest) = generation.enter() else {
            return Ok(None);
        };
        self.move_to(shared, generation, &mut guest)?;
        let scope = self.scope;
        let raw = self.log.raw_args(plan, args, scope.number);
        let raw = raw.map_err(Failed::for_good)?;
        let raw = raw.as_args();
        shared.pure_calls.note_export(plan.func);
        let kept = shared.guarded(plan, generation, &mut guest, Some(repetitions), |guest| {
            let outcome = guest.call_kept(plan, &raw, scope);
            shared.log_pure_call(guest, plan, &raw, &outcome);
            outcome
        })?;
        generation.count_call();
        shared.look_if_due(generation, &mut guest);
        let (records, after) = (guest.records_of(&kept.ran), guest.applied());
        drop(guest);
        self.keep(plan, args, kept, (records, after)).map(Some)
    }

    /// Remembers a raw call that returned.
    fn keep(
        &mut self,
        plan: &ExportPlan,
        args: &[Arg<'_>],
        kept: Kept,
        (records, after): (Records, SequenceNumber),
    ) -> Result<Results, Failed> {
        let Kept {
            ran,
            host_calls,
            unrepeatable,
        } = kept;
        if let Some(reason) = unrepeatable {
            self.log.note_gap(format!("`{}`: {reason}", plan.name));
        }
        let done = Done {
            after,
            host_calls,
            records,
            raw_structs: self.scope.raw_structs,
        };
        let results = self
            .log
            .keep(plan, args, ran.results, done, self.scope.number);
        match ran.rejected {
            None => Ok(results),
            Some(error) => Err(Failed::for_good(CallError::of_guest(&plan.name, *error))),
        }
    }

    /// Makes the raw objects again, if another generation serves than the one that has them.
    fn move_to(
        &mut self,
        shared: &Shared,
        generation: &Generation,
        guest: &mut RecordedInstance,
    ) -> Result<(), Failed> {
        if self.generation == generation.number {
            return Ok(());
        }
        if let Some(reason) = self.obstacle(shared) {
            return Err(Failed::for_good(Error::TurnLost { reason }));
        }
        // Until all are there, the log has addresses of neither.
        self.generation = 0;
        if let Err(failed) = self.make_again(shared, generation, guest) {
            if let Error::TurnDiverged { export, .. } = &failed.error {
                let reason = format!("`{export}` gave something else when it was repeated");
                self.log.note_gap(reason);
            }
            return Err(failed);
        }
        self.generation = generation.number;
        if self.log.len() > 0 {
            shared.ledger.emit(&Event::TurnRepeated {
                generation: generation.number,
                calls: self.log.len(),
            });
        }
        Ok(())
    }

    /// Why the raw calls cannot be made again on a generation with the whole journal applied, if they
    /// cannot.
    fn obstacle(&self, shared: &Shared) -> Option<String> {
        if let Some(reason) = self.log.gap() {
            return Some(reason.to_owned());
        }
        if self.log.len() == 0 {
            return None;
        }
        if self.revised != revisions(shared) {
            let what = "entries that its raw calls may have seen were undone or settled since";
            return Some(what.to_owned());
        }
        let first = self.log.first_after();
        let journal = shared.journal.lock();
        let is_folded = journal.base() > first;
        let entries = journal.after(first, usize::MAX);
        drop(journal);
        if is_folded {
            let what = "a checkpoint has taken the place of entries that came after its raw calls";
            return Some(what.to_owned());
        }
        let (call, entry) = self.log.outdated(&entries)?;
        let export = &shared.config.plan.export(call.func).name;
        let (by, entry) = (entry.export(), entry.sequence());
        Some(format!(
            "`{export}` read what `{by}` ({entry}) has changed or freed since"
        ))
    }

    /// Makes the raw calls again, in order, and notes the addresses that they give now.
    fn make_again(
        &mut self,
        shared: &Shared,
        generation: &Generation,
        guest: &mut RecordedInstance,
    ) -> Result<(), Failed> {
        let scope = self.scope;
        let (calls, mut renamed) = self.log.again();
        for call in calls {
            let scope = Scope {
                raw_structs: call.raw_structs,
                ..scope
            };
            let raw = renamed.args(call, scope.number);
            let results = repeat(shared, generation, guest, call, &raw.as_args(), scope)?;
            if !renamed.note(call, &results) {
                let export = &shared.config.plan.export(call.func).name;
                return Err(diverged(export, "as many raw objects", "fewer or more"));
            }
        }
        Ok(())
    }
}

/// How often what the journal says was changed after it had been applied.
fn revisions(shared: &Shared) -> (u64, usize) {
    let cuts = shared.journal.lock().cuts().len();
    (shared.ledger.counts.calls_undone.get(), cuts)
}

/// Makes a raw call again on another generation, and compares what it gives.
fn repeat(
    shared: &Shared,
    generation: &Generation,
    guest: &mut RecordedInstance,
    call: &KeptCall,
    raw: &[Arg<'_>],
    scope: Scope,
) -> Result<Results, Failed> {
    let plan = shared.config.plan.export(call.func);
    let difference = RefCell::new(None);
    shared.pure_calls.note_export(plan.func);
    let outcome = shared.guarded(plan, generation, guest, None, |guest| {
        let (outcome, differs) = guest.repeat_kept(plan, raw, scope, &call.host_calls);
        difference.replace(differs);
        outcome
    });
    if let Some(got) = difference.take() {
        return Err(diverged(&plan.name, "its recorded host calls", &got));
    }
    let ran = outcome.map_err(|failed| {
        if generation.taint().is_some() {
            // It has died, and the next one may be better.
            return failed;
        }
        diverged(&plan.name, "the call to return", &failed.error.to_string())
    })?;
    let records = guest.records_of(&ran);
    if records == call.records {
        return Ok(ran.results);
    }
    let expected = ResultRecord::describe_all(&call.records);
    let got = ResultRecord::describe_all(&records);
    Err(diverged(&plan.name, &expected, &got))
}

#[cold]
fn diverged(export: &str, expected: &str, got: &str) -> Failed {
    Failed::for_good(Error::TurnDiverged {
        export: export.to_owned(),
        expected: expected.to_owned(),
        got: got.to_owned(),
    })
}

/// Whether a call of an export that is not pure is about raw objects alone: it makes nothing that
/// lasts, and all that it changes or frees is raw. Classes whose objects last in general have raw ones
/// too.
fn is_about_raw(plan: &ExportPlan, args: &[Arg<'_>]) -> bool {
    let Changes::Handles(changed) = &plan.changes else {
        return false;
    };
    let mut touched = changed.iter().chain(&plan.consumes).peekable();
    let is_raw = |at: &usize| matches!(args.get(*at), Some(Arg::Pointer(_) | Arg::Pointers(_)));
    plan.role != Role::Create && touched.peek().is_some() && touched.all(is_raw)
}

/// Whether all raw objects among the arguments are structs, which a journaled call takes by value.
fn are_raw_structs(plan: &ExportPlan, args: &[Arg<'_>]) -> bool {
    args.len() == plan.args.len()
        && args.iter().zip(&plan.args).all(|(arg, kind)| match arg {
            Arg::Pointer(_) => matches!(kind, ArgKind::Struct(_)),
            Arg::Pointers(_) => matches!(kind, ArgKind::Structs(_)),
            _ => true,
        })
}

impl Callee for Turn {
    type Error = Error;

    fn call(&mut self, export: &str, args: &[Arg<'_>]) -> Result<Results, Error> {
        Turn::call(self, export, args)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let shared = &self.plane.shared;
        if shared.open_turns.end(self.opener) {
            shared.wakeup.wake();
        }
    }
}

impl fmt::Debug for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Turn")
            .field("generation", &self.generation)
            .field("calls", &self.log.len())
            .finish_non_exhaustive()
    }
}
