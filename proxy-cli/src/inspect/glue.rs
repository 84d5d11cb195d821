//! What the glue says of a module beside its exports.

use std::collections::BTreeSet;
use std::fmt::Write;

use ::glue::Glue;

use super::printable;

/// Shows what the glue says: how much it covers, which export runs which closure, and what its
/// imports convert.
pub(super) fn glue(text: &mut String, glue: &Glue) {
    let classes: BTreeSet<&str> = glue
        .members
        .iter()
        .filter_map(|member| member.class.as_deref())
        .collect();
    let _ = writeln!(
        text,
        "glue: members {}, classes {}; {}",
        glue.members.len(),
        classes.len(),
        match glue.first_slot {
            Some(slot) => format!("objects in a heap from slot {slot}"),
            None => "no heap of objects".to_owned(),
        }
    );
    for closure in &glue.closures {
        let _ = writeln!(
            text,
            "  closure {} is run by {}",
            printable(&closure.import),
            closure
                .invoke
                .as_deref()
                .map_or_else(|| "nothing that it names".to_owned(), printable)
        );
    }
    for cast in &glue.casts {
        let (import, what) = (printable(&cast.import), printable(&cast.what));
        let _ = writeln!(text, "  {import} converts {what}");
    }
}
