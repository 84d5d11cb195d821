//! The subject of a comparison.

use std::time::Duration;

use anyhow::{Result, bail};
use engine_api::{Imports, Limits};
use proxy_core::{Policy, Thresholds};
use workload::{Step, Workload};

/// A module, its policy and its workload. The program and its children make it in the same way.
#[derive(Clone, Debug)]
pub struct Job {
    /// The name of the module. It is hostile input, and is escaped wherever it is shown.
    pub name: String,
    /// The module, in the binary format.
    pub wasm: Vec<u8>,
    /// The roles of its exports.
    pub policy: Policy,
    /// The host functions and memories for its imports.
    pub imports: Imports,
    /// The calls: the state, then the repeat whose turns are compared.
    pub workload: Workload,
    /// The limits of each instance.
    pub limits: Limits,
    /// The shares of the memory limit at which the proxy prepares and swaps.
    pub thresholds: Thresholds,
    /// How long a scope may stay on an instance that was swapped out.
    pub drain_timeout: Duration,
}

impl Job {
    /// The step that is compared: the repeat with the most calls at the workload's top. Steps
    /// before it build the state; steps after it are left out.
    ///
    /// # Errors
    ///
    /// There is no repeat at the top.
    pub fn repeat(&self) -> Result<usize> {
        let calls = |step: &Step| match step {
            Step::Repeat { times, steps } => Some(Workload::count(steps).saturating_mul(*times)),
            _ => None,
        };
        let steps = self.workload.steps.iter().enumerate();
        let repeats = steps.filter_map(|(at, step)| Some((calls(step)?, at)));
        // The first of equal ones.
        let most = repeats.max_by_key(|(calls, at)| (*calls, usize::MAX - at));
        let Some((_, at)) = most else {
            bail!(
                "the workload `{}` repeats nothing, so there is nothing to compare; write the calls that an \
                 application makes again and again as {{\"repeat\":300,\"do\":[...]}}, after those that build the state",
                self.workload.name
            );
        };
        Ok(at)
    }

    /// Changes the number of turns of the compared repeat.
    ///
    /// # Errors
    ///
    /// As [`Job::repeat`].
    pub fn set_turns(&mut self, turns: u64) -> Result<()> {
        let at = self.repeat()?;
        if let Step::Repeat { times, .. } = &mut self.workload.steps[at] {
            *times = turns;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(workload: &str) -> Job {
        Job {
            name: "m".to_owned(),
            wasm: Vec::new(),
            policy: Policy::default(),
            imports: Imports::new(),
            workload: Workload::parse("w", workload).unwrap(),
            limits: Limits::default(),
            thresholds: Thresholds::default(),
            drain_timeout: Duration::from_secs(1),
        }
    }

    #[test]
    fn the_repeat_with_the_most_calls_is_compared() {
        let many = "{\"repeat\":3,\"do\":[{\"call\":\"f\"}]}\n{\"repeat\":2,\"do\":[{\"call\":\"f\"},{\"call\":\"g\"}]}\n\
                    {\"repeat\":4,\"do\":[{\"call\":\"f\"}]}\n{\"call\":\"f\"}";
        assert_eq!(job(many).repeat().unwrap(), 1);
        let mut fewer = job(many);
        fewer.set_turns(1).unwrap();
        assert_eq!(fewer.repeat().unwrap(), 2);
    }

    #[test]
    fn a_workload_without_a_repeat_is_refused_with_a_way_out() {
        let error = job("{\"call\":\"f\"}").repeat().unwrap_err().to_string();
        assert!(error.contains("\"repeat\":300"), "{error}");
    }
}
