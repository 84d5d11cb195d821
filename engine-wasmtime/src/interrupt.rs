//! Deadlines and interrupters, on wasmtime's epochs.
//!
//! Compiled code compares the engine's epoch with the store's at every function entry and loop.
//! When the engine's epoch has advanced, it calls [`Clock::check`], which ends the call or lets it
//! go on until the next tick. Epochs advance only when that is needed: the [`Ticker`] ticks while a
//! call with a deadline is in flight, and an interrupter advances the epoch by itself.
//!
//! A thread in `memory.atomic.wait` does not check the epoch, and only the guest's own `notify` can
//! end the wait. So the ticker notifies every address in the shared memories of a call that must
//! end, until it has ended: about 1 ms per MiB. Other instances with the same memory see spurious
//! wake-ups, for which waiting code must be prepared anyway.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use engine_api::{Error, Interrupt, Interrupter, Trap};

/// The time between two checks of deadlines.
const TICK: Duration = Duration::from_millis(10);

/// After this many ticks that nobody needed, the ticker sleeps until it is woken. Waking it costs
/// the next call with a deadline a system call.
const TICKS_IDLE_MAX: u32 = 10;

/// The thread that advances an engine's epoch. It starts with the first instance that needs it,
/// sleeps while no call with a deadline is in flight, and ends with the engine.
pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    /// The number of calls with a deadline in flight.
    calls: AtomicUsize,
    /// Whether the thread waits to be woken, and not just for the next tick.
    asleep: AtomicBool,
    inner: Mutex<Inner>,
    wake: Condvar,
    /// The time from which [`Watch::expires`] counts.
    origin: Instant,
}

#[derive(Default)]
struct Inner {
    stop: bool,
    /// Instances with shared memories. The ticker may have to wake their guests.
    waiting: Vec<Weak<Watch>>,
}

impl Ticker {
    pub(crate) fn new() -> Self {
        Self {
            shared: Arc::new(Shared {
                calls: AtomicUsize::new(0),
                asleep: AtomicBool::new(false),
                inner: Mutex::new(Inner::default()),
                wake: Condvar::new(),
                origin: Instant::now(),
            }),
            thread: Mutex::new(None),
        }
    }

    /// Starts the thread, if it does not run yet.
    ///
    /// # Errors
    ///
    /// The system's error, if it cannot start a thread.
    pub(crate) fn start(&self, engine: &wasmtime::Engine) -> std::io::Result<()> {
        let mut thread = lock(&self.thread);
        if thread.is_none() {
            let (shared, engine) = (Arc::clone(&self.shared), engine.clone());
            let spawned = std::thread::Builder::new()
                .name("wasmtime-ticker".to_owned())
                .spawn(move || shared.run(&engine))?;
            *thread = Some(spawned);
        }
        Ok(())
    }
}

impl Shared {
    fn run(&self, engine: &wasmtime::Engine) {
        let mut ticks_idle = 0;
        let mut inner = lock(&self.inner);
        while !inner.stop {
            inner = if ticks_idle < TICKS_IDLE_MAX {
                self.wake
                    .wait_timeout(inner, TICK)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0
            } else {
                self.sleep(inner)
            };
            inner.waiting.retain(|watch| watch.strong_count() > 0);
            let now = self.now();
            let overdue: Vec<Arc<Watch>> = inner
                .waiting
                .iter()
                .filter_map(Weak::upgrade)
                .filter(|watch| watch.is_overdue(now))
                .collect();
            if self.calls.load(Ordering::SeqCst) == 0 && overdue.is_empty() {
                ticks_idle = (ticks_idle + 1).min(TICKS_IDLE_MAX);
                continue;
            }
            ticks_idle = 0;
            engine.increment_epoch();
            drop(inner);
            for watch in overdue {
                watch.wake_waiters();
            }
            inner = lock(&self.inner);
        }
    }

    /// Waits until a call needs ticks.
    fn sleep<'a>(&'a self, mut inner: MutexGuard<'a, Inner>) -> MutexGuard<'a, Inner> {
        // A call that enters after this store sees it, and takes the lock to wake this thread. The
        // load below sees a call that entered before.
        self.asleep.store(true, Ordering::SeqCst);
        if self.calls.load(Ordering::SeqCst) == 0 {
            inner = self
                .wake
                .wait(inner)
                .unwrap_or_else(PoisonError::into_inner);
        }
        self.asleep.store(false, Ordering::SeqCst);
        inner
    }

    fn enter(&self) {
        self.calls.fetch_add(1, Ordering::SeqCst);
        if self.asleep.load(Ordering::SeqCst) {
            self.notify();
        }
    }

    fn leave(&self) {
        self.calls.fetch_sub(1, Ordering::SeqCst);
    }

