//! What was measured, and the table of it.

use std::any::Any;
use std::fmt::Write;
use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Scale;
use crate::rows::{ROWS, Row};
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

    /// The row as the table and the file have it.
    pub(crate) fn line(&self, scale: &Scale, tree: &str) -> Line {
        let measured = self.measured.as_ref();
        Line {
            id: self.row.id.to_owned(),
            promise: self.row.promise.to_owned(),
            asked: scale.of(self.row.ci, self.row.full).to_owned(),
            figures: measured.map_or_else(Vec::new, |measured| measured.figures.clone()),
            tests: self.tests.iter().map(ToString::to_string).collect(),
            verdict: self.verdict(),
            broken: self.is_failure().then(|| self.broken()),
            seconds: self.took.as_secs_f64(),
            tree: tree.to_owned(),
        }
    }
}

/// A row of the table with what was found for it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Line {
    pub(crate) id: String,
    promise: String,
    asked: String,
    figures: Vec<String>,
    tests: Vec<String>,
    verdict: String,
    /// What broke the promise, if it is broken and was known to be kept.
    pub(crate) broken: Option<String>,
    seconds: f64,
    /// The commit of the sources, as `git describe` names it.
    tree: String,
}

impl Line {
    fn got(&self) -> String {
        [&*self.figures, &*self.tests].concat().join("; ")
    }

    /// Whether it answers for this row as it is asked for now.
    fn is_of(&self, row: &Row, scale: &Scale) -> bool {
        (&*self.id, &*self.promise, &*self.asked)
            == (row.id, row.promise, scale.of(row.ci, row.full))
    }
}

/// All that was found so far, as a file has it.
#[derive(Debug, Deserialize, PartialEq, Serialize)]
struct Run {
    scale: String,
    measure_only: bool,
    engines: Vec<String>,
    profile: String,
    processors: usize,
}

#[derive(Debug, Deserialize, Serialize)]
struct Report {
    #[serde(flatten)]
    run: Run,
    rows: Vec<Line>,
}

impl Run {
    fn of(scale: &Scale) -> Self {
        let engines = scale.engines.iter();
        Self {
            scale: scale.of("ci", "full").to_owned(),
            measure_only: scale.measure_only,
            engines: engines.map(|engine| engine.name().to_owned()).collect(),
            profile: if cfg!(debug_assertions) {
                "debug"
            } else {
                "release"
            }
            .to_owned(),
            processors: std::thread::available_parallelism().map_or(0, usize::from),
        }
    }
}

/// The rows that an earlier run has left in a file, without those that were broken or are asked for in
/// another way by now.
///
/// # Errors
///
/// What is wrong with the file, and what to do about it.
pub(crate) fn earlier(path: &Path, scale: &Scale) -> Result<Vec<Line>, String> {
    let shown = path.display();
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(format!("cannot read `{shown}`: {error}")),
    };
    let report: Report = serde_json::from_str(&text)
        .map_err(|error| format!("`{shown}` is no report: {error}. Take another file"))?;
    let run = Run::of(scale);
    if report.run != run {
        let had = report.run;
        return Err(format!(
            "`{shown}` is of another run: {had:?}, and this is {run:?}. Take another file"
        ));
    }
    let is_kept =
        |line: &Line| line.broken.is_none() && ROWS.iter().any(|row| line.is_of(row, scale));
    Ok(report.rows.into_iter().filter(is_kept).collect())
}

/// The commit of the sources that are measured, with `-dirty` if they differ from it.
pub(crate) fn tree() -> String {
    let mut git = Command::new("git");
    git.current_dir(env!("CARGO_MANIFEST_DIR"));
    let described = git.args(["describe", "--always", "--dirty"]).output();
    match described {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        }
        _ => "unknown".to_owned(),
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
pub(crate) fn table(lines: &[Line], scale: &Scale) -> String {
    let mut table = format!(
        "| id | promise | asked ({}) | got | verdict |\n|---|---|---|---|---|\n",
        scale.of("CI", "full")
    );
    for line in lines {
        let got = line.got();
        let cells = [&line.id, &line.promise, &line.asked, &got, &line.verdict];
        let cells = cells.map(|cell| cell.replace('|', "\\|").replace('\n', " "));
        // Writing to a string cannot fail.
        let _ = writeln!(table, "| {} |", cells.join(" | "));
    }
    let mut trees: Vec<_> = lines.iter().map(|line| &*line.tree).collect();
    trees.sort_unstable();
    trees.dedup();
    let minutes = lines.iter().map(|line| line.seconds).sum::<f64>() / 60.0;
    let _ = writeln!(
        table,
        "\n{minutes:.0} minutes, sources: {}",
        trees.join(", ")
    );
    table
}

/// The rows as JSON.
pub(crate) fn json(lines: &[Line], scale: &Scale) -> String {
    let report = Report {
        run: Run::of(scale),
        rows: lines.to_vec(),
    };
    // Strings and numbers always have a form in JSON.
    format!("{:#}\n", serde_json::to_value(report).unwrap())
}
