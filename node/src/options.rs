//! What a package's user chose. JavaScript has checked the types, and sends it as JSON.

use std::path::PathBuf;
use std::time::Duration;

use engine_api::Limits;
use proxy_core::{CheckpointPolicy, Durability, History, Policy, SwapTriggers, Thresholds};
use serde::Deserialize;

use crate::failure::{Failure, described};

/// The options of a session, with those that are absent at their defaults.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Options {
    /// The name in metrics and events.
    pub(crate) name: String,
    /// Whether standbys are made and swapped to.
    pub(crate) enabled: bool,
    /// The engine by its name; without one the default engine.
    engine: Option<String>,
    /// The most linear memory that one instance has, in MiB.
    #[serde(rename = "memoryLimitMiB")]
    memory_limit_mib: Option<f64>,
    /// The share of the limit at which a standby is made.
    warn: Option<f64>,
    /// The share of the limit at which it takes over.
    critical: Option<f64>,
    /// After how many calls an instance is replaced.
    swap_calls: Option<f64>,
    /// After how long an instance is replaced, in seconds.
    swap_age: Option<f64>,
    /// The file of a policy. Without one it is drafted.
    policy: Option<PathBuf>,
    /// The name of a policy that comes with this release.
    preset: Option<String>,
    /// The folder for compiled code.
    pub(crate) compile_cache: Option<PathBuf>,
    /// How long a preparation may take, in seconds.
    prepare_timeout: Option<f64>,
    /// `full` or `checkpoint`.
    history: Option<String>,
    /// The folder in which each package has the folder of its journal.
    pub(crate) journal: Option<PathBuf>,
    /// `durable` or `relaxed`.
    journal_mode: Option<String>,
    /// The longest time between two flushes of a relaxed journal, in milliseconds.
    journal_flush_ms: Option<f64>,
}

/// How often a relaxed journal is flushed, if nobody says.
const FLUSH_INTERVAL: Duration = Duration::from_millis(100);

/// No module of wasm-bindgen's can have more: its addresses have 32 bits.
const MEMORY_MIB_MAX: f64 = 4096.0;

/// Above it JavaScript's numbers are not all whole ones.
const WHOLE_MAX: u64 = (1 << 53) - 1;

impl Options {
    pub(crate) fn read(text: &str) -> Result<Self, Failure> {
        serde_json::from_str(text).map_err(|error| {
            Failure::Option(format!(
                "an option is wrong: {error}; docs/node.md lists them"
            ))
        })
    }

    pub(crate) fn engine(&self) -> Result<&str, Failure> {
        let wrong = |error: engines::Error| {
            Failure::Option(format!("option `engine`: {}", described(&error)))
        };
        match &self.engine {
            None => engines::default_name().map_err(wrong),
            Some(name) => engines::find(name).map(|listed| listed.name).map_err(wrong),
        }
    }

    pub(crate) fn limits(&self) -> Result<Limits, Failure> {
        let mut limits = Limits::default();
        if let Some(mib) = self.memory_limit_mib {
            if !(mib > 0.0 && mib <= MEMORY_MIB_MAX) {
                return Err(Failure::Option(format!(
                    "option `memoryLimitMiB` is {mib}; it must be above 0 and at most {MEMORY_MIB_MAX}"
                )));
            }
            limits.memory_bytes_max = Some(bytes_of(mib));
        }
        Ok(limits)
    }

    pub(crate) fn thresholds(&self) -> Result<Thresholds, Failure> {
        let (warn, critical) = (self.warn.unwrap_or(0.70), self.critical.unwrap_or(0.90));
        Thresholds::new(warn, critical).map_err(|_| {
            Failure::Option(format!(
                "options `warn` and `critical` are {warn} and {critical}; they are shares of the memory limit, with \
                 0 < warn < critical <= 1"
            ))
        })
    }

