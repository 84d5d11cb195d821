//! Calls and replays that take objects from the store, and the news that the store gets.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use engine_api::FuncIndex;
use guest_calls::OwnedArg;

use super::Shared;
use crate::artifact_store::{
    ArtifactFault, ArtifactStore, ArtifactUsage, CallKey, CreatedObjects, EntryArtifact,
    EntryArtifacts, ExportError, News, Stored, key,
};
use crate::event::Event;
use crate::generation::{Generation, Recorded, RecordedInstance, lock};
use crate::journal::Entry;
use crate::policy::plan::{ArtifactPlan, ExportPlan};
use crate::value::{Arg, Results};
use crate::{Error, Handle, SequenceNumber};

/// The store, and the exports whose artifacts this proxy does without.
#[derive(Debug)]
pub(crate) struct Artifacts {
    of_entries: EntryArtifacts,
    /// Creating exports whose artifacts harmed a generation: this proxy does without them.
    given_up: Mutex<HashSet<FuncIndex>>,
}

/// How a call was answered, if it was.
pub(crate) enum Recall {
    /// It has to be computed. There is a key if other calls may have its object.
    Compute(Option<CallKey>),
    /// From bytes.
    Answered(Box<Recorded>, Arc<EntryArtifact>),
    /// The bytes ended the generation: the call must be made on another, and computed there.
    Died,
}

impl Artifacts {
    pub(crate) fn new(store: ArtifactStore) -> Self {
        Self {
            of_entries: EntryArtifacts::new(store),
            given_up: Mutex::default(),
        }
    }

    fn store(&self) -> &ArtifactStore {
        self.of_entries.store()
    }

    /// Which entries have artifacts.
    pub(crate) fn of_entries(&self) -> &EntryArtifacts {
        &self.of_entries
    }

    /// The size of the store, after bytes that no entry needs were dropped.
    pub(crate) fn usage(&self) -> ArtifactUsage {
        self.of_entries.sweep();
        self.store().usage()
    }

    /// The artifact of a call that was computed, if its export has one. It has no key if the call
    /// made host calls: the host's answers may be in the object, and the host may answer another
    /// call differently. An import would also keep from the host what the guest tells it.
    pub(crate) fn computed(
        &self,
        plan: &ExportPlan,
        key: Option<CallKey>,
        recorded: &Recorded,
    ) -> Option<Arc<EntryArtifact>> {
        plan.artifact?;
        let key = key.filter(|_| recorded.host_calls.is_empty());
        (!self.is_given_up(plan.func)).then(|| EntryArtifact::open(self.store(), key))
    }

    fn is_given_up(&self, func: FuncIndex) -> bool {
        lock(&self.given_up).contains(&func)
    }
}

