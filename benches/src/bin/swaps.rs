//! Measures swaps on every engine, and prints each cell as a line of JSON, or tables in Markdown.
//!
//! ```sh
//! cargo run --release -p benches --features llvm --bin swaps -- --markdown
//! ```
//!
//! `--quick` takes few samples; an argument chooses engines by a part of their names.

use std::env;
use std::io::{Write, stdout};

use benches::engines;
use benches::swap_tables;
use benches::swaps::{self, Cell, Effort};

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let is_given = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let effort = if is_given("--quick") {
        Effort {
            checkpointed: 50,
            replayed: 2,
            others: 20,
        }
    } else {
        Effort {
            checkpointed: 2_000,
            replayed: 5,
            others: 1_000,
        }
    };
    let filter = arguments.iter().find(|argument| !argument.starts_with('-'));
    let is_table = is_given("--markdown");
    let mut cells = Vec::new();
    let mut done = |cell: Cell| {
        if is_table {
            cells.push(cell);
        } else {
            let line = serde_json::to_string(&cell).expect("it is numbers and names");
            // Whoever reads it may have had enough.
            let _ = writeln!(stdout(), "{line}");
        }
    };
    #[cfg(feature = "wasmtime")]
    if filter.is_none() {
        swaps::peers(effort, &mut done)?;
    }
    for column in engines::all() {
        if filter.is_none_or(|filter| column.name.contains(filter)) {
            swaps::measure(column, effort, &mut done)?;
        }
    }
    if is_table {
        let _ = write!(stdout(), "{}", swap_tables::markdown(&cells));
    }
    Ok(())
}
