//! Calls and replays that take objects from the store, and what the store is told.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use engine_api::FuncIndex;

use super::Shared;
use crate::artifact_store::{ArtifactFault, ArtifactStore, CallKey, Outcome, Stored, key};
use crate::event::Event;
use crate::generation::{Generation, Guest, Recorded, lock};
use crate::journal::{ArtifactSlot, Entry, News};
use crate::policy::plan::{ArtifactPlan, ExportPlan};
use crate::value::{Arg, Results};
use crate::{Error, Handle, SequenceNumber};

/// The store, and what this proxy does without.
#[derive(Debug)]
pub(crate) struct Artifacts {
    store: ArtifactStore,
    /// Creating exports whose artifacts harmed a generation: this proxy does without them.
    given_up: Mutex<HashSet<FuncIndex>>,
}

/// How a call was answered, if it was.
pub(crate) enum Recall {
    /// It has to be computed. If others may have its object, by this key.
    Compute(Option<CallKey>),
    /// From bytes.
    Answered(Box<Recorded>, ArtifactSlot),
    /// The bytes ended the generation: the call is to be made on another, and computed there.
    Died,
}

impl Artifacts {
    pub(crate) fn new(store: ArtifactStore) -> Self {
        Self {
            store,
            given_up: Mutex::default(),
        }
    }

    pub(crate) fn store(&self) -> &ArtifactStore {
        &self.store
    }

    /// The slot of a call that was computed. What the host told the guest may be in the object, so that
    /// another call, which it might tell something else, must not have it; and what the guest told
    /// the host would remain untold.
    pub(crate) fn slot(
        &self,
        plan: &ExportPlan,
        key: Option<CallKey>,
        recorded: &Recorded,
    ) -> ArtifactSlot {
        match plan.artifact {
            Some(_) if !self.is_given_up(plan.func) => {
                ArtifactSlot::open(&self.store, key.filter(|_| recorded.host_calls.is_empty()))
            }
            _ => ArtifactSlot::default(),
        }
    }

    fn is_given_up(&self, func: FuncIndex) -> bool {
        lock(&self.given_up).contains(&func)
    }
}

