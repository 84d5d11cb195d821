//! The way out of a divergence: its new results are accepted, or its entry is skipped.
//!
//! Without one, an entry that diverged keeps every later standby from being made. Somebody has to
//! decide, because callers have got results that no replay gives. What they got stays what it was.

use std::sync::Arc;

use super::replay::{BATCH, Entries, Noted, Replay};
use super::{State, Upkeep};
use crate::checkpoint::Checkpoint;
use crate::event::Event;
use crate::generation::{Blueprint, lock};
use crate::journal::record;
use crate::shared::Shared;
use crate::{Cut, CutKind, Divergence, Entry, Error, Prepared, SequenceNumber};

/// What a proxy does about an entry that diverges while a standby is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnDivergence {
    /// The standby fails, until somebody calls [`Proxy::accept_divergence`] or
    /// [`Proxy::skip_divergence`].
    ///
    /// [`Proxy::accept_divergence`]: crate::Proxy::accept_divergence
    /// [`Proxy::skip_divergence`]: crate::Proxy::skip_divergence
    #[default]
    Fail,
    /// As [`Proxy::accept_divergence`](crate::Proxy::accept_divergence), at once.
    Accept,
    /// As [`Proxy::skip_divergence`](crate::Proxy::skip_divergence), at once.
    Skip,
}

impl OnDivergence {
    pub(crate) fn cut(self) -> Option<CutKind> {
        match self {
            OnDivergence::Fail => None,
            OnDivergence::Accept => Some(CutKind::Accepted),
            OnDivergence::Skip => Some(CutKind::Skipped),
        }
    }
}

impl Upkeep {
    pub(crate) fn settle_divergence(
        &self,
        entry: SequenceNumber,
        kind: CutKind,
    ) -> Result<Cut, Error> {
        let mut state = self.by_hand()?;
        let outcome = self.cut(&mut state, entry, kind);
        self.publish(&state);
        outcome
    }

    /// Prepares a standby. What diverges is settled, if the proxy may do so, and the preparation
    /// begins again. Each round settles a later entry than the one before.
    pub(super) fn settling(
        &self,
        state: &mut State,
        prepare: impl Fn(&mut State) -> Result<Prepared, Error>,
    ) -> Result<Prepared, Error> {
        let mut settled = SequenceNumber::ZERO;
        loop {
            let outcome = prepare(state);
            let (Some(kind), Err(Error::Divergence(divergence))) =
                (self.options.on_divergence.cut(), &outcome)
            else {
                return outcome;
            };
            let entry = divergence.entry;
            if entry <= settled {
                return outcome;
            }
            if let Err(error) = self.cut(state, entry, kind) {
                self.shared.ledger.emit(&Event::DivergenceNotSettled {
                    entry,
                    kind,
                    reason: error.to_string(),
                });
                return outcome;
            }
            settled = entry;
        }
    }

    fn cut(&self, state: &mut State, entry: SequenceNumber, kind: CutKind) -> Result<Cut, Error> {
        let known = lock(&self.shared.divergence).clone();
        let divergence = known
            .filter(|divergence| divergence.entry == entry)
            .ok_or(Error::NotDiverged { entry })?;
        if entry == SequenceNumber::ZERO {
            let reason = "the instantiation itself differs; start anew".to_owned();
            return Err(Error::NotSettled { entry, reason });
        }
        // A standby has applied the entry as it was, and so may what is done aside.
        self.discard(state);
        self.drop_aside(state);
        self.shared.compact(SequenceNumber(u64::MAX));
        // The rest of an old generation would be one instance too many, and so would one aside.
        self.graveyard.wait();
        self.loan.wait();
        let base = state.checkpoints.base().map(|base| &**base);
        let cut = settle_entry(&self.shared, &state.blueprint, base, divergence, kind)
            .inspect_err(|error| self.report_divergence(error))?;
        // What was taken before the entry is a view of the journal still.
        state.checkpoints.drop_from(entry);
        self.hold_journal(state);
        write_cut(&self.shared, &cut);
        self.shared.artifacts.of_entries().sweep();
        *lock(&self.shared.divergence) = None;
        state.degradation.succeeded();
        emit_cut(&self.shared, &cut);
        self.shared.wakeup.wake();
        Ok(cut)
    }
}

