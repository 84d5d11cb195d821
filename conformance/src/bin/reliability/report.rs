//! What was measured, and the table of it.

use std::any::Any;
use std::fmt::Write;
use std::time::Duration;

use serde_json::{Value, json};

use crate::Scale;
use crate::rows::Row;
use crate::tests::{Ran, Shown};

/// What a row's own measurement gave.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    /// The figures, in words.
    pub(crate) figures: Vec<String>,
    /// Those that are not what was promised.
    pub(crate) short: Vec<String>,
    /// The expectation that failed, if one did.
    pub(crate) failed: Option<String>,
}

impl Measured {
    pub(crate) fn figure(&mut self, text: impl Into<String>) {
        self.figures.push(text.into());
    }

    /// Notes a figure that must be so.
    pub(crate) fn must(&mut self, holds: bool, text: impl Into<String>) {
        let text = text.into();
        if !holds {
            self.short.push(text.clone());
        }
        self.figures.push(text);
    }

    /// A measurement that ended with a failed expectation.
    pub(crate) fn failed(panic: &Box<dyn Any + Send>) -> Self {
        let text = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Self {
            failed: Some(text.unwrap_or_else(|| "it panicked".to_owned())),
            ..Self::default()
        }
    }
}

/// A row with its figures.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) row: &'static Row,
    pub(crate) measured: Option<Measured>,
    pub(crate) tests: Vec<Shown>,
    pub(crate) took: Duration,
}

impl Outcome {
    /// Whether a promise is broken that is known to be kept.
    pub(crate) fn is_failure(&self) -> bool {
        let is_broken = |measured: &Measured| {
            measured.failed.is_some() || (!measured.short.is_empty() && self.row.short.is_none())
        };
        self.measured.as_ref().is_some_and(is_broken) || self.has_failed_test()
    }

    /// What broke the promise: the expectation, the figures and the tests.
    pub(crate) fn broken(&self) -> String {
        let mut found: Vec<String> = Vec::new();
        if let Some(measured) = &self.measured {
            found.extend(measured.failed.clone());
            found.extend(measured.short.iter().cloned());
        }
        let failed = self.tests.iter().filter(|test| test.ran == Ran::Failed);
        found.extend(failed.map(ToString::to_string));
        format!("{} {}: {}", self.row.id, self.row.promise, found.join("; "))
    }

    fn has_failed_test(&self) -> bool {
        self.tests.iter().any(|test| test.ran == Ran::Failed)
    }

    fn verdict(&self) -> String {
        let measured = self.measured.as_ref();
        if let Some(failed) = measured.and_then(|measured| measured.failed.as_ref()) {
            return format!("falls short: {failed}");
        }
        if self.has_failed_test() {
            return "falls short: a test failed".to_owned();
        }
        if measured.is_some_and(|measured| !measured.short.is_empty()) {
            let reason = self
                .row
                .short
                .unwrap_or("the figures are not those asked for");
            return format!("falls short: {reason}");
        }
        let are_absent = |test: &&Shown| test.ran == Ran::Absent;
        let absent = self.tests.iter().filter(are_absent).count();
        let is_shown = measured.is_some() || absent < self.tests.len();
        let open = match self.row.open {
            Some(open) => open,
            None if absent == 0 && is_shown => return self.met(),
            None => "tests that show it are not in this tree",
        };
        let was_run = |test: &Shown| matches!(test.ran, Ran::Passed);
        if measured.is_some() || self.tests.iter().any(was_run) {
            format!("met in part: {open}")
        } else if is_shown {
            format!("tests not run here; open: {open}")
        } else {
            format!("not measured: {open}")
        }
    }

    fn met(&self) -> String {
        let was_named = self.tests.iter().any(|test| test.ran == Ran::Named);
        match (was_named, &self.measured) {
            (false, _) => "met".to_owned(),
            (true, Some(_)) => "met; tests not run here".to_owned(),
            (true, None) => "tests not run here".to_owned(),
        }
    }

    fn got(&self) -> String {
        let mut got = Vec::new();
        if let Some(measured) = &self.measured {
            got.extend(measured.figures.iter().cloned());
        }
        got.extend(self.tests.iter().map(ToString::to_string));
        got.join("; ")
    }

    fn to_json(&self, scale: &Scale) -> Value {
        let measured = self.measured.as_ref();
        json!({
            "id": self.row.id,
            "promise": self.row.promise,
            "asked": scale.of(self.row.ci, self.row.full),
            "figures": measured.map(|measured| &measured.figures),
            "short": measured.map(|measured| &measured.short),
            "failed": measured.and_then(|measured| measured.failed.as_ref()),
            "tests": self.tests.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "verdict": self.verdict(),
            "seconds": self.took.as_secs_f64(),
        })
    }
}

/// Prints a row as soon as it is there.
pub(crate) fn print(outcome: &Outcome) {
    println!("{} {}", outcome.row.id, outcome.row.promise);
    println!("    got     {}", outcome.got());
    println!("    verdict {} ({:.1?})", outcome.verdict(), outcome.took);
    if let Some(measured) = &outcome.measured {
        for short in &measured.short {
            println!("    short   {short}");
        }
    }
}

/// The table in Markdown.
pub(crate) fn table(outcomes: &[Outcome], scale: &Scale) -> String {
    let mut table = format!(
        "| id | promise | asked ({}) | got | verdict |\n|---|---|---|---|---|\n",
        scale.of("CI", "full")
    );
    for outcome in outcomes {
        let cells = [
            outcome.row.id.to_owned(),
            outcome.row.promise.to_owned(),
            scale.of(outcome.row.ci, outcome.row.full).to_owned(),
            outcome.got(),
            outcome.verdict(),
        ];
        let cells = cells.map(|cell| cell.replace('|', "\\|").replace('\n', " "));
        // Writing to a string cannot fail.
        let _ = writeln!(table, "| {} |", cells.join(" | "));
    }
    table
}

/// The rows as JSON.
pub(crate) fn json(outcomes: &[Outcome], scale: &Scale) -> String {
    let rows: Vec<Value> = outcomes.iter().map(|one| one.to_json(scale)).collect();
    let engines: Vec<_> = scale.engines.iter().map(|engine| engine.name()).collect();
    let run = json!({
        "scale": scale.of("ci", "full"),
        "engines": engines,
        "profile": if cfg!(debug_assertions) { "debug" } else { "release" },
        "processors": std::thread::available_parallelism().map_or(0, usize::from),
        "rows": rows,
    });
    format!("{run:#}\n")
}
