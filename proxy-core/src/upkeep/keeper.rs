//! Durable checkpoints: when one is due, and the thread that writes it.
//!
//! Writing takes as long as the disk takes. It happens on a thread of its own, so neither a call nor
//! a swap waits for it. One is written at a time, and two are kept: if the newest cannot be read,
//! the one before and the records after it make the same state.

use std::fmt;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::{PAUSE, State, Upkeep};
use crate::committer::Committer;
use crate::durable_checkpoint::{DurableCheckpoint, Kept};
use crate::event::Event;
use crate::journal_store::{CheckpointRef, JournalStore, Position};
use crate::recovery::Checking;
use crate::{DurablyCheckpointed, Error, History, SequenceNumber};

/// A checkpoint of entries is due when the records in the store have grown by this much, in bytes.
const GROWTH: u64 = 16 << 20;

/// Durable checkpoints are at least so far apart, unless the records in the store grow fast.
const REST: Duration = Duration::from_secs(1);

/// Records grow fast if so many bytes were appended since the last checkpoint of a state, or this
/// part of what that takes itself. A store keeps the records since the checkpoint before, and its
/// file has room between them: it has several times as much.
const FAST: u64 = 4 << 20;
const FAST_SHARE: u64 = 16;

/// Writing takes at most one part in this many of the time.
const SHARE: u32 = 10;

/// What upkeep knows of durable checkpoints.
pub(crate) struct Keeper {
    /// The newest entry in the newest one.
    kept: SequenceNumber,
    /// The check of the one that the proxy began with, while it is under way. Until its end none is
    /// written: a new one would have what is damaged, and take the place of the records before.
    checking: Option<Checking>,
    /// The thread that writes one.
    writing: Option<JoinHandle<Result<Written, String>>>,
    /// Not before this moment.
    rest_until: Option<Instant>,
    /// The size of the records in the store after the last one, in bytes.
    bytes_after: u64,
    /// The size of the last one, in bytes.
    bytes: u64,
    /// What had been appended when the last one was begun, in bytes.
    appended: u64,
    /// Whether what is wrong with the store was reported.
    fault_told: bool,
    /// How many lost calls were reported.
    lost_told: u64,
}

struct Written {
    report: DurablyCheckpointed,
    /// The oldest record that the store still has.
    first: Position,
    bytes_after: u64,
}

impl Keeper {
    /// `kept` is the newest entry in the newest durable checkpoint.
    pub(crate) fn new(kept: SequenceNumber, checking: Option<Checking>) -> Self {
        Self {
            kept,
            checking,
            writing: None,
            rest_until: None,
            bytes_after: 0,
            bytes: 0,
            appended: 0,
            fault_told: false,
            lost_told: 0,
        }
    }

    /// The check of the one that the proxy began with, if it is still under way.
    pub(super) fn take_check(&mut self) -> Option<Checking> {
        self.checking.take()
    }

    /// Whether the one that the proxy began with is still being checked.
    fn is_checking(&mut self) -> bool {
        self.checking.take_if(|checking| checking.is_finished());
        self.checking.is_some()
    }

    /// Waits for the one that is being written.
    fn finish(&mut self) -> Option<Result<Written, String>> {
        let writing = self.writing.take()?;
        let joined = writing.join();
        Some(joined.unwrap_or_else(|_| Err("the thread that wrote it panicked".to_owned())))
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // The store is closed with its last owner, and the next process may wait for that.
        let _ = self.finish();
    }
}

impl Upkeep {
    /// Settles a durable checkpoint that was written, and begins one that is due.
    pub(super) fn keep_if_due(&self, state: &mut State, now: Instant) {
        let Some(committer) = self.shared.committer() else {
            return;
        };
        if let Some(writing) = &state.keeper.writing {
            if !writing.is_finished() {
                return;
            }
            if let Some(outcome) = state.keeper.finish() {
                // An error has been reported.
                let _ = self.settle_kept(state, committer, outcome, now);
            }
        }
        self.tell_of_store(state, committer);
        if committer.fault().is_some() || state.keeper.is_checking() {
            return;
        }
        if self.shared.active.load().is_none() {
            // What is in memory may have come from a file that is damaged.
            return;
        }
        if let Some(due) = self.due_to_keep(state, committer, now) {
            self.begin_keeping(state, committer, due);
        }
    }

