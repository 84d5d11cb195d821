//! What JavaScript does for the engine: `web/engine.mjs` has the other side.

use std::fmt;

use engine_api::Slot;

/// Declares the functions of `web/engine.mjs`. Elsewhere they exist so that tests of the other files
/// link.
macro_rules! functions {
    ($(fn $name:ident($($arg:ident: $ty:ty),*) $(-> $result:ty)?;)*) => {
        #[cfg(target_family = "wasm")]
        #[link(wasm_import_module = "wasm-proxy-engine")]
        #[expect(unsafe_code, reason = "imports are functions of another language")]
        unsafe extern "C" {
            $(fn $name($($arg: $ty),*) $(-> $result)?;)*
        }

        $(
            #[cfg(not(target_family = "wasm"))]
            #[expect(unsafe_code, reason = "it has the type of the import")]
            unsafe fn $name($($arg: $ty),*) $(-> $result)? {
                $(let _ = $arg;)*
                unreachable!("there is no JavaScript here")
            }
        )*
    };
}

functions! {
    fn compile(wasm: *const u8, len: usize) -> i32;
    fn instantiate(module: u32, spec: *const u8, len: usize) -> i32;
    fn call(instance: u32, function: u32, slots: *mut Slot, after: *mut After) -> i32;
    fn size(instance: u32, memory: u32) -> f64;
    fn grow(instance: u32, memory: u32, pages: f64) -> i32;
    fn read(instance: u32, memory: u32, offset: usize, to: *mut u8, len: usize);
    fn write(instance: u32, memory: u32, offset: usize, from: *const u8, len: usize);
    fn global(instance: u32, global: u32, slot: *mut Slot);
    fn set_global(instance: u32, global: u32, slot: *const Slot);
    fn message(to: *mut u8, len: usize) -> usize;
    fn release(object: u32);
    fn journal_size() -> f64;
    fn journal_read(at: f64, to: *mut u8, len: usize);
    fn journal_write(at: f64, from: *const u8, len: usize) -> i32;
    fn journal_cut(size: f64);
}

/// A module or an instance, which JavaScript keeps under a number until this is dropped. What it
/// takes is given back when the browser collects it.
pub(crate) struct Object(u32);

/// What an instance shows after a call.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(crate) struct After {
    /// The size of its memories in bytes.
    pub(crate) bytes: f64,
    /// The pages that its memory would have had where growth was refused; zero if it was not.
    pub(crate) pages_refused: f64,
}

/// How a call ended.
pub(crate) enum Ended {
    /// It returned.
    Returned,
    /// JavaScript caught an exception, which was this.
    Threw(String),
    /// A host function failed, whose error the instance has.
    HostFailed,
}

impl Object {
    /// # Errors
    ///
    /// The browser's message.
    #[expect(unsafe_code, reason = "calls JavaScript; see SAFETY")]
    pub(crate) fn compile(wasm: &[u8]) -> Result<Self, String> {
        // SAFETY: JavaScript reads these bytes and nothing else, before it returns.
        Self::made(unsafe { compile(wasm.as_ptr(), wasm.len()) })
    }

    /// Makes an instance of a module, with the parts that `spec` names.
    ///
    /// # Errors
    ///
    /// The browser's message.
    #[expect(unsafe_code, reason = "calls JavaScript; see SAFETY")]
    pub(crate) fn instantiate(&self, spec: &str) -> Result<Self, String> {
        // SAFETY: as in `compile`.
        Self::made(unsafe { instantiate(self.0, spec.as_ptr(), spec.len()) })
    }

    fn made(number: i32) -> Result<Self, String> {
        u32::try_from(number).map(Self).map_err(|_| last_message())
    }

    /// Calls a function, which takes its arguments from the slots and leaves its results there. The
    /// caller has checked that there are enough.
    #[expect(unsafe_code, reason = "calls JavaScript; see SAFETY")]
    pub(crate) fn call(&self, function: u32, slots: &mut [Slot], after: &mut After) -> Ended {
        // SAFETY: JavaScript reads a slot for each parameter, and writes one for each result and
        // `after`. The caller has checked the number of slots, and both are borrowed exclusively.
        match unsafe { call(self.0, function, slots.as_mut_ptr(), after) } {
            0 => Ended::Returned,
            1 => Ended::Threw(last_message()),
            _ => Ended::HostFailed,
        }
    }

