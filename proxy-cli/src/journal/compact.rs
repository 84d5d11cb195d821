//! `journal compact`: a durable checkpoint, and what nothing needs is dropped.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use journal_redb::RedbJournal;
use proxy_core::{CheckpointPolicy, CheckpointRef, Durability, Head, History, JournalStore, Proxy};

use super::{cannot_open, count, history_of, size, with_module_named};
use crate::args::{CompactArgs, Streams};
use crate::subject::Subject;
use crate::{hosting, output};

pub(crate) fn compact(args: &CompactArgs) -> Result<ExitCode> {
    let subject_args = args.offline.subject();
    let subject = Subject::without_calls(&subject_args, Streams::Closed)?;
    let engine = hosting::engine(
        &args.engine,
        &subject.info,
        subject_args.options(&subject.policy),
        &subject_args.compiling,
    )?;
    let store = RedbJournal::open(&args.dir).with_context(|| cannot_open(&args.dir))?;
    let history = match args.history {
        Some(history) => history.into(),
        None => history_of(&store)?,
    };
    let store: Arc<dyn JournalStore> = Arc::new(store);
    let before = (store.head()?, store.bytes()?);
    let proxy = Proxy::builder(engine)
        .module(subject.wasm.clone())
        .policy(subject.policy.clone())
        .imports(subject.imports.clone())
        .limits(subject_args.limits())
        .enabled(true)
        .checkpoints(CheckpointPolicy {
            history,
            ..CheckpointPolicy::default()
        })
        .journal(Arc::clone(&store), Durability::Durable)
        .build()
        .map_err(|error| with_module_named(error.into(), subject_args.module.as_deref()))
        .with_context(|| cannot_open(&args.dir))?;
    if history == History::Full {
        proxy.compact()?;
    }
    let kept = proxy.checkpoint_durably()?;
    let after = (store.head()?, store.bytes()?);
    let left = left(&after.0, &store.checkpoints()?);
    let _ = proxy.shutdown();
    drop(proxy);
    let text = match kept {
        Some(kept) => format!(
            "wrote   a checkpoint of {}, up to entry {}\nrecords {} -> {}, {} -> {}\n{left}",
            size(kept.bytes),
            kept.sequence,
            count(&before.0),
            count(&after.0),
            size(before.1),
            size(after.1)
        ),
        None => "nothing to do: nothing was journaled since the newest checkpoint\n".to_owned(),
    };
    output::print(&text)
}

/// Why there are still records. `checkpoints` are newest first.
fn left(head: &Head, checkpoints: &[CheckpointRef]) -> String {
    let Some(oldest) = checkpoints.last() else {
        return String::new();
    };
    if head.first <= oldest.position {
        format!(
            "left    records {} to {}, because there is no room to drop them: free some, and they go when the \
             journal is opened\n",
            head.first, oldest.position
        )
    } else if count(head) > 0 && checkpoints.len() > 1 {
        "left    the records after the checkpoint before this one, which stays until the next one\n"
            .to_owned()
    } else {
        String::new()
    }
}