    /// Reports by events what the committer met since the last look, where no caller waits for it.
    pub(super) fn tell_of_store(&self, state: &mut State, committer: &Committer) {
        if committer.is_durable() {
            // Whoever made the calls got the error.
            return;
        }
        let (fault, lost) = (committer.fault(), committer.lost());
        let error = fault.as_ref().map_or_else(String::new, ToString::to_string);
        if lost > state.keeper.lost_told {
            let entries = lost - state.keeper.lost_told;
            self.shared
                .ledger
                .emit(&Event::CallsLost { entries, error });
        } else if fault.is_some() && !state.keeper.fault_told {
            self.shared.ledger.emit(&Event::JournalError { error });
        }
        (state.keeper.fault_told, state.keeper.lost_told) = (fault.is_some(), lost);
    }

    /// Writes a durable checkpoint now, if anything happened since the last one, and waits for it.
    pub(crate) fn keep_manually(&self) -> Result<Option<DurablyCheckpointed>, Error> {
        let refused = |reason: &str| Error::NoCheckpoint {
            reasons: reason.to_owned(),
        };
        let mut state = self.by_hand()?;
        let committer = self.shared.committer();
        let committer = committer.ok_or_else(|| refused("the journal has no store"))?;
        if let Some(checking) = state.keeper.checking.take() {
            checking.finish();
            if self.shared.active.load().is_none() {
                return Err(self.shared.why_ended());
            }
        }
        if let Some(outcome) = state.keeper.finish() {
            // An error has been reported.
            let _ = self.settle_kept(&mut state, committer, outcome, Instant::now());
        }
        if state.checkpoints.history() == History::Checkpoint {
            self.fold_for_keeping(&mut state)?;
        }
        let pending = committer.pending();
        if let Some(Err(source)) = pending.map(|batch| batch.wait()) {
            return Err(Error::NotDurable { source });
        }
        let Some(due) = self.to_keep(&state) else {
            return Ok(None);
        };
        self.begin_keeping(&mut state, committer, due);
        let outcome = state.keeper.finish();
        let outcome = outcome.unwrap_or_else(|| Err("the system gives no thread".to_owned()));
        let written = self.settle_kept(&mut state, committer, outcome, Instant::now());
        self.publish(&state);
        written.map(Some).map_err(|reason| refused(&reason))
    }

    fn settle_kept(
        &self,
        state: &mut State,
        committer: &Committer,
        outcome: Result<Written, String>,
        now: Instant,
    ) -> Result<DurablyCheckpointed, String> {
        match outcome {
            Ok(written) => {
                committer.forget_before(written.first);
                let keeper = &mut state.keeper;
                keeper.bytes_after = written.bytes_after;
                keeper.bytes = written.report.bytes;
                let rest = written.report.duration.saturating_mul(SHARE).max(REST);
                keeper.rest_until = Some(now + rest);
                let report = written.report;
                self.shared.ledger.emit(&Event::CheckpointDurable(report));
                Ok(report)
            }
            Err(error) => {
                // What was kept before is still there, and the next fold or growth tries again.
                state.keeper.rest_until = Some(now + PAUSE);
                state.keeper.appended = committer.appended();
                state.keeper.kept = SequenceNumber::ZERO;
                let event = Event::JournalError {
                    error: format!("a durable checkpoint could not be written: {error}"),
                };
                self.shared.ledger.emit(&event);
                Err(error)
            }
        }
    }

