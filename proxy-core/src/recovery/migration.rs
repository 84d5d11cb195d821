//! The journal of another module replayed on this one, and written anew if it gives the same.

use std::sync::Arc;
use std::time::Instant;

use engine_api::ModuleInfo;

use super::{Durable, First, Made, READ_BYTES, remember, restore};
use crate::durable_checkpoint::{Loaded, LoadedState};
use crate::generation::{Blueprint, Generation};
use crate::journal::record::{
    Context, Remembered, Translation, decode, encode_answer, encode_entry, encode_genesis,
};
use crate::journal::{Genesis, Positions};
use crate::journal_store::{Flush, Head, JournalStore, Position};
use crate::shared::Shared;
use crate::{Error, SequenceNumber};

impl Durable {
    pub(super) fn migrate(
        &self,
        head: Head,
        old: &dyn JournalStore,
        shared: &Arc<Shared>,
        blueprint: &Blueprint,
    ) -> Result<First, Error> {
        let started = Instant::now();
        read_old(old, shared, blueprint)?;
        // The start function of this module may ask its host something else.
        let (instance, calls) = Generation::create(blueprint, 1, None, &shared.live_generations)?;
        drop(instance);
        let genesis = Genesis::new(calls, &shared.config.info);
        shared.journal.lock().set_genesis(genesis);
        let cut = self.on_divergence.cut();
        let (generation, entries, cuts) = self.replay(shared, blueprint, None, cut)?;
        let (head, positions) = self.write_all(head, shared)?;
        let made = Made {
            generation,
            entries,
            positions,
            checkpoint: None,
            kept: SequenceNumber::ZERO,
            unchecked: None,
            cuts,
        };
        self.recovered(head, shared, made, started)
    }

    /// Writes the journal in memory to an empty store.
    fn write_all(&self, head: Head, shared: &Shared) -> Result<(Head, Positions), Error> {
        let unstorable = |reason| Error::NotStorable { reason };
        let (mut head, mut positions) = (head, Positions::default());
        let mut batch = Batch::default();
        let journal = shared.journal.lock();
        let genesis = journal.notes_at(journal.last()).genesis;
        // Those of calls that left no entry after the last one too.
        let answers: Vec<_> = journal
            .answered()
            .iter()
            .map(|(of, _)| Arc::clone(of))
            .collect();
        drop(journal);
        batch.push(encode_genesis(&genesis).map_err(unstorable)?);
        let mut at = head.position.next();
        for entry in shared.journal.entries() {
            batch.push(encode_entry(&entry, None).map_err(unstorable)?);
            at = at.next();
            positions.note(entry.sequence, at);
            head = self.append_full(head, &mut batch)?;
        }
        for answered in answers {
            batch.push(encode_answer(&answered).map_err(unstorable)?);
            head = self.append_full(head, &mut batch)?;
        }
        head = self.append(head, &batch)?;
        self.store.flush()?;
        Ok((head, positions))
    }

    /// Appends a batch that is large enough, and begins another.
    fn append_full(&self, head: Head, batch: &mut Batch) -> Result<Head, Error> {
        if batch.bytes > READ_BYTES {
            self.append(head, &std::mem::take(batch))
        } else {
            Ok(head)
        }
    }

    fn append(&self, head: Head, batch: &Batch) -> Result<Head, Error> {
        let records: Vec<&[u8]> = batch.records.iter().map(Vec::as_slice).collect();
        let appended = self
            .store
            .append(head.epoch, head.position, &records, Flush::Later);
        Ok(appended?)
    }
}

/// Records that are appended together.
#[derive(Default)]
struct Batch {
    records: Vec<Vec<u8>>,
    bytes: usize,
}

impl Batch {
    fn push(&mut self, record: Vec<u8>) {
        self.bytes += record.len();
        self.records.push(record);
    }
}

/// Puts what the old journal has into the journal in memory, in terms of this module.
fn read_old(old: &dyn JournalStore, shared: &Shared, blueprint: &Blueprint) -> Result<(), Error> {
    let info = &shared.config.info;
    let mut translation = Translation::to(info);
    let mut after = old.head()?.first.previous();
    if after > Position::ZERO {
        after = read_old_checkpoint(old, shared, blueprint, &mut translation)?;
    }
    loop {
        let records = old.read_after(after, READ_BYTES)?;
        let Some(newest) = records.last() else {
            return Ok(());
        };
        after = newest.position;
        for record in &records {
            let position = record.position;
            let refused = |reason| Error::JournalRecord { position, reason };
            let remembered = {
                let context = translating(shared, &translation);
                decode(&record.bytes, &context).map_err(refused)?
            };
            if let Remembered::Genesis(genesis) = &remembered {
                translation.imports_of(genesis, info);
            }
            remember(&mut shared.journal.lock(), remembered).map_err(refused)?;
        }
    }
}

/// The entries of the newest durable checkpoint that is good, and the record that it goes up to.
fn read_old_checkpoint(
    old: &dyn JournalStore,
    shared: &Shared,
    blueprint: &Blueprint,
    translation: &mut Translation,
) -> Result<Position, Error> {
    let mut reasons = Vec::new();
    for reference in old.checkpoints()? {
        let Some(folder) = old.checkpoint_folder() else {
            break;
        };
        let path = folder.join(&reference.file);
        let genesis = Loaded::genesis(&path);
        if let Ok(genesis) = &genesis {
            translation.imports_of(genesis, &shared.config.info);
        }
        let context = translating(shared, translation);
        let loaded = genesis.and_then(|_| Loaded::open(&path, &*blueprint.module, &context));
        match loaded {
            Ok(Loaded {
                notes,
                state: LoadedState::Entries(entries),
            }) => {
                let kept = notes.sequence;
                let mut journal = shared.journal.lock();
                journal.resume(notes, false);
                for entry in entries {
                    restore(&mut journal, entry)
                        .map_err(|reason| Error::NoCheckpoint { reasons: reason })?;
                }
                journal.resume_after(kept);
                return Ok(reference.position);
            }
            Ok(_) => reasons.push(format!("`{}` is a state", reference.file)),
            Err(reason) => reasons.push(format!("`{}`: {reason}", reference.file)),
        }
    }
    Err(Error::NotMigrated { reasons })
}

fn translating<'a>(shared: &'a Shared, translation: &'a Translation) -> Context<'a> {
    Context {
        tag: shared.config.tag,
        plan: &shared.config.plan,
        translation: Some(translation),
    }
}

impl Translation {
    fn to(info: &ModuleInfo) -> Self {
        let names = info.functions().iter().map(|function| &function.name);
        let known = names.filter_map(|name| Some((&**name, info.function(name).ok()?.0)));
        Self {
            exports: known.map(|(name, func)| (name.into(), func)).collect(),
            imports: Vec::new(),
        }
    }

    /// Learns the other module's imports.
    fn imports_of(&mut self, genesis: &Genesis, info: &ModuleInfo) {
        let position = |(module, name): &(Box<str>, Box<str>)| {
            let mut ours = info.imports().iter();
            let found =
                ours.position(|import| *import.module == **module && *import.name == **name);
            let found = found.and_then(|found| u32::try_from(found).ok());
            found.ok_or_else(|| format!("{module}.{name}"))
        };
        self.imports = genesis.imports.iter().map(position).collect();
    }
}