    fn notify(&self) {
        // While this holds the lock, the thread either waits or has not looked yet.
        let _guard = lock(&self.inner);
        self.wake.notify_one();
    }

    /// Nanoseconds since the ticker was made. They suffice for 584 years.
    fn now(&self) -> u64 {
        nanoseconds(self.origin.elapsed())
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        let Some(thread) = lock(&self.thread).take() else {
            return;
        };
        lock(&self.shared.inner).stop = true;
        self.shared.wake.notify_one();
        // The thread does not panic, and there would be nobody to tell.
        drop(thread.join());
    }
}

/// Locks a mutex, also a poisoned one: no holder can leave its data half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The value of [`Watch::expires`] while no call is in flight.
const IDLE: u64 = u64::MAX;

/// The value of [`Watch::expires`] while a call without a deadline is in flight.
const NEVER: u64 = u64::MAX - 1;

/// The state of an instance's calls that other threads see.
struct Watch {
    interrupted: AtomicBool,
    /// When the call in flight passes its deadline, in nanoseconds since the ticker was made.
    expires: AtomicU64,
    /// Whether the guest has called a host function, which must run to its end.
    in_host: AtomicBool,
    /// Whether the ticker has begun to end its waits. The guest's results may then be wrong.
    woken: AtomicBool,
    /// The memories in which its guest may wait for another thread.
    memories: Mutex<Vec<wasmtime::SharedMemory>>,
}

impl Watch {
    /// Whether the guest's own code runs in a call that should have ended.
    fn is_overdue(&self, now: u64) -> bool {
        let expires = self.expires.load(Ordering::Relaxed);
        expires != IDLE
            && (expires <= now || self.interrupted.load(Ordering::Relaxed))
            && !self.in_host.load(Ordering::Relaxed)
    }

    /// Ends every wait in the memories of the instance. If the guest waits again before it checks
    /// the epoch, the next tick wakes it.
    fn wake_waiters(&self) {
        // This comes first: a guest could otherwise be woken and return before.
        self.woken.store(true, Ordering::Release);
        for memory in lock(&self.memories).iter() {
            for address in (0..memory.data_size() as u64).step_by(4) {
                if self.expires.load(Ordering::Relaxed) == IDLE {
                    return;
                }
                // The address is aligned and within the memory, which never shrinks.
                let _ = memory.atomic_notify(address, u32::MAX);
            }
        }
    }
}

/// Decides when the calls of one instance must end.
pub(crate) struct Clock {
    watch: Arc<Watch>,
    ticker: Arc<Shared>,
    /// How long one outermost call may take, in nanoseconds.
    deadline: Option<u64>,
    /// Calls in flight, one inside the other.
    depth: u32,
}

impl Clock {
    pub(crate) fn new(ticker: &Ticker, deadline: Option<Duration>) -> Self {
        Self {
            watch: Arc::new(Watch {
                interrupted: AtomicBool::new(false),
                expires: AtomicU64::new(IDLE),
                in_host: AtomicBool::new(false),
                woken: AtomicBool::new(false),
                memories: Mutex::default(),
            }),
            ticker: Arc::clone(&ticker.shared),
            deadline: deadline.map(nanoseconds),
            depth: 0,
        }
    }

    /// Notes a memory in which the guest may wait. The ticker must have been started.
    pub(crate) fn watch_memory(&self, memory: &wasmtime::SharedMemory) {
        let mut memories = lock(&self.watch.memories);
        let address = memory.data().as_ptr();
        if memories
            .iter()
            .any(|known| known.data().as_ptr() == address)
        {
            return;
        }
        if memories.is_empty() {
            let mut inner = lock(&self.ticker.inner);
            inner.waiting.push(Arc::downgrade(&self.watch));
        }
        memories.push(memory.clone());
    }

    /// Begins a call, and returns whether it is an outermost one.
    ///
    /// # Errors
    ///
    /// [`Trap::Interrupted`] if the instance was interrupted before. The call has not begun then.
    #[inline]
    pub(crate) fn enter(&mut self) -> Result<bool, Error> {
        if self.watch.interrupted.load(Ordering::Acquire) {
            return Err(Error::Trap(Trap::Interrupted));
        }
        let outermost = self.depth == 0;
        self.depth += 1;
        if outermost {
            let expires = match self.deadline {
                None => NEVER,
                Some(deadline) => {
                    self.ticker.enter();
                    self.ticker.now().saturating_add(deadline).min(NEVER)
                }
            };
            self.watch.woken.store(false, Ordering::Relaxed);
            self.watch.expires.store(expires, Ordering::Relaxed);
        } else {
            self.watch.in_host.store(false, Ordering::Relaxed);
        }
        Ok(outermost)
    }

