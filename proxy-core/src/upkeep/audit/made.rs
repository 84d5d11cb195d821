//! States that an audit makes again, and the instances in them.

use std::sync::Arc;

use guest_calls::{CallFailure, OwnedArg};
use smallvec::SmallVec;

use super::{Case, Upkeep};
use crate::checkpoint::Checkpoint;
use crate::generation::{Failure, Generation, Records};
use crate::shared::PureCall;
use crate::upkeep::replay::{Entries, Noted, Replay};
use crate::value::Arg;
use crate::{Divergence, Entry, Error, LeftOut};

/// A state is padded at so many places among the entries.
const PADS_MAX: usize = 8;

/// The calls that make a state besides the journaled ones.
#[derive(Clone, Debug, Default)]
pub(super) struct Recipe {
    /// Positions in the log of pure calls, in order.
    pub(super) calls: Vec<usize>,
    /// The size to which the memories grow, in bytes, if blocks and pages that nobody uses come
    /// between the entries.
    pub(super) padded_to: Option<u64>,
}

/// A state that was made again.
pub(super) struct Made {
    recipe: Recipe,
    /// The instance that it was made on, until something else runs there.
    first: Option<Generation>,
    /// From which further instances are made, if that is possible.
    pub(super) checkpoint: Option<Checkpoint>,
    /// The size of its memories, in bytes.
    pub(super) bytes: u64,
    /// How many pure calls were refused, since objects that they used are gone.
    pub(super) refused: usize,
}

impl Made {
    /// The recipe, without the calls that were taken out of it.
    pub(super) fn recipe(&self) -> &Recipe {
        &self.recipe
    }
}

/// Why a state cannot be made by its recipe.
pub(super) enum Stop {
    /// The pure call at this position of the recipe ended the instance.
    Call(usize),
    /// The guest's allocator ended it, when padding was asked for.
    Padding,
    /// The memory did not suffice.
    Memory(Error),
    /// An entry gave something else, and not for want of memory.
    Entry(Box<Divergence>),
}

/// What comes between two entries.
enum Insert {
    /// The pure call at this position of the recipe.
    Call(usize),
    /// Padding, until the memories have so many bytes.
    Padding(u64),
}

/// What a pure call gave.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    /// The results, or the words of an error that left the instance whole.
    said: Result<Records, String>,
    pub(super) shown: String,
}

impl PartialEq for Answer {
    fn eq(&self, other: &Self) -> bool {
        self.said == other.said
    }
}

/// The outcome of a repeated pure call.
pub(super) enum Repeated {
    Answered(Answer),
    /// It did not begin.
    Refused,
    /// It returned, and what it gave depends on how much memory was left.
    RanOut,
    /// The instance is of no further use.
    Ended,
}

impl Upkeep {
    /// Makes a state by its recipe. Calls that end the instance or do not fit its memory are taken
    /// out of it, with those that came later, and `leave_out` learns of them.
    pub(super) fn made_as_far_as_possible(
        &self,
        case: &Case,
        mut recipe: Recipe,
        mut leave_out: impl FnMut(LeftOut),
    ) -> Result<Result<Made, Box<Divergence>>, Error> {
        loop {
            let all = recipe.calls.len();
            let (kept, reason) = match self.made(case, &recipe)? {
                Ok(made) => return Ok(Ok(made)),
                Err(Stop::Entry(divergence)) => return Ok(Err(divergence)),
                Err(Stop::Call(at)) => {
                    let name = self.name(case.log.calls[recipe.calls[at]].func);
                    let reason = format!(
                        "after all the pure calls before it, `{name}` traps or runs out of memory"
                    );
                    (at, reason)
                }
                Err(Stop::Memory(error)) if all == 0 => return Err(error),
                Err(Stop::Padding) => (0, "the allocator traps".to_owned()),
                Err(Stop::Memory(error)) => {
                    let reason = format!("what they leak does not fit on one instance: {error}");
                    (all / 2, reason)
                }
            };
            recipe.calls.truncate(kept);
            leave_out(LeftOut {
                calls: (all - kept) as u64,
                reason,
            });
        }
    }

    /// Makes a state by its recipe.
    pub(super) fn made(&self, case: &Case, recipe: &Recipe) -> Result<Result<Made, Stop>, Error> {
        let (generation, refused) = match self.replayed_with(case, recipe)? {
            Ok(replayed) => replayed,
            Err(stop) => return Ok(Err(stop)),
        };
        let checkpoint = case
            .can_capture
            .then(|| generation.capture().ok())
            .flatten();
        let bytes = generation.enter_standby().memory_bytes();
        Ok(Ok(Made {
            recipe: recipe.clone(),
            bytes,
            first: (!case.is_fresh || checkpoint.is_none()).then_some(generation),
            checkpoint,
            refused,
        }))
    }

    /// An instance in this state, on which nothing else has run.
    pub(super) fn instance(&self, case: &Case, made: &mut Made) -> Result<Generation, Error> {
        if let Some(first) = made.first.take() {
            return Ok(first);
        }
        if let Some(checkpoint) = made.checkpoint.as_ref().filter(|_| case.is_fresh) {
            let live = &self.shared.live_generations;
            return Generation::restore(&case.blueprint, 0, checkpoint, live);
        }
        match self.replayed_with(case, &made.recipe)? {
            Ok((generation, _)) => Ok(generation),
            Err(Stop::Entry(divergence)) => Err(Error::Divergence(divergence)),
            Err(Stop::Memory(error)) => Err(error),
            Err(Stop::Call(_) | Stop::Padding) => Err(Error::Setting {
                reason: "a call that returned on one instance ends another like it".to_owned(),
            }),
        }
    }

