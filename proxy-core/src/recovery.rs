//! Opening the journal in a store, and making the state again from it.

mod beside;
mod migration;
mod unchecked;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use engine_api::{Extern, Imports, ModuleHash};
use serde::{Deserialize, Serialize};

pub(crate) use beside::Beside;
pub(crate) use unchecked::Checking;
use unchecked::Unchecked;

use crate::checkpoint::Checkpoint;
use crate::committer::{Committer, Durability, JournalQueue};
use crate::durable_checkpoint::{Loaded, LoadedState};
use crate::generation::{Blueprint, Generation};
use crate::journal::record::{Context, FORMAT, Remembered, decode, encode_genesis};
use crate::journal::{Genesis, Journal, Positions};
use crate::journal_reader::JournalSubject;
use crate::journal_store::{CheckpointRef, Flush, Head, Identity, JournalStore, Position};
use crate::shared::Shared;
use crate::upkeep::{emit_cut, replay_all, settle_entry, write_cut};
use crate::{
    Cut, CutKind, Entry, Error, Event, JournalMismatch, OnDivergence, Policy, Recovered,
    SequenceNumber,
};

/// How many bytes of records are read at once.
const READ_BYTES: usize = 1 << 20;

/// The store that a proxy is given, and what it promises to callers.
#[derive(Clone, Debug)]
pub(crate) struct Durable {
    pub(crate) store: Arc<dyn JournalStore>,
    pub(crate) purpose: Purpose,
    pub(crate) queue: JournalQueue,
    pub(crate) on_divergence: OnDivergence,
}

/// What a proxy does with the journal in its store.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    /// It goes on from there, and writes.
    Keep(Durability),
    /// It applies every entry up to this one, also those that nothing needs, and writes nothing.
    Replay { until: SequenceNumber },
}

impl Purpose {
    /// The newest entry that is read.
    fn until(self) -> SequenceNumber {
        match self {
            Purpose::Keep(_) => SequenceNumber(u64::MAX),
            Purpose::Replay { until } => until,
        }
    }
}

/// The first generation of a process.
pub(crate) struct First {
    pub(crate) generation: Generation,
    /// The checkpoint that has taken the place of entries.
    pub(crate) checkpoint: Option<Arc<Checkpoint>>,
    /// The newest entry in the newest durable checkpoint.
    pub(crate) kept: SequenceNumber,
    /// The file of `checkpoint`, if nobody has checked its contents yet.
    pub(crate) unchecked: Option<Unchecked>,
    pub(crate) recovered: Option<Recovered>,
}

impl First {
    /// One that nothing was before.
    pub(crate) fn new(generation: Generation) -> Self {
        Self {
            generation,
            checkpoint: None,
            kept: SequenceNumber::ZERO,
            unchecked: None,
            recovered: None,
        }
    }
}

/// A state that was made again.
struct Made {
    generation: Generation,
    /// How many entries were applied.
    entries: usize,
    positions: Positions,
    checkpoint: Option<Arc<Checkpoint>>,
    kept: SequenceNumber,
    unchecked: Option<Unchecked>,
    /// The entries that diverged and were settled.
    cuts: Vec<Cut>,
}

/// What a journal's identity has besides the module's hash.
#[derive(Serialize, Deserialize)]
struct Notes {
    magic: [u8; 8],
    format: u32,
    policy: [u8; 32],
}

const MAGIC: [u8; 8] = *b"wpx-jrnl";

impl Identity {
    /// The identity of a journal for a module, in the binary format, with a policy.
    ///
    /// # Errors
    ///
    /// [`Error::Setting`] if the policy has something that no file could say.
    pub fn of(wasm: &[u8], policy: &Policy) -> Result<Self, Error> {
        let notes = Notes {
            magic: MAGIC,
            format: FORMAT,
            policy: hash_of(policy)?,
        };
        let notes = postcard::to_allocvec(&notes).map_err(|error| unwritable(&error))?;
        Ok(Self {
            module: *ModuleHash::of(wasm).as_bytes(),
            notes,
        })
    }

