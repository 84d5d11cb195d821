//! Ending a guest from outside: deadlines, and the contract's `Interrupter`.
//!
//! wasmer ends a guest with SIGUSR1, whose handler unwinds the guest's stack from wherever it is. That
//! is safe in the guest's own code, and nowhere else: a library call or the entry of a host function
//! may hold a lock, or be allocating. So every call runs under a trap handler of ours, which wasmer
//! asks first, and which swallows the signal unless the machine is in compiled code and the call is
//! one to be ended. Swallowed signals are repeated every millisecond by one watchdog thread, until
//! the call has ended; host functions and waits look at the same flag when they return. Hence
//!
//! * a signal that arrives late cannot hurt the next call: its flag is not set;
//! * the thread exists while there are instances with a deadline or an interrupter, and no longer;
//! * calls of other instances pay nothing.

use std::cell::Cell;
use std::io;
use std::marker::PhantomData;
use std::ops::Range;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

use engine_api::{Interrupt, Trap};
use wasmer_types::StoreId;
use wasmer_vm::TrapHandlerFn;
use wasmer_vm::interrupt_registry;

/// Whether this build can tell where the machine was when a signal came.
pub(crate) const AVAILABLE: bool = cfg!(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
));

/// How long to wait before a signal that did not end the call is repeated.
const RETRY: Duration = Duration::from_millis(1);

/// What other threads know of an instance.
pub(crate) struct Watched {
    store: StoreId,
    /// Somebody interrupted the instance: this call and all later ones.
    interrupted: AtomicBool,
    /// Why the call in flight is to end; 0 if it is not. Read by the signal handler.
    kill: AtomicU8,
    call: Mutex<Call>,
    /// The thread, while it sleeps in a `memory.atomic.wait`.
    asleep: Mutex<Option<Thread>>,
}

#[derive(Default)]
struct Call {
    running: bool,
    deadline: Option<Instant>,
}

const DEADLINE: u8 = 1;
const INTERRUPTED: u8 = 2;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Watched {
    pub(crate) fn new(store: StoreId) -> Arc<Self> {
        Arc::new(Self {
            store,
            interrupted: AtomicBool::new(false),
            kill: AtomicU8::new(0),
            call: Mutex::default(),
            asleep: Mutex::new(None),
        })
    }

    /// Why the call in flight is to end.
    #[inline]
    pub(crate) fn kill(&self) -> Option<Trap> {
        match self.kill.load(Ordering::Acquire) {
            0 => None,
            DEADLINE => Some(Trap::DeadlineExceeded),
            _ => Some(Trap::Interrupted),
        }
    }

    /// Notes that this thread sleeps, until the returned guard is dropped.
    pub(crate) fn sleep(&self) -> Asleep<'_> {
        *lock(&self.asleep) = Some(thread::current());
        Asleep(self)
    }

    /// Starts an outermost call.
    fn begin(&self, deadline: Option<Instant>) -> Result<(), Trap> {
        let mut call = lock(&self.call);
        if self.interrupted.load(Ordering::Acquire) {
            return Err(Trap::Interrupted);
        }
        *call = Call {
            running: true,
            deadline,
        };
        Ok(())
    }

    /// Ends it. No signal is sent for it any more once this returns.
    fn end(&self) -> Option<Trap> {
        let mut call = lock(&self.call);
        *call = Call::default();
        let kill = self.kill();
        self.kill.store(0, Ordering::Release);
        kill
    }

    /// Tries to end the call in flight if its time has come; whether it is worth another try.
    fn pursue(&self, now: Instant) -> bool {
        // Held while the signal is sent, so that `end` cannot overtake it.
        let call = lock(&self.call);
        let reason = if !call.running {
            return false;
        } else if self.interrupted.load(Ordering::Acquire) {
            INTERRUPTED
        } else if call.deadline.is_some_and(|deadline| deadline <= now) {
            DEADLINE
        } else {
            return false;
        };
        // The first reason stays.
        let _ = self
            .kill
            .compare_exchange(0, reason, Ordering::AcqRel, Ordering::Acquire);
        if let Some(sleeper) = &*lock(&self.asleep) {
            sleeper.unpark();
        }
        // Fails while the call is between two states or a signal is under way: hence the retries.
        let _ = interrupt_registry::interrupt(self.store);
        true
    }
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
        Ok(Self {
            watched: Arc::clone(watched),
            dog: Watchdog::get()?,
        })
    }

    /// Starts an outermost call, with its deadline.
    ///
    /// # Errors
    ///
    /// [`Trap::Interrupted`] if the instance has been interrupted.
    pub(crate) fn begin(&self, time: Option<Duration>) -> Result<(), Trap> {
        // A deadline beyond the clock's end is none.
        let deadline = time.and_then(|time| Instant::now().checked_add(time));
        self.watched.begin(deadline)?;
        if let Some(deadline) = deadline {
            self.dog.pack.arm(&self.watched, deadline);
        }
        Ok(())
    }

    /// Ends an outermost call; why it was to end early, if it was.
    pub(crate) fn end(&self, had_deadline: bool) -> Option<Trap> {
        let kill = self.watched.end();
        if had_deadline || kill.is_some() {
            self.dog.pack.disarm(&self.watched);
        }
        kill
    }

    /// Lets signals for this instance reach this thread.
    ///
    /// # Errors
    ///
    /// The reason, if the call is already to end.
    pub(crate) fn enter(&self) -> Result<interrupt_registry::InterruptInstallGuard, Trap> {
        interrupt_registry::install(self.watched.store)
            .map_err(|_| self.watched.kill().unwrap_or(Trap::Interrupted))
    }

    pub(crate) fn handle(&self) -> Handle {
        Handle {
            watched: Arc::clone(&self.watched),
            dog: Arc::downgrade(&self.dog),
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
        self.watched.interrupted.store(true, Ordering::Release);
        let now = Instant::now();
        if self.watched.pursue(now)
            && let Some(dog) = self.dog.upgrade()
        {
            dog.pack.arm(&self.watched, now + RETRY);
        }
    }
}