    /// What makes a swap beside the thresholds of the memory.
    pub(crate) fn triggers(&self) -> Result<SwapTriggers, Failure> {
        let calls_max = match self.swap_calls {
            None => None,
            Some(calls) => Some(whole(calls).ok_or_else(|| {
                Failure::Option(format!(
                    "option `swapCalls` is {calls}; it is a whole number of calls from 1 to {WHOLE_MAX}"
                ))
            })?),
        };
        Ok(SwapTriggers {
            calls_max,
            age_max: seconds("swapAge", self.swap_age)?,
            ..SwapTriggers::default()
        })
    }

    pub(crate) fn prepare_timeout(&self) -> Result<Option<Duration>, Failure> {
        seconds("prepareTimeout", self.prepare_timeout)
    }

    /// How much of the past the journal in memory keeps.
    pub(crate) fn checkpoints(&self) -> Result<CheckpointPolicy, Failure> {
        let history = match self.history.as_deref() {
            Some("full") | None => History::Full,
            Some("checkpoint") => History::Checkpoint,
            Some(other) => {
                return Err(Failure::Option(format!(
                    "option `history` is `{other}`; it is `full` or `checkpoint`"
                )));
            }
        };
        Ok(CheckpointPolicy {
            history,
            ..CheckpointPolicy::default()
        })
    }

    /// Refuses what only a journal in a folder has.
    pub(crate) fn check_no_journal(&self) -> Result<(), Failure> {
        let given = [
            ("journalMode", self.journal_mode.is_some()),
            ("journalFlushMs", self.journal_flush_ms.is_some()),
        ];
        match given.into_iter().find(|(_, is_given)| *is_given) {
            None => Ok(()),
            Some((name, _)) => Err(Failure::Option(format!(
                "option `{name}` is for a journal; give its folder with option `journal`"
            ))),
        }
    }

    /// When a journaled call returns.
    pub(crate) fn durability(&self) -> Result<Durability, Failure> {
        let every = match self.journal_flush_ms {
            None => FLUSH_INTERVAL,
            Some(ms) => Duration::try_from_secs_f64(ms / 1e3)
                .ok()
                .filter(|every| !every.is_zero())
                .ok_or_else(|| {
                    Failure::Option(format!(
                        "option `journalFlushMs` is {ms}; it is a number of milliseconds above 0"
                    ))
                })?,
        };
        match self.journal_mode.as_deref() {
            Some("relaxed") => Ok(Durability::Relaxed { every }),
            Some("durable") | None if self.journal_flush_ms.is_some() => Err(Failure::Option(
                "option `journalFlushMs` is for `journalMode: 'relaxed'`; a durable journal is flushed by each call"
                    .to_owned(),
            )),
            Some("durable") | None => Ok(Durability::Durable),
            Some(other) => Err(Failure::Option(format!(
                "option `journalMode` is `{other}`; it is `durable` or `relaxed`"
            ))),
        }
    }

    /// The policy that was named, if one was.
    pub(crate) fn policy(&self) -> Result<Option<Policy>, Failure> {
        match (&self.policy, &self.preset) {
            (None, None) => Ok(None),
            (Some(_), Some(_)) => Err(Failure::Option(
                "options `policy` and `preset` exclude each other; give one".to_owned(),
            )),
            (None, Some(name)) => Policy::preset(name)
                .map(Some)
                .map_err(|error| Failure::Option(format!("option `preset`: {error}"))),
            (Some(path), None) => {
                let text = std::fs::read_to_string(path).map_err(|error| {
                    Failure::Option(format!(
                        "option `policy`: cannot read `{}`: {error}; check the path",
                        path.display()
                    ))
                })?;
                text.parse().map(Some).map_err(|error| {
                    Failure::Policy(format!(
                        "the policy `{}`: {}",
                        path.display(),
                        described(&error)
                    ))
                })
            }
        }
    }
}

/// A time above zero, if one was given.
fn seconds(name: &str, given: Option<f64>) -> Result<Option<Duration>, Failure> {
    let Some(seconds) = given else {
        return Ok(None);
    };
    let time = Duration::try_from_secs_f64(seconds).ok();
    match time.filter(|time| !time.is_zero()) {
        Some(time) => Ok(Some(time)),
        None => Err(Failure::Option(format!(
            "option `{name}` is {seconds}; it is a number of seconds above 0"
        ))),
    }
}