impl Shared {
    /// Answers a journaled call from the store, if the policy allows it and the store has the
    /// object. Bytes that fail are refused for good.
    pub(crate) fn recall(
        &self,
        generation: &Generation,
        guest: &mut RecordedInstance,
        plan: &ExportPlan,
        args: &[Arg<'_>],
        sequence: SequenceNumber,
    ) -> Recall {
        let module = self.config.info.hash();
        let key = key::of_call(module, &self.config.plan, plan, args, |handle| {
            self.artifacts.of_entries.identity(handle)
        });
        let Some(key) = key else {
            return Recall::Compute(None);
        };
        let compute = Recall::Compute(Some(key));
        // A proxy that is switched off would not repeat the call if the bytes ended the generation.
        // And arguments that the guest does not accept must fail as they always do.
        let is_given_up = self.artifacts.is_given_up(plan.func);
        if !self.is_enabled() || is_given_up || !guest.accepts(plan, args) {
            return compute;
        }
        let Some(stored) = self.find_artifact(&plan.name, key) else {
            return compute;
        };
        let outcome = self.guarded(plan, generation, guest, None, |guest| {
            guest.recall(plan, args, sequence, &stored)
        });
        match outcome {
            Ok(Ok(recorded)) => {
                self.ledger.emit(&Event::ArtifactUsed {
                    export: Arc::clone(&plan.name),
                    bytes: stored.content.bytes().len() as u64,
                });
                let artifact = EntryArtifact::open(self.artifacts.store(), Some(key));
                artifact.supply(stored.content);
                Recall::Answered(Box::new(recorded), artifact)
            }
            Ok(Err(reason)) => {
                self.refuse_artifact(&plan.name, Some(key), &stored, reason);
                compute
            }
            Err(failed) => {
                self.refuse_artifact(&plan.name, Some(key), &stored, failed.error.to_string());
                Recall::Died
            }
        }
    }

    /// Leaves the object of a call, if it computed one, in the directory: the next process finds it
    /// there however soon this one ends. A store in memory can wait for the first replay.
    /// `released` is called if a retired generation was released.
    pub(crate) fn leave_artifact(&self, plan: &ExportPlan, results: &Results, released: impl Fn()) {
        let Some(artifact) = plan.artifact.filter(|artifact| artifact.live) else {
            return;
        };
        let Ok(handle) = results.handle() else { return };
        if !self.artifacts.store().has_directory() || !self.is_enabled() {
            return;
        }
        let Some(entry) = self.journal.lock().entry(handle.sequence()) else {
            return;
        };
        if let Some(own) = self.artifacts.of_entries.of(&entry)
            && own.is_open()
            && self.export_on_active(&entry, &own, artifact, handle, released)
        {
            self.note_artifacts(&[entry]);
        }
    }

    /// Exports an object, unless it may have changed since it was created. Returns whether there
    /// are bytes now.
    fn export_on_active(
        &self,
        entry: &Entry,
        own: &EntryArtifact,
        artifact: ArtifactPlan,
        handle: Handle,
        released: impl Fn(),
    ) -> bool {
        let Some(key) = own.key() else { return false };
        let (Some(active), Ok(_inside)) = (self.active.load_full(), self.enter_thread()) else {
            return false;
        };
        let Some(mut guest) = active.enter() else {
            return false;
        };
        // No other thread can change it while this one has the lane.
        if self.artifacts.of_entries.identity(handle) != Some(key) {
            return false;
        }
        let export = self.config.plan.export(artifact.export);
        self.pure_calls.note_export(artifact.export);
        let outcome = self.guarded(export, &active, &mut guest, None, |guest| {
            guest.call_pure(export, &[Arg::Handle(handle)], None)
        });
        drop(guest);
        if active.is_retired() {
            drop(active);
            released();
        }
        let bytes = match outcome {
            Ok(results) => results.bytes().ok(),
            Err(failed) => {
                self.give_up_artifacts(entry.func);
                self.not_exported(&entry.export, failed.error);
                None
            }
        };
        let is_there = bytes.is_some();
        if is_there {
            own.fill(bytes);
        }
        is_there
    }

    /// Notes the entries of an earlier process, all of them and in order, with the artifacts that
    /// their calls may have.
    pub(crate) fn note_restored(&self, entries: &[Arc<Entry>]) {
        let of_entries = self.artifacts.of_entries();
        let module = self.config.info.hash();
        for entry in entries {
            let plan = self.config.plan.export(entry.func);
            let artifact = plan.artifact.map(|_| {
                let args: Vec<_> = entry.args.iter().map(OwnedArg::as_arg).collect();
                let key_of = |handle| of_entries.identity(handle);
                let key = key::of_call(module, &self.config.plan, plan, &args, key_of);
                let key = key.filter(|_| entry.host_calls.is_empty());
                EntryArtifact::open(self.artifacts.store(), key)
            });
            of_entries.note(entry, artifact);
        }
    }

    /// Before a replay: objects that this or another process has kept meanwhile need not be
    /// computed.
    pub(crate) fn supply_artifacts(&self, entries: &[Arc<Entry>]) {
        self.artifacts.of_entries.sweep();
        for entry in self.with_artifacts(entries) {
            if let Some(artifact) = self.artifacts.of_entries.of(entry)
                && artifact.is_open()
                && let Some(key) = artifact.key()
                && let Some(stored) = self.find_artifact(&entry.export, key)
            {
                let created = CreatedObjects::of(&entry.results, &entry.fingerprints);
                // Another process computed a different object. That proves nothing about ours, but
                // is no help either.
                if created.as_ref() == Some(&*stored.created) {
                    artifact.supply(stored.content);
                }
            }
        }
    }

    /// The entries of exports that have artifacts: nothing is looked up for the others.
    fn with_artifacts<'e>(
        &self,
        entries: &'e [Arc<Entry>],
    ) -> impl Iterator<Item = &'e Arc<Entry>> {
        let plan = &self.config.plan;
        let may_have = |entry: &&Arc<Entry>| plan.export(entry.func).artifact.is_some();
        entries.iter().filter(may_have)
    }

    /// After a replay: keeps what it exported, and refuses bytes that failed in it.
    pub(crate) fn note_artifacts(&self, entries: &[Arc<Entry>]) {
        for entry in self.with_artifacts(entries) {
            let Some(artifact) = self.artifacts.of_entries.of(entry) else {
                continue;
            };
            let Some(news) = artifact.take_news() else {
                continue;
            };
            let refused = match news {
                News::Exported => None,
                News::Refused(divergence) => Some(divergence.to_string()),
                News::NotExported(divergence) => {
                    self.not_exported(&entry.export, Error::Divergence(Box::new(divergence)));
                    continue;
                }
            };
            let created = CreatedObjects::of(&entry.results, &entry.fingerprints);
            let (Some(content), Some(created)) = (artifact.content(), created) else {
                continue;
            };
            let stored = Stored {
                content: Arc::clone(content),
                created: Arc::new(created),
            };
            match refused {
                None => self.keep_artifact(&entry.export, artifact.key(), &stored),
                Some(reason) => {
                    self.refuse_artifact(&entry.export, artifact.key(), &stored, reason);
                }
            }
        }
        self.artifacts.of_entries.sweep();
    }

    /// After a replay that diverged: whether it was an artifact's doing. Then the proxy does
    /// without the artifacts of that export, and another replay may well succeed.
    pub(crate) fn can_do_without_artifact(&self, error: &Error) -> bool {
        let failed = match error {
            Error::Divergence(divergence) => divergence.entry,
            Error::StandbyOutOfMemory { entry, .. } => *entry,
            _ => return false,
        };
        let Some(entry) = self.journal.lock().entry(failed) else {
            return false;
        };
        let artifact = self.artifacts.of_entries.of(&entry);
        artifact.is_some_and(|artifact| artifact.has_failed()) && self.give_up_artifacts(entry.func)
    }

    /// Does without the artifacts of an export from here on. Returns whether that is new.
    fn give_up_artifacts(&self, func: FuncIndex) -> bool {
        if !lock(&self.artifacts.given_up).insert(func) {
            return false;
        }
        let entries = self.journal.lock().after(SequenceNumber::ZERO, usize::MAX);
        for entry in entries.iter().filter(|entry| entry.func == func) {
            if let Some(artifact) = self.artifacts.of_entries.of(entry) {
                artifact.give_up();
            }
        }
        true
    }

    fn find_artifact(&self, export: &Arc<str>, key: CallKey) -> Option<Stored> {
        let found = self.artifacts.store().find(key);
        found.unwrap_or_else(|fault| {
            self.note_fault(export, fault);
            None
        })
    }

    fn keep_artifact(&self, export: &Arc<str>, key: Option<CallKey>, stored: &Stored) {
        let kept = match key {
            Some(key) => self.artifacts.store().keep(key, stored),
            // They are for this entry alone, which has them.
            None => Ok(true),
        };
        match kept {
            Ok(true) => self.ledger.emit(&Event::ArtifactKept {
                export: Arc::clone(export),
                bytes: stored.content.bytes().len() as u64,
            }),
            Ok(false) => {}
            Err(fault) => self.note_fault(export, fault),
        }
    }

    fn refuse_artifact(
        &self,
        export: &Arc<str>,
        key: Option<CallKey>,
        stored: &Stored,
        reason: String,
    ) {
        self.ledger.emit(&Event::ArtifactRefused {
            export: Arc::clone(export),
            reason,
        });
        let refused = key.map(|key| self.artifacts.store().refuse(key, stored));
        if let Some(Err(fault)) = refused {
            self.note_fault(export, fault);
        }
    }

    fn not_exported(&self, export: &Arc<str>, error: Error) {
        let source = ExportError(Arc::new(error));
        self.note_fault(export, ArtifactFault::NotExported { source });
    }

    fn note_fault(&self, export: &Arc<str>, fault: ArtifactFault) {
        self.ledger.emit(&Event::ArtifactUnusable {
            export: Arc::clone(export),
            fault,
        });
    }
}
