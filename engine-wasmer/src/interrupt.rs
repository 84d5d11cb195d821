//! Ending a guest from outside: deadlines, and the contract's `Interrupter`.
//!
//! A signal takes the machine out of the guest's code, wherever it is (see `signal.rs`). That is
//! safe in the guest's own code, and nowhere else: a library call or the entry of a host function
//! may hold a lock, or be allocating. So the handler does nothing unless the machine is in the code
//! of the guest that this thread runs, and that guest's call is one to be ended. Signals are
//! repeated every millisecond by one watchdog thread, until the call has ended; host functions and
//! waits look at the same word when they return. Hence
//!
//! * a signal that arrives late cannot hurt the next call: its word does not say that it is to end;
//! * the thread exists while there are instances with a deadline or an interrupter, and no longer;
//! * calls of other instances pay nothing, and those of watched ones a few stores and one exchange.

use std::cell::Cell;
use std::io;
use std::marker::PhantomData;
use std::ops::Range;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

use engine_api::{Interrupt, Trap};

use crate::signal;

/// Whether this build can tell where the machine was when a signal came.
pub(crate) const AVAILABLE: bool = cfg!(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
));

/// How long to wait before a signal that did not end the call is repeated, in nanoseconds.
const RETRY: u64 = 1_000_000;

/// The end of time, in nanoseconds.
const NEVER: u64 = u64::MAX;

/// What other threads know of an instance.
pub(crate) struct Watched {
    /// Where the guest's own code lies.
    code: Range<usize>,
    /// Somebody interrupted the instance: this call and all later ones.
    interrupted: AtomicBool,
    /// The number of the last outermost call, above [`STATE_BITS`] bits of what has become of it.
    /// Only the thread that runs the instance begins and ends calls, so it need not read what it
    /// overwrites; all others only say that the call of a certain number is to end, which fails if
    /// it has.
    call: AtomicU64,
    /// When the call in flight passes its deadline, in nanoseconds since the watchdog's birth.
    expires: AtomicU64,
    /// The system's number of the thread that the last call began on.
    thread: AtomicI32,
    /// The thread, while it sleeps in a `memory.atomic.wait`.
    asleep: Mutex<Option<Thread>>,
}

const STATE_BITS: u32 = 2;
const STATE: u64 = (1 << STATE_BITS) - 1;

/// States of [`Watched::call`]; those from [`DEADLINE`] on say why the call is to end.
const IDLE: u64 = 0;
const RUNNING: u64 = 1;
const DEADLINE: u64 = 2;
const INTERRUPTED: u64 = 3;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn reason(call: u64) -> Option<Trap> {
    match call & STATE {
        DEADLINE => Some(Trap::DeadlineExceeded),
        INTERRUPTED => Some(Trap::Interrupted),
        _ => None,
    }
}

impl Watched {
    /// For an instance whose code lies there.
    pub(crate) fn new(code: &Range<usize>) -> Arc<Self> {
        Arc::new(Self {
            code: code.clone(),
            interrupted: AtomicBool::new(false),
            call: AtomicU64::new(IDLE),
            expires: AtomicU64::new(NEVER),
            thread: AtomicI32::new(0),
            asleep: Mutex::new(None),
        })
    }

    /// Why the call in flight is to end.
    #[inline]
    pub(crate) fn kill(&self) -> Option<Trap> {
        reason(self.call.load(Ordering::Acquire))
    }

    /// Notes that this thread sleeps, until the returned guard is dropped.
    pub(crate) fn sleep(&self) -> Asleep<'_> {
        *lock(&self.asleep) = Some(thread::current());
        Asleep(self)
    }

    /// Starts an outermost call.
    #[inline]
    fn begin(&self, expires: u64) -> Result<(), Trap> {
        self.expires.store(expires, Ordering::Relaxed);
        self.thread.store(this_thread(), Ordering::Relaxed);
        let number = (self.call.load(Ordering::Relaxed) | STATE).wrapping_add(1);
        // Before the load below, in the order that everybody sees: who interrupts stores first and
        // then looks for a call. Either we see that, or he sees us.
        self.call.swap(number | RUNNING, Ordering::SeqCst);
        if self.interrupted.load(Ordering::SeqCst) {
            self.end();
            return Err(Trap::Interrupted);
        }
        Ok(())
    }

    /// Ends it; why it was to end early, if it was.
    #[inline]
    fn end(&self) -> Option<Trap> {
        let call = self.call.load(Ordering::Acquire);
        self.call.store(call & !STATE, Ordering::Release);
        reason(call)
    }

    /// Tries to end the call in flight if its time has come. When to look again.
    fn pursue(&self, now: u64) -> u64 {
        let call = self.call.load(Ordering::SeqCst);
        let expires = self.expires.load(Ordering::Relaxed);
        let state = match call & STATE {
            IDLE => return NEVER,
            RUNNING if self.interrupted.load(Ordering::Acquire) => INTERRUPTED,
            RUNNING if expires <= now => DEADLINE,
            RUNNING => return expires,
            // The first reason stays.
            reason => reason,
        };
        let marked = (call & !STATE) | state;
        // Fails if the call has ended meanwhile, or somebody else was first.
        let _ = self
            .call
            .compare_exchange(call, marked, Ordering::AcqRel, Ordering::Acquire);
        if let Some(sleeper) = &*lock(&self.asleep) {
            sleeper.unpark();
        }
        // It may come while the thread is between two states, or in a host function: hence the
        // retries.
        signal::send(self.thread.load(Ordering::Relaxed));
        now.saturating_add(RETRY)
    }
}

