//! A thread pool by the protocol of wasm-bindgen-rayon. Each worker is a thread with an instance of
//! its own on the guest's shared memory.
//!
//! The guest's `initThreadPool(n)` makes a builder and calls the import `startWorkers` with its
//! address. JavaScript then starts the workers. Each calls `wbg_rayon_start_worker`, which blocks
//! until `build` hands it a thread of the pool. Here one call of the host does all of that. The
//! main thread makes the workers' instances itself, one after the other, before it calls `build`: on
//! a busy machine it would wait long for other threads to do so.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use engine_api::{Error, FuncIndex, FuncType, Instance, Interrupt, Val, ValType};

use crate::error::{HostError, describe};
use crate::link::Started;
use crate::realm::{Realm, Thread};
use crate::turns::Turns;
use crate::{THREAD_POOL_START, THREAD_POOL_STOP, WorkerExit};

/// The native stack of a worker's thread. The engine's limit is for the guest's frames; the
/// engine's own code runs on the same stack.
const THREAD_STACK_BYTES: usize = 16 << 20;

/// The time that workers have to arrive, and to end after their pool.
const PATIENCE: Duration = Duration::from_secs(20);

/// More threads than any machine has, and few enough to start by mistake.
const THREADS_MAX: i32 = 1024;

/// Refuses a number of threads that no pool can have.
pub(crate) fn check(threads: i32) -> Result<(), Error> {
    if (1..=THREADS_MAX).contains(&threads) {
        return Ok(());
    }
    let message = format!("{threads} threads; a pool has 1 to {THREADS_MAX}");
    Err(HostError::Pool(message).ends(THREAD_POOL_START))
}

fn breaks_abi(message: impl Into<String>) -> Error {
    HostError::Abi(message.into()).ends(THREAD_POOL_START)
}

/// A pool whose workers run. Dropping it ends all instances of the guest.
pub(crate) struct Pool {
    pub(crate) number: i32,
    /// The address of the guest's builder, from which its workers took what they run.
    builder: u32,
    realm: Arc<Realm>,
    /// Whether its workers give back their memory when they end.
    tidies: Arc<AtomicBool>,
    order: Arc<Order>,
    workers: Vec<Worker>,
}

/// The order in which workers give back their stacks. They do so one after the other, as they got
/// them, and none while another thread may allocate: a small object that is never freed would break
/// the hole.
struct Order {
    /// Those who leave the guest's pool. The first is the main thread, which ends it.
    exits: Turns,
    ends: Turns,
}

struct Worker {
    number: u32,
    /// Takes the address of the receiver with which the worker begins. Dropped, the worker ends.
    begin: Option<Sender<u32>>,
    done: Receiver<()>,
    thread: Option<JoinHandle<()>>,
}

impl Pool {
    /// Starts a pool, and returns when all its workers run.
    pub(crate) fn start(
        realm: &Arc<Realm>,
        main: &mut dyn Instance,
        thread: &Thread,
        number: i32,
        threads: i32,
    ) -> Result<Self, Error> {
        let exports = realm.surface.pool.clone();
        let exports = exports.expect("the function is added only where there are these exports");
        // Without interruption the other threads would wait for ever for a worker that died.
        main.interrupter()?;
        if realm.memory.is_none() && realm.surface.shared_memory.is_none() {
            return Err(breaks_abi(
                "the module imports no shared memory, which threads need",
            ));
        }
        let mut args = vec![Val::I32(threads)];
        let others = exports.init_type.params().iter().skip(1);
        let slot = realm.surface.constants.undefined();
        args.extend(others.map(|ty| undefined(*ty, slot)));
        call_for_promise(main, thread, exports.init, &exports.init_type, &args)?;
        let no_workers = || breaks_abi("`initThreadPool` did not ask for its workers");
        let builder = realm.take_builder().ok_or_else(no_workers)?;
        let mut number_of = |func: FuncIndex| {
            let mut result = [Val::I32(0)];
            main.call(func, &[Val::from(builder)], &mut result)?;
            Ok::<u32, Error>(result[0].i32().unwrap_or(0).cast_unsigned())
        };
        let asked_for = number_of(exports.threads)?;
        let receiver = number_of(exports.receiver)?;
        if asked_for != threads.cast_unsigned() {
            let message = format!("asked for {threads} threads, the guest wants {asked_for}");
            return Err(breaks_abi(message));
        }
        let mut pool = Self {
            number,
            builder,
            realm: Arc::clone(realm),
            tidies: Arc::new(AtomicBool::new(
                realm.options.worker_exit == WorkerExit::Destroy,
            )),
            order: Arc::new(Order {
                exits: Turns::new(asked_for + 1),
                ends: Turns::new(asked_for),
            }),
            workers: Vec::new(),
        };
        pool.gather(asked_for).inspect_err(|_| realm.interrupt())?;
        for worker in &mut pool.workers {
            let begin = worker.begin.take().expect("nobody has begun");
            // A worker that died meanwhile is a fault, and the fault ends `build` below.
            let _ = begin.send(receiver);
        }
        main.call(exports.build, &[Val::from(builder)], &mut [])?;
        realm.fault().map_or(Ok(pool), Err)
    }

