//! Where memories, tables, globals and what the host keeps differ.

use engine_api::Snapshot;

use crate::Error;
use crate::shown;

/// Where the active state differs from the one that journaled calls alone make: the first byte of
/// each memory, every global, the first element of each table, and what the host keeps.
pub(super) fn hints(active: &Snapshot, alone: &Snapshot) -> Result<Vec<String>, Error> {
    let mut hints = Vec::new();
    for ((index, ours), (_, theirs)) in active.memories().iter().zip(alone.memories()) {
        let (active, alone) = (ours.bytes(), theirs.bytes());
        if active != alone {
            hints.push(format!(
                "memory {} has {active} bytes, and {alone} after the journaled calls",
                index.0
            ));
        } else if let Some(offset) = ours
            .first_difference(theirs)
            .map_err(engine_api::Error::from)?
        {
            hints.push(format!("memory {} from offset {offset:#x} on", index.0));
        }
    }
    for ((index, ours), (_, theirs)) in active.globals().iter().zip(alone.globals()) {
        if ours != theirs {
            hints.push(format!(
                "global {} is {}, and {} after the journaled calls",
                index.0,
                shown::val(ours),
                shown::val(theirs)
            ));
        }
    }
    for ((index, ours), (_, theirs)) in active.references().iter().zip(alone.references()) {
        if ours != theirs {
            hints.push(format!(
                "global {}, which holds a reference, is another one after the journaled calls",
                index.0
            ));
        }
    }
    for ((index, ours), (_, theirs)) in active.tables().iter().zip(alone.tables()) {
        let (active, alone) = (ours.len(), theirs.len());
        if active != alone {
            hints.push(format!(
                "table {} has {active} elements, and {alone} after the journaled calls",
                index.0
            ));
        } else if let Some(at) = ours
            .iter()
            .zip(&**theirs)
            .position(|(own, other)| own != other)
        {
            hints.push(format!("table {} from element {at} on", index.0));
        }
    }
    if let Some((active, alone)) = active.host().zip(alone.host())
        && let Some(difference) = alone.difference(&**active)
    {
        hints.push(format!("what the host keeps of it: {difference}"));
    }
    Ok(hints)
}
