//! What a parent and its child say to each other, in lines of JSON.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::Strategy;
use crate::measured::Measured;

/// What a parent tells its child.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Order {
    /// The name of the engine.
    pub engine: String,
    /// Where the compiled module is, if the engine can keep it.
    pub(crate) compiled: Option<PathBuf>,
    pub(crate) task: Task,
}

/// What a child does.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Task {
    /// Run a strategy.
    Measure {
        strategy: Strategy,
        turns_max: u64,
        time_max_ms: u64,
    },
    /// Build the state and make one turn.
    Turn { index: u64 },
}

/// What a child says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    /// The number of turns so far.
    Turns(u64),
    Measured(Box<Measured>),
    Turn(Turn),
    /// Why the child cannot do its task.
    Error(String),
}

/// The result of one turn in a process of its own.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Turn {
    /// The digest of its results, or why it failed.
    pub(crate) outcome: Result<u64, String>,
    pub(crate) memory_bytes: u64,
}
