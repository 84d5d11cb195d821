//! Opening the journal in a store, and making the state again from it.

mod migration;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use engine_api::ModuleHash;
use serde::{Deserialize, Serialize};

use crate::checkpoint::Checkpoint;
use crate::committer::{Committer, Durability};
use crate::durable_checkpoint::{Loaded, LoadedState};
use crate::generation::{Blueprint, Generation};
use crate::journal::record::{Context, FORMAT, Remembered, decode, encode_genesis};
use crate::journal::{Genesis, Journal, Positions};
use crate::journal_store::{CheckpointRef, Flush, Head, Identity, JournalStore, Position};
use crate::shared::Shared;
use crate::upkeep::replay_all;
use crate::{Entry, Error, Event, JournalMismatch, Policy, Recovered, SequenceNumber};

/// How many bytes of records are read at once.
const READ_BYTES: usize = 1 << 20;

/// The store that a proxy is given, and what it promises to callers.
#[derive(Clone, Debug)]
pub(crate) struct Durable {
    pub(crate) store: Arc<dyn JournalStore>,
    pub(crate) durability: Durability,
}

/// The first generation of a process.
pub(crate) struct First {
    pub(crate) generation: Generation,
    /// The checkpoint that has taken the place of entries.
    pub(crate) checkpoint: Option<Arc<Checkpoint>>,
    /// The newest entry in the newest durable checkpoint.
    pub(crate) kept: SequenceNumber,
    pub(crate) recovered: Option<Recovered>,
}

/// A state that was made again.
struct Made {
    generation: Generation,
    /// How many entries were applied.
    entries: usize,
    positions: Positions,
    checkpoint: Option<Arc<Checkpoint>>,
    kept: SequenceNumber,
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
        let notes = postcard::to_allocvec(&notes).map_err(unwritable)?;
        Ok(Self {
            module: *ModuleHash::of(wasm).as_bytes(),
            notes,
        })
    }

    /// Refuses a journal that was made for something else.
    fn check(&self, wasm: &[u8], policy: &Policy) -> Result<(), Error> {
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
        let (journal, proxy) = (ModuleHash::from_bytes(self.module), ModuleHash::of(wasm));
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
    let bytes = postcard::to_allocvec(policy).map_err(unwritable)?;
    Ok(blake3::hash(&bytes).into())
}

fn unwritable(error: postcard::Error) -> Error {
    Error::Setting {
        reason: format!("the policy cannot be written down: {error}"),
    }
}

impl Durable {
    /// Checks, before anything slow, that the journal is of this module and this policy.
    pub(crate) fn check(&self, wasm: &[u8], policy: &Policy) -> Result<Head, Error> {
        self.store.identity().check(wasm, policy)?;
        Ok(self.store.head()?)
    }

    /// The first generation of a process that opens the journal, which may go on from `old`.
    pub(crate) fn open(
        &self,
        head: Head,
        old: Option<&dyn JournalStore>,
        shared: &Arc<Shared>,
        blueprint: &Blueprint,
    ) -> Result<First, Error> {
        match old {
            Some(old) => self.migrate(head, old, shared, blueprint),
            None => self.recover(head, shared, blueprint),
        }
    }

    /// The first generation: a new one for an empty journal, or the state that the journal has.
    fn recover(
        &self,
        head: Head,
        shared: &Arc<Shared>,
        blueprint: &Blueprint,
    ) -> Result<First, Error> {
        if head.position == Position::ZERO {
            return self.begin(head, shared, blueprint);
        }
        let started = Instant::now();
        let mut reasons = Vec::new();
        for reference in self.store.checkpoints()? {
            match self.recover_from(&reference, shared, blueprint) {
                Ok(made) => return self.recovered(head, shared, made, started),
                Err(error) => {
                    let (file, reason) = (reference.file, error.to_string());
                    reasons.push(format!("`{file}`: {reason}"));
                    let event = Event::CheckpointPassedOver { file, reason };
                    shared.ledger.emit(&event);
                    let fresh = shared.journal.lock().emptied();
                    *shared.journal.lock() = fresh;
                }
            }
        }
        if head.first > Position(1) {
            return Err(Error::NoRecovery {
                gone: head.first.previous(),
                reasons,
            });
        }
        let positions = self.read(shared, Position::ZERO)?;
        let (generation, entries) = replay_all(shared, blueprint, None)?;
        let made = Made {
            generation,
            entries,
            positions,
            checkpoint: None,
            kept: SequenceNumber::ZERO,
        };
        self.recovered(head, shared, made, started)
    }

    /// The state from a durable checkpoint and the records after it.
    fn recover_from(
        &self,
        reference: &CheckpointRef,
        shared: &Arc<Shared>,
        blueprint: &Blueprint,
    ) -> Result<Made, Error> {
        let unusable = |reason: String| Error::NoCheckpoint { reasons: reason };
        let folder = self.store.checkpoint_folder();
        let folder = folder.ok_or_else(|| unusable("the store has no folder for it".to_owned()))?;
        let path = folder.join(&reference.file);
        let context = context(shared);
        let loaded = Loaded::open(&path, &*blueprint.module, &context).map_err(unusable)?;
        let kept = loaded.notes.sequence;
        let checkpoint = match loaded.state {
            LoadedState::Checkpoint { snapshot, objects } => {
                let checkpoint = Checkpoint::opened(snapshot, objects, kept, blueprint.engine);
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
        let (generation, entries) = replay_all(shared, blueprint, checkpoint.as_deref())?;
        Ok(Made {
            generation,
            entries,
            positions,
            checkpoint,
            kept,
        })
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
            recovered: Some(recovered),
        })
    }

    /// Makes the first generation there ever was, and writes what its instantiation asked of the
    /// host.
    fn begin(&self, head: Head, shared: &Shared, blueprint: &Blueprint) -> Result<First, Error> {
        let (generation, calls) = Generation::create(blueprint, 1, None, &shared.live_generations)?;
        let genesis = Genesis::new(calls, &shared.config.info);
        let record = encode_genesis(&genesis).map_err(|reason| Error::NotStorable { reason })?;
        let head = self
            .store
            .append(head.epoch, head.position, &[&record], Flush::Now)?;
        shared.journal.lock().set_genesis(genesis);
        let none = (SequenceNumber::ZERO, Positions::default());
        self.start_committer(head, shared, none)?;
        Ok(First {
            generation,
            checkpoint: None,
            kept: SequenceNumber::ZERO,
            recovered: None,
        })
    }

    fn start_committer(
        &self,
        head: Head,
        shared: &Shared,
        durable: (SequenceNumber, Positions),
    ) -> Result<(), Error> {
        shared.journal.note_durable(durable.0);
        let note = shared.journal.durable_note();
        let on_durable = move |durable: SequenceNumber| note.store(durable.0, Ordering::Release);
        let store = Arc::clone(&self.store);
        let committer = Committer::start(store, self.durability, head, durable, on_durable);
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
                    positions.note(entry.sequence, position);
                }
                remember(&mut journal, remembered).map_err(refused)?;
            }
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
