//! Entries applied to a generation, as the active applied them or from artifacts, and what they
//! gave compared.

use std::sync::Arc;

use guest_calls::OwnedArg;
use smallvec::SmallVec;

use super::diverged;
use super::failure::Failure;
use super::recorded::{Recorded, RecordedInstance};
use crate::artifact_store::{EntryArtifact, EntryArtifacts};
use crate::checkpoint::{Applied, How};
use crate::journal::{Entry, ResultRecord};
use crate::policy::plan::{ArtifactPlan, ExportPlan, Plan};
use crate::recorder::Recording;
use crate::value::Arg;
use crate::{Divergence, DivergenceKind, Handle};

/// The arguments of an entry, in place for nearly all.
type Args<'a> = SmallVec<[Arg<'a>; 8]>;

impl RecordedInstance {
    /// Applies one entry as the active applied it, and compares. Where the created object is known
    /// as bytes, it is made from these. `plan` is the instance's own.
    pub(super) fn apply(
        &mut self,
        entry: &Entry,
        plan: &Plan,
        artifacts: &EntryArtifacts,
    ) -> Result<How, Divergence> {
        let plan = plan.export(entry.func);
        let args: Args<'_> = entry.args.iter().map(OwnedArg::as_arg).collect();
        let own = plan.artifact.and_then(|_| artifacts.of(entry));
        let Some((artifact, own)) = plan.artifact.zip(own) else {
            self.replay(entry, plan, &args)?;
            return Ok(How::Called);
        };
        if let Some(content) = own.usable() {
            self.import(entry, plan, &args, artifact, content.bytes())
                .inspect_err(|divergence| own.refuse(divergence.clone()))?;
            return Ok(How::Imported(Arc::clone(content)));
        }
        self.replay(entry, plan, &args)?;
        if !own.is_open() {
            return Ok(How::Called);
        }
        self.export(entry, &own, artifact)?;
        Ok(How::Exported)
    }

    /// Applies one entry as it was applied to another standby, and compares.
    pub(super) fn apply_like(&mut self, applied: &Applied, plan: &Plan) -> Result<(), Divergence> {
        let entry = &*applied.entry;
        let plan = plan.export(entry.func);
        let args: Args<'_> = entry.args.iter().map(OwnedArg::as_arg).collect();
        match (&applied.how, plan.artifact) {
            (How::Imported(content), Some(artifact)) => {
                self.import(entry, plan, &args, artifact, content.bytes())
            }
            (How::Exported, Some(artifact)) => {
                self.replay(entry, plan, &args)?;
                // Only the traces of the export in memory count here.
                self.created(entry)
                    .map_or(Ok(None), |handle| self.exported(artifact, handle))
                    .map(drop)
                    .map_err(|failure| not_exported(entry, &failure))
            }
            _ => self.replay(entry, plan, &args),
        }
    }