    /// Makes the workers' instances, and starts a thread for each. If one of them does not come into
    /// being, it may have left a lock of the guest's taken.
    fn gather(&mut self, threads: u32) -> Result<(), Error> {
        let begun = Instant::now();
        let realm = Arc::downgrade(&self.realm);
        // The guest's start function may wait for ever.
        let watch = watch(PATIENCE, move || {
            if let Some(realm) = realm.upgrade() {
                realm.interrupt();
            }
        });
        let watch = watch.map_err(|source| no_thread(1, source))?;
        for number in 1..=threads {
            let started = self.realm.instantiate(true).map_err(|error| {
                tracing::debug!(number, error = describe(&error), "a worker did not arrive");
                if begun.elapsed() < PATIENCE {
                    return error;
                }
                let here = number - 1;
                let message = format!("{here} of {threads} workers arrived within {PATIENCE:?}");
                HostError::Late(message).ends(THREAD_POOL_START)
            })?;
            let worker = self.spawn(number, started)?;
            self.workers.push(worker);
        }
        drop(watch);
        Ok(())
    }

    fn spawn(&self, number: u32, started: Started) -> Result<Worker, Error> {
        let (begin, may_begin) = mpsc::channel();
        let (end, done) = mpsc::channel();
        let realm = Arc::clone(&self.realm);
        let tidies = Arc::clone(&self.tidies);
        let order = Arc::clone(&self.order);
        let thread = std::thread::Builder::new()
            .name(format!("guest worker {number}"))
            .stack_size(THREAD_STACK_BYTES)
            .spawn(move || {
                work(&realm, number, started, &tidies, &order, &may_begin);
                drop(end);
            })
            .map_err(|source| no_thread(number, source))?;
        Ok(Worker {
            number,
            begin: Some(begin),
            done,
            thread: Some(thread),
        })
    }

    /// The main thread has left the guest's pool.
    fn leave(&self) {
        self.order.exits.pass(1);
    }

    /// The number of its threads.
    pub(crate) fn threads(&self) -> i32 {
        i32::try_from(self.workers.len()).expect("`check` has bounded it")
    }

    /// Lets the workers give back their memory at their end, whatever the options say.
    pub(crate) fn tidy_up(&self) {
        self.tidies.store(true, Ordering::Release);
    }

    /// Ends the pool by the guest's own export, and joins every worker.
    pub(crate) fn stop(mut self, main: &mut dyn Instance, thread: &Thread) -> Result<(), Error> {
        let exports = self.realm.surface.pool.clone();
        let exports = exports.expect("a pool has its exports");
        let exit = exports.exit;
        let (func, ty) = exit.expect("the function is added only where there is this export");
        call_for_promise(main, thread, func, &ty, &[])?;
        self.leave();
        let deadline = Instant::now() + PATIENCE;
        for worker in &mut self.workers {
            let left = deadline.saturating_duration_since(Instant::now());
            if let Err(RecvTimeoutError::Timeout) = worker.done.recv_timeout(left) {
                let message = format!("worker {} did not end within {PATIENCE:?}", worker.number);
                return Err(HostError::Late(message).ends(THREAD_POOL_STOP));
            }
            worker.join();
        }
        self.realm.fault().map_or(Ok(()), Err)?;
        if let Some((free, params)) = exports.free {
            // In JavaScript the builder goes when its object is collected.
            let mut args = vec![Val::I32(0); params];
            if let Some(first) = args.first_mut() {
                *first = Val::from(self.builder);
            }
            main.call(free, &args, &mut [])?;
        }
        Ok(())
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if self.workers.iter().all(|worker| worker.thread.is_none()) {
            return;
        }
        self.realm.interrupt();
        self.leave();
        for worker in &mut self.workers {
            worker.begin = None;
            worker.join();
        }
    }
}