/// Writes a cut to the store, if there is one. If that fails, the entry diverges again when the
/// journal is opened.
pub(crate) fn write_cut(shared: &Shared, cut: &Cut) {
    let Some(committer) = shared.committer() else {
        return;
    };
    let instead = match cut.kind {
        CutKind::Accepted => shared.journal.lock().entry(cut.entry),
        CutKind::Skipped => None,
    };
    // Records are put in the order of what they say, so a call has the turn for it.
    let turn = shared.journal.turn_for_swap();
    let put = record::encode_cut(cut, instead.as_deref())
        .map_err(|reason| Error::NotStorable { reason })
        .and_then(|record| committer.put(record, None));
    drop(turn);
    committer.tell();
    let written = put.and_then(|batch| batch.wait().map_err(|source| Error::NotDurable { source }));
    if let Err(error) = written {
        let error = error.to_string();
        shared.ledger.emit(&Event::JournalError { error });
    }
}

/// Tells of a cut.
pub(crate) fn emit_cut(shared: &Shared, cut: &Cut) {
    let cut = cut.clone();
    shared.ledger.emit(&match cut.kind {
        CutKind::Accepted => Event::DivergenceAccepted { cut },
        CutKind::Skipped => Event::DivergenceSkipped { cut },
    });
}

/// Settles a divergence in the journal: for upkeep, and for a proxy that opens a journal. No replay and
/// no call goes on meanwhile. `base` is the checkpoint that replays begin with.
pub(crate) fn settle_entry(
    shared: &Arc<Shared>,
    blueprint: &Blueprint,
    base: Option<&Checkpoint>,
    divergence: Divergence,
    kind: CutKind,
) -> Result<Cut, Error> {
    match kind {
        CutKind::Accepted => accept(shared, blueprint, base, divergence),
        CutKind::Skipped => skip(shared, divergence),
    }
}

fn skip(shared: &Shared, divergence: Divergence) -> Result<Cut, Error> {
    let mut journal = shared.journal.lock();
    let entry = divergence.entry;
    let skipped = journal.entry(entry).ok_or(Error::NotDiverged { entry })?;
    if let Some((handle, needed_by)) = journal.needed_of(&skipped) {
        return Err(Error::EntryNeeded {
            entry,
            handle,
            needed_by,
        });
    }
    let cut = journal.cut_of(divergence, CutKind::Skipped);
    journal.settle(cut.clone(), None);
    Ok(cut)
}

fn accept(
    shared: &Arc<Shared>,
    blueprint: &Blueprint,
    base: Option<&Checkpoint>,
    divergence: Divergence,
) -> Result<Cut, Error> {
    let (recorded, replayed) = replayed(shared, blueprint, base, divergence.entry)?;
    let entry = divergence.entry;
    if recorded.results == replayed.results && recorded.fingerprints == replayed.fingerprints {
        return Err(Error::NotDiverged { entry });
    }
    if !recorded.creates().eq(replayed.creates()) {
        let reason = "it makes other objects than its caller got; skip it, or start anew";
        return Err(Error::NotSettled {
            entry,
            reason: reason.to_owned(),
        });
    }
    let mut journal = shared.journal.lock();
    let cut = journal.cut_of(divergence, CutKind::Accepted);
    journal.settle(cut.clone(), Some(replayed));
    Ok(cut)
}

/// An entry as the journal has it, and with the results that a fresh instance gives, or one from the
/// base.
fn replayed(
    shared: &Arc<Shared>,
    blueprint: &Blueprint,
    base: Option<&Checkpoint>,
    sequence: SequenceNumber,
) -> Result<(Arc<Entry>, Entry), Error> {
    let mut entries = shared.journal.entries();
    entries.retain(|entry| entry.sequence <= sequence);
    let recorded = entries
        .pop()
        .filter(|entry| entry.sequence == sequence)
        .ok_or(Error::NotDiverged { entry: sequence })?;
    let mut replay = Replay::begin(shared, blueprint, 0, base, Noted::AsScratch)?;
    replay.note(&mut shared.journal.lock(), sequence);
    replay.run(&mut Entries::these(entries), BATCH, |_| Ok(true))?;
    let replayed =
        replay
            .generation
            .reapply(&recorded)
            .map_err(|divergence| Error::NotSettled {
                entry: sequence,
                reason: format!(
                    "a replay gives no result that could be recorded ({}); skip it, or start anew",
                    divergence.got
                ),
            })?;
    Ok((recorded, replayed))
}
