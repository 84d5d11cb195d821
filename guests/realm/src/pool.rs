//! A pool of threads that the host starts: the protocol of `wasm-bindgen-rayon`, with the names that
//! `o1js` gives its exports.
//!
//! 1. `initThreadPool` hands a builder to the import `startWorkers`.
//! 2. The host makes as many instances as `poolbuilder_numThreads` says, all on one memory, and calls
//!    `wbg_rayon_start_worker` in each, on a thread of its own, with what `poolbuilder_receiver` gave.
//! 3. `poolbuilder_build` hands every waiting worker its part of the pool.
//! 4. `exitThreadPool` drops the pool, upon which every worker returns, and calls `terminateWorkers`.

use std::sync::{Arc, PoisonError, RwLock};

use crossbeam_channel::{bounded, Receiver, Sender};
use js_sys::Promise;
use rayon::{ThreadBuilder, ThreadPool, ThreadPoolBuilder};
use wasm_bindgen::prelude::*;

static POOL: RwLock<Option<Arc<ThreadPool>>> = RwLock::new(None);

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_name = startWorkers)]
    fn start_workers(source: JsValue, memory: JsValue, builder: PoolBuilder) -> Promise;

    #[wasm_bindgen(js_name = terminateWorkers)]
    fn terminate_workers() -> Promise;
}

/// A pool whose threads do not run yet.
#[wasm_bindgen]
#[derive(Debug)]
pub struct PoolBuilder {
    threads: u32,
    sender: Sender<ThreadBuilder>,
    receiver: Receiver<ThreadBuilder>,
}

#[wasm_bindgen]
impl PoolBuilder {
    /// How many workers the host is to start.
    #[wasm_bindgen(js_name = numThreads)]
    pub fn num_threads(&self) -> u32 {
        self.threads
    }

    /// The address that every worker is started with.
    pub fn receiver(&self) -> *const Receiver<ThreadBuilder> {
        &raw const self.receiver
    }

    /// Makes the pool of the workers, which may have arrived already or be on their way.
    pub fn build(&mut self) {
        let sender = self.sender.clone();
        let pool = ThreadPoolBuilder::new()
            .num_threads(self.threads as usize)
            .spawn_handler(move |thread| {
                // The channel has room for all of them and lives as long as this builder.
                sender.send(thread).unwrap_throw();
                Ok(())
            })
            .build()
            .unwrap_throw();
        *POOL.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(pool));
    }
}

/// Asks the host for a pool of `threads` workers.
#[wasm_bindgen(js_name = initThreadPool)]
pub fn init_thread_pool(threads: u32, worker_source: JsValue) -> Promise {
    let (sender, receiver) = bounded(threads as usize);
    start_workers(
        worker_source,
        wasm_bindgen::memory(),
        PoolBuilder {
            threads,
            sender,
            receiver,
        },
    )
}

/// Ends the pool: every worker returns as soon as it is idle.
#[wasm_bindgen(js_name = exitThreadPool)]
pub fn exit_thread_pool() -> Promise {
    drop(POOL.write().unwrap_or_else(PoisonError::into_inner).take());
    terminate_workers()
}

/// What a worker runs, until the pool is dropped.
///
/// # Safety
///
/// `receiver` came from a [`PoolBuilder`] that still lives.
#[wasm_bindgen]
#[allow(
    clippy::not_unsafe_ptr_arg_deref,
    reason = "the older macro does not export unsafe functions"
)]
pub fn wbg_rayon_start_worker(receiver: *const Receiver<ThreadBuilder>) {
    // SAFETY: the host promises that the builder lives.
    let receiver = unsafe { &*receiver };
    receiver.recv().unwrap_throw().run();
}

/// The pool; panics when there is none, as in `o1js`.
pub(crate) fn pool() -> Arc<ThreadPool> {
    let pool = POOL.read().unwrap_or_else(PoisonError::into_inner);
    Arc::clone(pool.as_ref().expect_throw("there is no thread pool"))
}