    /// The size of a memory in bytes.
    #[expect(unsafe_code, reason = "calls JavaScript; see SAFETY")]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is a size, which is at most 4 GiB"
    )]
    pub(crate) fn size(&self, memory: u32) -> u64 {
        // SAFETY: no pointer goes to JavaScript.
        unsafe { size(self.0, memory) as u64 }
    }

    /// Grows a memory. Whether it did.
    #[expect(unsafe_code, reason = "calls JavaScript; see SAFETY")]
    pub(crate) fn grow(&self, memory: u32, pages: u32) -> bool {
        // SAFETY: no pointer goes to JavaScript.
        unsafe { grow(self.0, memory, pages.into()) == 1 }
    }

    /// Copies bytes out of a memory. The caller has checked that they are in it.
    #[expect(unsafe_code, reason = "calls JavaScript; see SAFETY")]
    pub(crate) fn read(&self, memory: u32, offset: usize, to: &mut [u8]) {
        // SAFETY: JavaScript writes as many bytes as `to` has.
        unsafe { read(self.0, memory, offset, to.as_mut_ptr(), to.len()) }
    }

    /// Copies bytes into a memory. The caller has checked that there is room.
    #[expect(unsafe_code, reason = "calls JavaScript; see SAFETY")]
    pub(crate) fn write(&self, memory: u32, offset: usize, from: &[u8]) {
        // SAFETY: JavaScript reads as many bytes as `from` has.
        unsafe { write(self.0, memory, offset, from.as_ptr(), from.len()) }
    }

    /// The value of a global, by its place in the list that its instance was made with.
    #[expect(unsafe_code, reason = "calls JavaScript; see SAFETY")]
    pub(crate) fn global(&self, place: u32) -> Slot {
        let mut slot = Slot::default();
        // SAFETY: JavaScript writes a number of at most 8 bytes to the slot.
        unsafe { global(self.0, place, &raw mut slot) };
        slot
    }

    /// Sets a global, by its place in the list that its instance was made with.
    #[expect(unsafe_code, reason = "calls JavaScript; see SAFETY")]
    pub(crate) fn set_global(&self, place: u32, value: &Slot) {
        // SAFETY: JavaScript reads a number of at most 8 bytes from the slot.
        unsafe { set_global(self.0, place, value) }
    }
}

impl Drop for Object {
    #[expect(unsafe_code, reason = "calls JavaScript; see SAFETY")]
    fn drop(&mut self) {
        // SAFETY: no pointer goes to JavaScript, and nobody has the number any more.
        unsafe { release(self.0) }
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Object({})", self.0)
    }
}

/// The size of the journal's file in bytes.
#[expect(unsafe_code, reason = "calls JavaScript; see SAFETY")]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it is a size, which is a whole number"
)]
pub(crate) fn file_size() -> u64 {
    // SAFETY: no pointer goes to JavaScript.
    unsafe { journal_size() as u64 }
}

/// Reads from the journal's file. The caller has checked that there are as many bytes.
#[expect(unsafe_code, reason = "calls JavaScript; see SAFETY")]
pub(crate) fn file_read(at: u64, to: &mut [u8]) {
    // SAFETY: JavaScript writes at most as many bytes as `to` has.
    unsafe { journal_read(number(at), to.as_mut_ptr(), to.len()) }
}

/// Writes to the journal's file, and flushes it.
///
/// # Errors
///
/// The browser's message.
#[expect(unsafe_code, reason = "calls JavaScript; see SAFETY")]
pub(crate) fn file_write(at: u64, from: &[u8]) -> Result<(), String> {
    // SAFETY: JavaScript reads as many bytes as `from` has.
    match unsafe { journal_write(number(at), from.as_ptr(), from.len()) } {
        0 => Ok(()),
        _ => Err(last_message()),
    }
}

/// Cuts the journal's file off.
#[expect(unsafe_code, reason = "calls JavaScript; see SAFETY")]
pub(crate) fn file_cut(size: u64) {
    // SAFETY: no pointer goes to JavaScript.
    unsafe { journal_cut(number(size)) }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "no file of a browser has 2^53 bytes"
)]
fn number(bytes: u64) -> f64 {
    bytes as f64
}

/// Longer messages are cut.
const MESSAGE_BYTES_MAX: usize = 4096;

#[expect(unsafe_code, reason = "calls JavaScript; see SAFETY")]
fn last_message() -> String {
    let mut bytes = vec![0; MESSAGE_BYTES_MAX];
    // SAFETY: JavaScript writes at most as many bytes as there are, and returns how many.
    let len = unsafe { message(bytes.as_mut_ptr(), bytes.len()) };
    bytes.truncate(len);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Calls a host function for a guest, on behalf of JavaScript. 0 if it returned.
///
/// # Safety
///
/// `slots` are as many as the function has parameters, and as many as it has results, and nobody
/// else accesses them meanwhile.
#[unsafe(no_mangle)]
#[expect(unsafe_code, reason = "JavaScript calls it with a pointer; see SAFETY")]
pub(crate) unsafe extern "C" fn wasm_proxy_host_call(
    instance: u32,
    import: u32,
    slots: *mut Slot,
    len: usize,
) -> i32 {
    // SAFETY: as our own.
    let slots = unsafe { std::slice::from_raw_parts_mut(slots, len) };
    i32::from(!crate::instance::host_call(instance, import, slots))
}
