//! A function of JavaScript that any thread can call.

use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::{Arc, Mutex, PoisonError};

use napi_sys as sys;

use super::{check, new_text};
use crate::failure::Failure;

/// How many texts may wait for JavaScript. Those above are dropped: a thread that nobody listens to must not
/// wait, nor fill the memory.
const WAITING_MAX: usize = 4096;

/// A threadsafe function, which keeps no process alive. `None` when Node has ended it.
struct Handle(Option<sys::napi_threadsafe_function>);

// SAFETY: Node allows calls of a threadsafe function on every thread, and the mutex orders them before its end.
unsafe impl Send for Handle {}

/// A function of JavaScript that is given texts, from any thread, and runs later on its own.
#[derive(Clone)]
pub(crate) struct Listener(Arc<Mutex<Handle>>);

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Listener")
    }
}

impl Listener {
    pub(super) fn new(env: sys::napi_env, function: sys::napi_value) -> Result<Self, Failure> {
        let shared = Arc::new(Mutex::new(Handle(None)));
        let mut handle = null_mut();
        // Node's share, which `ended` takes back.
        let share = Arc::into_raw(Arc::clone(&shared)).cast_mut().cast();
        // SAFETY: `env` runs on this thread. `ended` is called once, when no call is under way any more.
        let created = unsafe {
            let name = new_text(env, "wasm-proxy")?;
            sys::napi_create_threadsafe_function(
                env,
                function,
                null_mut(),
                name,
                WAITING_MAX,
                1,
                share,
                Some(ended),
                null_mut(),
                Some(tell),
                &raw mut handle,
            )
        };
        if created != sys::Status::napi_ok {
            // SAFETY: Node did not take its share.
            drop(unsafe { Arc::from_raw(share.cast::<Mutex<Handle>>().cast_const()) });
            return Err(Failure::argument(3, "must be a function"));
        }
        // SAFETY: it was just made, on this thread.
        let unref = unsafe { sys::napi_unref_threadsafe_function(env, handle) };
        check(unref, "napi_unref_threadsafe_function")?;
        shared.lock().unwrap_or_else(PoisonError::into_inner).0 = Some(handle);
        Ok(Self(shared))
    }

    /// Gives it a text. Where Node is ending, or too many wait, the text is lost.
    pub(crate) fn tell(&self, text: String) {
        let handle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(function) = handle.0 else { return };
        let data = Box::into_raw(Box::new(text));
        // SAFETY: the function is alive while the lock is held and `ended` has not taken it. `tell` owns `data`
        // unless Node refuses it.
        unsafe {
            let mode = sys::ThreadsafeFunctionCallMode::nonblocking;
            if sys::napi_call_threadsafe_function(function, data.cast(), mode)
                != sys::Status::napi_ok
            {
                drop(Box::from_raw(data));
            }
        }
    }
}

/// Runs on JavaScript's thread, for each text.
unsafe extern "C" fn tell(
    env: sys::napi_env,
    function: sys::napi_value,
    _: *mut c_void,
    data: *mut c_void,
) {
    // SAFETY: `data` is what `Listener::tell` gave.
    let text = unsafe { Box::from_raw(data.cast::<String>()) };
    // Where the environment is ending, Node gives none.
    if env.is_null() || function.is_null() {
        return;
    }
    let (mut this, mut given) = (null_mut(), null_mut());
    // SAFETY: `env` runs on this thread. An exception stays pending, and Node reports it as uncaught.
    unsafe {
        let Ok(text) = new_text(env, &text) else {
            return;
        };
        if sys::napi_get_undefined(env, &raw mut this) == sys::Status::napi_ok {
            sys::napi_call_function(env, this, function, 1, &raw const text, &raw mut given);
        }
    }
}

/// Runs on JavaScript's thread when the function ends with its environment.
unsafe extern "C" fn ended(_: sys::napi_env, data: *mut c_void, _: *mut c_void) {
    // SAFETY: `data` is the share that `Listener::new` gave to Node, and Node calls this once.
    let shared = unsafe { Arc::from_raw(data.cast::<Mutex<Handle>>().cast_const()) };
    shared.lock().unwrap_or_else(PoisonError::into_inner).0 = None;
}
