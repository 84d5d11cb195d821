//! Journaled calls that notice pure ones: an entry that gives something else after them, or without
//! them.

use std::collections::BTreeSet;

use engine_api::FuncIndex;

use super::made::{Recipe, Stop};
use super::{Case, Upkeep, called};
use crate::shared::PureCall;
use crate::shown;
use crate::{Audit, Divergence, Error, LeftOut, Observation};

impl Upkeep {
    /// Says why the journaled calls alone cannot make the state again. If one of them differs, a
    /// pure call with which it does not has written what it reads.
    pub(super) fn explain(&self, case: &Case, stop: Stop, audit: &mut Audit) -> Result<(), Error> {
        let reason = match stop {
            Stop::Memory(error) => error.to_string(),
            Stop::Call(_) | Stop::Padding => "an instance ended".to_owned(),
            Stop::Entry(divergence) => {
                for func in called(&case.log) {
                    if self.makes(case, |call| call.func == func, &divergence)? {
                        audit.writers.push(self.name(func));
                    }
                }
                if !audit.writers.is_empty() || self.makes(case, |_| true, &divergence)? {
                    let (without, with) = (&divergence.got, &divergence.expected);
                    audit.lost.push(case.seen(&divergence, without, with));
                }
                divergence.to_string()
            }
        };
        audit.incomplete = Some(format!(
            "the journaled calls alone do not make the state again: {reason}"
        ));
        audit.leave_out(LeftOut {
            calls: case.log.calls.len() as u64,
            reason: "there was no state to compare with".to_owned(),
        });
        Ok(())
    }

    /// Whether the entry that diverges gives what it should after these pure calls.
    fn makes(
        &self,
        case: &Case,
        is_made: impl Fn(&PureCall) -> bool,
        divergence: &Divergence,
    ) -> Result<bool, Error> {
        let recipe = case.recipe(is_made);
        Ok(match self.made_as_far_as_possible(case, recipe, |_| {})? {
            Ok(_) => true,
            Err(later) => later.entry > divergence.entry,
        })
    }

    /// The recipe of a state with as many pure calls as possible. Those that a journaled call
    /// notices have written; they are left out, so the other ones can be examined.
    pub(super) fn with(&self, case: &Case, audit: &mut Audit) -> Result<Recipe, Error> {
        let mut recipe = case.recipe(|_| true);
        loop {
            let mut left_out = Vec::new();
            let made =
                self.made_as_far_as_possible(case, recipe.clone(), |calls| left_out.push(calls))?;
            let divergence = match made {
                Ok(made) => {
                    left_out.push(LeftOut {
                        calls: made.refused as u64,
                        reason: "objects that they used are gone".to_owned(),
                    });
                    for calls in left_out {
                        audit.leave_out(calls);
                    }
                    audit.calls = made.recipe().calls.len() - made.refused;
                    return Ok(made.recipe().clone());
                }
                Err(divergence) => divergence,
            };
            let noticed = self.noticed(case, &recipe, &divergence)?;
            let before = recipe.calls.len();
            recipe.calls.retain(|at| {
                let call = &case.log.calls[*at];
                if noticed.is_empty() {
                    call.after >= divergence.entry
                } else {
                    !noticed.contains(&call.func)
                }
            });
            if recipe.calls.len() == before {
                return Err(Error::Divergence(divergence));
            }
            if !noticed.is_empty() {
                let (without, with) = (&divergence.expected, &divergence.got);
                audit.lost.push(case.seen(&divergence, without, with));
                let names = noticed.iter().map(|func| self.name(*func));
                audit.writers.extend(names);
            }
            audit.leave_out(LeftOut {
                calls: (before - recipe.calls.len()) as u64,
                reason: format!("a journaled call notices them: {divergence}"),
            });
        }
    }

    /// The exports whose calls alone make an entry diverge. None if it depends on sizes and
    /// addresses.
    fn noticed(
        &self,
        case: &Case,
        recipe: &Recipe,
        divergence: &Divergence,
    ) -> Result<BTreeSet<FuncIndex>, Error> {
        let padded = Recipe {
            padded_to: Some(0),
            ..Recipe::default()
        };
        if let Err(Stop::Entry(moved)) = self.made(case, &padded)?
            && moved.entry == divergence.entry
        {
            return Ok(BTreeSet::new());
        }
        let all = recipe.calls.iter().map(|at| &case.log.calls[*at]);
        let before = all.filter(|call| call.after < divergence.entry);
        let mut noticed = BTreeSet::new();
        for func in before.map(|call| call.func).collect::<BTreeSet<_>>() {
            let own = case.recipe(|call| call.func == func);
            if self.made_as_far_as_possible(case, own, |_| {})?.is_err() {
                noticed.insert(func);
            }
        }
        Ok(noticed)
    }
}

impl Case {
    /// What a journaled call that notices pure calls gives.
    fn seen(&self, divergence: &Divergence, without: &str, with: &str) -> Observation {
        let mut entries = self.entries.iter();
        let entry = entries.find(|entry| entry.sequence == divergence.entry);
        Observation {
            export: divergence.export.clone(),
            args: entry.map_or_else(String::new, |entry| shown::args(&entry.args)),
            without: without.to_owned(),
            with: with.to_owned(),
        }
    }
}
