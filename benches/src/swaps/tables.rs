//! The tables, as Markdown.

use comparison::table::Table;

use super::{By, LENGTHS, SIZES, Summary, Swaps, What};
use crate::results::{named, show_ns, table};

impl Swaps {
    /// Tables of standbys, pauses, modules and peers.
    #[must_use]
    pub fn markdown(&self) -> String {
        let tables = [
            self.rows("a standby is ready: p50 / p99", What::Prepare, |summary| {
                pair(summary.p50, summary.p99)
            }),
            self.rows("pause of a swap: p50 / p99.9", What::Pause, |summary| {
                pair(summary.p50, summary.p999)
            }),
            self.modules(),
            self.peers(),
        ];
        tables.map(|table| table.markdown()).join("\n")
    }

    /// One row for each size and length, by each source; one column for each engine.
    fn rows(&self, title: &str, what: What, show: impl Fn(&Summary) -> String) -> Table {
        let engines = self.engines();
        let sizes = SIZES.map(|mib| (format!("{mib} MiB"), Some(mib), None));
        let lengths = LENGTHS.map(|entries| (format!("{entries} entries"), None, Some(entries)));
        let mut rows = Vec::new();
        for (name, mib, entries) in sizes.into_iter().chain(lengths) {
            for (by, source) in By::ALL.into_iter().zip(["checkpoint", "replay"]) {
                let values = engines.iter().map(|engine| {
                    let mut cells = self.line(what, Some(by), Some(engine));
                    let cell = cells.find(|cell| (cell.mib, cell.entries) == (mib, entries));
                    cell.map_or_else(String::new, |cell| show(&cell.summary))
                });
                rows.push(named(&format!("{name}, {source}"), values));
            }
        }
        table(title, &engines, rows)
    }

    fn modules(&self) -> Table {
        let engines = self.engines();
        let rows = [
            ("compile", What::Compile),
            ("load", What::Load),
            ("instantiate", What::Instantiate),
            ("proof", What::Proof),
        ]
        .map(|(name, what)| {
            let values = engines.iter().map(|engine| {
                let cell = self.line(what, None, Some(engine)).next();
                cell.map_or_else(String::new, |cell| shown(cell.summary.p50))
            });
            named(name, values)
        });
        table("the prover: p50", &engines, rows.into())
    }

    fn peers(&self) -> Table {
        let columns = SIZES.map(|mib| format!("{mib} MiB"));
        let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
        let rows = [
            (
                "a module made by Wizer, instantiated: p50 / p99",
                What::Wizer,
            ),
            ("a copy of the memory: p50 / p99", What::Memcpy),
        ]
        .map(|(name, what)| {
            let values = SIZES.iter().map(|mib| {
                let mut cells = self.line(what, None, None);
                let cell = cells.find(|cell| cell.mib == Some(*mib));
                cell.map_or_else(String::new, |cell| pair(cell.summary.p50, cell.summary.p99))
            });
            named(name, values)
        });
        table("others, for the same state", &columns, rows.into())
    }
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
