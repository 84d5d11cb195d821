//! The signal that ends a guest.
//!
//! The handler takes the machine out of the guest's code and sends it to one instruction that no
//! processor knows. What follows is a trap like any other, and wasmer unwinds the guest's stack as
//! it does for one. So nothing has to be registered for a call: the thread's own
//! [`crate::interrupt::Running`] says whether it is in code that may be ended.
//!
//! wasmer's own signal would do the same, but a guest has to be entered in a registry behind a lock
//! before each call, and taken out in the reverse order after it: five times the rest of an
//! addition.

use std::ffi::c_void;
use std::io;
use std::sync::OnceLock;

/// Ignored where nobody handles it, as on a thread of the host, and used by few: what Go interrupts
/// its own code with, for the same reasons.
const SIGNAL: libc::c_int = libc::SIGURG;

/// Whether a guest is to end at an address of its code.
type IsToEndAt = fn(usize) -> bool;

static IS_TO_END_AT: OnceLock<IsToEndAt> = OnceLock::new();

/// What handled the signal before.
static PREVIOUS: OnceLock<libc::sigaction> = OnceLock::new();

/// Lets the signal end guests where `is_to_end_at` says so, from the first call on. The handler
/// asks it, at any moment.
///
/// # Errors
///
/// The system's.
pub(crate) fn install(is_to_end_at: IsToEndAt) -> io::Result<()> {
    static OUTCOME: OnceLock<Result<(), i32>> = OnceLock::new();
    let outcome = OUTCOME.get_or_init(|| {
        // These come first: a signal may arrive as soon as there is a handler.
        IS_TO_END_AT.get_or_init(|| is_to_end_at);
        PREVIOUS.get_or_init(|| exchange(None).unwrap_or_else(|_| no_action()));
        let mut action = no_action();
        let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut c_void) = handle;
        action.sa_sigaction = handler as *const () as usize;
        // On the signal stack that wasmer gives each thread, because the guest's may have no room;
        // and without breaking off what a host function asks of the system.
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
        exchange(Some(&action)).map(drop)
    });
    outcome.map_err(io::Error::from_raw_os_error)
}

fn no_action() -> libc::sigaction {
    // SAFETY: numbers, and an optional pointer: zero is the default action without flags.
    unsafe { std::mem::zeroed() }
}

/// The action so far, after which there is another one.
fn exchange(action: Option<&libc::sigaction>) -> Result<libc::sigaction, i32> {
    let mut previous = no_action();
    let new = action.map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: both point to actions, or to none; `handle` only does what a handler may.
    let outcome = unsafe { libc::sigaction(SIGNAL, new, &raw mut previous) };
    if outcome == 0 {
        Ok(previous)
    } else {
        Err(io::Error::last_os_error().raw_os_error().unwrap_or(0))
    }
}

/// The system's number of this thread.
pub(crate) fn this_thread() -> libc::pid_t {
    // SAFETY: it has no conditions.
    unsafe { libc::gettid() }
}

/// Sends the signal to a thread of this process. One that has ended gets none, and another that has
/// its number by now ignores it.
pub(crate) fn send(thread: libc::pid_t) {
    // SAFETY: it takes three numbers, and looks for the thread in this process alone.
    unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, SIGNAL) };
}

/// Only loads, compares, and stores to the machine's state that it is given: it may come at any
/// moment.
extern "C" fn handle(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel gives a handler with SA_SIGINFO the state of the machine, and takes it
    // back from there.
    let counter = unsafe { program_counter(context) };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the register has an address of these 64-bit machines"
    )]
    // SAFETY: as above; nobody else has the context.
    let at = unsafe { *counter } as usize;
    if IS_TO_END_AT
        .get()
        .is_some_and(|is_to_end_at| is_to_end_at(at))
    {
        // SAFETY: as above. The guest's code does not go on: the instruction there traps, and
        // wasmer unwinds.
        unsafe { *counter = end_of_guest as *const () as Register };
        return;
    }
    let Some(previous) = PREVIOUS.get() else {
        return;
    };
    match previous.sa_sigaction {
        libc::SIG_DFL | libc::SIG_IGN => {}
        handler if previous.sa_flags & libc::SA_SIGINFO != 0 => {
            // SAFETY: who installed it said that it is a function of this type.
            let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut c_void) =
                unsafe { std::mem::transmute(handler) };
            handler(signal, info, context);
        }
        handler => {
            // SAFETY: as above.
            let handler: extern "C" fn(libc::c_int) = unsafe { std::mem::transmute(handler) };
            handler(signal);
        }
    }
}

/// Whether a trap happened where the handler sends guests that are to end.
pub(crate) fn is_end(program_counter: usize) -> bool {
    program_counter == end_of_guest as *const () as usize
}

#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
extern "C" fn end_of_guest() -> ! {
    std::arch::naked_asm!("ud2")
}

#[cfg(target_arch = "aarch64")]
#[unsafe(naked)]
extern "C" fn end_of_guest() -> ! {
    std::arch::naked_asm!("udf #0")
}

#[cfg(target_arch = "x86_64")]
type Register = i64;

#[cfg(target_arch = "x86_64")]
unsafe fn program_counter(context: *mut c_void) -> *mut Register {
    const RIP: usize = libc::REG_RIP as usize;
    // SAFETY: the caller has it from the kernel.
    unsafe { &raw mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs[RIP] }
}

#[cfg(target_arch = "aarch64")]
type Register = u64;

#[cfg(target_arch = "aarch64")]
unsafe fn program_counter(context: *mut c_void) -> *mut Register {
    // SAFETY: the caller has it from the kernel.
    unsafe { &raw mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.pc }
}
