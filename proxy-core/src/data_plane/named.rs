//! Calls that their callers gave an id.

use std::cell::Cell;

use engine_api::GuestError;

use crate::Error;
use crate::journal::{Answer, AnsweredCall, CALL_ID_BYTES_MAX};
use crate::policy::plan::ExportPlan;
use crate::value::Results;

/// The id of a call, and a hash of the call.
pub(super) struct Named<'a> {
    pub(super) id: &'a [u8],
    pub(super) call: [u8; 32],
    is_known: Cell<bool>,
}

impl<'a> Named<'a> {
    pub(super) fn new(id: &'a [u8], call: [u8; 32]) -> Self {
        Self {
            id,
            call,
            is_known: Cell::new(false),
        }
    }

    /// An attempt has found that another thread made the call.
    pub(super) fn note_known(&self) {
        self.is_known.set(true);
    }

    /// Whether one has since this was last asked.
    pub(super) fn take_known(&self) -> bool {
        self.is_known.take()
    }

    /// Refuses an id that is none, and calls whose results mean nothing later.
    pub(super) fn check(&self, plan: &ExportPlan) -> Result<(), Error> {
        let refuse = |reason: String| {
            let export = plan.name.to_string();
            Err(Error::CallIdRefused { export, reason })
        };
        if self.id.is_empty() || self.id.len() > CALL_ID_BYTES_MAX {
            return refuse(format!(
                "it has {} bytes; give it 1 to {CALL_ID_BYTES_MAX}",
                self.id.len()
            ));
        }
        if plan.results.iter().any(|result| result.kind.is_pointer()) {
            return refuse("it returns a raw pointer, which means nothing later".to_owned());
        }
        Ok(())
    }

    pub(super) fn answered(&self, outcome: &Result<Results, Box<GuestError>>) -> AnsweredCall {
        AnsweredCall {
            id: self.id.into(),
            call: self.call,
            answer: match outcome {
                Ok(results) => Answer::Results(results.as_slice().into()),
                Err(error) => Answer::Rejected(error.message.as_str().into()),
            },
        }
    }
}
