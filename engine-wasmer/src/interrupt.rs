//! Ends a guest's call from outside: deadlines, and the contract's `Interrupter`.
//!
//! A signal makes the processor leave the guest's code, wherever it is (see `signal.rs`). That is
//! safe only in the guest's own code: a library call or the entry of a host function may hold a
//! lock, or be allocating. So the handler does nothing unless the processor is in the code of the
//! guest that this thread runs, and that guest's call must end. One watchdog thread repeats the
//! signal every millisecond until the call has ended; host functions and waits check the same word
//! when they return. So
//!
//! * a signal that arrives late cannot hurt the next call, because that call is not marked to end;
//! * the thread exists only while there are instances with a deadline or an interrupter;
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

/// Whether the handler can tell the instruction that a signal interrupted, on this machine.
pub(crate) const AVAILABLE: bool = cfg!(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
));

/// The time until a signal that did not end the call is repeated, in nanoseconds.
const RETRY: u64 = 1_000_000;

/// The time of an event that never comes, in nanoseconds.
const NEVER: u64 = u64::MAX;

/// The state of an instance that other threads see.
pub(crate) struct Watched {
    /// The addresses of the guest's own code.
    code: Range<usize>,
    /// Whether somebody interrupted the instance: the call in flight and all later ones.
    interrupted: AtomicBool,
    /// The number of the last outermost call, above [`STATE_BITS`] bits with its state. Only the
    /// thread that runs the instance begins and ends calls, so it can overwrite the word. Other
    /// threads only mark the call of a certain number to end, which fails if it has ended.
    call: AtomicU64,
    /// The deadline of the call in flight, in nanoseconds since the watchdog's birth.
    expires: AtomicU64,
    /// The system's number of the thread on which the last call began.
    thread: AtomicI32,
    /// The thread that runs the guest, while it sleeps in a `memory.atomic.wait`.
    asleep: Mutex<Option<Thread>>,
}

const STATE_BITS: u32 = 2;
const STATE: u64 = (1 << STATE_BITS) - 1;

/// States of [`Watched::call`]. Those from [`DEADLINE`] on say why the call must end.
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
    /// For an instance whose code has these addresses.
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

    /// Why the call in flight must end, if it must.
    #[inline]
    pub(crate) fn kill(&self) -> Option<Trap> {
        reason(self.call.load(Ordering::Acquire))
    }

    /// Notes that this thread sleeps, until the returned guard is dropped.
    pub(crate) fn sleep(&self) -> Asleep<'_> {
        *lock(&self.asleep) = Some(thread::current());
        Asleep(self)
    }

    /// Begins an outermost call.
    #[inline]
    fn begin(&self, expires: u64) -> Result<(), Trap> {
        self.expires.store(expires, Ordering::Relaxed);
        self.thread.store(this_thread(), Ordering::Relaxed);
        let number = (self.call.load(Ordering::Relaxed) | STATE).wrapping_add(1);
        // This comes before the load below, in the order that all threads see. An interrupter first
        // stores its flag and then looks for a call. So either this thread sees the flag, or the
        // interrupter sees the call.
        self.call.swap(number | RUNNING, Ordering::SeqCst);
        if self.interrupted.load(Ordering::SeqCst) {
            self.end();
            return Err(Trap::Interrupted);
        }
        Ok(())
    }

    /// Ends the outermost call, and returns why it had to end early, if it had to.
    #[inline]
    fn end(&self) -> Option<Trap> {
        let call = self.call.load(Ordering::Acquire);
        self.call.store(call & !STATE, Ordering::Release);
        reason(call)
    }

    /// Tries to end the call in flight if it must end, and returns when to look again.
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
        // This fails if the call has ended meanwhile, or if another thread was first.
        let _ = self
            .call
            .compare_exchange(call, marked, Ordering::AcqRel, Ordering::Acquire);
        if let Some(sleeper) = &*lock(&self.asleep) {
            sleeper.unpark();
        }
        // The signal has no effect while the thread is in a host function or between two states, so
        // it is repeated.
        signal::send(self.thread.load(Ordering::Relaxed));
        now.saturating_add(RETRY)
    }
}

/// The system's number of this thread. The system is asked once.
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
    /// An address on this thread's own stack, from when it last entered a guest while it ran no
    /// other.
    static ENTERED_AT: Cell<usize> = const { Cell::new(0) };
}

/// The bytes of the thread's own stack that recursion through host functions may use. Threads of
/// Rust have 2 MiB, and a guest that recurses through a host function must not end the process.
const HOST_STACK_BYTES_MAX: usize = 512 << 10;

/// Notes that this thread runs the code of an instance, until the guard is dropped.
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

/// Whether the call that runs on this thread must end.
#[inline]
pub(crate) fn is_current_killed() -> bool {
    // SAFETY: the guard that set it borrows the instance's state for as long as it is set.
    let current = unsafe { CURRENT.get().as_ref() };
    current.is_some_and(|watched| watched.kill().is_some())
}

/// Whether that address is in the code of the guest that this thread runs, in a call that must end.
/// The signal handler calls this, at any moment.
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

/// Makes the calls of an instance interruptible, while it exists.
pub(crate) struct Watch {
    watched: Arc<Watched>,
    dog: Arc<Watchdog>,
}

impl Watch {
    /// # Errors
    ///
    /// The system's error, if it cannot start a thread or install the signal handler.
    pub(crate) fn new(watched: &Arc<Watched>) -> io::Result<Self> {
        signal::install(is_to_end_at)?;
        let dog = Watchdog::get()?;
        lock(&dog.pack.state).watched.push(Arc::clone(watched));
        Ok(Self {
            watched: Arc::clone(watched),
            dog,
        })
    }

    /// Begins an outermost call, with its deadline.
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

    /// Ends an outermost call, and returns why it had to end early, if it had to.
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

/// The engine's side of an `Interrupter`. It does not keep the watchdog alive: once its instance is
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

/// The thread that sends signals. There is one in the process while any instance is watched.
struct Watchdog {
    pack: Arc<Pack>,
    thread: Option<JoinHandle<()>>,
}

struct Pack {
    state: Mutex<PackState>,
    changed: Condvar,
    /// When the thread will next look by itself. It is written while the lock is held.
    wake: AtomicU64,
    /// The time from which all times count.
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
        // This may run on the watchdog's own thread, if an interrupt there held the last reference.
        if thread.thread().id() != thread::current().id() {
            let _ = thread.join();
        }
    }
}

impl Pack {
    /// Nanoseconds since the watchdog's birth.
    #[inline]
    fn now(&self) -> u64 {
        nanoseconds(self.birth.elapsed())
    }

    /// Makes the thread look no later than at `at`. This wakes the thread only if it would look too
    /// late: a run of short calls with the same time limit wakes it once per limit, not per call.
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
            // A thread that begins a call from here on waits for the lock, and then sets a time to
            // wake. One that began before has published its call before it loaded `wake`, so the
            // loop below sees that call.
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