    /// What it says.
    ///
    /// # Errors
    ///
    /// [`Error::OtherJournal`] if no proxy made it, or a newer release did.
    pub(crate) fn subject(&self) -> Result<JournalSubject, Error> {
        let refuse = |mismatch| Err(Error::OtherJournal(Box::new(mismatch)));
        let Ok(notes) = postcard::from_bytes::<Notes>(&self.notes) else {
            return refuse(JournalMismatch::Unreadable);
        };
        if notes.magic != MAGIC {
            return refuse(JournalMismatch::Unreadable);
        }
        if notes.format > FORMAT {
            return refuse(JournalMismatch::Format {
                journal: notes.format,
                known: FORMAT,
            });
        }
        Ok(JournalSubject {
            module: ModuleHash::from_bytes(self.module),
            format: notes.format,
            policy: notes.policy,
        })
    }

    /// Refuses a journal that was made for something else.
    fn check(&self, wasm: &[u8], policy: &Policy) -> Result<(), Error> {
        let refuse = |mismatch| Err(Error::OtherJournal(Box::new(mismatch)));
        let notes = self.subject()?;
        let (journal, proxy) = (notes.module, ModuleHash::of(wasm));
        if journal != proxy {
            return refuse(JournalMismatch::Module { journal, proxy });
        }
        let (journal, proxy) = (notes.policy, hash_of(policy)?);
        if journal != proxy {
            return refuse(JournalMismatch::Policy { journal, proxy });
        }
        Ok(())
    }
}

/// A hash of a policy. A key that is added to policies must be left out of their serialized form
/// where it is not given, so the hashes of older policies stay.
fn hash_of(policy: &Policy) -> Result<[u8; 32], Error> {
    let bytes = postcard::to_allocvec(policy).map_err(|error| unwritable(&error))?;
    Ok(blake3::hash(&bytes).into())
}

fn unwritable(error: &postcard::Error) -> Error {
    Error::Setting {
        reason: format!("the policy cannot be written down: {error}"),
    }
}

impl Durable {
    /// Checks, before anything slow, that the journal is of this module and this policy, and empty if
    /// another is migrated to it.
    pub(crate) fn head(
        &self,
        migrated: Option<&dyn JournalStore>,
        wasm: &[u8],
        policy: &Policy,
    ) -> Result<Head, Error> {
        self.store.identity().check(wasm, policy)?;
        let head = self.store.head()?;
        if migrated.is_some() && head.position > Position::ZERO {
            return Err(Error::Setting {
                reason: "a journal is migrated to an empty one, and this one has records; create \
                         another"
                    .to_owned(),
            });
        }
        Ok(head)
    }

    /// Begins to check the checkpoint that is likely to be used, before the module is compiled.
    pub(crate) fn check_beside(&self) -> Option<Beside> {
        // A replay begins with the oldest one, and is in no hurry.
        let keeps = !self.is_replay();
        keeps.then(|| Beside::begin(&*self.store)).flatten()
    }

    /// The first generation of a process that opens the journal, which may go on from `old`.
    pub(crate) fn open(
        &self,
        head: Head,
        old: Option<&dyn JournalStore>,
        shared: &Arc<Shared>,
        blueprint: &Blueprint,
        beside: Option<Beside>,
    ) -> Result<First, Error> {
        match old {
            Some(old) => self.migrate(head, old, shared, blueprint),
            None => self.recover(head, shared, blueprint, beside),
        }
    }

    /// The first generation: a new one for an empty journal, or the state that the journal has.
    fn recover(
        &self,
        head: Head,
        shared: &Arc<Shared>,
        blueprint: &Blueprint,
        beside: Option<Beside>,
    ) -> Result<First, Error> {
        if head.position == Position::ZERO {
            return self.begin(head, shared, blueprint);
        }
        let started = Instant::now();
        let cut = self.on_divergence.cut().filter(|_| !self.is_replay());
        let made = match self.make(head, shared, blueprint, None, beside) {
            // Whatever else could be taken for the state has been tried.
            Err(Error::Divergence(_)) if cut.is_some() => {
                self.make(head, shared, blueprint, cut, None)?
            }
            made => made?,
        };
        self.recovered(head, shared, made, started)
    }