/// A number that is whole, and above zero.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "it is between 1 and 2^53"
)]
fn whole(number: f64) -> Option<u64> {
    let is_whole = number.fract() == 0.0 && (1.0..=WHOLE_MAX as f64).contains(&number);
    is_whole.then_some(number as u64)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it is between 0 and 4096 MiB"
)]
fn bytes_of(mib: f64) -> u64 {
    (mib * 1_048_576.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(more: &str) -> Result<Options, Failure> {
        Options::read(&format!(r#"{{"name":"m","enabled":true{more}}}"#))
    }

    fn said<T: std::fmt::Debug>(result: Result<T, Failure>) -> String {
        let failure = result.unwrap_err();
        assert_eq!(failure.code(), "WASM_PROXY_OPTION");
        failure.to_string()
    }

    #[test]
    fn wrong_options_are_named_with_what_they_may_be() {
        assert!(said(options(r#","memory":1"#)).contains("`memory`"));
        let memory = options(r#","memoryLimitMiB":0"#).unwrap();
        assert!(said(memory.limits()).contains("memoryLimitMiB"));
        let engine = options(r#","engine":"v8""#).unwrap();
        assert!(said(engine.engine()).contains("`engine`"));
        let shares = options(r#","warn":0.9,"critical":0.8"#).unwrap();
        assert!(said(shares.thresholds()).contains("`warn` and `critical`"));
        let both = options(r#","policy":"a","preset":"o1js""#).unwrap();
        assert!(said(both.policy()).contains("exclude each other"));
        let mode = options(r#","journalMode":"fast""#).unwrap();
        assert!(said(mode.durability()).contains("`durable` or `relaxed`"));
        let durable = options(r#","journalFlushMs":5"#).unwrap();
        assert!(said(durable.durability()).contains("journalFlushMs"));
        let never = options(r#","journalMode":"relaxed","journalFlushMs":0"#).unwrap();
        assert!(said(never.durability()).contains("above 0"));
        let history = options(r#","history":"short""#).unwrap();
        assert!(said(history.checkpoints()).contains("`full` or `checkpoint`"));
        let timeout = options(r#","prepareTimeout":-1"#).unwrap();
        assert!(said(timeout.prepare_timeout()).contains("prepareTimeout"));
        for calls in ["0", "-1", "2.5", "1e16"] {
            let calls = options(&format!(r#","swapCalls":{calls}"#)).unwrap();
            assert!(said(calls.triggers()).contains("`swapCalls`"));
        }
        for age in ["0", "-1", "1e300"] {
            let age = options(&format!(r#","swapAge":{age}"#)).unwrap();
            assert!(said(age.triggers()).contains("`swapAge`"));
        }
    }

    #[test]
    fn an_instance_is_replaced_after_calls_and_time_only_where_that_is_asked_for() {
        let none = options("").unwrap().triggers().unwrap();
        assert_eq!(none, SwapTriggers::default());
        let both = options(r#","swapCalls":1000,"swapAge":0.5"#).unwrap();
        let both = both.triggers().unwrap();
        assert_eq!(both.calls_max, Some(1_000));
        assert_eq!(both.age_max, Some(Duration::from_millis(500)));
        assert_eq!(both.idle_after, SwapTriggers::default().idle_after);
    }

    #[test]
    fn the_history_is_kept_whole_unless_a_checkpoint_shall_take_its_place() {
        for (given, expected) in [
            ("", History::Full),
            (r#","history":"full""#, History::Full),
            (r#","history":"checkpoint""#, History::Checkpoint),
        ] {
            let policy = options(given).unwrap().checkpoints().unwrap();
            assert_eq!(policy.history, expected);
        }
    }

    #[test]
    fn a_mebibyte_is_two_to_the_twentieth() {
        let limits = options(r#","memoryLimitMiB":64"#)
            .unwrap()
            .limits()
            .unwrap();
        assert_eq!(limits.memory_bytes_max, Some(64 << 20));
    }
}
