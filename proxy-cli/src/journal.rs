//! `journal`: what an operator does with a journal that no process has open.

mod compact;
mod dump;
mod portable;
mod salvage;
pub(crate) mod values;
mod verify;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use journal_redb::RedbJournal;
use proxy_core::{
    CheckpointContent, CheckpointKind, CheckpointView, Error, Head, History, JournalMismatch,
    JournalReader, JournalStore,
};

use crate::args::JournalCommand;
use crate::console::mib;

pub(crate) fn journal(command: &JournalCommand) -> Result<ExitCode> {
    match command {
        JournalCommand::Verify { dir } => verify::verify(dir),
        JournalCommand::Dump(args) => dump::dump(args),
        JournalCommand::Compact(args) => compact::compact(args),
        JournalCommand::Salvage { dir, new } => salvage::salvage(dir, new),
        JournalCommand::Export { dir, file } => portable::export(dir, file),
        JournalCommand::Import { file, dir } => portable::import(file, dir),
    }
}

/// Opens a journal without becoming its owner. All of it is checked.
pub(crate) fn open_read_only(dir: &Path) -> Result<RedbJournal> {
    RedbJournal::open_read_only(dir).with_context(|| cannot_open(dir))
}

pub(crate) fn cannot_open(dir: &Path) -> String {
    format!("cannot open the journal `{}`", dir.display())
}

/// An error of a journal that was opened with a module, which says if nobody named that.
pub(crate) fn with_module_named(error: anyhow::Error, module: Option<&Path>) -> anyhow::Error {
    let is_of_another = matches!(
        error.downcast_ref(),
        Some(Error::OtherJournal(mismatch)) if matches!(**mismatch, JournalMismatch::Module { .. })
    );
    if is_of_another && module.is_none() {
        error.context("no --module was given, so it is the embedded prover")
    } else {
        error
    }
}

/// How many records a journal has.
pub(crate) fn count(head: &Head) -> u64 {
    (head.position.0 + 1).saturating_sub(head.first.0)
}

/// Bytes in the unit that suits them.
pub(crate) fn size(bytes: u64) -> String {
    if bytes < 1 << 10 {
        format!("{bytes} bytes")
    } else if bytes < 1 << 20 {
        #[expect(clippy::cast_precision_loss, reason = "it is below a MiB")]
        let kib = bytes as f64 / 1024.0;
        format!("{kib:.1} KiB")
    } else {
        format!("{:.1} MiB", mib(bytes))
    }
}

/// What a checkpoint has, or what is wrong with it, in words.
fn described(view: &CheckpointView) -> String {
    match &view.content {
        Ok(CheckpointContent {
            sequence,
            answers,
            kind,
            ..
        }) => {
            let has = match kind {
                CheckpointKind::State { memory_bytes, .. } => {
                    format!("a state of {}", size(*memory_bytes))
                }
                CheckpointKind::Entries { entries } => format!("{entries} entries"),
                _ => "something that this program does not know".to_owned(),
            };
            format!(
                "good: {has}, up to entry {sequence}, with {answers} answers, in {}",
                size(view.reference.bytes)
            )
        }
        Err(fault) => format!("DAMAGED: {fault}"),
    }
}

/// How much of the past a journal keeps, by its newest checkpoint.
pub(crate) fn history_of(store: &dyn JournalStore) -> Result<History> {
    let checkpoints = JournalReader::new(store)?.checkpoints()?;
    let is_state = checkpoints.iter().any(|checkpoint| {
        let content = checkpoint.content.as_ref();
        content.is_ok_and(|content| matches!(content.kind, CheckpointKind::State { .. }))
    });
    Ok(if is_state {
        History::Checkpoint
    } else {
        History::Full
    })
}
