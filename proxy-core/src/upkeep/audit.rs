//! The audit: whether exports that the policy calls pure are.
//!
//! A write by such an export is in no entry, and results alone cannot show it until something
//! reads it. So the state is made again in two ways, by the journaled calls alone and by these with
//! the logged pure calls among them, and the pure calls are asked for their answers in both. An
//! answer that differs depends on a pure call. Two controls tell what proves nothing: a third
//! replay, again of the journaled calls alone, shows what is not deterministic, and a fourth, with
//! blocks and pages among them that nobody uses, shows what depends on sizes and addresses.

mod hints;
mod leaks;
mod made;
mod noticed;

use std::collections::BTreeSet;
use std::sync::Arc;

use engine_api::{FuncIndex, Snapshot};
use smallvec::SmallVec;

use self::hints::hints;
use self::made::{Answer, Made, Recipe};
use super::Upkeep;
use super::state_digest::DigestTrust;
use crate::checkpoint::Checkpoint;
use crate::generation::{Blueprint, lock};
use crate::shared::{PureCall, PureLog};
use crate::shown;
use crate::{Audit, Entry, Error, LeftOut, Observation, SequenceNumber};

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
    /// Whether checkpoints can be taken of states that are made again.
    can_capture: bool,
    /// Whether each question gets an instance of its own, made from such a checkpoint.
    is_fresh: bool,
}

/// Which questions are asked on one instance, in order: positions.
type Round = Vec<usize>;

/// What each round was answered, up to the first question that ended its instance.
type Answers = Vec<Vec<Answer>>;

/// The answers of every state.
struct Asked {
    alone: Answers,
    again: Answers,
    padded: Option<Answers>,
    with: Answers,
}

impl Upkeep {
    pub(crate) fn audit(&self) -> Result<Audit, Error> {
        let mut case = self.case()?;
        let mut audit = Audit {
            entries: case.entries.len(),
            ..Audit::default()
        };
        audit.leave_out(LeftOut {
            calls: case.log.left_out,
            reason: "they passed raw pointers, called the host, or were too many".to_owned(),
        });
        let mut alone = match self.made(&case, &Recipe::default())? {
            Ok(made) => made,
            Err(stop) => {
                self.explain(&case, stop, &mut audit)?;
                return Ok(audit);
            }
        };
        case.is_fresh &= alone.checkpoint.is_some();
        let with = self.with(&case, &mut audit)?;
        let mut questions = self.questions(&case, &mut alone)?;
        let mut undecided = BTreeSet::new();
        while let Some(ended) = self.examine(&case, &questions, &mut alone, &with, &mut audit)? {
            // Without the question that ended an instance, the later ones are answered.
            undecided.insert(self.name(questions.remove(ended).func));
        }
        undecided.extend(std::mem::take(&mut audit.undecided));
        audit.undecided = undecided.into_iter().collect();
        audit.leaks = self.leaks(&case, &mut alone)?;
        let captured = alone.checkpoint.as_ref();
        let memory = case.active.as_ref().zip(captured);
        audit.memory = memory
            .map(|(active, alone)| hints(active, &alone.snapshot))
            .transpose()?;
        Ok(audit)
    }