impl Worker {
    fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            // The engine has stopped a panic of a host function, and it is a fault of the realm.
            let _ = thread.join();
        }
    }
}

/// Calls this after so long, unless the sender is dropped before.
fn watch(
    patience: Duration,
    late: impl FnOnce() + Send + 'static,
) -> Result<Sender<()>, std::io::Error> {
    let (sender, dropped) = mpsc::channel();
    let watch = std::thread::Builder::new().name("pool watch".to_owned());
    watch.spawn(move || {
        if let Err(RecvTimeoutError::Timeout) = dropped.recv_timeout(patience) {
            late();
        }
    })?;
    Ok(sender)
}

fn no_thread(worker: u32, source: std::io::Error) -> Error {
    HostError::Thread { worker, source }.ends(THREAD_POOL_START)
}

/// What a worker's thread runs: it begins and ends.
fn work(
    realm: &Arc<Realm>,
    number: u32,
    mut started: Started,
    tidies: &AtomicBool,
    order: &Order,
    may_begin: &Receiver<u32>,
) {
    let end = order.ends.of(number);
    let exit = order.exits.of(number + 1);
    // An error of the channel means that the pool could not be started.
    if let Ok(receiver) = may_begin.recv() {
        let served = serve(realm, &mut *started.instance, receiver);
        drop(exit);
        let ended = served.and_then(|()| {
            order.exits.wait_for_all();
            if tidies.load(Ordering::Acquire) {
                end.wait();
                give_back(realm, &mut *started.instance)?;
            }
            Ok(())
        });
        if let Err(error) = ended {
            realm.worker_failed(number, error);
        }
    }
    realm.unregister(started.registered);
}

fn serve(realm: &Realm, instance: &mut dyn Instance, receiver: u32) -> Result<(), Error> {
    let exports = realm.surface.pool.as_ref();
    let exports = exports.expect("a pool has its exports");
    instance.call(exports.start_worker, &[Val::from(receiver)], &mut [])
}

/// Gives back the stack and the thread-local block of the calling thread.
fn give_back(realm: &Realm, instance: &mut dyn Instance) -> Result<(), Error> {
    let Some((destroy, params)) = realm.surface.thread_destroy else {
        return Ok(());
    };
    // Zeros name those of the calling thread.
    instance.call(destroy, &vec![Val::I32(0); params], &mut [])
}

/// Calls an export that returns a promise, and forgets the promise.
fn call_for_promise(
    main: &mut dyn Instance,
    thread: &Thread,
    func: FuncIndex,
    ty: &FuncType,
    args: &[Val],
) -> Result<(), Error> {
    let mut results: Vec<Val> = ty.results().iter().map(|ty| Val::zero(*ty)).collect();
    main.call(func, args, &mut results)?;
    if let [Val::I32(promise)] = results[..] {
        thread.heap().take(promise.cast_unsigned());
    }
    Ok(())
}

/// `undefined` as an argument of this type; in the older ABI it is this slot.
fn undefined(ty: ValType, slot: u32) -> Val {
    match ty {
        ValType::I32 => Val::from(slot),
        ty => Val::zero(ty),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_calls_only_if_it_is_kept_too_long() {
        let (called, calls) = mpsc::channel();
        let say = |what: &'static str| {
            let called = called.clone();
            move || called.send(what).unwrap()
        };
        let kept = watch(Duration::from_millis(1), say("kept")).unwrap();
        let dropped = watch(Duration::from_mins(10), say("dropped")).unwrap();
        drop(dropped);
        drop(called);
        // It ends when both watches have.
        assert_eq!(calls.iter().collect::<Vec<_>>(), ["kept"]);
        drop(kept);
    }
}
