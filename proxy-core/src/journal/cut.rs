//! Cuts: the entries whose divergence somebody settled.

use std::fmt;
use std::sync::Arc;

use super::{Entry, Journal};
use crate::{Divergence, DivergenceKind, Handle, SequenceNumber};

/// A divergence that was settled: from this entry on, a replay makes another state than callers
/// saw. The journal remembers it for as long as the proxy lives.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cut {
    /// The entry.
    pub entry: SequenceNumber,
    /// The export that it calls.
    pub export: String,
    /// What became of the entry.
    pub kind: CutKind,
    /// The kind of difference.
    pub what: DivergenceKind,
    /// The value that callers got.
    pub expected: String,
    /// The value of the replay.
    pub got: String,
    /// The newest entry of the journal at that time.
    pub journal_last: SequenceNumber,
}

/// What became of an entry that diverged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CutKind {
    /// The new results became the recorded ones.
    Accepted,
    /// The entry was left out of the journal.
    Skipped,
}

impl CutKind {
    /// A short stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            CutKind::Accepted => "accepted",
            CutKind::Skipped => "skipped",
        }
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "entry {} (`{}`) {} at entry {}, {}: callers got {}, a replay gives {}",
            self.entry,
            self.export,
            self.kind.name(),
            self.journal_last,
            self.what.name(),
            self.expected,
            self.got
        )
    }
}

impl Journal {
    /// A cut of the entry that diverged, as of now.
    pub(crate) fn cut_of(&self, divergence: Divergence, kind: CutKind) -> Cut {
        Cut {
            entry: divergence.entry,
            export: divergence.export,
            kind,
            what: divergence.what,
            expected: divergence.expected,
            got: divergence.got,
            journal_last: self.last,
        }
    }

    /// The cuts, oldest first.
    pub(crate) fn cuts(&self) -> &[Cut] {
        &self.cuts
    }

    /// An object that an entry made and that is still needed: it is alive, or a later entry names
    /// it.
    pub(crate) fn needed_of(&self, entry: &Entry) -> Option<(Handle, Option<SequenceNumber>)> {
        entry.creates().find_map(|(handle, _)| {
            if self.is_live(handle) {
                return Some((handle, None));
            }
            let later = self.entries.iter();
            let mut later = later.filter(|later| later.sequence > entry.sequence);
            let user = later.find(|later| later.dependencies().any(|other| other == handle));
            user.map(|user| (handle, Some(user.sequence)))
        })
    }

    /// Puts an entry in the place of the one with its number, or none. The caller keeps replays and
    /// compaction away, and checks that the objects stay the same.
    pub(crate) fn settle(&mut self, cut: Cut, instead: Option<Entry>) {
        let position = self
            .entries
            .binary_search_by_key(&cut.entry, |entry| entry.sequence);
        if let Ok(position) = position {
            if let Some(entry) = instead {
                self.bytes += entry.bytes();
                let gone = std::mem::replace(&mut self.entries[position], Arc::new(entry));
                self.bytes = self.bytes.saturating_sub(gone.bytes());
            } else {
                let gone = self.entries.remove(position);
                self.took = self.took.saturating_sub(gone.took);
                self.bytes = self.bytes.saturating_sub(gone.bytes());
                self.forget_objects(&[gone]);
            }
        }
        self.cuts.push(cut);
    }
}
