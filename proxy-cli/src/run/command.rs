//! A WASI command: a program that runs once from its beginning to its end, as under the engines' own
//! tools. What it prints is all that is printed, and its exit code is this program's.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use engine_api::ModuleInfo;
use proxy_core::{CallError, Error, Proxy, with_causes};

use super::builder;
use crate::args::{HistoryArg, OnDivergence, RunArgs};
use crate::failure::CALLS_FAILED;
use crate::subject::Subject;
use crate::{failure, output};

/// Nothing is called after a command, so nothing of it is kept. What the user's policy says counts.
const POLICY: &str = "[[export]]\nmatch = \"_start\"\nrole = \"pure\"\n";

/// Whether the module is to be run as a command: there is no workload with other calls.
pub(super) fn is_command(args: &RunArgs, info: &ModuleInfo) -> bool {
    args.workload.is_none() && info.command().is_some()
}

pub(super) fn run(args: &RunArgs, mut job: Subject) -> Result<ExitCode> {
    if let Some(option) = of_no_use(args) {
        bail!(
            "`{}` is a command, which runs once from its beginning to its end: there is nothing for \
             {option} to do; leave it out, or give --workload with calls of its exports",
            job.name
        );
    }
    if job.chosen.is_none() {
        job.policy = POLICY.parse().context("the policy of commands")?;
    }
    // It runs once, as under other tools: a generation to make a call again on is of no use.
    let builder = builder(args, &job, args.subject.thresholds()?)?;
    let proxy = builder.enabled(false).build();
    let outcome = proxy.and_then(|proxy: Proxy| {
        let outcome = proxy.call("_start", &[]).map(drop);
        // What still runs ends with the process.
        let _ = proxy.shutdown();
        outcome
    });
    match outcome {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => match exit_code(&error) {
            // As of every process: the lowest byte.
            Some(code) => Ok(ExitCode::from(code.to_le_bytes()[0])),
            None if failure::is_wrong_input(&error) => {
                let what = format!("cannot run `{}` on {}", job.name, args.engine);
                Err(anyhow::Error::new(error).context(what))
            }
            None => {
                output::note(&with_causes(&error));
                Ok(ExitCode::from(CALLS_FAILED))
            }
        },
    }
}

/// An option that is about many calls, or about state between them.
fn of_no_use(args: &RunArgs) -> Option<&'static str> {
    let given = [
        ("--journal", args.journal.is_some()),
        ("--report", args.report.is_some()),
        ("--calls", args.calls.is_some()),
        ("--swap-calls", args.swaps.swap_calls.is_some()),
        ("--swap-age", args.swaps.swap_age.is_some()),
        ("--total-memory", args.swaps.total_memory.is_some()),
        ("--audit", args.audit),
        ("--export-objects", args.export_objects.is_some()),
        ("--artifacts", args.artifacts.is_some()),
        ("--tier-up", args.tier_up.is_some()),
        ("--history", args.history != HistoryArg::Full),
        ("--on-divergence", args.on_divergence != OnDivergence::Fail),
    ];
    given
        .into_iter()
        .find_map(|(option, is_given)| is_given.then_some(option))
}

/// The code that the guest gave, if it ended itself.
fn exit_code(error: &Error) -> Option<u32> {
    match error {
        Error::Call(CallError::Exited { code, .. }) => Some(*code),
        Error::Engine(error) => match **error {
            engine_api::Error::Exit { code } => Some(code),
            _ => None,
        },
        _ => None,
    }
}
