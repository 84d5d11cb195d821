//! The tables of [`crate::swaps`], as Markdown.

use std::fmt::Write as _;

use crate::results::show_ns;
use crate::swaps::{Cell, LENGTHS, SIZES, Summary};

/// Tables of standbys, pauses, modules, and of what others do.
#[must_use]
pub fn markdown(cells: &[Cell]) -> String {
    let tables = [
        rows(
            cells,
            "a standby is ready: p50 / p99",
            "prepare",
            |summary| pair(summary.p50, summary.p99),
        ),
        rows(cells, "pause of a swap: p50 / p99.9", "pause", |summary| {
            pair(summary.p50, summary.p999)
        }),
        modules(cells),
        peers(cells),
    ];
    tables.join("\n")
}

/// One row for each size and length, by each source; one column for each engine.
fn rows(cells: &[Cell], title: &str, what: &str, show: impl Fn(&Summary) -> String) -> String {
    let engines = engines(cells);
    let mut table = head(title, &engines);
    let sizes = SIZES.map(|mib| (format!("{mib} MiB"), Some(mib), None));
    let lengths = LENGTHS.map(|entries| (format!("{entries} entries"), None, Some(entries)));
    for (name, mib, entries) in sizes.into_iter().chain(lengths) {
        for source in ["checkpoint", "replay"] {
            let values = engines.iter().map(|engine| {
                let cell = cells.iter().find(|cell| {
                    let axis = (cell.mib, cell.entries) == (mib, entries);
                    axis && cell.what == what
                        && cell.source == Some(source)
                        && cell.engine == *engine
                });
                cell.map_or_else(String::new, |cell| show(&cell.summary))
            });
            row(&mut table, &format!("{name}, {source}"), values);
        }
    }
    table
}

fn modules(cells: &[Cell]) -> String {
    let engines = engines(cells);
    let mut table = head("the prover: p50", &engines);
    for what in ["compile", "load", "instantiate", "proof"] {
        let values = engines.iter().map(|engine| {
            let mut cells = cells.iter();
            let cell = cells.find(|cell| cell.what == what && cell.engine == *engine);
            cell.map_or_else(String::new, |cell| shown(cell.summary.p50))
        });
        row(&mut table, what, values);
    }
    table
}

fn peers(cells: &[Cell]) -> String {
    let columns = SIZES.map(|mib| format!("{mib} MiB"));
    let mut table = head("others, for the same state", &columns);
    for (name, what) in [
        ("a module made by Wizer, instantiated: p50 / p99", "wizer"),
        ("a copy of the memory: p50 / p99", "memcpy"),
    ] {
        let values = SIZES.iter().map(|mib| {
            let mut cells = cells.iter();
            let cell = cells.find(|cell| cell.what == what && cell.mib == Some(*mib));
            cell.map_or_else(String::new, |cell| pair(cell.summary.p50, cell.summary.p99))
        });
        row(&mut table, name, values);
    }
    table
}

fn engines(cells: &[Cell]) -> Vec<String> {
    let mut engines: Vec<String> = Vec::new();
    for cell in cells.iter().filter(|cell| cell.source.is_some()) {
        if !engines.contains(&cell.engine) {
            engines.push(cell.engine.clone());
        }
    }
    engines
}

fn head(title: &str, columns: &[String]) -> String {
    let mut table = String::new();
    row(&mut table, title, columns.iter().cloned());
    let _ = writeln!(table, "|---|{}", "--:|".repeat(columns.len()));
    table
}

fn row(table: &mut String, name: &str, values: impl Iterator<Item = String>) {
    let values: Vec<String> = values.collect();
    let _ = writeln!(table, "| {name} | {} |", values.join(" | "));
}

fn pair(one: u64, other: u64) -> String {
    format!("{} / {}", shown(one), shown(other))
}

#[expect(
    clippy::cast_precision_loss,
    reason = "durations are far below the precision of an f64"
)]
fn shown(nanoseconds: u64) -> String {
    show_ns(nanoseconds as f64)
}