    /// The state, from a durable checkpoint or from the beginning. With `cut`, entries that diverge
    /// are settled.
    fn make(
        &self,
        head: Head,
        shared: &Arc<Shared>,
        blueprint: &Blueprint,
        cut: Option<CutKind>,
        mut beside: Option<Beside>,
    ) -> Result<Made, Error> {
        let mut reasons = Vec::new();
        let mut diverged = None;
        let mut before = None;
        let mut checkpoints = self.store.checkpoints()?;
        if self.is_replay() {
            // The oldest has the most entries after it, which are what is to be replayed.
            checkpoints.reverse();
        }
        for reference in checkpoints {
            match self.recover_from(&reference, shared, blueprint, cut, beside.take()) {
                Ok(made) => return Ok(made),
                // That is what was to be found out, and a newer checkpoint would hide it.
                Err(error @ Error::Divergence(_)) if self.is_replay() => return Err(error),
                Err(error @ Error::BeforeJournal { .. }) => {
                    // The oldest comes first, and the later ones have more entries.
                    before.get_or_insert(error);
                }
                Err(error) => {
                    let file = reference.file;
                    let reason = match &error {
                        // What that means for standbys is of no interest here.
                        Error::NoCheckpoint { reasons } => reasons.clone(),
                        error => error.to_string(),
                    };
                    reasons.push(format!("`{file}`: {reason}"));
                    let event = Event::CheckpointPassedOver { file, reason };
                    shared.ledger.emit(&event);
                    empty(shared);
                    if let Error::Divergence(_) = error {
                        diverged.get_or_insert(error);
                    }
                }
            }
        }
        if head.first > Position(1) {
            // With a divergence there is something to settle. If the oldest checkpoint is not good, the
            // later ones are not what is wrong.
            let before = before.filter(|_| reasons.is_empty());
            return Err(diverged.or(before).unwrap_or(Error::NoRecovery {
                gone: head.first.previous(),
                reasons,
            }));
        }
        let positions = self.read(shared, Position::ZERO)?;
        let replayed = self.replay(shared, blueprint, None, cut);
        let (generation, entries, cuts) = replayed.inspect_err(|_| empty(shared))?;
        Ok(Made {
            generation,
            entries,
            positions,
            checkpoint: None,
            kept: SequenceNumber::ZERO,
            unchecked: None,
            cuts,
        })
    }

    /// The state from a durable checkpoint and the records after it.
    fn recover_from(
        &self,
        reference: &CheckpointRef,
        shared: &Arc<Shared>,
        blueprint: &Blueprint,
        cut: Option<CutKind>,
        beside: Option<Beside>,
    ) -> Result<Made, Error> {
        let unusable = |reason: String| Error::NoCheckpoint { reasons: reason };
        let folder = self.store.checkpoint_folder();
        let folder = folder.ok_or_else(|| unusable("the store has no folder for it".to_owned()))?;
        let path = folder.join(&reference.file);
        let length = path.metadata().map(|file| file.len());
        if let Ok(length) = length
            && length != reference.bytes
        {
            let reason = format!("it has {length} bytes in place of {}", reference.bytes);
            return Err(unusable(reason));
        }
        let context = context(shared);
        let beside = beside.filter(|beside| beside.is_of(&reference.file));
        let found = beside.as_ref().map(Beside::found);
        let loaded = Loaded::open_found(&path, found, &*blueprint.module, &context);
        let loaded = loaded.map_err(unusable)?;
        let kept = loaded.notes.sequence;
        if kept > self.purpose.until() {
            return Err(Error::BeforeJournal {
                until: self.purpose.until(),
                first: kept,
            });
        }
        let checkpoint = match loaded.state {
            LoadedState::Checkpoint { snapshot, objects } => {
                let checkpoint = Checkpoint::opened(*snapshot, objects, kept, blueprint.engine);
                note_restored(&blueprint.imports);
                let mut journal = shared.journal.lock();
                journal.resume(loaded.notes, true);
                journal.hold(vec![kept]);
                Some(Arc::new(checkpoint))
            }
            LoadedState::Entries(entries) => {
                let mut journal = shared.journal.lock();
                journal.resume(loaded.notes, false);
                for entry in entries {
                    restore(&mut journal, entry).map_err(unusable)?;
                }
                journal.resume_after(kept);
                None
            }
        };
        let positions = self.read(shared, reference.position)?;
        if checkpoint.is_some() {
            shared.journal.lock().drop_passing();
        }
        // Nothing runs on contents that are not checked, unless nobody has touched them.
        let unchecked = beside.map_or(Ok(None), Beside::wait).map_err(unusable)?;
        let replayed = self.replay(shared, blueprint, checkpoint.as_deref(), cut);
        if let (Err(_), Some(unchecked)) = (&replayed, &unchecked) {
            // Perhaps that is why.
            unchecked.check().map_err(unusable)?;
        }
        let (generation, entries, cuts) = replayed?;
        Ok(Made {
            generation,
            entries,
            positions,
            checkpoint,
            kept,
            unchecked,
            cuts,
        })
    }