    /// Ends a call that [`Clock::enter`] began.
    ///
    /// # Errors
    ///
    /// As [`Clock::check`], for an outermost call whose guest the ticker woke from a wait: the
    /// guest may have taken the wake-up for a real one, and returned before its next epoch check.
    #[inline]
    pub(crate) fn leave(&mut self) -> Result<(), Error> {
        self.depth -= 1;
        if self.depth == 0 {
            let outcome = if self.watch.woken.load(Ordering::Acquire) {
                self.check()
            } else {
                Ok(())
            };
            self.watch.expires.store(IDLE, Ordering::Relaxed);
            if self.deadline.is_some() {
                self.ticker.leave();
            }
            outcome
        } else {
            self.watch.in_host.store(true, Ordering::Relaxed);
            Ok(())
        }
    }

    /// Notes that the guest calls a host function, or that one has returned.
    #[inline]
    pub(crate) fn set_in_host(&self, in_host: bool) {
        self.watch.in_host.store(in_host, Ordering::Relaxed);
    }

    /// Whether the call in flight may go on until the next tick.
    ///
    /// # Errors
    ///
    /// [`Trap::Interrupted`] or [`Trap::DeadlineExceeded`].
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.watch.interrupted.load(Ordering::Acquire) {
            return Err(Error::Trap(Trap::Interrupted));
        }
        let expires = self.watch.expires.load(Ordering::Relaxed);
        if self.deadline.is_some() && self.ticker.now() >= expires {
            return Err(Error::Trap(Trap::DeadlineExceeded));
        }
        Ok(())
    }

    pub(crate) fn interrupter(&self, engine: &wasmtime::Engine) -> Interrupter {
        Interrupter::new(Arc::new(Request {
            watch: Arc::downgrade(&self.watch),
            ticker: Arc::downgrade(&self.ticker),
            engine: engine.weak(),
        }))
    }
}

/// The engine's side of an [`Interrupter`]. It keeps neither the instance nor the engine alive.
struct Request {
    watch: Weak<Watch>,
    ticker: Weak<Shared>,
    engine: wasmtime::EngineWeak,
}

impl Interrupt for Request {
    fn interrupt(&self) {
        let Some(watch) = self.watch.upgrade() else {
            return;
        };
        watch.interrupted.store(true, Ordering::Release);
        // The guest sees the flag when it finds that the epoch has advanced.
        if let Some(engine) = self.engine.upgrade() {
            engine.increment_epoch();
        }
        if let Some(ticker) = self.ticker.upgrade()
            && !lock(&watch.memories).is_empty()
        {
            ticker.notify();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait_until(condition: impl Fn() -> bool) {
        let start = Instant::now();
        while !condition() {
            assert!(start.elapsed() < Duration::from_secs(10), "it never came");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn the_ticker_sleeps_without_calls_wakes_for_one_and_ends_when_dropped() {
        let engine = wasmtime::Engine::default();
        let ticker = Ticker::new();
        ticker.start(&engine).unwrap();
        ticker.start(&engine).unwrap();
        let shared = Arc::downgrade(&ticker.shared);
        wait_until(|| ticker.shared.asleep.load(Ordering::SeqCst));

        let mut clock = Clock::new(&ticker, Some(Duration::from_millis(1)));
        assert_eq!(clock.enter().ok(), Some(true));
        assert_eq!(clock.enter().ok(), Some(false));
        assert!(!ticker.shared.asleep.load(Ordering::SeqCst) || clock.check().is_ok());
        wait_until(|| matches!(clock.check(), Err(Error::Trap(Trap::DeadlineExceeded))));
        clock.leave().unwrap();
        assert_eq!(ticker.shared.calls.load(Ordering::SeqCst), 1);
        clock.leave().unwrap();
        assert!(clock.check().is_ok());
        wait_until(|| ticker.shared.asleep.load(Ordering::SeqCst));

        drop(clock);
        drop(ticker);
        assert!(shared.upgrade().is_none(), "the thread still runs");
    }

    #[test]
    fn an_interrupter_outlives_instance_and_engine_without_keeping_them() {
        let engine = wasmtime::Engine::default();
        let ticker = Ticker::new();
        let mut clock = Clock::new(&ticker, None);
        let interrupter = clock.interrupter(&engine);
        assert!(clock.enter().is_ok());
        assert!(clock.check().is_ok());
        interrupter.interrupt();
        assert!(matches!(clock.check(), Err(Error::Trap(Trap::Interrupted))));
        clock.leave().unwrap();
        assert!(clock.enter().is_err());
        let (weak_engine, weak_ticker) = (engine.weak(), Arc::downgrade(&ticker.shared));
        drop((clock, ticker, engine));
        assert!(weak_engine.upgrade().is_none() && weak_ticker.upgrade().is_none());
        interrupter.interrupt();
    }
}
