//! The section on the journal in the report of a run.

use std::fmt;
use std::path::PathBuf;

use proxy_core::{JournalStore, Recovered};
use serde_json::{Value, json};

use crate::journal::{count, size};
use crate::observed::Kept;

/// What became of the journal.
#[derive(Debug)]
pub(crate) struct JournalSection {
    path: PathBuf,
    kept: Kept,
    /// How many records it has, and how many bytes they take on the disk, unless the store has
    /// stopped.
    size: Option<(u64, u64)>,
}

impl JournalSection {
    /// Taken after the last call.
    pub(crate) fn new(path: PathBuf, store: &dyn JournalStore, kept: Kept) -> Self {
        let size = store.head().ok().zip(store.bytes().ok());
        Self {
            path,
            kept,
            size: size.map(|(head, bytes)| (count(&head), bytes)),
        }
    }

    /// Adds what became of calls when the proxy was shut down.
    pub(crate) fn end(&mut self, kept: Kept) {
        self.kept = kept;
    }

    /// How many acknowledged calls the journal never got, and why, if there are any.
    pub(crate) fn lost(&self) -> Option<(u64, &str)> {
        let Kept {
            lost, lost_because, ..
        } = &self.kept;
        (*lost > 0).then_some((*lost, lost_because))
    }

    /// What was wrong with the checkpoint that the state came from.
    pub(crate) fn damaged(&self) -> Option<&str> {
        self.kept.damaged.as_deref()
    }

    pub(crate) fn json(&self) -> Value {
        let Kept {
            recovered,
            passed_over,
            checkpoints,
            undone,
            lost,
            damaged,
            errors,
            ..
        } = &self.kept;
        json!({
            "path": self.path.display().to_string(),
            "recovered": recovered.as_ref().map(|recovered| json!({
                "entries": recovered.entries,
                "last": recovered.sequence.0,
                "checkpoint": recovered.checkpoint.map(|at| at.0),
                "objects": recovered.objects,
                "duration_s": recovered.duration.as_secs_f64(),
            })),
            "passed_over": passed_over,
            "records": self.size.map(|(records, _)| records),
            "bytes": self.size.map(|(_, bytes)| bytes),
            "undone_calls": undone,
            "lost_calls": lost,
            "damaged": damaged,
            "durable_checkpoints": checkpoints,
            "errors": errors,
        })
    }
}

impl fmt::Display for JournalSection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Kept {
            recovered,
            checkpoints,
            undone,
            ..
        } = &self.kept;
        let records = match self.size {
            Some((records, bytes)) => format!("{records} records in {}", size(bytes)),
            None => "it has stopped".to_owned(),
        };
        writeln!(
            f,
            "  journal  `{}`: {records}, {checkpoints} durable checkpoints, {undone} calls undone",
            self.path.display()
        )?;
        if let Some(Recovered {
            entries,
            sequence,
            checkpoint,
            duration,
            ..
        }) = recovered
        {
            let from = checkpoint.map_or_else(String::new, |at| {
                format!(" after the checkpoint of entry {at}")
            });
            writeln!(
                f,
                "           the state up to entry {sequence} was made again from {entries} entries{from}, \
                 in {duration:.1?}"
            )?;
        }
        Ok(())
    }
}