/// The thread that sends signals: one for the process, while anything is watched.
struct Watchdog {
    pack: Arc<Pack>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Pack {
    state: Mutex<PackState>,
    changed: Condvar,
}

#[derive(Default)]
struct PackState {
    armed: Vec<(Instant, Arc<Watched>)>,
    /// When the thread will look next by itself.
    wake: Option<Instant>,
    stop: bool,
}

impl Watchdog {
    fn get() -> io::Result<Arc<Self>> {
        static CURRENT: Mutex<Weak<Watchdog>> = Mutex::new(Weak::new());
        let mut current = lock(&CURRENT);
        if let Some(dog) = current.upgrade() {
            return Ok(dog);
        }
        let pack = Arc::new(Pack::default());
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
    /// Watches a call from `at` on. Wakes the thread only if it would come too late, so that a run
    /// of short calls with one time limit wakes it once per limit, not once per call.
    fn arm(&self, watched: &Arc<Watched>, at: Instant) {
        let mut state = lock(&self.state);
        state.armed.push((at, Arc::clone(watched)));
        if state.wake.is_none_or(|wake| at < wake) {
            state.wake = Some(at);
            drop(state);
            self.changed.notify_one();
        }
    }

    fn disarm(&self, watched: &Arc<Watched>) {
        let mut state = lock(&self.state);
        state
            .armed
            .retain(|(_, other)| !Arc::ptr_eq(other, watched));
    }

    fn run(&self) {
        let mut state = lock(&self.state);
        while !state.stop {
            let now = Instant::now();
            for (at, watched) in &mut state.armed {
                if *at <= now && watched.pursue(now) {
                    *at = now + RETRY;
                }
            }
            // What is not worth another try is not running any more, and disarms itself.
            state.armed.retain(|(at, _)| *at > now);
            state.wake = state.armed.iter().map(|(at, _)| *at).min();
            state = match state.wake {
                None => wait(&self.changed, state, None),
                Some(wake) => {
                    let time = wake.saturating_duration_since(now);
                    wait(&self.changed, state, Some(time))
                }
            };
        }
    }
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

/// Decides what a signal does to a call of an instance with this code. wasmer asks it from its
/// signal handlers, so it only loads and compares.
pub(crate) fn trap_handler(
    watched: &Arc<Watched>,
    code: &Range<usize>,
) -> Box<TrapHandlerFn<'static>> {
    let watched = Arc::clone(watched);
    let code = code.clone();
    Box::new(move |signal, _info, context| {
        if signal != libc::SIGUSR1 {
            // A trap of the guest's own: wasmer knows what to do.
            return false;
        }
        // If it does not count, wasmer is told that it has been dealt with; the watchdog repeats it.
        let wanted = watched.kill.load(Ordering::Acquire) != 0;
        !(wanted && code.contains(&program_counter(context)))
    })
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn program_counter(context: *const libc::c_void) -> usize {
    // SAFETY: the kernel gives a handler installed with SA_SIGINFO, as wasmer's is, its context.
    let context = unsafe { &*context.cast::<libc::ucontext_t>() };
    let register = usize::try_from(libc::REG_RIP).unwrap_or_default();
    usize::try_from(context.uc_mcontext.gregs[register]).unwrap_or_default()
}

#[cfg(all(target_os = "linux", target_arch = "aarch64"))]
fn program_counter(context: *const libc::c_void) -> usize {
    // SAFETY: the kernel gives a handler installed with SA_SIGINFO, as wasmer's is, its context.
    let context = unsafe { &*context.cast::<libc::ucontext_t>() };
    usize::try_from(context.uc_mcontext.pc).unwrap_or_default()
}

#[cfg(not(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
)))]
fn program_counter(_: *const libc::c_void) -> usize {
    0
}