    /// A generation with the entries and the recipe's calls among them, and how many of the calls
    /// were refused.
    fn replayed_with(
        &self,
        case: &Case,
        recipe: &Recipe,
    ) -> Result<Result<(Generation, usize), Stop>, Error> {
        self.graveyard.wait();
        let base = case.base.as_deref();
        let mut replay = Replay::begin(&self.shared, &case.blueprint, 0, base, Noted::Nowhere)?;
        let (mut applied, mut refused) = (0, 0);
        for (due, insert) in case.inserts(recipe) {
            if let Err(stop) = apply(&mut replay, &case.entries[applied..due])? {
                return Ok(Err(stop));
            }
            applied = due;
            match insert {
                Insert::Call(position) => {
                    let call = &case.log.calls[recipe.calls[position]];
                    match self.repeat_pure(&replay.generation, call) {
                        // Where growth was refused, what follows shows whether it mattered.
                        Repeated::Answered(_) | Repeated::RanOut => {}
                        Repeated::Refused => refused += 1,
                        Repeated::Ended => return Ok(Err(Stop::Call(position))),
                    }
                }
                Insert::Padding(bytes) => {
                    if replay.generation.enter_standby().pad(bytes).is_err() {
                        return Ok(Err(Stop::Padding));
                    }
                }
            }
        }
        if let Err(stop) = apply(&mut replay, &case.entries[applied..])? {
            return Ok(Err(stop));
        }
        Ok(Ok((replay.generation, refused)))
    }

    /// What an instance answers, up to the first question that ends it.
    pub(super) fn answers(&self, generation: &Generation, questions: &[&PureCall]) -> Vec<Answer> {
        let answer = |question: &&PureCall| match self.repeat_pure(generation, question) {
            Repeated::Answered(answer) => Some(answer),
            Repeated::Refused => Some(Answer {
                said: Err("refused".to_owned()),
                shown: "no answer, since an object is gone".to_owned(),
            }),
            Repeated::RanOut | Repeated::Ended => None,
        };
        questions.iter().map_while(answer).collect()
    }

    pub(super) fn repeat_pure(&self, generation: &Generation, call: &PureCall) -> Repeated {
        let plan = Arc::clone(self.shared.config.plan.export(call.func));
        let args: SmallVec<[Arg<'_>; 4]> = call.args.iter().map(OwnedArg::as_arg).collect();
        let mut guest = generation.enter_standby();
        let outcome = guest.repeat_pure(&plan, &args);
        let ran_out = guest.take_exhaustion().is_some();
        match outcome {
            Ok(_) if ran_out => Repeated::RanOut,
            Ok((records, shown)) => Repeated::Answered(Answer {
                said: Ok(records),
                shown,
            }),
            Err(Failure::Call { failure, .. }) => match failure {
                CallFailure::Refused(_) | CallFailure::NoSuchHandle(_) => Repeated::Refused,
                CallFailure::Rejected(_) | CallFailure::Garbled(_) if ran_out => Repeated::RanOut,
                CallFailure::Rejected(error) | CallFailure::Garbled(error) => {
                    let error = error.to_string();
                    Repeated::Answered(Answer {
                        shown: format!("the error \"{error}\""),
                        said: Err(error),
                    })
                }
                CallFailure::Exhausted | CallFailure::Ended(_) => Repeated::Ended,
            },
            Err(Failure::Harmed(_)) => Repeated::Ended,
        }
    }
}

impl Case {
    /// What comes among the entries, and after how many of them.
    fn inserts(&self, recipe: &Recipe) -> Vec<(usize, Insert)> {
        let due = |call: &PureCall| {
            let entries = &self.entries;
            entries.partition_point(|entry| entry.sequence <= call.after)
        };
        let mut latest = 0;
        let mut place = |call: &PureCall| {
            // A call on an older generation may come later in the log.
            latest = due(call).max(latest);
            latest
        };
        let Some(bytes) = recipe.padded_to else {
            let calls = recipe.calls.iter().enumerate();
            let calls = calls.map(|(at, call)| (place(&self.log.calls[*call]), Insert::Call(at)));
            return calls.collect();
        };
        let mut places: Vec<usize> = self.log.calls.iter().map(place).collect();
        places.dedup();
        places.truncate(PADS_MAX);
        places.insert(0, 0);
        let mut pads: Vec<_> = places
            .into_iter()
            .map(|at| (at, Insert::Padding(0)))
            .collect();
        pads.push((self.entries.len(), Insert::Padding(bytes)));
        pads
    }
}

/// Applies entries, and tells apart why one of them fails.
fn apply(replay: &mut Replay, entries: &[Arc<Entry>]) -> Result<Result<(), Stop>, Error> {
    // One at a time, so a refusal that another entry met and survived is not taken for the cause.
    let outcome = replay.run(&mut Entries::these(entries.to_vec()), 1, |_| Ok(true));
    match outcome {
        Ok(_) => Ok(Ok(())),
        Err(Error::Divergence(divergence)) => {
            let ran_out = replay.generation.enter_standby().take_exhaustion();
            Ok(Err(if ran_out.is_some() {
                Stop::Memory(Error::Divergence(divergence))
            } else {
                Stop::Entry(divergence)
            }))
        }
        Err(error @ Error::StandbyOutOfMemory { .. }) => Ok(Err(Stop::Memory(error))),
        Err(error) => Err(error),
    }
}
