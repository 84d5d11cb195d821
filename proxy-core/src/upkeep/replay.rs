//! One replay: an instance, fresh or from a checkpoint, to which entries are applied in batches and
//! what they give is compared. Standbys, checkpoints and proofs are all made by it.

use std::sync::Arc;

use crate::checkpoint::{Applied, Checkpoint};
use crate::generation::{Blueprint, Generation};
use crate::journal::Journal;
use crate::memory::mib;
use crate::shared::Shared;
use crate::{DivergenceKind, Entry, Error, SequenceNumber};

/// Entries are applied in batches, between which the replay can end early.
pub(super) const BATCH: usize = 256;

/// The entries that a replay applies, and how far it is.
pub(super) enum Entries {
    /// The rest of the journal, up to this entry.
    JournalUpTo(SequenceNumber),
    These(Vec<Arc<Entry>>, Position),
    /// The history of another instance, applied in the same way.
    Like(Arc<[Applied]>, Position),
}

/// How many entries of a list have been applied.
#[derive(Default)]
pub(super) struct Position(usize);

impl Position {
    /// The next `count` entries.
    fn advance<T>(&mut self, entries: &[T], count: usize) -> std::ops::Range<usize> {
        let from = self.0;
        self.0 = entries.len().min(from.saturating_add(count));
        from..self.0
    }
}

impl Entries {
    pub(super) fn these(entries: Vec<Arc<Entry>>) -> Self {
        Self::These(entries, Position::default())
    }

    pub(super) fn like(history: &Arc<[Applied]>) -> Self {
        Self::Like(Arc::clone(history), Position::default())
    }
}

/// Where progress is noted, so compaction keeps what the instance still needs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Noted {
    Nowhere,
    AsStandby,
    AsScratch,
}

/// An instance in the making.
pub(super) struct Replay {
    shared: Arc<Shared>,
    noted: Noted,
    pub(super) generation: Generation,
    /// The newest entry of the journal that was applied.
    pub(super) applied: SequenceNumber,
    /// How many entries were applied.
    pub(super) count: usize,
    _hold: Option<ScratchHold>,
}

/// Lets go of what the journal keeps for an instance aside when that is gone, however it went.
struct ScratchHold(Arc<Shared>);

impl Drop for ScratchHold {
    fn drop(&mut self) {
        self.0.journal.lock().hold_scratch(None);
    }
}

impl Replay {
    /// An instance that is fresh, or in the state of a checkpoint.
    pub(super) fn begin(
        shared: &Arc<Shared>,
        blueprint: &Blueprint,
        number: u64,
        checkpoint: Option<&Checkpoint>,
        noted: Noted,
    ) -> Result<Self, Error> {
        let live = &shared.live_generations;
        let (generation, applied) = if let Some(checkpoint) = checkpoint {
            let generation = Generation::restore(blueprint, number, checkpoint, live)?;
            (generation, checkpoint.sequence)
        } else {
            let genesis = shared.journal.lock().genesis().to_vec();
            let (generation, _) = Generation::create(blueprint, number, Some(&genesis), live)?;
            (generation, SequenceNumber::ZERO)
        };
        Ok(Self {
            shared: Arc::clone(shared),
            noted,
            generation,
            applied,
            count: 0,
            _hold: (noted == Noted::AsScratch).then(|| ScratchHold(Arc::clone(shared))),
        })
    }

    /// Applies entries, `batch` at a time, and asks after each batch whether to go on. Returns
    /// whether all were applied; if not, a later call goes on from there.
    ///
    /// # Errors
    ///
    /// [`Error::Divergence`]; what `go_on` returns.
    pub(super) fn run(
        &mut self,
        entries: &mut Entries,
        batch: usize,
        go_on: impl Fn(&Self) -> Result<bool, Error>,
    ) -> Result<bool, Error> {
        loop {
            let applied = self.apply_next(entries, batch)?;
            self.count += applied;
            if applied == 0 {
                return Ok(true);
            }
            if !go_on(self)? {
                return Ok(false);
            }
        }
    }

