//! Tiering up by a swap: begin on an engine that is ready at once, and go on with better code when
//! it is there.

use std::fmt;
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use engine_api::{Engine, EngineId, Module};

use crate::upkeep::Upkeep;
use crate::{Error, Proxy, Swapped};

/// Pauses between attempts while the proxy cannot swap: an old generation drains, turns are open, or
/// the proxy is switched off.
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Moves a proxy to another engine when the code for it is ready.
///
/// A thread compiles the module on the other engine, then prepares a standby there, which is
/// verified like any other, and swaps. Calls go on meanwhile. Later standbys are made on the new
/// engine. If the engine refuses the module, or the standby fails, an event says so, and the proxy
/// stays where it is: nothing is lost.
///
/// Dropping this does not end the move. The thread does not keep the proxy alive: it ends when the
/// proxy is gone or shut down, but not before a compilation that has begun is over.
///
/// ```
/// # #[path = "../tests/fake/mod.rs"] mod fake;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (quick_compiler, good_code) = (fake::FakeEngine::counter(), fake::FakeEngine::counter());
/// use proxy_core::{Proxy, Reason, TierUp};
///
/// let proxy = Proxy::builder(quick_compiler).module(fake::counter_wasm()).build()?;
/// let moving = TierUp::start(&proxy, good_code)?; // calls can begin now
/// let swapped = moving.wait()?;
/// assert_eq!(swapped.reason, Reason::TierUp);
/// # Ok(())
/// # }
/// ```
#[must_use = "it is the only way to wait for the move; `drop` leaves it to itself"]
pub struct TierUp {
    engine: EngineId,
    thread: JoinHandle<Result<Swapped, Error>>,
}

impl TierUp {
    /// Starts the move.
    ///
    /// # Errors
    ///
    /// The operating system has no thread left.
    pub fn start(proxy: &Proxy, engine: impl Into<Arc<dyn Engine>>) -> std::io::Result<Self> {
        let engine = engine.into();
        let (id, wasm) = (engine.id(), proxy.upkeep().wasm().to_vec());
        let upkeep = Arc::downgrade(proxy.upkeep());
        let thread = thread::Builder::new()
            .name("wasm-proxy-tier-up".to_owned())
            .spawn(move || run(&upkeep, &*engine, &wasm))?;
        Ok(Self { engine: id, thread })
    }

    /// The engine that the proxy moves to.
    #[must_use]
    pub fn engine(&self) -> EngineId {
        self.engine
    }

    /// Whether the move is over, with success or without.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits until the move is over.
    ///
    /// # Errors
    ///
    /// [`Error::Engine`] if the engine refuses the module; those of [`Proxy::prepare_standby`] and
    /// [`Proxy::swap`]; [`Error::ShutDown`] if the proxy ended before.
    pub fn wait(self) -> Result<Swapped, Error> {
        match self.thread.join() {
            Ok(outcome) => outcome,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

impl fmt::Debug for TierUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TierUp")
            .field("engine", &self.engine)
            .field("is_over", &self.is_over())
            .finish_non_exhaustive()
    }
}

fn run(upkeep: &Weak<Upkeep>, engine: &dyn Engine, wasm: &[u8]) -> Result<Swapped, Error> {
    let started = Instant::now();
    let compiled = engine.compile(wasm);
    let took = started.elapsed();
    let outcome = match compiled {
        Ok(module) => {
            if let Some(upkeep) = upkeep.upgrade() {
                upkeep.note_compiled(engine.id(), took);
            }
            move_when_possible(upkeep, engine.id(), &module)
        }
        Err(error) => Err(error.into()),
    };
    if let (Err(error), Some(upkeep)) = (&outcome, upkeep.upgrade())
        && !matches!(error, Error::ShutDown)
    {
        upkeep.note_tier_up_failed(engine.id(), error);
    }
    outcome
}

fn move_when_possible(
    upkeep: &Weak<Upkeep>,
    engine: EngineId,
    module: &Arc<dyn Module>,
) -> Result<Swapped, Error> {
    let mut pause = PAUSE_MIN;
    loop {
        let Some(upkeep) = upkeep.upgrade() else {
            return Err(Error::ShutDown);
        };
        match upkeep.tier_up(engine, module) {
            Err(Error::StillDraining | Error::Passthrough | Error::TurnsOpen { .. }) => {}
            outcome => return outcome,
        }
        drop(upkeep);
        thread::sleep(pause);
        pause = (2 * pause).min(PAUSE_MAX);
    }
}
