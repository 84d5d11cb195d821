//! `bench-table`: what criterion and the bench `pause` have measured, as markdown with the machine's
//! name on it. Shown are medians.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use benches::results::{self, CALL, GROUPS, ROWS, call, show_ns};
use serde_json::Value;

/// Nanoseconds by group, row and column.
type Measured = BTreeMap<(String, String, String), f64>;

fn main() -> anyhow::Result<()> {
    let folder = results::folder();
    let mut measured = Measured::new();
    collect(&folder, &mut measured)?;
    ensure!(
        !measured.is_empty(),
        "nothing in {}: run `cargo bench -p wasm-proxy-benches` first",
        folder.display()
    );
    let mut out = machine()?;
    for group in GROUPS {
        table(&mut out, group, &measured)?;
    }
    latency(&mut out)?;
    std::io::stdout().write_all(out.as_bytes())?;
    Ok(())
}

/// Columns in the order of the list, which may have more engines than this program is built with.
fn columns() -> impl Iterator<Item = &'static str> {
    engines::LIST.iter().map(|listed| listed.name)
}

/// Finds every `new/benchmark.json` with its `estimates.json`.
fn collect(folder: &Path, measured: &mut Measured) -> anyhow::Result<()> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Ok(());
    };
    for entry in entries {
        let path = entry?.path();
        let benchmark = path.join("benchmark.json");
        if path.file_name().is_some_and(|name| name == "new") && benchmark.exists() {
            let benchmark = read(&benchmark)?;
            let estimates = read(&path.join("estimates.json"))?;
            let part = |name: &str| benchmark[name].as_str().map(ToOwned::to_owned);
            if let (Some(group), Some(row), Some(column), Some(median)) = (
                part("group_id"),
                part("function_id"),
                part("value_str"),
                estimates["median"]["point_estimate"].as_f64(),
            ) {
                measured.insert((group, row, column), median);
            }
        } else if path.is_dir() {
            collect(&path, measured)?;
        }
    }
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<Value> {
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("understand {}", path.display()))
}

fn table(out: &mut String, group: &str, measured: &Measured) -> anyhow::Result<()> {
    let at = |row: &str, column: &str| {
        let key = (group.to_owned(), row.to_owned(), column.to_owned());
        measured.get(&key).copied()
    };
    let columns: Vec<&str> = columns()
        .filter(|column| ROWS.iter().any(|row| at(row, column).is_some()))
        .collect();
    if columns.is_empty() {
        return Ok(());
    }
    head(out, group, &columns)?;
    let mut line = |name: &str, value: &dyn Fn(&str) -> Option<f64>| -> anyhow::Result<()> {
        let cells: Vec<Option<f64>> = columns.iter().map(|column| value(column)).collect();
        if cells.iter().any(Option::is_some) {
            write!(out, "| {name} |")?;
            for cell in cells {
                write!(out, " {} |", cell.map_or_else(|| "–".to_owned(), show_ns))?;
            }
            writeln!(out)?;
        }
        Ok(())
    };
    for row in ROWS {
        line(row, &|column| at(row, column))?;
    }
    if group == CALL {
        for (row, goal) in [
            (call::PURE_TYPED, "; the goal is 50 ns"),
            (call::JOURNALED_TYPED, ""),
        ] {
            let name = format!("*{row}: above native{goal}*");
            line(&name, &|column| {
                Some(at(row, column)? - at(call::NATIVE, column)?)
            })?;
        }
    }
    Ok(())
}

fn head(out: &mut String, title: &str, columns: &[&str]) -> anyhow::Result<()> {
    writeln!(out, "\n| {title} | {} |", columns.join(" | "))?;
    writeln!(out, "|---|{}", "--:|".repeat(columns.len()))?;
    Ok(())
}

/// What the bench `pause` kept.
fn latency(out: &mut String) -> anyhow::Result<()> {
    let mut kept: Vec<(&str, Value)> = Vec::new();
    for column in columns() {
        let file = results::latency_folder().join(format!("{column}.json"));
        if file.exists() {
            kept.push((column, read(&file)?));
        }
    }
    if kept.is_empty() {
        return Ok(());
    }
    let columns: Vec<&str> = kept.iter().map(|(column, _)| *column).collect();
    head(out, "pure calls on the prover, p50 / p99 / max", &columns)?;
    for (name, key) in [
        ("without swaps", "quiet"),
        ("during preparations", "preparing"),
        ("during swaps; the goal for p99 is 1 ms", "swapping"),
        (
            "*put aside by the system, without swaps*",
            "quiet_put_aside",
        ),
        (
            "*put aside by the system, during preparations*",
            "preparing_put_aside",
        ),
        (
            "*put aside by the system, during swaps*",
            "swapping_put_aside",
        ),
        ("*pause of the swaps themselves*", "pause"),
    ] {
        write!(out, "| {name} |")?;
        for (_, result) in &kept {
            let at = |part: &str| show_value(&result[key][part]);
            let (p50, p99, max) = (at("p50_ns"), at("p99_ns"), at("max_ns"));
            write!(out, " {p50} / {p99} / {max} |")?;
        }
        writeln!(out)?;
    }
    write!(out, "| *calls during swaps: measured / put aside* |")?;
    for (_, result) in &kept {
        let count = |key: &str| result[key]["count"].as_u64().unwrap_or(0);
        write!(
            out,
            " {} / {} |",
            count("swapping"),
            count("swapping_put_aside")
        )?;
    }
    writeln!(out)?;
    head(out, "a swap while a long pure call runs", &columns)?;
    for (name, key) in [
        ("the call", "in_flight_ns"),
        ("the swap", "swap_during_ns"),
        ("its pause", "pause_during_ns"),
        ("the first call after it", "next_call_ns"),
    ] {
        write!(out, "| {name} |")?;
        for (_, result) in &kept {
            write!(out, " {} |", show_value(&result[key]))?;
        }
        writeln!(out)?;
    }
    Ok(())
}

fn show_value(nanoseconds: &Value) -> String {
    nanoseconds.as_f64().map_or_else(|| "–".to_owned(), show_ns)
}

/// Where this was measured, and with what.
fn machine() -> anyhow::Result<String> {
    let first_of = |path: &str, key: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(key));
        line.map(|line| line.trim_start_matches(['\t', ' ', ':']).to_owned())
    };
    let cpu = first_of("/proc/cpuinfo", "model name").unwrap_or_else(unknown);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_else(|_| unknown());
    let lock = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.lock"));
    let lock = fs::read_to_string(&lock).unwrap_or_default();
    let mut out = String::new();
    writeln!(out, "Measured on {}: {cpu}, {cores} cores", date())?;
    writeln!(
        out,
        "({}, Linux {}), {}, wasmtime {}, wasmer {}. Medians.",
        std::env::consts::ARCH,
        kernel.trim(),
        said(Command::new("rustc").arg("--version")),
        locked(&lock, "wasmtime"),
        locked(&lock, "wasmer"),
    )?;
    Ok(out)
}

fn date() -> String {
    said(Command::new("date").args(["-u", "+%Y-%m-%d"]))
}

fn said(command: &mut Command) -> String {
    match command.output() {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        }
        _ => unknown(),
    }
}

/// The version of a package in a lock file.
fn locked(lock: &str, package: &str) -> String {
    let name = format!("name = \"{package}\"\nversion = \"");
    lock.split_once(&name)
        .and_then(|(_, rest)| rest.split_once('"'))
        .map_or_else(unknown, |(version, _)| version.to_owned())
}

fn unknown() -> String {
    "unknown".to_owned()
}