    /// Compares the answers to these questions, or gives the position of one that ended an instance
    /// which others were asked on.
    fn examine(
        &self,
        case: &Case,
        questions: &[PureCall],
        alone: &mut Made,
        with: &Recipe,
        audit: &mut Audit,
    ) -> Result<Option<usize>, Error> {
        let rounds = case.rounds(questions.len());
        let Some(asked) = self.asked(case, questions, &rounds, alone, with)? else {
            audit.incomplete = Some("two replays of the same calls differ".to_owned());
            return Ok(None);
        };
        let mut differing: Vec<(usize, usize)> = Vec::new();
        let (mut undecided, mut moved) = (BTreeSet::new(), BTreeSet::new());
        audit.asked = questions.len();
        for (number, round) in rounds.iter().enumerate() {
            for (position, question) in round.iter().enumerate() {
                let of = |answers: &Answers| answers[number].get(position).cloned();
                let (alone, again, with) = (of(&asked.alone), of(&asked.again), of(&asked.with));
                let padded = asked.padded.as_ref().map_or(alone.clone(), of);
                let name = || self.name(questions[*question].func);
                if [&alone, &again, &with, &padded].contains(&&None) {
                    if round.len() > 1 {
                        return Ok(Some(*question));
                    }
                    undecided.insert(name());
                } else if alone != again {
                    undecided.insert(name());
                } else if alone != padded {
                    moved.insert(name());
                } else if alone != with {
                    differing.push((number, position));
                }
            }
        }
        if asked.padded.is_none() && !differing.is_empty() {
            audit.incomplete = Some(
                "no state could be made with another layout: sizes and addresses may be among what \
                 seems to depend on pure calls"
                    .to_owned(),
            );
        }
        audit.undecided = undecided.into_iter().collect();
        audit.moved = moved.into_iter().collect();
        let mut seen = BTreeSet::new();
        for (number, position) in &differing {
            let question = rounds[*number][*position];
            if seen.insert(question) {
                audit.lost.push(Observation {
                    export: self.name(questions[question].func),
                    args: shown::args(&questions[question].args),
                    without: asked.alone[*number][*position].shown.clone(),
                    with: asked.with[*number][*position].shown.clone(),
                });
            }
        }
        self.find_writers(case, questions, &rounds, &asked.alone, &differing, audit)?;
        Ok(None)
    }

    /// Asks in every state. `None` if one of them cannot be made again.
    fn asked(
        &self,
        case: &Case,
        questions: &[PureCall],
        rounds: &[Round],
        alone: &mut Made,
        with: &Recipe,
    ) -> Result<Option<Asked>, Error> {
        let of_alone = self.ask(case, alone, questions, rounds)?;
        let Ok(mut again) = self.made(case, &Recipe::default())? else {
            return Ok(None);
        };
        let of_again = self.ask(case, &mut again, questions, rounds)?;
        drop(again);
        let Ok(mut with) = self.made(case, with)? else {
            return Ok(None);
        };
        let padded = Recipe {
            padded_to: Some(with.bytes),
            ..Recipe::default()
        };
        let of_with = self.ask(case, &mut with, questions, rounds)?;
        drop(with);
        let of_padded = match self.made(case, &padded)? {
            Ok(mut padded) => Some(self.ask(case, &mut padded, questions, rounds)?),
            Err(_) => None,
        };
        Ok(Some(Asked {
            alone: of_alone,
            again: of_again,
            padded: of_padded,
            with: of_with,
        }))
    }

    /// Asks each round on an instance of its own.
    fn ask(
        &self,
        case: &Case,
        made: &mut Made,
        questions: &[PureCall],
        rounds: &[Round],
    ) -> Result<Answers, Error> {
        let ask = |round: &Round| {
            let generation = self.instance(case, made)?;
            let questions: Vec<&PureCall> = round.iter().map(|at| &questions[*at]).collect();
            Ok(self.answers(&generation, &questions))
        };
        rounds.iter().map(ask).collect()
    }

    /// Adds the exports whose calls alone change one of the answers that differ.
    fn find_writers(
        &self,
        case: &Case,
        questions: &[PureCall],
        rounds: &[Round],
        alone: &Answers,
        differing: &[(usize, usize)],
        audit: &mut Audit,
    ) -> Result<(), Error> {
        let numbers: BTreeSet<usize> = differing.iter().map(|(number, _)| *number).collect();
        let of_rounds: Vec<Round> = numbers.iter().map(|at| rounds[*at].clone()).collect();
        let mut writers: BTreeSet<String> =
            std::mem::take(&mut audit.writers).into_iter().collect();
        for func in called(&case.log)
            .into_iter()
            .filter(|_| !differing.is_empty())
        {
            let recipe = case.recipe(|call| call.func == func);
            let is_one = match self.made_as_far_as_possible(case, recipe, |_| {})? {
                Ok(mut made) => {
                    let answers = self.ask(case, &mut made, questions, &of_rounds)?;
                    let differs = |number: usize, own: &Vec<Answer>| {
                        differing.iter().any(|(of, position)| {
                            let own = own.get(*position);
                            *of == number && own.is_some_and(|own| *own != alone[number][*position])
                        })
                    };
                    numbers
                        .iter()
                        .zip(&answers)
                        .any(|(at, own)| differs(*at, own))
                }
                // A journaled call notices them: that has been told.
                Err(_) => false,
            };
            if is_one {
                writers.insert(self.name(func));
            }
        }
        audit.writers = writers.into_iter().collect();
        Ok(())
    }

