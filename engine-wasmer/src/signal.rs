//! The signal that ends a guest.
//!
//! The handler makes the processor leave the guest's code and continue at an invalid instruction.
//! That traps like any other, and wasmer unwinds the guest's stack. So no call has to be
//! registered: the thread's own [`crate::interrupt::Running`] says whether it runs code that may be
//! ended.
//!
//! Wasmer's own signal would do the same, but each call has to enter a registry behind a lock, and
//! leave it in the reverse order: for an addition, that takes five times as long as the rest of the
//! call.

use std::ffi::c_void;
use std::io;
use std::sync::OnceLock;

/// The system ignores this signal by default, and few programs use it. Go interrupts its own code
/// with it, for the same reasons.
const SIGNAL: libc::c_int = libc::SIGURG;

/// Whether a guest must end, if the processor is at this address.
type IsToEndAt = fn(usize) -> bool;

static IS_TO_END_AT: OnceLock<IsToEndAt> = OnceLock::new();

/// The action for the signal before ours.
static PREVIOUS: OnceLock<libc::sigaction> = OnceLock::new();

/// Installs the handler, which ends a guest if `is_to_end_at` says so. Only the first call has an
/// effect. The handler may call `is_to_end_at` at any moment.
///
/// # Errors
///
/// The system's error.
pub(crate) fn install(is_to_end_at: IsToEndAt) -> io::Result<()> {
    static OUTCOME: OnceLock<Result<(), i32>> = OnceLock::new();
    let outcome = OUTCOME.get_or_init(|| {
        // These come first: a signal may arrive as soon as there is a handler.
        IS_TO_END_AT.get_or_init(|| is_to_end_at);
        PREVIOUS.get_or_init(|| exchange(None).unwrap_or_else(|_| no_action()));
        let mut action = no_action();
        let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut c_void) = handle;
        action.sa_sigaction = handler as *const () as usize;
        // The handler runs on the signal stack that wasmer gives each thread, because the guest's
        // may have no room. System calls of host functions are restarted.
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
        exchange(Some(&action)).map(drop)
    });
    outcome.map_err(io::Error::from_raw_os_error)
}

fn no_action() -> libc::sigaction {
    // SAFETY: numbers, and an optional pointer: zero is the default action without flags.
    unsafe { std::mem::zeroed() }
}

/// Sets an action, if one is given, and returns the one before.
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

/// Sends the signal to a thread of this process. If the thread has ended, nothing happens; another
/// thread that got its number ignores the signal.
pub(crate) fn send(thread: libc::pid_t) {
    // SAFETY: it takes three numbers, and looks for the thread in this process alone.
    unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, SIGNAL) };
}

/// The handler may run at any moment. So it only loads, compares, and writes the processor state
/// that it was given.
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

/// Whether a trap happened at the instruction to which the handler sends guests.
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
