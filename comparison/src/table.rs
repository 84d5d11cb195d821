//! Reports as tables: rows of cells, and the same in Markdown.

use std::fmt::Write;

use crate::quantity::{number, time};
use crate::{EngineReport, Report, Row, Spread};

/// A table: its columns, and as many cells in each row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// The headings of the columns.
    pub columns: Vec<String>,
    /// The cells of each row, one for each column.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these rows.
    #[must_use]
    pub fn new(columns: &[&str], rows: Vec<Vec<String>>) -> Self {
        Self {
            columns: columns.iter().map(|column| (*column).to_owned()).collect(),
            rows,
        }
    }

    /// The table in Markdown. The first column is aligned to the left, the others to the right.
    #[must_use]
    pub fn markdown(&self) -> String {
        let cell = |text: &String| text.replace('|', "\\|").replace('\n', " ");
        let row = |cells: &[String]| {
            let cells: Vec<String> = cells.iter().map(cell).collect();
            format!("| {} |\n", cells.join(" | "))
        };
        let mut out = row(&self.columns);
        let _ = writeln!(
            out,
            "|---|{}",
            "--:|".repeat(self.columns.len().saturating_sub(1))
        );
        for cells in &self.rows {
            out.push_str(&row(cells));
        }
        out
    }

    /// The table for a terminal, in columns.
    #[must_use]
    pub fn plain(&self) -> String {
        let length = |text: &String| text.chars().count();
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|at| {
                let cells = self.rows.iter().filter_map(|row| row.get(at));
                let longest = cells.map(length).max().unwrap_or(0);
                longest.max(length(&self.columns[at]))
            })
            .collect();
        let mut out = String::new();
        for cells in std::iter::once(&self.columns).chain(&self.rows) {
            for (at, (cell, width)) in cells.iter().zip(&widths).enumerate() {
                let _ = if at == 0 {
                    write!(out, "{cell:width$}")
                } else {
                    write!(out, "  {cell:>width$}")
                };
            }
            out.push('\n');
        }
        out
    }
}

/// Throughput, latency, and how each strategy ended.
#[must_use]
pub fn speed(report: &Report, engine: &EngineReport) -> Table {
    let first = format!("of bare, first {}", engine.first_turns);
    let columns = [
        "strategy", "turns/s", &first, "p50", "p99", "p99.9", "max", "turns", "failed", "end",
    ];
    let cells = |row: &Row| {
        let latency = |pick: &dyn Fn(&crate::Latency) -> Spread| {
            let spread = row.latency_us.as_ref().map(pick);
            spread.map_or_else(none, |spread| time(spread.median))
        };
        vec![
            row.strategy.name().to_owned(),
            spread(&row.turns_per_second),
            row.share_of_bare_first.as_ref().map_or_else(none, percent),
            latency(&|l| l.p50),
            latency(&|l| l.p99),
            latency(&|l| l.p999),
            latency(&|l| l.max),
            whole(&row.turns),
            whole(&row.turns_failed),
            end(row, report.job.turns),
        ]
    };
    Table::new(&columns, engine.rows.iter().map(cells).collect())
}

/// Memory, processor time and restarts, and whether the results were right.
#[must_use]
pub fn cost(engine: &EngineReport) -> Table {
    let columns = [
        "strategy",
        "peak PSS, MiB",
        "PSS at the start",
        "peak linear memory, MiB",
        "restarts",
        "swaps",
        "CPU per turn",
        "until the first turn",
        "turns with other results",
    ];
    let cells = |row: &Row| {
        let others = row.turns_with_other_results;
        vec![
            row.strategy.name().to_owned(),
            spread(&row.pss_peak_mib),
            number(row.pss_start_mib.median),
            spread(&row.memory_peak_mib),
            whole(&row.restarts),
            whole(&row.swaps),
            row.cpu_ms_per_turn
                .map_or_else(none, |cpu| time(cpu.median * 1e3)),
            time(row.start_ms.median * 1e3),
            others.map_or_else(none, |count| count.to_string()),
        ]
    };
    Table::new(&columns, engine.rows.iter().map(cells).collect())
}

/// Everything as Markdown: the origin of the figures, and two tables per engine.
#[must_use]
pub fn markdown(report: &Report) -> String {
    let mut out = format!("{}\n", circumstances(report).join("\n"));
    for engine in &report.engines {
        let _ = writeln!(out, "\n**{}**\n", engine.engine);
        out.push_str(&speed(report, engine).markdown());
        out.push('\n');
        out.push_str(&cost(engine).markdown());
    }
    out
}

/// The origin of the figures, in sentences, one per line.
#[must_use]
pub fn circumstances(report: &Report) -> Vec<String> {
    let job = &report.job;
    let left_out = match job.calls_left_out {
        0 => String::new(),
        calls => format!(" {calls} calls after the repeat are left out."),
    };
    vec![
        report.origin.sentence(),
        format!(
            "{} with {}: {} calls build the state, {} make a turn; {} turns, or {} s; {} MiB of linear memory per \
             instance.{left_out}",
            job.module,
            job.workload,
            job.state_calls,
            job.turn_calls,
            job.turns,
            number(job.time_max_s),
            number(job.memory_limit_mib)
        ),
        format!(
            "Each strategy in a process of its own; {}. {}",
            match job.rounds {
                1 => "one round of all of them".to_owned(),
                rounds => format!(
                    "{rounds} rounds of all of them; medians, and in brackets the least and the most"
                ),
            },
            if job.artifacts {
                "*Instance per turn* imports the artifacts that the policy names."
            } else {
                "*Instance per turn* builds the whole state, because the policy names no artifacts."
            }
        ),
    ]
}

/// How a strategy ended, in a few words.
#[must_use]
pub fn end(row: &Row, turns: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "counts are exact in an f64")]
    let wanted = turns as f64;
    match row.died_at_turn {
        Some(turn) => format!("died in turn {}", whole(&turn)),
        None if row.turns.max < wanted && row.turns_failed.max > 0.0 => {
            "given up, or out of time".to_owned()
        }
        None if row.cut_short => "lived, out of time".to_owned(),
        None => "lived".to_owned(),
    }
}

fn none() -> String {
    "–".to_owned()
}

fn whole(spread: &Spread) -> String {
    shown(spread, "", &|value| format!("{value:.0}"))
}

fn spread(spread: &Spread) -> String {
    shown(spread, "", &number)
}

/// A share in percent.
fn percent(spread: &Spread) -> String {
    shown(spread, " %", &|share| format!("{:.0}", share * 100.0))
}

fn shown(spread: &Spread, unit: &str, show: &dyn Fn(f64) -> String) -> String {
    let [median, min, max] = [spread.median, spread.min, spread.max].map(show);
    if spread.is_constant() {
        format!("{median}{unit}")
    } else {
        format!("{median}{unit} ({min}–{max})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_add_a_cell_or_a_row() {
        let table = Table {
            columns: vec!["a".to_owned(), "b".to_owned()],
            rows: vec![vec!["x|y\nz".to_owned(), "1".to_owned()]],
        };
        assert_eq!(table.markdown(), "| a | b |\n|---|--:|\n| x\\|y z | 1 |\n");
        assert_eq!(table.plain(), "a      b\nx|y\nz  1\n");
    }
}