impl Shared {
    /// Answers a journaled call from the store, if the policy allows it and there is something there.
    /// Bytes that turn out to be no good are refused for good.
    pub(crate) fn recall(
        &self,
        generation: &Generation,
        guest: &mut Guest,
        plan: &ExportPlan,
        args: &[Arg<'_>],
        sequence: SequenceNumber,
    ) -> Recall {
        let module = self.config.info.hash();
        let key = {
            let journal = self.journal.lock();
            let identities = journal.identities();
            key::of_call(module, &self.config.plan, plan, args, |handle| {
                identities.of(handle)
            })
        };
        let Some(key) = key else {
            return Recall::Compute(None);
        };
        let compute = Recall::Compute(Some(key));
        // Switched off, nobody would make the call again if the bytes ended the generation; and what
        // the guest would not accept must fail as it always does.
        let is_given_up = self.artifacts.is_given_up(plan.func);
        if !self.is_enabled() || is_given_up || !guest.accepts(plan, args) {
            return compute;
        }
        let Some(stored) = self.find_artifact(&plan.name, key) else {
            return compute;
        };
        let outcome = self.guarded(plan, generation, guest, |guest| {
            guest.recall(plan, args, sequence, &stored)
        });
        match outcome {
            Ok(Ok(recorded)) => {
                self.ledger.emit(&Event::ArtifactUsed {
                    export: Arc::clone(&plan.name),
                    bytes: stored.content.bytes().len() as u64,
                });
                let slot = ArtifactSlot::open(self.artifacts.store(), Some(key));
                slot.supply(stored.content);
                Recall::Answered(Box::new(recorded), slot)
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

    /// After a call that may have computed an object: leaves it in the directory, so that the next process
    /// finds it however soon this one ends. In memory there is time until the first replay. `released` is
    /// called if a retired generation was let go.
    pub(crate) fn leave_artifact(&self, plan: &ExportPlan, results: &Results, released: impl Fn()) {
        let Some(artifact) = plan.artifact.filter(|artifact| artifact.live) else {
            return;
        };
        let Ok(handle) = results.handle() else { return };
        if !self.artifacts.store().has_directory() || !self.is_enabled() {
            return;
        }
        let entry = self.journal.lock().entry(handle.sequence());
        if let Some(entry) = entry.filter(|entry| entry.artifact.is_open())
            && let Some(key) = entry.artifact.key()
            && self.export_on_active(&entry, artifact, handle, key, released)
        {
            self.note_artifacts(&[entry], None);
        }
    }

    /// Exports an object, unless it may have changed since it was created. Whether there are bytes now.
    fn export_on_active(
        &self,
        entry: &Entry,
        artifact: ArtifactPlan,
        handle: Handle,
        key: CallKey,
        released: impl Fn(),
    ) -> bool {
        let (Some(active), Ok(_inside)) = (self.active.load_full(), self.enter_thread()) else {
            return false;
        };
        let Some(mut guest) = active.enter() else {
            return false;
        };
        // With the lane in hand nobody can change it.
        let is_unchanged = self.journal.lock().identities().of(handle) == Some(key);
        if !is_unchanged {
            return false;
        }
        let export = self.config.plan.export(artifact.export);
        let outcome = self.guarded(export, &active, &mut guest, |guest| {
            guest.call_pure(export, &[Arg::Handle(handle)], None)
        });
        drop(guest);
        if let Err(failed) = &outcome {
            self.give_up_artifacts(entry.func);
            let error = failed.error.to_string();
            self.note_fault(&entry.export, ArtifactFault::NotExported { error });
        }
        if active.is_retired() {
            drop(active);
            released();
        }
        let bytes = outcome.ok().and_then(|results| results.bytes().ok());
        let is_there = bytes.is_some();
        if is_there {
            entry.artifact.fill(bytes);
        }
        is_there
    }

    /// Before a replay: objects that this or another process has kept meanwhile need not be computed.
    pub(crate) fn supply_artifacts(&self, entries: &[Arc<Entry>]) {
        for entry in entries {
            if let Some(key) = entry.artifact.key().filter(|_| entry.artifact.is_open())
                && let Some(stored) = self.find_artifact(&entry.export, key)
            {
                let outcome = Outcome::of(&entry.results, &entry.fingerprints);
                // What others computed is no witness against what was computed here, but no help either.
                if outcome.as_ref() == Some(&*stored.outcome) {
                    entry.artifact.supply(stored.content);
                }
            }
        }
    }

    /// After a replay: keeps what it exported, and refuses what it found to be no good.
    pub(crate) fn note_artifacts(&self, entries: &[Arc<Entry>], failed: Option<&Error>) {
        for entry in entries {
            let Some(news) = entry.artifact.take_news() else {
                continue;
            };
            let reason = || failed.map_or_else(|| "a replay failed".to_owned(), Error::to_string);
            if news == News::NotExported {
                let error = reason();
                self.note_fault(&entry.export, ArtifactFault::NotExported { error });
            }
            let outcome = Outcome::of(&entry.results, &entry.fingerprints);
            let (Some(content), Some(outcome)) = (entry.artifact.content(), outcome) else {
                continue;
            };
            let stored = Stored {
                content: Arc::clone(content),
                outcome: Arc::new(outcome),
            };
            if news == News::Exported {
                self.keep_artifact(entry, &stored);
            } else {
                self.refuse_artifact(&entry.export, entry.artifact.key(), &stored, reason());
            }
        }
    }

    /// After a replay that diverged: whether it was an artifact's doing. Then the proxy does without the
    /// artifacts of that export, and another replay may well succeed.
    pub(crate) fn can_do_without_artifact(&self, error: &Error) -> bool {
        let Error::Divergence(divergence) = error else {
            return false;
        };
        let entry = self.journal.lock().entry(divergence.entry);
        entry.is_some_and(|entry| entry.artifact.has_failed() && self.give_up_artifacts(entry.func))
    }

    /// Does without the artifacts of an export. Whether it had not done so before.
    fn give_up_artifacts(&self, func: FuncIndex) -> bool {
        if !lock(&self.artifacts.given_up).insert(func) {
            return false;
        }
        let entries = self.journal.lock().after(SequenceNumber::ZERO, usize::MAX);
        for entry in entries.iter().filter(|entry| entry.func == func) {
            entry.artifact.give_up();
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

    fn keep_artifact(&self, entry: &Entry, stored: &Stored) {
        let kept = match entry.artifact.key() {
            Some(key) => self.artifacts.store().keep(key, stored),
            // For the entry alone, which has them.
            None => Ok(true),
        };
        match kept {
            Ok(true) => self.ledger.emit(&Event::ArtifactKept {
                export: Arc::clone(&entry.export),
                bytes: stored.content.bytes().len() as u64,
            }),
            Ok(false) => {}
            Err(fault) => self.note_fault(&entry.export, fault),
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

    fn note_fault(&self, export: &Arc<str>, fault: ArtifactFault) {
        self.ledger.emit(&Event::ArtifactUnusable {
            export: Arc::clone(export),
            fault,
        });
    }
}
