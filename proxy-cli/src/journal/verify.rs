//! `journal verify`: whether all of a journal is what was written.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use proxy_core::{JournalReader, JournalStore, RecordView};

use super::{count, described, open_read_only, size};
use crate::{failure, output};

/// How many records of each kind there are.
#[derive(Default)]
struct Kinds {
    entries: u64,
    answers: u64,
    cuts: u64,
}

pub(crate) fn verify(dir: &Path) -> Result<ExitCode> {
    // The chain, the objects and the manifest are checked by this.
    let store = open_read_only(dir)?;
    let reader = JournalReader::new(&store)?;
    let (subject, head) = (*reader.subject(), *reader.head());
    let mut kinds = Kinds::default();
    for record in reader.records()? {
        match record?.record {
            RecordView::Entry { answer, .. } => {
                kinds.entries += 1;
                kinds.answers += u64::from(answer.is_some());
            }
            RecordView::Answer(_) => kinds.answers += 1,
            RecordView::Cut { .. } => kinds.cuts += 1,
            _ => {}
        }
    }
    let hex = |hash: [u8; 32]| blake3::Hash::from(hash).to_hex();
    let mut text = format!(
        "journal     {}, {}\nmodule      {}\npolicy      {}\n",
        dir.display(),
        store.id(),
        subject.module,
        hex(subject.policy)
    );
    let records = match count(&head) {
        0 => format!("none after {}", head.position),
        count => format!("{count}, {} to {}", head.first, head.position),
    };
    let _ = writeln!(
        text,
        "records     {records}, of format {}, in {}: {} entries, {} calls with an id, {} cuts",
        subject.format,
        size(store.bytes()?),
        kinds.entries,
        kinds.answers,
        kinds.cuts,
    );
    let _ = writeln!(text, "head        {} {}", head.position, hex(head.hash));
    let checkpoints = reader.checkpoints()?;
    for checkpoint in &checkpoints {
        let _ = writeln!(
            text,
            "checkpoint  {}: {}",
            checkpoint.reference.file,
            described(checkpoint)
        );
    }
    let bad = checkpoints.iter().filter(|one| one.content.is_err());
    let verdict = match bad.count() {
        0 => "every record and every checkpoint is good",
        bad if bad < checkpoints.len() || head.first.0 <= 1 => {
            "a checkpoint is damaged, and the journal can be opened without it; the next durable \
             checkpoint takes its place"
        }
        _ => "no checkpoint is good, and records are gone: put a copy of a checkpoint in its place",
    };
    let _ = writeln!(text, "result      {verdict}");
    output::print(&text)?;
    Ok(if checkpoints.iter().all(|one| one.content.is_ok()) {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(failure::WRONG_INPUT)
    })
}
