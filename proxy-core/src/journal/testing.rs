//! Made-up entries for tests.

use std::sync::Arc;
use std::time::Duration;

use engine_api::FuncIndex;
use guest_calls::OwnedArg;
use smallvec::{SmallVec, smallvec};

use super::{Entry, Journal, ResultRecord};
use crate::Handle;
use crate::policy::plan::Changes;

/// How long each call took.
pub(crate) const TOOK: Duration = Duration::from_millis(3);

/// The next entry, of a call that gave nothing.
pub(crate) fn entry(
    journal: &Journal,
    args: &[Handle],
    frees: &[Handle],
    changes: Changes,
) -> Entry {
    let args = args.iter().map(|handle| OwnedArg::Handle(*handle));
    Entry {
        sequence: journal.next(),
        func: FuncIndex(0),
        export: "f".into(),
        args: args.collect(),
        host_calls: Box::default(),
        results: SmallVec::new(),
        fingerprints: Box::default(),
        frees: frees.into(),
        changes,
        needs: None,
        took: TOOK,
    }
}

/// Appends a call that creates one object from others.
pub(crate) fn create(journal: &mut Journal, args: &[Handle]) -> Arc<Entry> {
    let handle = Handle::new(journal.next(), 0, 0);
    let entry = Entry {
        results: smallvec![ResultRecord::Object(handle, None)],
        ..entry(journal, args, &[], Changes::Handles(vec![]))
    };
    Arc::clone(journal.append(entry))
}

pub(crate) fn free(journal: &mut Journal, handle: Handle) {
    let entry = entry(journal, &[handle], &[handle], Changes::Handles(vec![]));
    journal.append(entry);
}

/// Appends a call that changes those of its arguments that are at `positions`.
pub(crate) fn mutate(journal: &mut Journal, args: &[Handle], positions: Vec<usize>) -> Arc<Entry> {
    let entry = entry(journal, args, &[], Changes::Handles(positions));
    Arc::clone(journal.append(entry))
}

/// Appends a call that may have changed anything.
pub(crate) fn change_all(journal: &mut Journal, args: &[Handle]) -> Arc<Entry> {
    let entry = entry(journal, args, &[], Changes::Module);
    Arc::clone(journal.append(entry))
}
