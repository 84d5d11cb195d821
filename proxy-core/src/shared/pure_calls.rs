//! The pure calls that were made: suspects if the state turns out to differ, and for an audit also
//! the calls themselves.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use engine_api::FuncIndex;
use guest_calls::OwnedArg;
use smallvec::SmallVec;

use crate::locking::lock;
use crate::policy::plan::{ExportPlan, Plan};
use crate::value::Arg;
use crate::{Role, SequenceNumber};

/// A log has at most this many calls, with at most [`BYTES_MAX`] of arguments.
const CALLS_MAX: usize = 16_384;
/// So many of one export: one that is called in a loop must not crowd out one that writes.
const CALLS_OF_EXPORT_MAX: usize = 1_024;
const BYTES_MAX: usize = 16 << 20;

/// A pure call that returned.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PureCall {
    /// The newest entry that its generation had applied.
    pub(crate) after: SequenceNumber,
    pub(crate) func: FuncIndex,
    pub(crate) args: SmallVec<[OwnedArg; 2]>,
}

/// The first pure calls since the proxy was built, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct PureLog {
    pub(crate) calls: Vec<PureCall>,
    of_export: HashMap<FuncIndex, usize>,
    bytes: usize,
    /// How many more there were: calls with raw pointers, calls that called the host, and those for
    /// which the log has no room.
    pub(crate) left_out: u64,
}

/// What is noted of pure calls. Nothing by default.
#[derive(Debug, Default)]
pub(crate) struct PureCalls {
    /// By function: whether it was called since the last swap. Empty if that is not noted.
    called: Box<[AtomicBool]>,
    /// Whether a swap was not made because one of them has written, as the state digest says.
    has_written: AtomicBool,
    log: Option<Mutex<PureLog>>,
}

impl PureCalls {
    /// Notes which exports are called if the policy names a state digest, and every call for an
    /// audit.
    pub(crate) fn new(plan: &Plan, functions: usize, audit: bool) -> Self {
        let noted = if plan.state_digest.is_some() {
            functions
        } else {
            0
        };
        Self {
            called: (0..noted).map(|_| AtomicBool::new(false)).collect(),
            has_written: AtomicBool::new(false),
            log: audit.then(Mutex::default),
        }
    }

    /// A call of a pure export begins. The caller has the lane.
    #[inline]
    pub(crate) fn note_export(&self, func: FuncIndex) {
        if let Some(called) = self.called.get(func.0 as usize) {
            called.store(true, Ordering::Relaxed);
        }
    }

    /// Whether every call is kept.
    pub(crate) fn is_logging(&self) -> bool {
        self.log.is_some()
    }

    /// A pure call has returned. The caller has the lane. `repeatable` is whether the guest did not
    /// call the host.
    pub(crate) fn log_call(
        &self,
        plan: &ExportPlan,
        args: &[Arg<'_>],
        after: SequenceNumber,
        repeatable: bool,
    ) {
        let Some(log) = &self.log else { return };
        let args: Option<SmallVec<[OwnedArg; 2]>> = args.iter().map(OwnedArg::record).collect();
        let call = args.filter(|_| repeatable).map(|args| PureCall {
            after,
            func: plan.func,
            args,
        });
        lock(log).push(call);
    }

    /// A copy of the log.
    pub(crate) fn log(&self) -> Option<PureLog> {
        self.log.as_ref().map(|log| lock(log).clone())
    }

    /// The exports that the policy calls pure and that were called since the last swap.
    pub(crate) fn suspects(&self, plan: &Plan) -> Vec<String> {
        let called = self.called.iter().zip(0..);
        called
            .filter(|(called, _)| called.load(Ordering::Relaxed))
            .map(|(_, func)| plan.export(FuncIndex(func)))
            .filter(|export| export.role == Role::Pure)
            .map(|export| export.name.to_string())
            .collect()
    }

    /// The state digest says that one of them has written.
    pub(crate) fn note_written(&self) {
        self.has_written.store(true, Ordering::Relaxed);
    }

    /// Whether the active generation has state that no other generation would have.
    pub(crate) fn has_written(&self) -> bool {
        self.has_written.load(Ordering::Relaxed)
    }

    /// A generation on which none has been called takes over.
    pub(crate) fn forget_suspects(&self) {
        self.has_written.store(false, Ordering::Relaxed);
        for called in &self.called {
            called.store(false, Ordering::Relaxed);
        }
    }
}

impl PureLog {
    fn push(&mut self, call: Option<PureCall>) {
        let Some(call) = call else {
            self.left_out += 1;
            return;
        };
        let bytes = self.bytes.saturating_add(size_of_args(&call.args));
        let of_export = self.of_export.entry(call.func).or_default();
        if self.calls.len() < CALLS_MAX && *of_export < CALLS_OF_EXPORT_MAX && bytes <= BYTES_MAX {
            *of_export += 1;
            self.bytes = bytes;
            self.calls.push(call);
        } else {
            self.left_out += 1;
        }
    }
}

fn size_of_args(args: &[OwnedArg]) -> usize {
    args.iter()
        .map(|arg| match arg {
            OwnedArg::Bytes(bytes) => bytes.len(),
            OwnedArg::Text(text) | OwnedArg::Js(text) => text.len(),
            OwnedArg::Handles(handles) => size_of_val(&**handles),
            OwnedArg::Val(_) | OwnedArg::Handle(_) => 0,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_has_a_bound_and_counts_what_it_leaves_out() {
        let call = |func: u32, bytes: usize| PureCall {
            after: SequenceNumber::ZERO,
            func: FuncIndex(func),
            args: [OwnedArg::Bytes(vec![0; bytes].into())]
                .into_iter()
                .collect(),
        };
        let mut log = PureLog::default();
        log.push(None);
        log.push(Some(call(0, BYTES_MAX)));
        log.push(Some(call(0, 1)));
        assert_eq!((log.calls.len(), log.left_out), (1, 2));
        for _ in 0..CALLS_OF_EXPORT_MAX {
            log.push(Some(call(0, 0)));
        }
        assert_eq!((log.calls.len(), log.left_out), (CALLS_OF_EXPORT_MAX, 3));
        for func in (1..=16).flat_map(|func| [func; CALLS_OF_EXPORT_MAX]) {
            log.push(Some(call(func, 0)));
        }
        assert_eq!(log.calls.len(), CALLS_MAX);
        assert_eq!(log.left_out, 3 + CALLS_OF_EXPORT_MAX as u64);
    }
}
