//! Errors with a way out for the user, and exit codes.

use std::process::ExitCode;

use engine_api::{Error as EngineError, ExternType, Trap};
use proxy_core::{CallError, Error, JournalMismatch, PolicyError};

use crate::output;

/// Some calls failed, or an audit found a write or could not be made as a whole.
pub(crate) const CALLS_FAILED: u8 = 1;
/// The command line, the module, the policy or the workload is wrong.
pub(crate) const WRONG_INPUT: u8 = 2;
/// The replay of a journal gave something else than it has.
pub(crate) const DIVERGED: u8 = 3;

/// Prints an error with its causes and a way out.
pub(crate) fn explain(error: &anyhow::Error) -> ExitCode {
    let mut lines = format!("error: {}", indented(&error.to_string()));
    let mut last = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        // Some runtimes repeat their cause in their own message.
        if !last.contains(&cause) {
            lines.push_str("\n  because: ");
            lines.push_str(&indented(&cause));
        }
        last = cause;
    }
    if let Some(hint) = error.chain().find_map(way_out) {
        lines.push_str("\n  try: ");
        lines.push_str(hint);
    }
    output::note(&lines);
    let diverged = error.chain().any(|cause| {
        let error = cause.downcast_ref::<Error>();
        error.is_some_and(|error| matches!(error, Error::Divergence(_)))
    });
    ExitCode::from(if diverged { DIVERGED } else { WRONG_INPUT })
}

/// A message whose later lines are indented. A name with a line feed in it can then not pass for a
/// message of the program.
fn indented(message: &str) -> String {
    message.replace('\n', "\n    ")
}

/// Whether an error says that the workload or the policy is wrong, rather than that a call failed.
pub(crate) fn is_wrong_input(error: &Error) -> bool {
    match error {
        Error::Policy(_)
        | Error::Setting { .. }
        | Error::CallIdReused { .. }
        | Error::CallIdRefused { .. } => true,
        Error::Call(error) => !matches!(
            error,
            CallError::GuestData { .. }
                | CallError::Guest { .. }
                | CallError::OutOfMemory { .. }
                | CallError::Trapped { .. }
                | CallError::HostFailed { .. }
                | CallError::Exited { .. }
                | CallError::Died { .. }
                | CallError::Engine(_)
        ),
        Error::Engine(error) => error.trap().is_none(),
        _ => false,
    }
}

/// The way out of an error whose own words do not name one.
fn way_out(error: &(dyn std::error::Error + 'static)) -> Option<&'static str> {
    if let Some(error) = error.downcast_ref::<Error>() {
        return match error {
            Error::Policy(_) => Some(MEND_POLICY),
            Error::Call(error) => way_out_of_call(error),
            Error::Engine(error) => way_out_of_engine_error(error),
            Error::HistoryFolded => Some("--history checkpoint"),
            Error::OtherJournal(mismatch) => way_out_of_mismatch(mismatch),
            Error::CallIdReused { .. } => Some(
                "another \"id\" for this call, or the arguments that it had when it was first made",
            ),
            Error::Divergence(_) => Some(
                "`wasm-proxy replay` shows what each engine gives; `run --on-divergence accept` goes on with \
                 the new results, and `skip` without the entry",
            ),
            _ => None,
        };
    }
    if error.is::<PolicyError>() {
        return Some(MEND_POLICY);
    }
    if let Some(error) = error.downcast_ref::<CallError>() {
        return way_out_of_call(error);
    }
    error
        .downcast_ref::<EngineError>()
        .and_then(way_out_of_engine_error)
}

fn way_out_of_mismatch(mismatch: &JournalMismatch) -> Option<&'static str> {
    match mismatch {
        JournalMismatch::Module { .. } | JournalMismatch::Policy { .. } => Some(
            "`wasm-proxy run --migrate OLD --dry-run` tells whether this module and policy can go on from \
             the journal",
        ),
        _ => None,
    }
}

const MEND_POLICY: &str =
    "fix the policy; `wasm-proxy inspect MODULE --emit-policy` drafts one that fits the module";

fn way_out_of_call(error: &CallError) -> Option<&'static str> {
    Some(match error {
        CallError::UnknownExport { .. } | CallError::Argument { .. } => {
            "`wasm-proxy inspect MODULE --policy F.toml` shows each export with its arguments"
        }
        CallError::FreedHandle { .. } => {
            "make the object again with a call that has the same \"as\", or move the call that frees it to the end"
        }
        CallError::HandleType { .. } => "pass the result of a call that makes such an object",
        CallError::Needs { .. } => {
            "a call that creates it before this line, such as {\"call\":\"thread_pool_start\",\"args\":[2]} \
             for a thread pool"
        }
        CallError::PointerOutsideScope { .. } => {
            "put the calls that share a raw pointer into one {\"pinned\":[...]}"
        }
        CallError::JournaledInPinned { .. } => "move the call out of {\"pinned\":[...]}",
        _ => return None,
    })
}

fn way_out_of_engine_error(error: &EngineError) -> Option<&'static str> {
    match error {
        EngineError::InvalidModule { reason } => {
            // These errors name the way out themselves.
            let says_it = ["truncated", "component", "text format", "compressed"];
            (!says_it.iter().any(|word| reason.contains(word))).then_some(
                "give a core module as a compiler wrote it; build it again if it was changed",
            )
        }
        EngineError::Unsupported { .. } => {
            Some("another --engine, if one can; otherwise build the module without it")
        }
        EngineError::Import { reason, .. } if reason.starts_with("only a stub") => Some(
            "leave the call out, or write a program of your own with the library, and put the host \
             function into its `Imports`",
        ),
        EngineError::Import { name, .. } if name == "__memory_base" || name == "__table_base" => {
            Some(
                "this is a side module, for which there is no dynamic linker here; link it with its main \
             module beforehand: see docs/toolchains.md",
            )
        }
        EngineError::Import {
            expected: ExternType::Global(_),
            ..
        } => Some(
            "--stub-imports 'MODULE.NAME=NUMBER' gives its value: nobody but the module's author knows \
             it",
        ),
        EngineError::Import { module, name, .. } if module.len() == 1 && name.len() <= 2 => Some(
            "--names F.toml gives imports and exports the names that Emscripten made short: see \
             docs/toolchains.md",
        ),
        EngineError::Import { module, reason, .. }
            if module == wasi::MODULE && reason.starts_with("given a function") =>
        {
            Some(
                "build the module for preview 1 of WASI: it imports the function with another type than \
                 preview 1 gives it",
            )
        }
        EngineError::Import { .. } => Some(
            "--stub-imports fills missing imports with stubs, which is enough if the calls do not \
             use them",
        ),
        EngineError::Limit {
            what: "table elements",
            ..
        } => Some("build the module with a smaller table: no option changes this limit"),
        EngineError::ModuleLimit { .. } => Some("--any-size, for a module that is trusted"),
        EngineError::Limit { .. } => Some("a larger --memory-limit, such as 256MiB"),
        EngineError::Trap(Trap::DeadlineExceeded) => {
            Some("a longer --deadline: it limits the module's start function too")
        }
        EngineError::Trap(_) => Some(
            "the module's start function or its data segments trapped; build the module differently",
        ),
        EngineError::Runtime { .. } => Some("another --engine, or a machine with more memory"),
        _ => None,
    }
}
