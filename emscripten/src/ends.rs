//! Imports that end the call.

use engine_api::{Caller, Error, FuncType, Printable, Val};

use crate::arguments::{MEMORY, text, word};
use crate::{Body, EmscriptenError, Served};

/// Longer messages of AssemblyScript are cut.
const UTF16_BYTES_MAX: u32 = 512;

pub(crate) fn served(name: &str, ty: &FuncType) -> Option<Served> {
    let count = ty.params().len();
    let body: Body = match (name, count) {
        ("abort" | "_abort_js", 0 | 1) => |_, _, _| aborted(String::new()),
        ("abort", 4) => abort_of_assemblyscript,
        ("segfault", 0) => |_, _, _| aborted(": segmentation fault".to_owned()),
        ("alignfault", 0) => |_, _, _| aborted(": alignment fault".to_owned()),
        ("__handle_stack_overflow", 0 | 1) => |_, _, _| aborted(": stack overflow".to_owned()),
        ("exit" | "_exit" | "emscripten_force_exit", 1) => exit,
        ("__assert_fail", 4) => assertion,
        ("__cxa_throw", 3) => |_, _, _| Err(EmscriptenError::Thrown.ends("__cxa_throw")),
        _ => return None,
    };
    Some(Served::Local(body))
}

/// What an import is for that only Emscripten's JavaScript could serve, and the way out.
pub(crate) fn unsupported(name: &str) -> Option<&'static str> {
    let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    if begins(&["invoke_", "__cxa_", "__resumeException", "llvm_eh_"]) {
        Some(
            "exceptions and longjmp through JavaScript; build without exceptions, since no engine here has \
             those of WebAssembly",
        )
    } else if begins(&["_emscripten_throw_longjmp", "emscripten_longjmp"]) {
        Some("longjmp through JavaScript; build with -sSUPPORT_LONGJMP=wasm or 0")
    } else if begins(&[
        "_dlopen",
        "_dlsym",
        "_emscripten_dlopen",
        "_emscripten_dlsync",
    ]) {
        Some("dynamic linking; link everything into one module")
    } else if begins(&["_embind_", "_emval_"]) {
        Some("embind, which describes classes to JavaScript; export C functions instead")
    } else if begins(&["emscripten_asm_", "emscripten_run_script"]) {
        Some("JavaScript in the C source; do without EM_ASM")
    } else if begins(&["emscripten_", "_emscripten_"]) {
        Some("this host has no such function; avoid it, or give it in the imports")
    } else {
        None
    }
}

fn aborted(why: String) -> Result<(), Error> {
    Err(EmscriptenError::Aborted(why).ends("abort"))
}

fn exit(_: &mut dyn Caller, args: &[Val], _: &mut [Val]) -> Result<(), Error> {
    Err(Error::Exit {
        code: word(args, 0),
    })
}

/// `__assert_fail(condition, file, line, function)`.
fn assertion(caller: &mut dyn Caller, args: &[Val], _: &mut [Val]) -> Result<(), Error> {
    let [condition, file, function] = [0, 1, 3].map(|at| text(caller, word(args, at)));
    let what = format!("{condition}, at {file}:{} in {function}", word(args, 2));
    Err(EmscriptenError::Assertion(what).ends("__assert_fail"))
}

/// `abort(message, file, line, column)` of AssemblyScript, which imports it from `env` too. Its
/// texts are UTF-16, with their length before them.
fn abort_of_assemblyscript(
    caller: &mut dyn Caller,
    args: &[Val],
    _: &mut [Val],
) -> Result<(), Error> {
    let [message, file] = [0, 1].map(|at| utf16(caller, word(args, at)));
    aborted(format!(
        ": {message}, at {file}:{}:{}",
        word(args, 2),
        word(args, 3)
    ))
}

fn utf16(caller: &dyn Caller, at: u32) -> String {
    let mut len = [0; 4];
    let Some(before) = at.checked_sub(4) else {
        return String::new();
    };
    if caller.memory_read(MEMORY, before.into(), &mut len).is_err() {
        return String::new();
    }
    let len = u32::from_le_bytes(len).min(UTF16_BYTES_MAX);
    let mut bytes = vec![0; len as usize];
    if caller.memory_read(MEMORY, at.into(), &mut bytes).is_err() {
        return String::new();
    }
    let units = bytes
        .chunks_exact(2)
        .map(|unit| u16::from_le_bytes([unit[0], unit[1]]));
    let units: Vec<u16> = units.collect();
    Printable(&String::from_utf16_lossy(&units)).to_string()
}
