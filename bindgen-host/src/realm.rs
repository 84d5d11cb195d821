//! The state that the host keeps for a guest, and for each of the guest's threads.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use engine_api::{Error, Imports, Interrupt, Interrupter, Limits, Module, SharedMemory};

use crate::Options;
use crate::error::{HostError, describe};
use crate::heap::Heap;
use crate::surface::Surface;
use crate::system::System;

/// The state that the threads of one guest share.
pub(crate) struct Realm {
    pub(crate) module: Arc<dyn Module>,
    pub(crate) surface: Arc<Surface>,
    pub(crate) options: Options,
    pub(crate) system: System,
    /// The imports that the user gave. They go before the host's own.
    pub(crate) given: Imports,
    pub(crate) limits: Limits,
    /// The memory that the host made for the guest's threads.
    pub(crate) memory: Option<SharedMemory>,
    /// The address of the guest's pool builder, from the argument of `startWorkers`; 0 for none.
    builder: AtomicU32,
    outside: Outside,
    running: Mutex<Running>,
}

/// Whether functions outside of the realm may be called. While a pool starts again for a snapshot
/// they may not: a proxy records what they answer, and does not record that start.
#[derive(Default)]
struct Outside {
    closed: AtomicBool,
    called: AtomicBool,
}

/// The instances that can be interrupted, and the first failure of a worker.
#[derive(Default)]
struct Running {
    interrupters: Vec<(u64, Interrupter)>,
    last: u64,
    interrupted: bool,
    /// The first worker that ended early, and its error.
    fault: Option<(u32, Arc<Error>)>,
}

impl Realm {
    pub(crate) fn new(
        module: &Arc<dyn Module>,
        surface: &Arc<Surface>,
        options: &Options,
        given: &Imports,
        limits: &Limits,
        memory: Option<SharedMemory>,
    ) -> Result<Self, Error> {
        Ok(Self {
            system: System::find(given)?,
            module: Arc::clone(module),
            surface: Arc::clone(surface),
            options: options.clone(),
            given: given.clone(),
            limits: limits.clone(),
            memory,
            builder: AtomicU32::new(0),
            outside: Outside::default(),
            running: Mutex::default(),
        })
    }

    /// A function outside of the realm is called. An error while there must be no such call.
    pub(crate) fn call_outside(&self, name: &str) -> Result<(), Error> {
        self.outside.called.store(true, Ordering::Release);
        if !self.outside.closed.load(Ordering::Acquire) {
            return Ok(());
        }
        let message = format!(
            "the pool of the snapshot is not started again: its start calls `{name}`, which would \
             answer something else"
        );
        Err(HostError::Restart(message).ends(name))
    }

    /// Whether a function outside of the realm was called since the last call of this.
    pub(crate) fn take_called_outside(&self) -> bool {
        self.outside.called.swap(false, Ordering::AcqRel)
    }

    pub(crate) fn set_outside_closed(&self, closed: bool) {
        self.outside.closed.store(closed, Ordering::Release);
    }

    pub(crate) fn builder(&self) -> u32 {
        self.builder.load(Ordering::Acquire)
    }

    pub(crate) fn set_builder(&self, pointer: u32) {
        self.builder.store(pointer, Ordering::Release);
    }

    /// The pool builder that the guest has made since the last call of this.
    pub(crate) fn take_builder(&self) -> Option<u32> {
        let pointer = self.builder.swap(0, Ordering::AcqRel);
        (pointer != 0).then_some(pointer)
    }

    /// Keeps an interrupter of an instance of the guest. `None` if the guest was interrupted
    /// already; then so is the instance.
    pub(crate) fn register(&self, interrupter: Interrupter) -> Option<u64> {
        let mut running = self.running();
        if running.interrupted {
            interrupter.interrupt();
            return None;
        }
        running.last += 1;
        let number = running.last;
        running.interrupters.push((number, interrupter));
        Some(number)
    }

    pub(crate) fn unregister(&self, registered: Option<u64>) {
        let interrupters = &mut self.running().interrupters;
        interrupters.retain(|(number, _)| Some(*number) != registered);
    }

    /// A worker ended early. Everything else of the guest ends too, because what the worker held is
    /// locked for ever.
    pub(crate) fn worker_failed(&self, worker: u32, error: Error) {
        let mut running = self.running();
        if running.fault.is_some() || running.interrupted {
            return;
        }
        let text = describe(&error);
        running.fault = Some((worker, Arc::new(error)));
        drop(running);
        tracing::warn!(
            worker,
            error = text,
            "a worker of a thread pool ended early"
        );
        self.interrupt();
    }

    /// The error of every call from the moment at which a worker ended early.
    pub(crate) fn fault(&self) -> Option<Error> {
        let (worker, source) = self.running().fault.clone()?;
        Some(match source.trap() {
            Some(trap) => Error::Trap(trap),
            None => HostError::Worker { worker, source }.ends("worker"),
        })
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Interrupt for Realm {
    /// Ends every instance of the guest, those that are still being made included.
    fn interrupt(&self) {
        let mut running = self.running();
        running.interrupted = true;
        let interrupters = running.interrupters.clone();
        drop(running);
        for (_, interrupter) in interrupters {
            interrupter.interrupt();
        }
    }
}

/// One thread of a guest, with the objects that only it can name.
pub(crate) struct Thread {
    pub(crate) realm: Arc<Realm>,
    heap: Mutex<Heap>,
}

impl Thread {
    pub(crate) fn new(realm: &Arc<Realm>, heap: Heap) -> Self {
        Self {
            realm: Arc::clone(realm),
            heap: Mutex::new(heap),
        }
    }

    pub(crate) fn heap(&self) -> MutexGuard<'_, Heap> {
        self.heap.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
