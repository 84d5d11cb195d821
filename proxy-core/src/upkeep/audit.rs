//! The audit: whether exports that the policy calls pure are.
//!
//! A write by such an export is in no entry, and results alone cannot show it until something
//! reads it. So the state is made again in two ways, by the journaled calls alone and by these with
//! the logged pure calls among them, and the pure calls are asked for their answers in both. An
//! answer that differs depends on a pure call. A third replay, again of the journaled calls alone,
//! tells what is not deterministic and so proves nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use engine_api::{FuncIndex, Snapshot};
use guest_calls::{CallFailure, OwnedArg};
use smallvec::SmallVec;

use super::Upkeep;
use super::replay::{BATCH, Entries, Noted, Replay};
use crate::checkpoint::Checkpoint;
use crate::generation::{Blueprint, Failure, Generation, lock};
use crate::journal::ResultRecord;
use crate::shared::{PureCall, PureLog};
use crate::value::Arg;
use crate::{Audit, Entry, Error, Observation, SequenceNumber};

/// So many different calls of one export are asked for their answers.
const ASKED_MAX: usize = 64;

/// The parts of an audit, as they were at one moment.
struct Case {
    blueprint: Blueprint,
    /// The checkpoint that replays begin with, if it has taken the place of older entries.
    base: Option<Arc<Checkpoint>>,
    entries: Vec<Arc<Entry>>,
    log: PureLog,
    /// The active generation's memories, tables and globals, if they can be captured.
    active: Option<Snapshot>,
}

/// A state that was made again, and what it answers.
struct Made {
    /// One for each question, up to the first that ended the instance.
    answers: Vec<Answer>,
    /// How many of the pure calls were repeated.
    repeated: usize,
    /// How many were left out, because they used objects that are gone or called the host.
    left_out: usize,
    snapshot: Option<Snapshot>,
}

/// What a call gave, or the words of an error that left the instance whole.
type Answer = Result<SmallVec<[ResultRecord; 1]>, String>;

/// The outcome of a repeated pure call.
enum Repeated {
    Answered(Answer),
    /// It did not begin.
    Refused,
    /// The instance is of no further use.
    Ended,
}

impl Upkeep {
    pub(crate) fn audit(&self) -> Result<Audit, Error> {
        let case = self.case()?;
        let mut questions = self.questions(&case.log);
        let mut undecided = BTreeSet::new();
        loop {
            match self.examine(&case, &questions)? {
                Ok(mut audit) => {
                    undecided.extend(audit.undecided);
                    audit.undecided = undecided.into_iter().collect();
                    return Ok(audit);
                }
                // Without the question that ended an instance, the later ones are answered.
                Err(ended) => undecided.insert(self.name(questions.remove(ended).func)),
            };
        }
    }

    /// Compares the answers to these questions, or gives the position of one that ended an
    /// instance.
    fn examine(&self, case: &Case, questions: &[PureCall]) -> Result<Result<Audit, usize>, Error> {
        let alone = self.made(case, questions, |_| false, true)?;
        let again = self.made(case, questions, |_| false, false)?;
        let with = self.made(case, questions, |_| true, false)?;
        for made in [&alone, &again, &with] {
            if made.answers.len() < questions.len() {
                return Ok(Err(made.answers.len()));
            }
        }
        let is_decided = |at: usize| again.answers[at] == alone.answers[at];
        let differs = |made: &Made, at: usize| {
            is_decided(at) && made.answers.get(at) != alone.answers.get(at)
        };
        let all = || questions.iter().enumerate();
        let lost: Vec<Observation> = all()
            .filter(|(at, _)| differs(&with, *at))
            .map(|(at, question)| Observation {
                export: self.name(question.func),
                args: question.describe_args(),
                without: describe(&alone.answers[at]),
                with: describe(&with.answers[at]),
            })
            .collect();
        let mut writers = Vec::new();
        let called: BTreeSet<FuncIndex> = case.log.calls.iter().map(|call| call.func).collect();
        for func in called.into_iter().filter(|_| !lost.is_empty()) {
            let is_one = match self.made(case, questions, |call| call.func == func, false) {
                Ok(made) => (0..made.answers.len()).any(|at| differs(&made, at)),
                // With these calls alone a journaled call notices them.
                Err(Error::Divergence(_)) => true,
                Err(error) => return Err(error),
            };
            if is_one {
                writers.push(self.name(func));
            }
        }
        let undecided: BTreeSet<String> = all()
            .filter(|(at, _)| !is_decided(*at))
            .map(|(_, question)| self.name(question.func))
            .collect();
        let memory = case.active.as_ref().zip(alone.snapshot.as_ref());
        Ok(Ok(Audit {
            entries: case.entries.len(),
            calls: with.repeated,
            left_out: case.log.left_out + with.left_out as u64,
            asked: questions.len(),
            lost,
            writers,
            undecided: undecided.into_iter().collect(),
            memory: memory
                .map(|(active, alone)| hints(active, alone))
                .transpose()?,
        }))
    }