    fn is_replay(&self) -> bool {
        matches!(self.purpose, Purpose::Replay { .. })
    }

    /// Applies the journal in memory to a new instance. Unless all of it is to be replayed, entries
    /// that nothing needs are dropped before. With `cut`, entries that diverge are settled, each
    /// later than the one before.
    fn replay(
        &self,
        shared: &Arc<Shared>,
        blueprint: &Blueprint,
        checkpoint: Option<&Checkpoint>,
        cut: Option<CutKind>,
    ) -> Result<(Generation, usize, Vec<Cut>), Error> {
        let mut cuts: Vec<Cut> = Vec::new();
        loop {
            if !self.is_replay() {
                let from = checkpoint.map_or(SequenceNumber(u64::MAX), |one| one.sequence);
                shared.compact(from);
            }
            let settled = cuts.last().map_or(SequenceNumber::ZERO, |cut| cut.entry);
            match (replay_all(shared, blueprint, checkpoint), cut) {
                (Ok((generation, entries)), _) => return Ok((generation, entries, cuts)),
                (Err(Error::Divergence(divergence)), Some(kind)) if divergence.entry > settled => {
                    cuts.push(settle_entry(
                        shared,
                        blueprint,
                        checkpoint,
                        *divergence,
                        kind,
                    )?);
                }
                (Err(error), _) => return Err(error),
            }
        }
    }

    fn recovered(
        &self,
        head: Head,
        shared: &Shared,
        made: Made,
        started: Instant,
    ) -> Result<First, Error> {
        let sequence = shared.journal.size.last();
        self.start_committer(head, shared, (sequence, made.positions))?;
        for cut in &made.cuts {
            write_cut(shared, cut);
            emit_cut(shared, cut);
        }
        let recovered = Recovered {
            sequence,
            checkpoint: made.checkpoint.as_ref().map(|one| one.sequence),
            entries: made.entries,
            objects: shared.journal.size.objects(),
            memory: made.generation.memory_bytes(),
            duration: started.elapsed(),
        };
        Ok(First {
            generation: made.generation,
            checkpoint: made.checkpoint,
            kept: made.kept,
            unchecked: made.unchecked,
            recovered: Some(recovered),
        })
    }