    fn leaks(&self, case: &Case, alone: &mut Made) -> Result<Vec<crate::Leak>, Error> {
        let mut leaks = Vec::new();
        for func in called(&case.log) {
            let of_export: Vec<&PureCall> = case
                .log
                .calls
                .iter()
                .filter(|call| call.func == func)
                .take(ASKED_MAX)
                .collect();
            leaks.extend(self.leak(case, alone, &of_export)?);
        }
        Ok(leaks)
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
        let active = self
            .shared
            .active
            .load_full()
            .ok_or_else(|| self.shared.why_ended())?;
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
        let can_capture = state.checkpoints.are_taken();
        let memories = self.shared.config.info.memories();
        Ok(Case {
            can_capture,
            // A restored instance would have no threads.
            is_fresh: can_capture && !memories.iter().any(|memory| memory.shared),
            blueprint: state.blueprint.clone(),
            base: state.checkpoints.base().cloned(),
            entries,
            log,
            active: captured,
        })
    }

    /// The different calls that return something, and the state digest if there is one and it can be asked.
    fn questions(&self, case: &Case, alone: &mut Made) -> Result<Vec<PureCall>, Error> {
        let digest = match self.shared.config.plan.state_digest {
            Some(func) if self.has_digest(case, alone)? => Some(PureCall {
                after: SequenceNumber(u64::MAX),
                func,
                args: SmallVec::new(),
            }),
            _ => None,
        };
        let mut questions: Vec<PureCall> = digest.into_iter().collect();
        let plan = &self.shared.config.plan;
        let answering = |call: &&PureCall| !plan.export(call.func).results.is_empty();
        for call in case.log.calls.iter().filter(answering) {
            let same = questions
                .iter()
                .filter(|question| question.func == call.func);
            if same.clone().count() < ASKED_MAX && !same.clone().any(|own| own.args == call.args) {
                questions.push(call.clone());
            }
        }
        Ok(questions)
    }

    /// Whether the digest answers on an instance of the audit's own.
    fn has_digest(&self, case: &Case, alone: &mut Made) -> Result<bool, Error> {
        if lock(&self.state).digest_trust == DigestTrust::Untried {
            let trust = self.try_digest(&self.instance(case, alone)?);
            lock(&self.state).digest_trust = trust;
        }
        Ok(lock(&self.state).digest_trust == DigestTrust::Answered)
    }
}

impl Case {
    fn recipe(&self, is_made: impl Fn(&PureCall) -> bool) -> Recipe {
        let calls = self.log.calls.iter().enumerate();
        Recipe {
            calls: calls
                .filter(|(_, call)| is_made(call))
                .map(|(at, _)| at)
                .collect(),
            padded_to: None,
        }
    }

    /// Each question for itself, where instances cost nothing. Otherwise all in order, and the
    /// other way round: a question that writes hides from the later ones what was written before.
    fn rounds(&self, questions: usize) -> Vec<Round> {
        if self.is_fresh {
            (0..questions).map(|at| vec![at]).collect()
        } else {
            vec![(0..questions).collect(), (0..questions).rev().collect()]
        }
    }
}

fn called(log: &PureLog) -> BTreeSet<FuncIndex> {
    log.calls.iter().map(|call| call.func).collect()
}

impl Audit {
    fn leave_out(&mut self, calls: LeftOut) {
        if calls.calls > 0 {
            self.left_out += calls.calls;
            self.reasons.push(calls);
        }
    }
}