    /// What a durable checkpoint is due of.
    fn due_to_keep(
        &self,
        state: &mut State,
        committer: &Committer,
        now: Instant,
    ) -> Option<DurableCheckpoint> {
        committer.store().checkpoint_folder()?;
        let is_resting = state.keeper.rest_until.is_some_and(|until| now < until);
        match state.checkpoints.history() {
            History::Checkpoint => {
                let keeper = &state.keeper;
                let grown = committer.appended().saturating_sub(keeper.appended);
                let is_fast = grown >= FAST.max(keeper.bytes / FAST_SHARE);
                (is_fast || !is_resting).then(|| self.to_keep(state))?
            }
            History::Full => {
                let grown = self.shared.journal.size.last() > state.keeper.kept;
                if is_resting || !grown {
                    return None;
                }
                let bytes = committer.store().bytes().ok()?;
                if bytes >= state.keeper.bytes_after.saturating_add(GROWTH) {
                    return self.to_keep(state);
                }
                // The question reads the disk, and ticks can be close.
                state.keeper.rest_until = Some(now + REST);
                None
            }
        }
    }

    /// What the next durable checkpoint has, if it has more than the last one.
    fn to_keep(&self, state: &State) -> Option<DurableCheckpoint> {
        let durable = self.shared.journal.durable();
        let (sequence, kept) = match state.checkpoints.base() {
            Some(base) => (base.sequence, Kept::Checkpoint(Arc::clone(base))),
            None if state.checkpoints.history() == History::Checkpoint => return None,
            None => {
                // In slices, so calls append meanwhile. What came after `durable` is left out.
                let mut entries = self.shared.journal.entries();
                entries.truncate(entries.partition_point(|entry| entry.sequence <= durable));
                let last = self.shared.journal.size.last();
                (durable.min(last), Kept::Entries(entries))
            }
        };
        if sequence <= state.keeper.kept || sequence > durable {
            return None;
        }
        Some(DurableCheckpoint {
            state: kept,
            notes: self.shared.journal.lock().notes_at(sequence),
        })
    }

    fn begin_keeping(&self, state: &mut State, committer: &Committer, due: DurableCheckpoint) {
        let sequence = due.notes.sequence;
        let Some(position) = committer.position_of(sequence) else {
            return;
        };
        let (store, epoch) = (Arc::clone(committer.store()), committer.epoch());
        let writing = std::thread::Builder::new()
            .name("wasm-proxy-checkpoint".to_owned())
            .spawn(move || write(&*store, epoch, &due, position));
        match writing {
            Ok(writing) => {
                state.keeper.writing = Some(writing);
                state.keeper.kept = sequence;
                state.keeper.appended = committer.appended();
            }
            Err(error) => {
                state.keeper.rest_until = Some(Instant::now() + PAUSE);
                let error = format!("the system gives no thread for a durable checkpoint: {error}");
                self.shared.ledger.emit(&Event::JournalError { error });
            }
        }
    }
}

/// Writes the file, and lets it take the place of records.
fn write(
    store: &dyn JournalStore,
    epoch: crate::Epoch,
    due: &DurableCheckpoint,
    position: Position,
) -> Result<Written, String> {
    let started = Instant::now();
    let in_words = |error: crate::StoreError| error.to_string();
    let folder = store.checkpoint_folder();
    let folder = folder.ok_or_else(|| "the store has no folder for it".to_owned())?;
    let (file, bytes) = due.write(&folder, position)?;
    let mut list = vec![CheckpointRef {
        position,
        hash: store.hash_at(position).map_err(in_words)?,
        file,
        bytes,
    }];
    let before = store.checkpoints().map_err(in_words)?;
    list.extend(before.into_iter().find(|before| before.position < position));
    let head = store.truncate(epoch, &list).map_err(in_words)?;
    Ok(Written {
        report: DurablyCheckpointed {
            sequence: due.notes.sequence,
            bytes,
            duration: started.elapsed(),
        },
        first: head.first,
        bytes_after: store.bytes().map_err(in_words)?,
    })
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper")
            .field("kept", &self.kept)
            .field("is_writing", &self.writing.is_some())
            .finish_non_exhaustive()
    }
}
