//! Workloads: the calls that a user would make, as JSON lines.
//!
//! A file is parsed ([`Workload::parse`]) and checked against the module and its policy before
//! anything runs ([`Workload::bind`]). Its calls can then be made on a proxy and on a bare instance
//! ([`perform`]). Errors are for the author of the file, in words and with the line. No code
//! matches on them, so they are `anyhow`'s.

pub mod bind;
mod digest;
mod json;
mod parse;
pub mod perform;

pub use digest::FAILED;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use guest_calls::Width;
use serde_json::Number;

/// A parsed workload.
#[derive(Clone, Debug, PartialEq)]
pub struct Workload {
    /// The file's name, for messages.
    pub name: String,
    /// The steps in order.
    pub steps: Vec<Step>,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Call an export.
    Call(Call),
    /// Do several things several times.
    Repeat {
        /// The number of turns.
        times: u64,
        /// The steps of each turn.
        steps: Vec<Step>,
    },
    /// Do several things on one generation.
    Pinned {
        /// Where it is in the file.
        line: usize,
        /// The steps: calls and repeats of calls.
        steps: Vec<Step>,
    },
}

/// A call as the file writes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// Where it is in the file.
    pub line: usize,
    /// The export.
    pub export: String,
    /// The arguments.
    pub args: Vec<Argument>,
    /// The names that its results get, in order.
    pub names: Vec<String>,
    /// What it must return, one for each result, if the file says so.
    pub expect: Option<Vec<Expected>>,
    /// The id that its caller gives it, if the file says so.
    pub id: Option<CallId>,
}

/// The id of a call, by which a callee that keeps answers knows it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallId {
    /// What the file says.
    pub text: String,
    /// Whether the call is in a repeat. Then the turn is a part of the id.
    pub repeated: bool,
}

/// How many bytes an id may have, its turn included.
const CALL_ID_BYTES_MAX: usize = 128;

impl CallId {
    /// The id in a turn of the repeat around the call: `text`, or `text#turn` in a repeat.
    #[must_use]
    pub fn in_turn(&self, turn: u64) -> String {
        if self.repeated {
            format!("{}#{turn}", self.text)
        } else {
            self.text.clone()
        }
    }
}

/// A value as the file writes it.
#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    /// A number, which takes the type of the parameter or result.
    Number(Number),
    /// Text, or bytes that are this text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// An array of numbers, as the guest has it in memory.
    Numbers(Width, Vec<u8>),
    /// A JavaScript value, as text.
    Js(String),
}

/// An argument as the file writes it.
#[derive(Clone, Debug, PartialEq)]
pub enum Argument {
    /// A value.
    Literal(Literal),
    /// An earlier result.
    Named(String),
    /// Earlier results that are objects.
    Handles(Vec<String>),
    /// Earlier results that are raw pointers.
    Pointers(Vec<String>),
    /// The turn of the innermost repeat, from 0.
    Index,
    /// Nothing, for an optional argument.
    Null,
}

/// A result as the file expects it.
#[derive(Clone, Debug, PartialEq)]
pub enum Expected {
    /// A value.
    Literal(Literal),
    /// Nothing: no object, no bytes, no text.
    Null,
}

/// The names of arrays of numbers, here and in policies.
const WIDTHS: [(&str, Width); 3] = [
    ("u16s", Width::Two),
    ("u32s", Width::Four),
    ("u64s", Width::Eight),
];

/// The name of an array of numbers of this size.
fn width_name(width: Width) -> &'static str {
    let mut names = WIDTHS.into_iter().filter(|(_, other)| *other == width);
    names.next().map_or("numbers", |(name, _)| name)
}

impl Workload {
    /// Reads a workload from a file.
    ///
    /// # Errors
    ///
    /// What is wrong with it, with the line.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| {
            format!(
                "cannot read the workload `{}`; check the path, and that it is UTF-8 text",
                path.display()
            )
        })?;
        Self::parse(&path.display().to_string(), &text)
    }

    /// How many calls it makes; `u64::MAX` stands for that many or more.
    #[must_use]
    pub fn calls(&self) -> u64 {
        Self::count(&self.steps)
    }

    /// How many calls steps make; `u64::MAX` stands for that many or more.
    #[must_use]
    pub fn count(steps: &[Step]) -> u64 {
        let count_of = |step: &Step| match step {
            Step::Call(_) => 1,
            Step::Repeat { times, steps } => Self::count(steps).saturating_mul(*times),
            Step::Pinned { steps, .. } => Self::count(steps),
        };
        steps.iter().map(count_of).fold(0, u64::saturating_add)
    }

    /// Gives the first repeat at the top another number of turns.
    pub fn repeat_instead(&mut self, turns: u64) {
        let mut repeats = self.steps.iter_mut().filter_map(|step| match step {
            Step::Repeat { times, .. } => Some(times),
            _ => None,
        });
        if let Some(times) = repeats.next() {
            *times = turns;
        }
    }
}
