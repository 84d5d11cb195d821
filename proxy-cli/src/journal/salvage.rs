//! `journal salvage`: what is good in a damaged journal, as a new one.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, anyhow};
use proxy_core::{CheckpointContent, StoreError};

use super::count;
use crate::output;
use crate::run::journal::check_apart;

/// Only what is wrong with the journal itself is a reason to put a copy in its place.
fn not_salvaged(error: StoreError, dir: &Path) -> anyhow::Error {
    let dir = dir.display();
    match error {
        StoreError::Corrupt { what, .. } => anyhow!(
            "nothing could be saved of the journal `{dir}`: {what}; restore the directory from a copy"
        ),
        error @ (StoreError::Empty { .. }
        | StoreError::Foreign { .. }
        | StoreError::Older { .. }) => {
            anyhow!(error).context(format!("nothing could be saved of the journal `{dir}`"))
        }
        error => anyhow!(error).context(format!("cannot salvage the journal `{dir}`")),
    }
}

pub(crate) fn salvage(dir: &Path, new: &Path) -> Result<ExitCode> {
    check_apart(dir, new, "what is good is written to a new one")?;
    let salvaged = journal_redb::salvage(dir, new, |file| CheckpointContent::read(file).map(drop))
        .map_err(|error| not_salvaged(error, dir))?;
    let head = &salvaged.head;
    let mut text = format!(
        "saved   {} records, {} to {}, into `{}`\n",
        count(head),
        head.first,
        head.position,
        new.display()
    );
    for checkpoint in &salvaged.checkpoints {
        let _ = writeln!(text, "saved   checkpoint {}", checkpoint.file);
    }
    for (checkpoint, reason) in &salvaged.checkpoints_lost {
        let _ = writeln!(text, "lost    checkpoint {}: {reason}", checkpoint.file);
    }
    match &salvaged.fault {
        Some(fault) => {
            let lost = salvaged.expected.0.saturating_sub(head.position.0);
            let count = if lost > 0 {
                format!("{lost} or more records")
            } else {
                "an unknown number of records".to_owned()
            };
            let _ = writeln!(
                text,
                "lost    {count} after {}: {fault}\nnext    `wasm-proxy journal verify`, then `wasm-proxy \
                 replay`; calls after record {} have to be made again",
                head.position, head.position
            );
        }
        None => text.push_str("lost    no record: every one of them is good\n"),
    }
    output::print(&text)
}