/// The system's number of this thread, asked for once.
#[inline]
fn this_thread() -> i32 {
    thread_local! {
        static NUMBER: Cell<i32> = const { Cell::new(0) };
    }
    let known = NUMBER.get();
    if known != 0 {
        return known;
    }
    let number = signal::this_thread();
    NUMBER.set(number);
    number
}

thread_local! {
    /// The instance whose code this thread runs, or null.
    static CURRENT: Cell<*const Watched> = const { Cell::new(ptr::null()) };
    /// Where this thread's own stack ended when it last entered a guest from outside of all guests.
    static ENTERED_AT: Cell<usize> = const { Cell::new(0) };
}

/// Stack of the host that calls of guests by host functions may use in all. Threads of Rust have
/// 2 MiB, and a guest that recurses through a host function must not end the process.
const HOST_STACK_BYTES_MAX: usize = 512 << 10;

/// Makes an instance the one whose code this thread runs, until the guard is dropped.
///
/// # Errors
///
/// [`Trap::StackOverflow`] if guests and host functions call each other too deep.
#[inline]
pub(crate) fn running(watched: &Watched) -> Result<Running<'_>, Trap> {
    let marker = 0_u8;
    let here = (&raw const marker).addr();
    if CURRENT.get().is_null() {
        ENTERED_AT.set(here);
    } else if ENTERED_AT.get().abs_diff(here) > HOST_STACK_BYTES_MAX {
        return Err(Trap::StackOverflow);
    }
    Ok(Running {
        outer: CURRENT.replace(ptr::from_ref(watched)),
        _watched: PhantomData,
    })
}

/// See [`running`].
pub(crate) struct Running<'a> {
    outer: *const Watched,
    _watched: PhantomData<&'a Watched>,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        CURRENT.set(self.outer);
    }
}

/// Whether the call that runs on this thread is to end.
#[inline]
pub(crate) fn is_current_killed() -> bool {
    // SAFETY: the guard that set it borrows the instance's state for as long as it is set.
    let current = unsafe { CURRENT.get().as_ref() };
    current.is_some_and(|watched| watched.kill().is_some())
}

/// Whether this thread is in a guest's own code at that address, in a call that is to end. For the
/// signal's handler: it may come at any moment.
fn is_to_end_at(program_counter: usize) -> bool {
    // SAFETY: as in `is_current_killed`.
    let current = unsafe { CURRENT.get().as_ref() };
    current
        .is_some_and(|watched| watched.code.contains(&program_counter) && watched.kill().is_some())
}

/// See [`Watched::sleep`].
pub(crate) struct Asleep<'a>(&'a Watched);

impl Drop for Asleep<'_> {
    fn drop(&mut self) {
        *lock(&self.0.asleep) = None;
    }
}

/// What makes an instance's calls interruptible.
pub(crate) struct Watch {
    watched: Arc<Watched>,
    dog: Arc<Watchdog>,
}

impl Watch {
    /// # Errors
    ///
    /// The system's, if it gives no thread.
    pub(crate) fn new(watched: &Arc<Watched>) -> io::Result<Self> {
        signal::install(is_to_end_at)?;
        let dog = Watchdog::get()?;
        lock(&dog.pack.state).watched.push(Arc::clone(watched));
        Ok(Self {
            watched: Arc::clone(watched),
            dog,
        })
    }

    /// Starts an outermost call, with its deadline.
    ///
    /// # Errors
    ///
    /// [`Trap::Interrupted`] if the instance has been interrupted.
    #[inline]
    pub(crate) fn begin(&self, time: Option<Duration>) -> Result<(), Trap> {
        match time {
            None => self.watched.begin(NEVER),
            Some(time) => {
                let pack = &*self.dog.pack;
                let expires = pack.now().saturating_add(nanoseconds(time));
                self.watched.begin(expires)?;
                pack.look_at(expires);
                Ok(())
            }
        }
    }

