//! What the addon uses of Node's interface for addons (Node-API, version 8), safe to call.
//!
//! `napi-sys` alone is used, and not `napi` above it: that changes the features of crates that both
//! runtimes share, so that they would be built again.
#![allow(
    unsafe_code,
    reason = "Node's interface is C; every call of it is in this module"
)]

mod listener;

use std::cell::RefCell;
use std::ffi::{CString, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::null_mut;

use napi_sys as sys;

use crate::failure::Failure;
use crate::session::Session;

pub(crate) use listener::Listener;

/// The most arguments that a function of the addon takes.
const ARGUMENTS_MAX: usize = 4;

/// A function that JavaScript calls.
pub(crate) type Function = fn(&Call) -> Result<Given, Failure>;

/// What a function of the addon gives.
#[derive(Debug)]
pub(crate) enum Given {
    Nothing,
    Number(f64),
    Text(String),
    Session(Box<Session>),
}

/// One call of a function of the addon: its arguments.
pub(crate) struct Call {
    env: sys::napi_env,
    arguments: [sys::napi_value; ARGUMENTS_MAX],
    count: usize,
}

/// Tells the addon's own objects from those of other addons.
static SESSION_TAG: sys::napi_type_tag = sys::napi_type_tag {
    lower: 0x9f0c_61c8_5f5a_4be1,
    upper: 0xa83d_2d17_90be_7c42,
};

fn check(status: sys::napi_status, what: &'static str) -> Result<(), Failure> {
    if status == sys::Status::napi_ok {
        Ok(())
    } else {
        Err(Failure::node(what, status))
    }
}

impl Call {
    fn argument(&self, at: usize) -> Result<sys::napi_value, Failure> {
        if at < self.count {
            Ok(self.arguments[at])
        } else {
            Err(Failure::argument(at, "is missing"))
        }
    }

    /// An argument that is a text.
    pub(crate) fn text(&self, at: usize) -> Result<String, Failure> {
        let value = self.argument(at)?;
        let mut len = 0;
        // SAFETY: without a buffer only the length is written, and `len` lives.
        let status = unsafe {
            sys::napi_get_value_string_utf8(self.env, value, null_mut(), 0, &raw mut len)
        };
        if status != sys::Status::napi_ok {
            return Err(Failure::argument(at, "must be a string"));
        }
        let mut bytes = vec![0_u8; len + 1];
        // SAFETY: the buffer has room for the text and the zero that Node writes behind it.
        let status = unsafe {
            let buffer = bytes.as_mut_ptr().cast();
            sys::napi_get_value_string_utf8(self.env, value, buffer, bytes.len(), &raw mut len)
        };
        check(status, "napi_get_value_string_utf8")?;
        bytes.truncate(len);
        String::from_utf8(bytes).map_err(|_| Failure::argument(at, "must be a string"))
    }

    /// An argument that is a whole number from 0.
    pub(crate) fn index(&self, at: usize) -> Result<usize, Failure> {
        let mut number = 0_u32;
        // SAFETY: `number` lives.
        let status =
            unsafe { sys::napi_get_value_uint32(self.env, self.argument(at)?, &raw mut number) };
        if status != sys::Status::napi_ok {
            return Err(Failure::argument(at, "must be a number"));
        }
        Ok(number as usize)
    }

    /// Runs `work` on the bytes of an argument that is a `Uint8Array`.
    pub(crate) fn with_bytes<T>(
        &self,
        at: usize,
        work: impl FnOnce(&[u8]) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let (data, len) = self.bytes_at(at)?;
        // SAFETY: Node gives pointer and length of the array. No JavaScript runs until `work` is done: it has no
        // access to the environment. So nothing moves or changes the bytes.
        work(unsafe { std::slice::from_raw_parts(data, len) })
    }

    /// Runs `work` on the bytes of two arguments that are a `Uint8Array` each, of different buffers.
    pub(crate) fn with_buffers<T>(
        &self,
        (one, two): (usize, usize),
        work: impl FnOnce(&mut [u8], &mut [u8]) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let ((one, one_len), (two_data, two_len)) = (self.bytes_at(one)?, self.bytes_at(two)?);
        let (from, to) = (one.addr(), two_data.addr());
        if from < to.saturating_add(two_len) && to < from.saturating_add(one_len) {
            return Err(Failure::argument(two, "must not be the same memory"));
        }
        // SAFETY: as above, and the two do not overlap.
        unsafe {
            work(
                std::slice::from_raw_parts_mut(one, one_len),
                std::slice::from_raw_parts_mut(two_data, two_len),
            )
        }
    }

    fn bytes_at(&self, at: usize) -> Result<(*mut u8, usize), Failure> {
        let (mut kind, mut len, mut data) = (0, 0, null_mut());
        // SAFETY: all that is written lives, and what is null is not written.
        let status = unsafe {
            sys::napi_get_typedarray_info(
                self.env,
                self.argument(at)?,
                &raw mut kind,
                &raw mut len,
                &raw mut data,
                null_mut(),
                null_mut(),
            )
        };
        if status != sys::Status::napi_ok || kind != sys::TypedarrayType::uint8_array {
            return Err(Failure::argument(at, "must be a Uint8Array"));
        }
        // An empty array may have no address at all.
        if len == 0 || data.is_null() {
            return Ok((std::ptr::dangling_mut(), 0));
        }
        Ok((data.cast(), len))
    }

    /// Runs `work` on the session that the first argument is.
    pub(crate) fn with_session<T>(
        &self,
        work: impl FnOnce(&mut Session) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let value = self.argument(0)?;
        let mut is_session = false;
        // SAFETY: the tag is a constant, and `is_session` lives.
        let status = unsafe {
            let tag = &raw const SESSION_TAG;
            sys::napi_check_object_type_tag(self.env, value, tag, &raw mut is_session)
        };
        if status != sys::Status::napi_ok || !is_session {
            return Err(Failure::argument(0, "must be what `open` gave"));
        }
        let mut data = null_mut();
        // SAFETY: objects with the tag wrap what `wrap_session` has given, until they are collected, and `value` is
        // alive here.
        let session = unsafe {
            check(
                sys::napi_unwrap(self.env, value, &raw mut data),
                "napi_unwrap",
            )?;
            &*data.cast::<RefCell<Session>>()
        };
        let mut session = session.try_borrow_mut().map_err(|_| Failure::reentrant())?;
        work(&mut session)
    }

    /// A way to call the function that an argument is from any thread.
    pub(crate) fn listener(&self, at: usize) -> Result<Listener, Failure> {
        Listener::new(self.env, self.argument(at)?)
    }
}

impl Given {
    fn into_value(self, env: sys::napi_env) -> Result<sys::napi_value, Failure> {
        let mut value = null_mut();
        // SAFETY: `env` is the environment of the call that is being answered, and `value` lives.
        unsafe {
            match self {
                Given::Nothing => check(
                    sys::napi_get_undefined(env, &raw mut value),
                    "napi_get_undefined",
                )?,
                Given::Number(number) => check(
                    sys::napi_create_double(env, number, &raw mut value),
                    "napi_create_double",
                )?,
                Given::Text(text) => value = new_text(env, &text)?,
                Given::Session(session) => value = wrap_session(env, *session)?,
            }
        }
        Ok(value)
    }
}

/// # Safety
///
/// `env` must be the environment that runs on this thread.
unsafe fn new_text(env: sys::napi_env, text: &str) -> Result<sys::napi_value, Failure> {
    let mut value = null_mut();
    let len = isize::try_from(text.len()).map_err(|_| Failure::node("a string", 0))?;
    // SAFETY: the caller vouches for `env`; Node copies the text.
    let status =
        unsafe { sys::napi_create_string_utf8(env, text.as_ptr().cast(), len, &raw mut value) };
    check(status, "napi_create_string_utf8")?;
    Ok(value)
}

/// # Safety
///
/// `env` must be the environment that runs on this thread.
unsafe fn wrap_session(env: sys::napi_env, session: Session) -> Result<sys::napi_value, Failure> {
    let mut value = null_mut();
    let data = Box::into_raw(Box::new(RefCell::new(session)));
    // SAFETY: the object owns `data` from `napi_wrap` on, and the finalizer frees it once. If Node refuses, it is
    // freed here.
    unsafe {
        let status = match sys::napi_create_object(env, &raw mut value) {
            sys::Status::napi_ok => sys::napi_wrap(
                env,
                value,
                data.cast(),
                Some(drop_session),
                null_mut(),
                null_mut(),
            ),
            other => other,
        };
        if status != sys::Status::napi_ok {
            drop(Box::from_raw(data));
            return Err(Failure::node("napi_wrap", status));
        }
        let tagged = sys::napi_type_tag_object(env, value, &raw const SESSION_TAG);
        check(tagged, "napi_type_tag_object")?;
    }
    Ok(value)
}

unsafe extern "C" fn drop_session(_: sys::napi_env, data: *mut c_void, _: *mut c_void) {
    // SAFETY: `data` is what `wrap_session` gave, and Node calls this once.
    let session = unsafe { Box::from_raw(data.cast::<RefCell<Session>>()) };
    // A panic may not leave the function, and there is nobody to tell.
    let _ = catch_unwind(AssertUnwindSafe(move || drop(session)));
}

/// What Node calls for every function of the addon. Its data is the [`Function`].
unsafe extern "C" fn enter(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    let (mut count, mut arguments, mut data) =
        (ARGUMENTS_MAX, [null_mut(); ARGUMENTS_MAX], null_mut());
    // SAFETY: `arguments` has room for as many as `count` says.
    let status = unsafe {
        sys::napi_get_cb_info(
            env,
            info,
            &raw mut count,
            arguments.as_mut_ptr(),
            null_mut(),
            &raw mut data,
        )
    };
    if status != sys::Status::napi_ok || data.is_null() {
        return null_mut();
    }
    // SAFETY: `register` gives the address of an element of a static.
    let function = unsafe { *data.cast::<Function>() };
    let call = Call {
        env,
        arguments,
        count: count.min(ARGUMENTS_MAX),
    };
    let given = catch_unwind(AssertUnwindSafe(|| {
        function(&call).and_then(|given| given.into_value(env))
    }));
    match given {
        Ok(Ok(value)) => value,
        Ok(Err(failure)) => throw(env, &failure),
        Err(_) => throw(env, &Failure::bug()),
    }
}

fn throw(env: sys::napi_env, failure: &Failure) -> sys::napi_value {
    let text = |text: &str| CString::new(text.replace('\0', " ")).unwrap_or_default();
    let (code, message) = (text(failure.code()), text(&failure.to_string()));
    // SAFETY: both texts end with a zero and live until Node has copied them.
    unsafe { sys::napi_throw_error(env, code.as_ptr(), message.as_ptr()) };
    null_mut()
}

/// Gives a module's `exports` the functions of the addon.
///
/// # Safety
///
/// As [`napi_register_module_v1`].
unsafe fn register(env: sys::napi_env, exports: sys::napi_value) -> Result<(), Failure> {
    for (name, function) in &crate::exports::FUNCTIONS {
        let mut value = null_mut();
        let length = isize::try_from(name.count_bytes()).unwrap_or(0);
        let data = std::ptr::from_ref(function).cast_mut().cast();
        // SAFETY: the name ends with a zero, and the function is in a static.
        unsafe {
            let created = sys::napi_create_function(
                env,
                name.as_ptr(),
                length,
                Some(enter),
                data,
                &raw mut value,
            );
            check(created, "napi_create_function")?;
            let set = sys::napi_set_named_property(env, exports, name.as_ptr(), value);
            check(set, "napi_set_named_property")?;
        }
    }
    Ok(())
}

/// What Node calls when it loads the addon, once for each of its threads that does.
///
/// # Safety
///
/// Node's own.
#[unsafe(no_mangle)]
unsafe extern "C" fn napi_register_module_v1(
    env: sys::napi_env,
    exports: sys::napi_value,
) -> sys::napi_value {
    static SYMBOLS: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    SYMBOLS.get_or_init(|| {
        // SAFETY: the process is Node's, which has the symbols; it is looked through once, before any use.
        std::mem::forget(unsafe { sys::setup() });
        true
    });
    // SAFETY: Node gives its environment and an object.
    match unsafe { register(env, exports) } {
        Ok(()) => exports,
        Err(failure) => throw(env, &failure),
    }
}

/// The version of Node's interface that the addon needs.
#[unsafe(no_mangle)]
extern "C" fn node_api_module_get_api_version_v1() -> i32 {
    8
}
