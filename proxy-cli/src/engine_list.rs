//! `engines`: the engines that are compiled in, their capabilities, and when to take which.

use std::fmt::Write;

use engine_api::{Capabilities, EngineConfig};
use engines::{LIST, Listed};
use proxy_core::with_causes;

/// How wide a column of the table is.
const COLUMN: usize = 20;

/// The table of capabilities, and a line for each engine of the list.
pub(crate) fn text() -> String {
    let mut columns = Vec::new();
    let mut lines = String::new();
    for listed in LIST {
        let fault = match capabilities(listed) {
            Ok(capabilities) => {
                columns.push((listed.name, capabilities.list()));
                String::new()
            }
            Err(fault) => format!(" ({fault})"),
        };
        let _ = writeln!(lines, "  {:COLUMN$}{}{fault}", listed.name, listed.when);
    }
    let mut text = format!("{:COLUMN$}", "");
    for (name, _) in &columns {
        let _ = write!(text, "{name:>COLUMN$}");
    }
    text.push('\n');
    let rows = columns.first().map_or(0, |(_, list)| list.len());
    for row in 0..rows {
        let _ = write!(text, "{:COLUMN$}", columns[0].1[row].0);
        for (_, list) in &columns {
            let mark = if list[row].1 { "yes" } else { "-" };
            let _ = write!(text, "{mark:>COLUMN$}");
        }
        text.push('\n');
    }
    let default = engines::default_name().unwrap_or("none");
    let _ = write!(
        text,
        "\nTake\n{lines}\n`run` takes {default} unless told otherwise.\n"
    );
    text
}

/// The capabilities of an engine, or the reason why it is not available.
fn capabilities(listed: &Listed) -> Result<Capabilities, String> {
    if !listed.is_compiled_in() {
        return Err(format!("not compiled in: --features {}", listed.feature));
    }
    // With the accounting for fuel, which engines compile into code only on request.
    let config = EngineConfig {
        fuel: true,
        ..EngineConfig::default()
    };
    match listed.make(&config) {
        Ok(engine) => Ok(engine.capabilities()),
        Err(error) => Err(format!("not usable here: {}", with_causes(&error))),
    }
}
