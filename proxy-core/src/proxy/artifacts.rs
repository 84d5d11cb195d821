//! Calls and replays that take objects from the store, and what the store is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Generation, Inner};
use crate::artifact_store::{ArtifactFault, ArtifactStore, CallKey, Outcome, Stored, key};
use crate::event::Event;
use crate::generation::{Guest, Recorded};
use crate::journal::{ArtifactSlot, Entry, Journal, News};
use crate::policy::plan::ExportPlan;
use crate::value::Arg;
use crate::{Error, SequenceNumber};

/// The store, and how often it was of use to this proxy.
#[derive(Debug)]
pub(super) struct Artifacts {
    store: ArtifactStore,
    hits: AtomicU64,
    refusals: AtomicU64,
    faults: AtomicU64,
}

/// How a call was answered, if it was.
pub(super) enum Recall {
    /// It has to be computed. If others may have its object, by this key.
    Compute(Option<CallKey>),
    /// From bytes.
    Answered(Box<Recorded>, ArtifactSlot),
    /// The bytes ended the generation: the call is to be made on another, and computed there.
    Died,
}

impl Artifacts {
    pub(super) fn new(store: ArtifactStore) -> Self {
        Self {
            store,
            hits: AtomicU64::new(0),
            refusals: AtomicU64::new(0),
            faults: AtomicU64::new(0),
        }
    }

    pub(super) fn store(&self) -> &ArtifactStore {
        &self.store
    }

    pub(super) fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
    }

    pub(super) fn refusals(&self) -> u64 {
        self.refusals.load(Ordering::Relaxed)
    }

    pub(super) fn faults(&self) -> u64 {
        self.faults.load(Ordering::Relaxed)
    }

    /// The slot of a call that was computed. What the host told the guest may be in the object, so that
    /// another call, which it might tell something else, must not have it; and what the guest told
    /// the host would remain untold.
    pub(super) fn slot(
        &self,
        plan: &ExportPlan,
        key: Option<CallKey>,
        recorded: &Recorded,
    ) -> ArtifactSlot {
        match plan.artifact {
            Some(_) => {
                ArtifactSlot::open(&self.store, key.filter(|_| recorded.host_calls.is_empty()))
            }
            None => ArtifactSlot::default(),
        }
    }
}

impl Inner {
    /// Answers a journaled call from the store, if the policy allows it and there is something there.
    /// Bytes that turn out to be no good are refused for good.
    pub(super) fn recall(
        &self,
        journal: &Journal,
        generation: &Generation,
        guest: &mut Guest,
        plan: &ExportPlan,
        args: &[Arg<'_>],
        sequence: SequenceNumber,
    ) -> Recall {
        let identities = journal.identities();
        let module = self.info.hash();
        let key = key::of_call(module, &self.plan, plan, args, |handle| {
            identities.of(handle)
        });
        let Some(key) = key else {
            return Recall::Compute(None);
        };
        let compute = Recall::Compute(Some(key));
        // Switched off, nobody would make the call again if the bytes ended the generation; and what
        // the guest would not accept must fail as it always does.
        if !self.is_enabled() || !guest.accepts(plan, args) {
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
                self.artifacts.hits.fetch_add(1, Ordering::Relaxed);
                self.observer.emit(&Event::ArtifactUsed {
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

    /// Before a replay: objects that this or another process has kept meanwhile need not be computed.
    pub(super) fn supply_artifacts(&self, entries: &[Arc<Entry>]) {
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
    pub(super) fn note_artifacts(&self, entries: &[Arc<Entry>], failed: Option<&Error>) {
        for entry in entries {
            let Some(news) = entry.artifact.take_news() else {
                continue;
            };
            let outcome = Outcome::of(&entry.results, &entry.fingerprints);
            let (Some(content), Some(outcome)) = (entry.artifact.content(), outcome) else {
                continue;
            };
            let stored = Stored {
                content: Arc::clone(content),
                outcome: Arc::new(outcome),
            };
            match news {
                News::Exported => self.keep_artifact(entry, &stored),
                News::Refused => {
                    let reason =
                        failed.map_or_else(|| "a replay failed".to_owned(), Error::to_string);
                    self.refuse_artifact(&entry.export, entry.artifact.key(), &stored, reason);
                }
            }
        }
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
            Ok(true) => self.observer.emit(&Event::ArtifactKept {
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
        self.artifacts.refusals.fetch_add(1, Ordering::Relaxed);
        self.observer.emit(&Event::ArtifactRefused {
            export: Arc::clone(export),
            reason,
        });
        let refused = key.map(|key| self.artifacts.store().refuse(key, stored));
        if let Some(Err(fault)) = refused {
            self.note_fault(export, fault);
        }
    }

    fn note_fault(&self, export: &Arc<str>, fault: ArtifactFault) {
        self.artifacts.faults.fetch_add(1, Ordering::Relaxed);
        self.observer.emit(&Event::ArtifactUnusable {
            export: Arc::clone(export),
            fault,
        });
    }
}