    fn name(&self, func: FuncIndex) -> String {
        self.shared.config.plan.export(func).name.to_string()
    }

    /// Collects what an audit needs. Calls wait while the active generation's memory is captured.
    fn case(&self) -> Result<Case, Error> {
        self.shared.check_outside()?;
        if !self.shared.pure_calls.is_logging() {
            return Err(Error::Setting {
                reason: "pure calls are not kept; build the proxy with `Builder::audit(true)`"
                    .to_owned(),
            });
        }
        let state = lock(&self.state);
        let active = self.shared.active.load_full().ok_or(Error::ShutDown)?;
        let mut inside = active.enter_within(self.options.digest_patience);
        let newest = inside
            .as_ref()
            .map_or(SequenceNumber(u64::MAX), |guest| guest.applied());
        let captured = inside
            .as_mut()
            .filter(|_| state.checkpoints.are_taken())
            .and_then(|guest| guest.snapshot().ok());
        let log = self.shared.pure_calls.log().unwrap_or_default();
        drop(inside);
        let mut entries = self.shared.journal.entries();
        entries.retain(|entry| entry.sequence <= newest);
        Ok(Case {
            blueprint: state.blueprint.clone(),
            base: state.checkpoints.base().cloned(),
            entries,
            log,
            active: captured,
        })
    }

    /// The different calls to ask, and the state digest if there is one.
    fn questions(&self, log: &PureLog) -> Vec<PureCall> {
        let digest = self.shared.config.plan.state_digest.map(|func| PureCall {
            after: SequenceNumber(u64::MAX),
            func,
            args: SmallVec::new(),
        });
        let mut questions: Vec<PureCall> = digest.into_iter().collect();
        for call in &log.calls {
            let same = questions
                .iter()
                .filter(|question| question.func == call.func);
            if same.clone().count() < ASKED_MAX && !same.clone().any(|own| own.args == call.args) {
                questions.push(call.clone());
            }
        }
        questions
    }

    /// Makes the state again by the journaled calls and those pure ones that `is_made`, and asks
    /// for the answers. If a pure call ends the instance, it and all later ones are left out.
    fn made(
        &self,
        case: &Case,
        questions: &[PureCall],
        is_made: impl Fn(&PureCall) -> bool,
        captures: bool,
    ) -> Result<Made, Error> {
        let calls: Vec<&PureCall> = case.log.calls.iter().filter(|call| is_made(call)).collect();
        let mut count = calls.len();
        loop {
            match self.replayed_with(case, &calls[..count])? {
                Ok((generation, refused)) => {
                    let snapshot = if captures && case.active.is_some() {
                        generation.enter_standby().snapshot().ok()
                    } else {
                        None
                    };
                    return Ok(Made {
                        answers: self.answers(&generation, questions),
                        repeated: count - refused,
                        left_out: calls.len() - count + refused,
                        snapshot,
                    });
                }
                Err(ended_at) => count = ended_at,
            }
        }
    }

