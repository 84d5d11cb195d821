//! System calls. There is no system: they say so, as in Emscripten's own builds without one
//! (`system/lib/libc/emscripten_syscall_stubs.c`).

use engine_api::{FuncType, Val, ValType};

use crate::{Body, Served};

/// `-ENOSYS`, by the numbers of WASI, which Emscripten uses.
const NO_SUCH_CALL: i32 = -52;

pub(crate) fn served(name: &str, ty: &FuncType) -> Option<Served> {
    let is_call = name.starts_with("__syscall")
        || matches!(name, "_mmap_js" | "_munmap_js" | "_setitimer_js");
    let takes_numbers = ty.params().iter().all(|ty| !ty.is_reference());
    if !is_call || !takes_numbers || ty.results() != [ValType::I32] {
        return None;
    }
    let call = name.strip_prefix("__syscall_").unwrap_or(name);
    let body: Body = match call {
        // These give a number and cannot fail.
        "getuid32" | "geteuid32" | "getgid32" | "getegid32" | "getpgid" | "umask" => {
            |_, _, results| {
                results[0] = Val::I32(0);
                Ok(())
            }
        }
        "getpid" => |_, _, results| {
            results[0] = Val::I32(42);
            Ok(())
        },
        "getppid" => |_, _, results| {
            results[0] = Val::I32(1);
            Ok(())
        },
        _ => |_, _, results| {
            results[0] = Val::I32(NO_SUCH_CALL);
            Ok(())
        },
    };
    Some(Served::Local(body))
}
