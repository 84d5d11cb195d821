//! Swaps that were not made because the states differed, in the report of a run.

use std::fmt;

use proxy_core::StateDifference;
use serde_json::{Value, json};

pub(super) fn json(differences: &[StateDifference]) -> Value {
    let differences = differences.iter().map(|difference| {
        json!({
            "digest": difference.digest,
            "entry": difference.sequence.0,
            "active": difference.active,
            "standby": difference.standby,
            "suspects": difference.suspects,
        })
    });
    differences.collect()
}

/// `count` differences, the first of which were kept.
pub(super) fn fmt(count: u64, kept: &[StateDifference], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Some(first) = kept.first() else {
        return Ok(());
    };
    writeln!(
        f,
        "  state    differed before {count} swaps, which were not made: `{}` gave {} and, after a \
         replay, {}",
        first.digest, first.active, first.standby
    )?;
    match first.suspects.as_slice() {
        [] => writeln!(
            f,
            "           no pure export had been called: the module is not deterministic"
        ),
        suspects => writeln!(
            f,
            "           an export that the policy calls pure has written, one of `{}`; declare it \
             `mutate`",
            suspects.join("`, `")
        ),
    }
}
