//! `bench-table`: the measurements of criterion and of the bench `pause`, as Markdown with the name
//! of the machine, and as JSON. All times are medians.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::ensure;
use benches::results::{
    self, CALL, GROUPS, ROWS, WASI, call, named, read_json, show_ns, table, versions, wasi,
    write_json,
};
use clap::Parser;
use comparison::Origin;
use comparison::table::Table;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Columns in the order of the list, which may have more engines than this program is built with.
fn columns() -> impl Iterator<Item = &'static str> {
    engines::LIST.iter().map(|listed| listed.name)
}

/// Prints the measurements of the benches
#[derive(Debug, Parser)]
struct Args {
    /// Also write the figures into this file, with the machine and the commit
    #[arg(long, value_name = "F.json", conflicts_with = "from")]
    save: Option<PathBuf>,

    /// Print a file that `--save` wrote, instead of the measurements in criterion's folder
    #[arg(long, value_name = "F.json")]
    from: Option<PathBuf>,
}

/// All measurements. The JSON form has the same fields.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Measured {
    /// The origin of the figures.
    #[serde(flatten)]
    origin: Origin,
    /// Criterion's measurements.
    medians: Vec<Median>,
    /// The results of the bench `pause`, by engine.
    pauses: BTreeMap<String, Value>,
}

/// One cell of the tables.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Median {
    group: String,
    row: String,
    engine: String,
    ns: f64,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let measured = match &args.from {
        Some(file) => read_json(file)?,
        None => Measured::collect(&results::folder())?,
    };
    if let Some(file) = &args.save {
        write_json(file, &measured)?;
    }
    std::io::stdout().write_all(measured.markdown().as_bytes())?;
    Ok(())
}

impl Measured {
    fn collect(folder: &Path) -> anyhow::Result<Self> {
        let mut medians = Vec::new();
        collect(folder, &mut medians)?;
        ensure!(
            !medians.is_empty(),
            "nothing in {}: run `cargo bench -p wasm-proxy-benches` first",
            folder.display()
        );
        // A folder lists its entries in no particular order.
        medians.sort_by(|a, b| (&a.group, &a.row, &a.engine).cmp(&(&b.group, &b.row, &b.engine)));
        let mut pauses = BTreeMap::new();
        for engine in columns() {
            let file = results::latency_folder().join(format!("{engine}.json"));
            if file.exists() {
                pauses.insert(engine.to_owned(), read_json(&file)?);
            }
        }
        Ok(Self {
            origin: Origin::now("cargo bench -p wasm-proxy-benches".to_owned(), versions()),
            medians,
            pauses,
        })
    }

    fn markdown(&self) -> String {
        let mut out = format!("{} Medians.\n", self.origin.sentence());
        let groups = GROUPS.iter().filter_map(|group| self.table(group));
        for table in groups.chain(self.latency()) {
            out.push('\n');
            out.push_str(&table.markdown());
        }
        out
    }

    fn at(&self, group: &str, row: &str, engine: &str) -> Option<f64> {
        let key = (group, row, engine);
        let mut medians = self.medians.iter();
        let found =
            medians.find(|m| (m.group.as_str(), m.row.as_str(), m.engine.as_str()) == key)?;
        Some(found.ns)
    }
}

/// Finds every `new/benchmark.json` with its `estimates.json`.
fn collect(folder: &Path, medians: &mut Vec<Median>) -> anyhow::Result<()> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Ok(());
    };
    for entry in entries {
        let path = entry?.path();
        let benchmark = path.join("benchmark.json");
        if path.file_name().is_some_and(|name| name == "new") && benchmark.exists() {
            let benchmark: Value = read_json(&benchmark)?;
            let estimates: Value = read_json(&path.join("estimates.json"))?;
            let part = |name: &str| benchmark[name].as_str().map(ToOwned::to_owned);
            if let (Some(group), Some(row), Some(engine), Some(ns)) = (
                part("group_id"),
                part("function_id"),
                part("value_str"),
                estimates["median"]["point_estimate"].as_f64(),
            ) {
                medians.push(Median {
                    group,
                    row,
                    engine,
                    ns,
                });
            }
        } else if path.is_dir() {
            collect(&path, medians)?;
        }
    }
    Ok(())
}

