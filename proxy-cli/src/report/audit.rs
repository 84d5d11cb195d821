//! What an audit found, in the report of a run.

use std::fmt;

use proxy_core::{Audit, Leak};
use serde_json::{Value, json};

/// How many answers, reasons and places in memory the summary shows.
const SHOWN: usize = 5;

/// What an audit found, or why there is none.
pub(crate) type Outcome = Result<Audit, String>;

/// Whether it was made as a whole and found no write.
pub(super) fn is_success(outcome: &Outcome) -> bool {
    outcome.as_ref().is_ok_and(|audit| {
        audit.lost.is_empty() && audit.writers.is_empty() && audit.incomplete.is_none()
    })
}

pub(super) fn json(outcome: &Outcome) -> Value {
    let audit = match outcome {
        Ok(audit) => audit,
        Err(error) => return json!({ "error": error }),
    };
    let lost = audit.lost.iter().map(|seen| {
        json!({
            "export": seen.export,
            "args": seen.args,
            "without": seen.without,
            "with": seen.with,
        })
    });
    let reasons = audit.reasons.iter();
    let reasons = reasons.map(|left| json!({ "calls": left.calls, "reason": left.reason }));
    let leaks = audit
        .leaks
        .iter()
        .map(|leak| json!({ "export": leak.export, "calls": leak.calls, "bytes": leak.bytes }));
    json!({
        "entries": audit.entries,
        "calls": audit.calls,
        "left_out": audit.left_out,
        "reasons": reasons.collect::<Vec<_>>(),
        "asked": audit.asked,
        "lost": lost.collect::<Vec<_>>(),
        "writers": audit.writers,
        "undecided": audit.undecided,
        "moved": audit.moved,
        "leaks": leaks.collect::<Vec<_>>(),
        "memory": audit.memory,
        "incomplete": audit.incomplete,
    })
}

pub(super) fn fmt(outcome: &Outcome, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let audit = match outcome {
        Ok(audit) => audit,
        Err(error) => return writeln!(f, "  audit    none could be made: {error}"),
    };
    writeln!(
        f,
        "  audit    {} repeated, {} left out, {} compared, {} on pure calls",
        counted(audit.calls as u64, "pure call was", "pure calls were"),
        audit.left_out,
        counted(audit.asked as u64, "answer was", "answers were"),
        counted(audit.lost.len() as u64, "depends", "depend"),
    )?;
    if let Some(reason) = &audit.incomplete {
        line(f, &format!("it is incomplete: {reason}"))?;
    }
    if !audit.writers.is_empty() {
        let (names, is_one) = (names(&audit.writers), audit.writers.len() == 1);
        let (write, declare) = if is_one {
            ("writes", "it")
        } else {
            ("write", "them")
        };
        line(
            f,
            &format!("the policy calls {names} pure, which {write}; declare {declare} `mutate`"),
        )?;
    }
    for seen in audit.lost.iter().take(SHOWN) {
        let (export, args) = (&seen.export, &seen.args);
        line(
            f,
            &format!(
                "`{export}({args})` gives {}, and {} after a swap",
                seen.with, seen.without
            ),
        )?;
    }
    if !audit.undecided.is_empty() {
        let names = names(&audit.undecided);
        line(
            f,
            &format!(
                "nothing can be said of {names}: two replays answer differently, trap, or run out \
                 of memory"
            ),
        )?;
    }
    if !audit.moved.is_empty() {
        let names = names(&audit.moved);
        line(
            f,
            &format!("sizes and addresses, which prove nothing, are what {names} answers with"),
        )?;
    }
    for leak in &audit.leaks {
        line(f, &leaked(leak))?;
    }
    for left in audit.reasons.iter().take(SHOWN) {
        let calls = counted(left.calls, "call was", "calls were");
        line(f, &format!("{calls} left out: {}", left.reason))?;
    }
    for hint in audit.memory.iter().flatten().take(SHOWN) {
        line(f, &format!("a hint, no proof: {hint}"))?;
    }
    Ok(())
}

fn line(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    writeln!(f, "           {text}")
}

fn leaked(leak: &Leak) -> String {
    format!(
        "`{}` leaves memory behind: {} KiB in {}",
        leak.export,
        leak.bytes.div_ceil(1024),
        counted(leak.calls, "call", "calls")
    )
}

fn counted(count: u64, one: &str, more: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { more })
}

fn names(names: &[String]) -> String {
    format!("`{}`", names.join("`, `"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_not_many() {
        let shown = |audit: Audit| {
            struct Shown(Outcome);
            impl fmt::Display for Shown {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    fmt(&self.0, f)
                }
            }
            Shown(Ok(audit)).to_string()
        };
        let mut audit = Audit::default();
        audit.calls = 1;
        audit.asked = 1;
        assert_eq!(
            shown(audit.clone()),
            "  audit    1 pure call was repeated, 0 left out, 1 answer was compared, 0 depend on \
             pure calls\n"
        );
        audit.writers = vec!["set".to_owned()];
        assert!(
            shown(audit.clone()).contains("calls `set` pure, which writes; declare it `mutate`")
        );
        audit.writers.push("put".to_owned());
        assert!(shown(audit).contains("`set`, `put` pure, which write; declare them `mutate`"));
    }
}
