//! What an audit found, in the report of a run.

use std::fmt;

use proxy_core::Audit;
use serde_json::{Value, json};

/// How many answers and places in memory the summary shows.
const SHOWN: usize = 5;

pub(super) fn json(audit: &Audit) -> Value {
    let lost = audit.lost.iter().map(|seen| {
        json!({
            "export": seen.export,
            "args": seen.args,
            "without": seen.without,
            "with": seen.with,
        })
    });
    json!({
        "entries": audit.entries,
        "calls": audit.calls,
        "left_out": audit.left_out,
        "asked": audit.asked,
        "lost": lost.collect::<Vec<_>>(),
        "writers": audit.writers,
        "undecided": audit.undecided,
        "memory": audit.memory,
    })
}

pub(super) fn fmt(audit: &Audit, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(
        f,
        "  audit    {} pure calls repeated, {} left out, {} answers compared, {} depend on pure calls",
        audit.calls,
        audit.left_out,
        audit.asked,
        audit.lost.len()
    )?;
    if !audit.writers.is_empty() {
        writeln!(
            f,
            "           the policy calls `{}` pure, which write; declare them `mutate`",
            audit.writers.join("`, `")
        )?;
    }
    for seen in audit.lost.iter().take(SHOWN) {
        writeln!(
            f,
            "           `{}({})` gives {}, and {} after a swap",
            seen.export, seen.args, seen.with, seen.without
        )?;
    }
    if !audit.undecided.is_empty() {
        writeln!(
            f,
            "           nothing can be said of `{}`: two replays answer differently, or trap",
            audit.undecided.join("`, `")
        )?;
    }
    for hint in audit.memory.iter().flatten().take(SHOWN) {
        writeln!(f, "           a hint, no proof: {hint}")?;
    }
    Ok(())
}