impl Measured {
    fn table(&self, group: &str) -> Option<Table> {
        if group == WASI {
            return self.beside_wasi();
        }
        let at = |row: &str, engine: &str| self.at(group, row, engine);
        let columns: Vec<&str> = columns()
            .filter(|column| ROWS.iter().any(|row| at(row, column).is_some()))
            .collect();
        let mut rows = Vec::new();
        let mut row = |name: String, value: &dyn Fn(&str) -> Option<f64>| {
            let cells: Vec<Option<f64>> = columns.iter().map(|column| value(column)).collect();
            if cells.iter().any(Option::is_some) {
                rows.push(named(&name, cells.into_iter().map(show_some)));
            }
        };
        for name in ROWS {
            row(name.to_owned(), &|column| at(name, column));
        }
        if group == CALL {
            for (name, goal) in [
                (call::PURE_TYPED, "; the goal is 50 ns"),
                (call::JOURNALED_TYPED, ""),
            ] {
                row(format!("*{name}: above native{goal}*"), &|column| {
                    Some(at(name, column)? - at(call::NATIVE, column)?)
                });
            }
        }
        (!rows.is_empty()).then(|| table(group, &columns, rows))
    }

    /// Each way of calling, with the compositions in proportion to the first one.
    fn beside_wasi(&self) -> Option<Table> {
        let at = |way: &str, composition: &str, engine: &str| {
            self.at(WASI, &wasi::row(way, composition), engine)
        };
        let [measure, others @ ..] = wasi::COMPOSITIONS;
        let measured = |engine: &&str| {
            let found = |way: &&str| at(way, measure, engine).is_some();
            wasi::WAYS.iter().any(found)
        };
        let columns: Vec<&str> = columns().filter(measured).collect();
        let mut rows = Vec::new();
        for way in wasi::WAYS {
            let cells = columns
                .iter()
                .map(|engine| show_some(at(way, measure, engine)));
            rows.push(named(&wasi::row(way, measure), cells));
            for other in others {
                let proportion =
                    |engine: &&str| Some(at(way, other, engine)? / at(way, measure, engine)?);
                let shown = |engine| {
                    proportion(engine)
                        .map_or_else(|| "–".to_owned(), |times| format!("× {times:.2}"))
                };
                rows.push(named(&wasi::row(way, other), columns.iter().map(shown)));
            }
        }
        (!columns.is_empty()).then(|| table(WASI, &columns, rows))
    }

    /// The tables of the bench `pause`.
    fn latency(&self) -> Vec<Table> {
        let kept: Vec<(&str, &Value)> = columns()
            .filter_map(|engine| Some((engine, self.pauses.get(engine)?)))
            .collect();
        if kept.is_empty() {
            return Vec::new();
        }
        let columns: Vec<&str> = kept.iter().map(|(column, _)| *column).collect();
        let cells = |name: &str, cell: &dyn Fn(&Value) -> String| {
            named(name, kept.iter().map(|(_, result)| cell(result)))
        };
        let mut latencies: Vec<_> = [
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
        ]
        .map(|(name, key)| {
            cells(name, &|result| {
                ["p50_ns", "p99_ns", "max_ns"]
                    .map(|part| show_some(result[key][part].as_f64()))
                    .join(" / ")
            })
        })
        .into();
        latencies.push(cells(
            "*calls during swaps: measured / put aside*",
            &|result| {
                ["swapping", "swapping_put_aside"]
                    .map(|key| result[key]["count"].as_u64().unwrap_or(0).to_string())
                    .join(" / ")
            },
        ));
        let in_flight = [
            ("the call", "in_flight_ns"),
            ("the swap", "swap_during_ns"),
            ("its pause", "pause_during_ns"),
            ("the first call after it", "next_call_ns"),
        ]
        .map(|(name, key)| cells(name, &|result| show_some(result[key].as_f64())));
        vec![
            table(
                "pure calls on the prover, p50 / p99 / max",
                &columns,
                latencies,
            ),
            table(
                "a swap while a long pure call runs",
                &columns,
                in_flight.into(),
            ),
        ]
    }
}

fn show_some(nanoseconds: Option<f64>) -> String {
    nanoseconds.map_or_else(|| "–".to_owned(), show_ns)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_json_gives_the_same_tables() {
        let median = |row: &str, ns| Median {
            group: CALL.to_owned(),
            row: row.to_owned(),
            engine: "wasmer.cranelift".to_owned(),
            ns,
        };
        let pause = json!({"quiet": {"p50_ns": 40, "p99_ns": 50, "max_ns": 60, "count": 3}});
        let measured = Measured {
            origin: Origin::now("c".to_owned(), versions()),
            medians: vec![median(call::NATIVE, 3.0), median(call::PURE_TYPED, 40.1)],
            pauses: BTreeMap::from([("wasmer.cranelift".to_owned(), pause)]),
        };
        let json = serde_json::to_string(&measured).unwrap();
        let read: Measured = serde_json::from_str(&json).unwrap();
        assert_eq!(read, measured);
        let tables = read.markdown();
        for row in [
            "| proxy, pure, typed | 40.1 ns |",
            "above native; the goal is 50 ns* | 37.1 ns |",
            "| without swaps | 40.0 ns / 50.0 ns / 60.0 ns |",
        ] {
            assert!(tables.contains(row), "no {row} in\n{tables}");
        }
    }
}
