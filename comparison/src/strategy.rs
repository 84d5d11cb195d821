//! The strategies of an operator against a module that leaks.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How many instances [`Strategy::Rotation`] has.
pub(crate) const ROTATION: usize = 2;

/// A strategy of an operator against a module that leaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// Nothing: one instance, until it dies.
    Bare,
    /// Wait until it dies, then make a new instance and build the state again.
    Restart,
    /// A fresh instance for every turn. Its state is made from artifacts where the policy names
    /// them, and is built again otherwise.
    Fresh,
    /// A process for every turn, which builds the state.
    Process,
    /// Several instances in turn; one that is full or dead is replaced before its next turn.
    Rotation,
    /// The proxy, whose standbys are made by replay.
    Replay,
    /// The proxy, whose standbys are made from checkpoints.
    Checkpoints,
}

impl Strategy {
    /// All of them, in the order of the tables.
    pub const ALL: [Self; 7] = [
        Self::Bare,
        Self::Restart,
        Self::Fresh,
        Self::Process,
        Self::Rotation,
        Self::Replay,
        Self::Checkpoints,
    ];

    /// Its name in the JSON form and on the command line.
    #[must_use]
    pub fn key(self) -> &'static str {
        self.words().0
    }

    /// Its name in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.words().1
    }

    /// A description for people.
    #[must_use]
    pub fn description(self) -> &'static str {
        self.words().2
    }

    fn words(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Bare => ("bare", "bare instance", "one instance until it dies"),
            Self::Restart => (
                "restart",
                "restart when dead",
                "one instance; after a turn has killed it, the next one makes a new instance and builds its state",
            ),
            Self::Fresh => (
                "fresh",
                "instance per turn",
                "a new instance for every turn; its state is imported from artifacts where the policy names them, and \
                 built again otherwise",
            ),
            Self::Process => (
                "process",
                "process per turn",
                "a new process for every turn, which builds the state",
            ),
            Self::Rotation => (
                "rotation",
                "rotation of 2",
                "two instances in turn; one that is full or dead is replaced, on the caller's thread",
            ),
            Self::Replay => (
                "replay",
                "proxy, replay",
                "the proxy without checkpoints: a standby is made by replay beside the calls, and swapped in",
            ),
            Self::Checkpoints => (
                "checkpoints",
                "proxy, checkpoints",
                "the proxy as it is by default: a standby is made from a checkpoint beside the calls, and swapped in",
            ),
        }
    }

    /// Whether the proxy serves.
    #[must_use]
    pub fn is_proxy(self) -> bool {
        matches!(self, Self::Replay | Self::Checkpoints)
    }
}

impl FromStr for Strategy {
    type Err = String;

    fn from_str(key: &str) -> Result<Self, String> {
        let mut all = Self::ALL.into_iter();
        all.find(|strategy| strategy.key() == key).ok_or_else(|| {
            let keys = Self::ALL.map(Self::key);
            format!("no such strategy; choose among: {}", keys.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strategy_is_chosen_by_what_the_json_calls_it() {
        for strategy in Strategy::ALL {
            assert_eq!(strategy.key().parse(), Ok(strategy));
            let json = serde_json::to_value(strategy).unwrap();
            assert_eq!(json, strategy.key());
        }
        let error = "fast".parse::<Strategy>().unwrap_err();
        assert!(error.contains("rotation"), "{error}");
    }

    #[test]
    fn every_strategy_has_a_name_of_its_own_and_a_description() {
        let names: std::collections::HashSet<_> = Strategy::ALL.iter().map(|s| s.name()).collect();
        assert_eq!(names.len(), Strategy::ALL.len());
        assert!(Strategy::Rotation.name().ends_with(&ROTATION.to_string()));
    }
}
