//! The messages between a parent and its child: lines of JSON.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::Strategy;
use crate::measured::Measured;

/// The order that a parent gives its child.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Order {
    /// The name of the engine.
    pub engine: String,
    /// The file of the compiled module, if the engine can write one.
    pub(crate) compiled: Option<PathBuf>,
    pub(crate) task: Task,
}

/// The task of a child.
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

/// A message of a child.
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
