//! Workloads: the calls that a user would make, as JSON lines.
//!
//! A file is parsed ([`parse`]), checked against the module and its policy before anything runs
//! ([`bind`]), and run ([`run`]).

pub(crate) mod bind;
mod parse;
pub(crate) mod run;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use proxy_core::Width;
use serde_json::Number;

/// A parsed workload.
#[derive(Debug, PartialEq)]
pub(crate) struct Workload {
    /// The file's name, for messages.
    pub(crate) name: String,
    /// What to do, in order.
    pub(crate) steps: Vec<Step>,
}

/// One thing to do.
#[derive(Debug, PartialEq)]
pub(crate) enum Step {
    /// Call an export.
    Call(Call),
    /// Do several things several times.
    Repeat {
        /// How often.
        times: u64,
        /// What.
        steps: Vec<Step>,
    },
    /// Do several things on one generation.
    Pinned {
        /// Where it is in the file.
        line: usize,
        /// What: calls and repeats of calls.
        steps: Vec<Step>,
    },
}

/// A call as the file says it.
#[derive(Debug, PartialEq)]
pub(crate) struct Call {
    /// Where it is in the file.
    pub(crate) line: usize,
    /// What to call.
    pub(crate) export: String,
    /// With what.
    pub(crate) args: Vec<Argument>,
    /// The names that its results get, in order.
    pub(crate) names: Vec<String>,
    /// What it must return, if that is said: one for each result.
    pub(crate) expect: Option<Vec<Expected>>,
}

/// An argument as the file says it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Argument {
    /// A number, which takes the parameter's type.
    Number(Number),
    /// An earlier result.
    Named(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Text.
    Text(String),
    /// An array of numbers, as the guest has it in memory.
    Numbers(Width, Vec<u8>),
    /// Earlier results that are objects.
    Handles(Vec<String>),
    /// Earlier results that are raw pointers.
    Pointers(Vec<String>),
    /// The turn of the innermost repeat, from 0.
    Index,
}

/// A result as the file expects it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Expected {
    /// A number, which takes the result's type.
    Number(Number),
    /// Text, or bytes that are this text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// An array of numbers, as the guest has it in memory.
    Numbers(Width, Vec<u8>),
    /// Nothing: no object, no bytes, no text.
    Null,
}

/// What arrays of numbers are called, here and in policies.
const WIDTHS: [(&str, Width); 3] = [
    ("u16s", Width::Two),
    ("u32s", Width::Four),
    ("u64s", Width::Eight),
];

/// What an array of numbers of this size is called.
fn width_name(width: Width) -> &'static str {
    let mut names = WIDTHS.into_iter().filter(|(_, other)| *other == width);
    names.next().map_or("numbers", |(name, _)| name)
}

impl Workload {
    /// Reads a workload from a file.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| {
            format!(
                "cannot read the workload `{}`; check the path, and that it is UTF-8 text",
                path.display()
            )
        })?;
        Self::parse(&path.display().to_string(), &text)
    }

    /// How many calls it makes; `u64::MAX` stands for that many or more.
    pub(crate) fn calls(&self) -> u64 {
        count(&self.steps)
    }

    /// Gives the first repeat at the top another number of turns.
    pub(crate) fn repeat_instead(&mut self, turns: u64) {
        let mut repeats = self.steps.iter_mut().filter_map(|step| match step {
            Step::Repeat { times, .. } => Some(times),
            _ => None,
        });
        if let Some(times) = repeats.next() {
            *times = turns;
        }
    }
}

fn count(steps: &[Step]) -> u64 {
    let count_of = |step: &Step| match step {
        Step::Call(_) => 1,
        Step::Repeat { times, steps } => count(steps).saturating_mul(*times),
        Step::Pinned { steps, .. } => count(steps),
    };
    steps.iter().map(count_of).fold(0, u64::saturating_add)
}
