//! Objects made from bytes, and bytes from objects.

use guest_calls::CallFailure;
use smallvec::SmallVec;

use super::failure::Failure;
use super::recorded::{Recorded, RecordedInstance};
use crate::artifact_store::{CreatedObjects, Stored};
use crate::journal::ResultRecord;
use crate::policy::plan::{ArtifactPlan, ExportPlan};
use crate::recorder::Recording;
use crate::value::Arg;
use crate::{Handle, SequenceNumber};

impl RecordedInstance {
    /// Answers a call from bytes instead of computing it, as entry `sequence`. If the object is not
    /// the one that the bytes were kept for, it says how the two differ. Then it is as if the call
    /// had not been made, except for memory that is lost until the next swap.
    pub(crate) fn recall(
        &mut self,
        plan: &ExportPlan,
        args: &[Arg<'_>],
        sequence: SequenceNumber,
        stored: &Stored,
    ) -> Result<Result<Recorded, String>, Failure> {
        let artifact = plan.artifact.expect("only such calls have bytes");
        let recorded = match self.made_from(plan, args, artifact, stored.content.bytes(), sequence)
        {
            // The call's own arguments were accepted before, so it is the bytes that are not.
            Err(Failure::Call {
                failure: CallFailure::Refused(error),
                ..
            }) => return Ok(Err(error.to_string())),
            outcome => outcome?,
        };
        let object = recorded.records.iter().find_map(|record| match record {
            ResultRecord::Object(handle, _) => Some(*handle),
            _ => None,
        });
        let created = CreatedObjects::of(&recorded.records, &recorded.fingerprints);
        let is_same = created.as_ref() == Some(&*stored.created);
        // If the policy has no fingerprint, the bytes serve as one.
        let is_as_good = match object {
            Some(handle) if is_same && plan.fingerprint.is_none() => {
                self.exported(artifact, handle)?.as_deref() == Some(stored.content.bytes())
            }
            _ => is_same,
        };
        if is_as_good {
            return Ok(Ok(recorded));
        }
        if let Some(handle) = object {
            self.bound.objects.remove(&handle);
        }
        if is_same {
            return Ok(Err("exported again, the object is other bytes".to_owned()));
        }
        let got = match (&recorded.rejected, created) {
            (Some(error), _) => format!("the error `{error}`"),
            (None, Some(created)) => created.to_string(),
            (None, None) => "no object".to_owned(),
        };
        Ok(Err(format!("expected {}, got {got}", stored.created)))
    }

    /// Makes an object from the bytes that it was exported as. The host takes no part: its answers
    /// of the first time are in the object already.
    pub(super) fn made_from(
        &mut self,
        plan: &ExportPlan,
        args: &[Arg<'_>],
        artifact: ArtifactPlan,
        bytes: &[u8],
        sequence: SequenceNumber,
    ) -> Result<Recorded, Failure> {
        let import = self.bound.plan.export(artifact.import).clone();
        let given: SmallVec<[Arg<'_>; 4]> = import
            .args
            .iter()
            .map(|kind| match plan.args.iter().position(|own| own == kind) {
                Some(position) if !kind.takes_artifact() => args[position].clone(),
                _ => Arg::Bytes(bytes),
            })
            .collect();
        let needs = self.attempt(|bound| bound.needed(plan))?;
        self.without_host(|guest| {
            let ran = guest.attempt(|bound| bound.run(&import, &given, sequence, None))?;
            guest.settle(plan, args, sequence, needs, ran)
        })
    }

    /// The object of a handle as bytes. `None` if the guest has none to give and is unharmed.
    pub(super) fn exported(
        &mut self,
        artifact: ArtifactPlan,
        handle: Handle,
    ) -> Result<Option<Vec<u8>>, Failure> {
        let export = self.bound.plan.export(artifact.export).clone();
        let exported = self.without_host(|guest| {
            guest.attempt(|bound| {
                bound.needed(&export)?;
                bound.run(&export, &[Arg::Handle(handle)], SequenceNumber::ZERO, None)
            })
        });
        match exported {
            Ok(ran) => Ok(ran.results.bytes().ok()),
            Err(Failure::Call {
                failure:
                    CallFailure::Refused(_) | CallFailure::NoSuchHandle(_) | CallFailure::Garbled(_),
                ..
            }) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Runs guest code that must do without the host: a standby has no effect outside, and what the
    /// host would say is no part of the history.
    fn without_host<R>(
        &mut self,
        run: impl FnOnce(&mut Self) -> Result<R, Failure>,
    ) -> Result<R, Failure> {
        self.recorder.begin_replay(&[]);
        let outcome = run(self);
        let Recording {
            fault, mismatch, ..
        } = self.recorder.finish();
        match mismatch.or(fault) {
            // The guest was in the middle of it.
            Some(what) => Err(Failure::Harmed(format!(
                "an artifact's export or import called the host: {what}"
            ))),
            None => outcome,
        }
    }
}
