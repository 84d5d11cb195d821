//! Compiling, for a bounded time.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use engine_api::{Engine, Module, ModuleInfo};

use crate::Error;

/// The stack of the thread that compiles. Compilers recurse over what a module nests.
const STACK_BYTES: usize = 16 << 20;

/// Compiles a module on a thread of its own, and waits for it for at most `timeout`.
///
/// A compiler cannot be ended: after the timeout the thread goes on by itself, and its module is
/// dropped when it is done. A platform without threads compiles where it is called, however long that
/// takes.
///
/// # Errors
///
/// [`Error::CompileTimeout`]; [`Error::Engine`].
pub(crate) fn compile_within(
    engine: &Arc<dyn Engine>,
    wasm: &[u8],
    timeout: Duration,
) -> Result<Arc<dyn Module>, Error> {
    within(engine, wasm, timeout, |engine, wasm| engine.compile(wasm))
}

/// Reads names and types of a module. An engine that cannot do that compiles for it, so that the time
/// is bounded as for compiling.
///
/// # Errors
///
/// As [`compile_within`].
pub(crate) fn read_within(
    engine: &Arc<dyn Engine>,
    wasm: &[u8],
    timeout: Duration,
) -> Result<Arc<ModuleInfo>, Error> {
    within(engine, wasm, timeout, |engine, wasm| engine.read(wasm))
}

fn within<T: Send + 'static>(
    engine: &Arc<dyn Engine>,
    wasm: &[u8],
    timeout: Duration,
    work: fn(&dyn Engine, &[u8]) -> Result<T, engine_api::Error>,
) -> Result<T, Error> {
    let (done, compiled) = channel();
    let (own, bytes) = (Arc::clone(engine), wasm.to_vec());
    let started = thread::Builder::new()
        .name("wasm-proxy-compile".to_owned())
        .stack_size(STACK_BYTES)
        .spawn(move || {
            // Nobody may be left to take it.
            let _ = done.send(work(&*own, &bytes));
        });
    if let Err(error) = started {
        if error.kind() == ErrorKind::Unsupported {
            return Ok(work(&**engine, wasm)?);
        }
        return Err(Error::Setting {
            reason: format!("the system gives no thread for compiling: {error}"),
        });
    }
    match compiled.recv_timeout(timeout) {
        Ok(outcome) => Ok(outcome?),
        Err(RecvTimeoutError::Timeout) => Err(Error::CompileTimeout { after: timeout }),
        // The thread panicked, which a compiler in a `catch_unwind` does not.
        Err(RecvTimeoutError::Disconnected) => Err(engine_api::Error::Runtime {
            engine: engine.id(),
            action: "compile the module",
            source: "the thread that compiled it panicked".into(),
        }
        .into()),
    }
}