    /// Makes the first generation there ever was, and writes what its instantiation asked of the
    /// host.
    fn begin(&self, head: Head, shared: &Shared, blueprint: &Blueprint) -> Result<First, Error> {
        let (generation, calls) = Generation::create(blueprint, 1, None, &shared.live_generations)?;
        let genesis = Genesis::new(calls, &shared.config.info);
        let record = encode_genesis(&genesis).map_err(|reason| Error::NotStorable { reason })?;
        shared.journal.lock().set_genesis(genesis);
        let head = match self.purpose {
            Purpose::Keep(_) => {
                self.store
                    .append(head.epoch, head.position, &[&record], Flush::Now)?
            }
            Purpose::Replay { .. } => head,
        };
        let none = (SequenceNumber::ZERO, Positions::default());
        self.start_committer(head, shared, none)?;
        Ok(First::new(generation))
    }

    fn start_committer(
        &self,
        head: Head,
        shared: &Shared,
        durable: (SequenceNumber, Positions),
    ) -> Result<(), Error> {
        shared.journal.note_durable(durable.0);
        let Purpose::Keep(durability) = self.purpose else {
            return Ok(());
        };
        let note = shared.journal.durable_note();
        let on_durable = move |durable: SequenceNumber| note.store(durable.0, Ordering::Release);
        let store = Arc::clone(&self.store);
        let how = (durability, self.queue);
        let committer = Committer::start(store, how, head, durable, on_durable);
        let committer = committer.map_err(|error| Error::Setting {
            reason: format!("the system gives no thread for the journal: {error}"),
        })?;
        // Set once, by the builder.
        let _ = shared.committer.set(committer);
        Ok(())
    }

    /// Puts the records after a position into the journal in memory, and returns where its entries
    /// are.
    fn read(&self, shared: &Shared, mut after: Position) -> Result<Positions, Error> {
        let context = context(shared);
        let mut positions = Positions::default();
        loop {
            let records = self.store.read_after(after, READ_BYTES)?;
            let Some(newest) = records.last() else {
                return Ok(positions);
            };
            after = newest.position;
            let mut journal = shared.journal.lock();
            for record in &records {
                let position = record.position;
                let refused = |reason| Error::JournalRecord { position, reason };
                let remembered = decode(&record.bytes, &context).map_err(refused)?;
                if let Remembered::Entry(entry, _) = &remembered {
                    if entry.sequence > self.purpose.until() {
                        return Ok(positions);
                    }
                    positions.note(entry.sequence, position);
                }
                remember(&mut journal, remembered).map_err(refused)?;
            }
        }
    }
}

/// Empties the journal in memory, for another attempt.
fn empty(shared: &Shared) {
    let fresh = shared.journal.lock().emptied();
    *shared.journal.lock() = fresh;
}

/// Tells hosts with state of their own that what they did before is not replayed.
fn note_restored(imports: &Imports) {
    for (_, _, item) in imports.iter() {
        if let Extern::Func(function) = item
            && let Some(observer) = function.observer()
        {
            observer.restored();
        }
    }
}

fn context(shared: &Shared) -> Context<'_> {
    Context {
        tag: shared.config.tag,
        plan: &shared.config.plan,
        translation: None,
    }
}

/// Appends an entry of an earlier process.
fn restore(journal: &mut Journal, entry: Entry) -> Result<(), String> {
    if entry.sequence <= journal.last() {
        return Err(format!(
            "entry {} comes after entry {}",
            entry.sequence,
            journal.last()
        ));
    }
    journal.restore(entry);
    Ok(())
}

/// Puts what a record says into the journal.
fn remember(journal: &mut Journal, remembered: Remembered) -> Result<(), String> {
    match remembered {
        Remembered::Genesis(genesis) => journal.set_genesis(genesis),
        Remembered::Entry(entry, answered) => {
            let sequence = entry.sequence;
            restore(journal, entry)?;
            if let Some(answered) = answered {
                let answers = journal.answered_mut();
                answers.keep(Arc::new(answered), sequence, None);
            }
        }
        Remembered::Answer(answered) => {
            let at = journal.next();
            journal.answered_mut().keep(Arc::new(answered), at, None);
        }
        // A checkpoint may have been taken after it.
        Remembered::Cut(cut, _) if journal.cuts().contains(&cut) => {}
        Remembered::Cut(cut, instead) => journal.settle(cut, instead),
    }
    Ok(())
}