    /// A generation with the entries and these pure calls among them, and how many of the calls
    /// were refused; or the position of the call that ended the instance.
    fn replayed_with(
        &self,
        case: &Case,
        calls: &[&PureCall],
    ) -> Result<Result<(Generation, usize), usize>, Error> {
        self.graveyard.wait();
        let base = case.base.as_deref();
        let mut replay = Replay::begin(&self.shared, &case.blueprint, 0, base, Noted::Nowhere)?;
        let (mut applied, mut refused) = (0, 0);
        for (position, call) in calls.iter().enumerate() {
            let entries = &case.entries;
            let due = entries.partition_point(|entry| entry.sequence <= call.after);
            if due > applied {
                let entries = &mut Entries::these(entries[applied..due].to_vec());
                replay.run(entries, BATCH, |_| Ok(true))?;
                applied = due;
            }
            match self.repeat_pure(&replay.generation, call) {
                Repeated::Answered(_) => {}
                Repeated::Refused => refused += 1,
                Repeated::Ended => return Ok(Err(position)),
            }
        }
        let rest = &mut Entries::these(case.entries[applied..].to_vec());
        replay.run(rest, BATCH, |_| Ok(true))?;
        Ok(Ok((replay.generation, refused)))
    }

    /// What a generation answers, up to the first question that ends it.
    fn answers(&self, generation: &Generation, questions: &[PureCall]) -> Vec<Answer> {
        let answer = |question| match self.repeat_pure(generation, question) {
            Repeated::Answered(answer) => Some(answer),
            Repeated::Refused => Some(Err("refused".to_owned())),
            Repeated::Ended => None,
        };
        questions.iter().map_while(answer).collect()
    }

    fn repeat_pure(&self, generation: &Generation, call: &PureCall) -> Repeated {
        let plan = Arc::clone(self.shared.config.plan.export(call.func));
        let args: SmallVec<[Arg<'_>; 4]> = call.args.iter().map(OwnedArg::as_arg).collect();
        match generation.enter_standby().repeat_pure(&plan, &args) {
            Ok(records) => Repeated::Answered(Ok(records)),
            Err(Failure::Call { failure, .. }) => match failure {
                CallFailure::Refused(_) | CallFailure::NoSuchHandle(_) => Repeated::Refused,
                CallFailure::Rejected(error) | CallFailure::Garbled(error) => {
                    Repeated::Answered(Err(error.to_string()))
                }
                CallFailure::Exhausted | CallFailure::Ended(_) => Repeated::Ended,
            },
            Err(Failure::Harmed(_)) => Repeated::Ended,
        }
    }
}

impl PureCall {
    fn describe_args(&self) -> String {
        let args = self.args.iter().map(OwnedArg::as_arg);
        let words: Vec<String> = args
            .map(|arg| match arg {
                Arg::Val(val) => format!("{val:?}"),
                other => other.kind(),
            })
            .collect();
        words.join(", ")
    }
}

fn describe(answer: &Answer) -> String {
    match answer {
        Ok(records) => ResultRecord::describe_all(records),
        Err(error) => error.clone(),
    }
}

/// Where the active state differs from the one that journaled calls alone make: the first byte of
/// each memory, every global, and the first element of each table.
fn hints(active: &Snapshot, alone: &Snapshot) -> Result<Vec<String>, Error> {
    let mut hints = Vec::new();
    for ((index, ours), (_, theirs)) in active.memories().iter().zip(alone.memories()) {
        let (active, alone) = (ours.bytes(), theirs.bytes());
        if active != alone {
            hints.push(format!(
                "memory {} has {active} bytes, and {alone} after the journaled calls",
                index.0
            ));
        } else if let Some(offset) = ours
            .first_difference(theirs)
            .map_err(engine_api::Error::from)?
        {
            hints.push(format!("memory {} from offset {offset:#x} on", index.0));
        }
    }
    for ((index, ours), (_, theirs)) in active.globals().iter().zip(alone.globals()) {
        if ours != theirs {
            hints.push(format!(
                "global {} is {ours:?}, and {theirs:?} after the journaled calls",
                index.0
            ));
        }
    }
    for ((index, ours), (_, theirs)) in active.references().iter().zip(alone.references()) {
        if ours != theirs {
            hints.push(format!(
                "global {} is {ours:?}, and {theirs:?} after the journaled calls",
                index.0
            ));
        }
    }
    for ((index, ours), (_, theirs)) in active.tables().iter().zip(alone.tables()) {
        let (active, alone) = (ours.len(), theirs.len());
        if active != alone {
            hints.push(format!(
                "table {} has {active} elements, and {alone} after the journaled calls",
                index.0
            ));
        } else if let Some(at) = ours
            .iter()
            .zip(&**theirs)
            .position(|(own, other)| own != other)
        {
            hints.push(format!("table {} from element {at} on", index.0));
        }
    }
    Ok(hints)
}