    /// Ends an outermost call; why it was to end early, if it was.
    #[inline]
    pub(crate) fn end(&self) -> Option<Trap> {
        self.watched.end()
    }

    pub(crate) fn handle(&self) -> Handle {
        Handle {
            watched: Arc::clone(&self.watched),
            dog: Arc::downgrade(&self.dog),
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut state = lock(&self.dog.pack.state);
        let own = |other: &Arc<Watched>| Arc::ptr_eq(other, &self.watched);
        if let Some(at) = state.watched.iter().position(own) {
            state.watched.swap_remove(at);
        }
    }
}

/// Behind the contract's `Interrupter`. It does not keep the watchdog alive: once its instance is
/// dropped, there is nothing to end.
pub(crate) struct Handle {
    watched: Arc<Watched>,
    dog: Weak<Watchdog>,
}

impl Interrupt for Handle {
    fn interrupt(&self) {
        self.watched.interrupted.store(true, Ordering::SeqCst);
        let Some(dog) = self.dog.upgrade() else {
            return;
        };
        let again = self.watched.pursue(dog.pack.now());
        dog.pack.look_at(again);
    }
}

/// The thread that sends signals: one for the process, while anything is watched.
struct Watchdog {
    pack: Arc<Pack>,
    thread: Option<JoinHandle<()>>,
}

struct Pack {
    state: Mutex<PackState>,
    changed: Condvar,
    /// When the thread will look next by itself. Written with the lock held.
    wake: AtomicU64,
    /// What all times count from.
    birth: Instant,
}

#[derive(Default)]
struct PackState {
    watched: Vec<Arc<Watched>>,
    stop: bool,
}

impl Watchdog {
    fn get() -> io::Result<Arc<Self>> {
        static CURRENT: Mutex<Weak<Watchdog>> = Mutex::new(Weak::new());
        let mut current = lock(&CURRENT);
        if let Some(dog) = current.upgrade() {
            return Ok(dog);
        }
        let pack = Arc::new(Pack {
            state: Mutex::default(),
            changed: Condvar::new(),
            wake: AtomicU64::new(NEVER),
            birth: Instant::now(),
        });
        let thread = thread::Builder::new()
            .name("wasmer-watchdog".to_owned())
            .spawn({
                let pack = Arc::clone(&pack);
                move || pack.run()
            })?;
        let dog = Arc::new(Self {
            pack,
            thread: Some(thread),
        });
        *current = Arc::downgrade(&dog);
        Ok(dog)
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        lock(&self.pack.state).stop = true;
        self.pack.changed.notify_one();
        let Some(thread) = self.thread.take() else {
            return;
        };
        // An interrupt on the thread itself may hold the last reference for a moment.
        if thread.thread().id() != thread::current().id() {
            let _ = thread.join();
        }
    }
}

impl Pack {
    /// Nanoseconds since its birth.
    #[inline]
    fn now(&self) -> u64 {
        nanoseconds(self.birth.elapsed())
    }

    /// Has the thread look at `at` at the latest. Wakes it only if it would come too late: a
    /// run of short calls with one time limit wakes it once per limit, not once per call.
    #[inline]
    fn look_at(&self, at: u64) {
        if at < self.wake.load(Ordering::SeqCst) {
            self.wake_by(at);
        }
    }

    #[cold]
    fn wake_by(&self, at: u64) {
        let _state = lock(&self.state);
        if at < self.wake.load(Ordering::SeqCst) {
            self.wake.store(at, Ordering::SeqCst);
            self.changed.notify_one();
        }
    }

    fn run(&self) {
        let mut state = lock(&self.state);
        while !state.stop {
            // Whoever begins a call from here on waits for the lock, and then says when to wake.
            // Who began one before is seen below: he published it before he loaded this.
            self.wake.store(NEVER, Ordering::SeqCst);
            let now = self.now();
            let looks = state.watched.iter().map(|watched| watched.pursue(now));
            let next = looks.min().unwrap_or(NEVER);
            self.wake.store(next, Ordering::SeqCst);
            state = match next {
                NEVER => wait(&self.changed, state, None),
                next => {
                    let time = Duration::from_nanos(next.saturating_sub(self.now()));
                    wait(&self.changed, state, Some(time))
                }
            };
        }
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(NEVER)
}

fn wait<'a>(
    changed: &Condvar,
    state: MutexGuard<'a, PackState>,
    time: Option<Duration>,
) -> MutexGuard<'a, PackState> {
    match time {
        None => changed.wait(state).unwrap_or_else(PoisonError::into_inner),
        Some(time) => {
            let woken = changed.wait_timeout(state, time);
            woken.unwrap_or_else(PoisonError::into_inner).0
        }
    }
}