    /// Makes an object from the bytes that it was exported as, and compares.
    fn import(
        &mut self,
        entry: &Entry,
        plan: &ExportPlan,
        args: &[Arg<'_>],
        artifact: ArtifactPlan,
        bytes: &[u8],
    ) -> Result<(), Divergence> {
        let outcome = self.made_from(plan, args, artifact, bytes, entry.sequence);
        compare(entry, outcome)
    }

    /// Keeps the object that an entry has just created as bytes. A module that has none to give is
    /// not asked again, and an instance that died is of no use.
    fn export(
        &mut self,
        entry: &Entry,
        own: &EntryArtifact,
        artifact: ArtifactPlan,
    ) -> Result<(), Divergence> {
        let exported = match self.created(entry) {
            Some(handle) => self.exported(artifact, handle),
            None => Ok(None),
        };
        match exported {
            Ok(bytes) => {
                own.fill(bytes);
                Ok(())
            }
            Err(failure) => {
                let divergence = not_exported(entry, &failure);
                own.fail(divergence.clone());
                Err(divergence)
            }
        }
    }

    /// The object that an entry has just created.
    fn created(&self, entry: &Entry) -> Option<Handle> {
        let created = entry.creates().next().map(|(handle, _)| handle);
        created.filter(|handle| self.bound.objects.get(handle).is_some())
    }

    /// Applies one entry, and returns it with the results that it gives here.
    pub(super) fn reapply(&mut self, entry: &Entry) -> Result<Entry, Divergence> {
        let plan = Arc::clone(self.bound.plan.export(entry.func));
        let args: SmallVec<[Arg<'_>; 4]> = entry.args.iter().map(OwnedArg::as_arg).collect();
        let outcome = self.rerun(entry, &plan, &args)?;
        let recorded = outcome.map_err(|failure| not_returned(entry, &failure))?;
        Ok(Entry {
            results: recorded.records,
            fingerprints: recorded.fingerprints,
            ..entry.clone()
        })
    }

    fn replay(
        &mut self,
        entry: &Entry,
        plan: &ExportPlan,
        args: &[Arg<'_>],
    ) -> Result<(), Divergence> {
        self.recorder.continue_replay(&entry.host_calls);
        let compared = self.repeat(entry, plan, args);
        if !self.recorder.is_silent() {
            let ended = matches!(&compared, Err(cause) if cause.what == DivergenceKind::Outcome);
            self.check_host_calls(entry, ended)?;
        }
        compared.map_err(|cause| *cause)
    }

    /// Makes the call of an entry again and compares, and makes records of what it gave only where
    /// that is something else.
    fn repeat(
        &mut self,
        entry: &Entry,
        plan: &ExportPlan,
        args: &[Arg<'_>],
    ) -> Result<(), Box<Divergence>> {
        if plan.fingerprint.is_some() {
            let outcome = self.execute(plan, args, entry.sequence);
            self.note_ending(&outcome);
            return compare(entry, outcome).map_err(Box::new);
        }
        let begun = self.begin(plan, args, entry.sequence);
        self.note_ending(&begun);
        let (needs, ran) = begun.map_err(|failure| Box::new(not_returned(entry, &failure)))?;
        if ResultRecord::are(&entry.results, &ran, plan) {
            self.bound.forget_consumed(plan, args);
            self.note_applied(entry.sequence);
            return Ok(());
        }
        let outcome = self.settle(plan, args, entry.sequence, needs, ran);
        compare(entry, outcome).map_err(Box::new)
    }

    /// Makes an entry's call again. The entry answers for the host functions.
    fn rerun(
        &mut self,
        entry: &Entry,
        plan: &ExportPlan,
        args: &[Arg<'_>],
    ) -> Result<Result<Recorded, Failure>, Divergence> {
        self.recorder.begin_replay(&entry.host_calls);
        let outcome = self.execute(plan, args, entry.sequence);
        self.note_ending(&outcome);
        self.check_host_calls(entry, outcome.is_err())?;
        Ok(outcome)
    }

    fn note_ending<T>(&mut self, outcome: &Result<T, Failure>) {
        self.ended_in_allocation = outcome.as_ref().is_err_and(Failure::may_be_allocation);
    }

    /// Ends the replay of an entry's host calls. A call that `ended` early may have made fewer.
    fn check_host_calls(&mut self, entry: &Entry, ended: bool) -> Result<(), Divergence> {
        let Recording {
            fault,
            mismatch,
            unused,
            ..
        } = self.recorder.finish();
        let fewer = || (unused > 0).then(|| format!("{unused} fewer"));
        if let Some(got) = mismatch
            .or(fault)
            .or_else(|| if ended { None } else { fewer() })
        {
            let expected = format!("{} recorded host calls", entry.host_calls.len());
            return Err(diverged(entry, DivergenceKind::HostCalls, expected, got));
        }
        Ok(())
    }

    /// Ends the replay of entries in a row.
    pub(super) fn end_replay(&self) {
        if self.recorder.is_silent() {
            self.recorder.finish();
        }
    }
}

/// Compares what a repeated call gave with what it gave when it was journaled.
fn compare(entry: &Entry, outcome: Result<Recorded, Failure>) -> Result<(), Divergence> {
    let recorded = outcome.map_err(|failure| not_returned(entry, &failure))?;
    if recorded.records != entry.results {
        let expected = ResultRecord::describe_all(&entry.results);
        let got = ResultRecord::describe_all(&recorded.records);
        return Err(diverged(entry, DivergenceKind::Results, expected, got));
    }
    if recorded.fingerprints != entry.fingerprints {
        let expected = format!("{:?}", entry.fingerprints);
        let got = format!("{:?}", recorded.fingerprints);
        return Err(diverged(entry, DivergenceKind::Fingerprint, expected, got));
    }
    Ok(())
}

fn not_returned(entry: &Entry, failure: &Failure) -> Divergence {
    let expected = "the call to return".to_owned();
    diverged(entry, DivergenceKind::Outcome, expected, failure.describe())
}

fn not_exported(entry: &Entry, failure: &Failure) -> Divergence {
    let expected = "its artifact to be exported".to_owned();
    diverged(entry, DivergenceKind::Outcome, expected, failure.describe())
}