    /// Applies the next entries, and returns how many there were.
    fn apply_next(&mut self, entries: &mut Entries, count: usize) -> Result<usize, Error> {
        match entries {
            Entries::These(entries, position) => {
                let batch = &entries[position.advance(entries, count)];
                apply(&self.shared, &self.generation, batch)?;
                Ok(batch.len())
            }
            Entries::Like(history, position) => {
                let batch = &history[position.advance(history, count)];
                self.generation.apply_like(batch)?;
                Ok(batch.len())
            }
            Entries::JournalUpTo(target) if self.applied < *target => {
                let batch = {
                    let mut journal = self.shared.journal.lock();
                    let batch = journal.after(self.applied, count);
                    if let Some(last) = batch.last() {
                        self.note(&mut journal, last.sequence);
                    }
                    batch
                };
                apply(&self.shared, &self.generation, &batch)?;
                match batch.last() {
                    Some(last) => self.applied = last.sequence,
                    // The rest was dropped, which happens to nothing that is not written.
                    None => self.skip_to(self.shared.journal.durable().min(*target)),
                }
                Ok(batch.len())
            }
            Entries::JournalUpTo(_) => Ok(0),
        }
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Counts the entries up to this one as applied: those that were not are about freed objects.
    pub(super) fn skip_to(&mut self, last: SequenceNumber) {
        self.generation.skip_to(last);
        self.applied = self.applied.max(last);
    }

    /// From here on compaction counts the entries up to this one as applied.
    pub(super) fn note(&self, journal: &mut Journal, applied: SequenceNumber) {
        match self.noted {
            Noted::Nowhere => {}
            Noted::AsStandby => self.shared.journal.note_applied(applied),
            Noted::AsScratch => journal.hold_scratch(Some(applied)),
        }
    }
}

/// Generation 1 with the whole journal applied, and how many entries there were: for a proxy that
/// opens the journal of an earlier process.
///
/// # Errors
///
/// [`Error::Divergence`]; [`Error::Engine`].
pub(crate) fn replay_all(
    shared: &Arc<Shared>,
    blueprint: &Blueprint,
    checkpoint: Option<&Checkpoint>,
) -> Result<(Generation, usize), Error> {
    shared.note_restored(&shared.journal.entries());
    loop {
        match replay_restored(shared, blueprint, checkpoint) {
            Err(error) if shared.can_do_without_artifact(&error) => {}
            outcome => return outcome,
        }
    }
}

fn replay_restored(
    shared: &Arc<Shared>,
    blueprint: &Blueprint,
    checkpoint: Option<&Checkpoint>,
) -> Result<(Generation, usize), Error> {
    let mut replay = Replay::begin(shared, blueprint, 1, checkpoint, Noted::Nowhere)?;
    let last = shared.journal.lock().last();
    replay.run(&mut Entries::JournalUpTo(last), BATCH, |_| Ok(true))?;
    replay.skip_to(last);
    Ok((replay.generation, replay.count))
}

/// Applies entries, with the help of the artifact store.
pub(super) fn apply(
    shared: &Shared,
    generation: &Generation,
    entries: &[Arc<Entry>],
) -> Result<(), Error> {
    shared.supply_artifacts(entries);
    let applied = apply_alone(shared, generation, entries);
    shared.note_artifacts(entries);
    applied
}

/// A standby that ran out of memory departs from the original, and yet the module may be as
/// deterministic as any: its memory is laid out otherwise, because entries about freed objects are
/// left out.
fn explained(shared: &Shared, generation: &Generation, error: Error) -> Error {
    let Error::Divergence(divergence) = error else {
        return error;
    };
    let bytes = generation.memory_bytes();
    let refused = generation.refused_in_replay();
    let is_out_of_memory = match divergence.what {
        DivergenceKind::Outcome => {
            let is_full = refused.is_some() || shared.budget.is_exhausted(bytes);
            is_full && generation.ended_in_allocation()
        }
        // The guest went on and says so.
        DivergenceKind::Results => refused.is_some(),
        _ => false,
    };
    if !is_out_of_memory {
        return Error::Divergence(divergence);
    }
    let asked = refused.filter(|refused| *refused > bytes && *refused != u64::MAX);
    Error::StandbyOutOfMemory {
        entry: divergence.entry,
        export: divergence.export,
        asked_mib: asked.map(|refused| mib(refused - bytes)),
        used_mib: mib(bytes),
        limit_mib: mib(shared.budget.limit()),
    }
}

/// Applies entries without a look at the artifact store, whose directory may be slow. The next
/// replay keeps what was exported.
pub(super) fn apply_alone(
    shared: &Shared,
    generation: &Generation,
    entries: &[Arc<Entry>],
) -> Result<(), Error> {
    let applied = generation.apply(entries, shared.artifacts.of_entries());
    let imported = applied.map_err(|error| explained(shared, generation, error))?;
    shared.ledger.counts.imported.add(imported);
    shared.ledger.counts.verified.add(entries.len() as u64);
    Ok(())
}
