//! How the program hosts a module made by wasm-bindgen.

use std::fmt::Write;

use bindgen_host::{Abi, Coverage, THREAD_POOL_START, THREAD_POOL_STOP};
use engine_api::ModuleInfo;

/// Says how `run` hosts a module, if it does. `hosted` is the module as the host shows it.
pub(super) fn host(
    text: &mut String,
    coverage: Option<&Coverage>,
    info: &ModuleInfo,
    hosted: &ModuleInfo,
) {
    let Some(coverage) = coverage else {
        return;
    };
    let abi = match coverage.abi {
        Abi::Slots => "the older ABI, objects as slots of a heap",
        Abi::Externrefs => "the younger ABI, objects as externrefs",
    };
    let _ = writeln!(
        text,
        "wasm-bindgen: {abi}; `run` hosts the module without JavaScript"
    );
    let _ = writeln!(
        text,
        "  the host serves {} of {} imports{}",
        coverage.served,
        info.imports().len(),
        if coverage.stubs.is_empty() {
            ""
        } else {
            "; those below are only stubs"
        }
    );
    match (
        hosted.function(THREAD_POOL_START).is_ok(),
        hosted.function(THREAD_POOL_STOP).is_ok(),
    ) {
        (true, true) => {
            let _ = writeln!(
                text,
                "  the host starts its thread pool with `{THREAD_POOL_START}` and ends it with \
                 `{THREAD_POOL_STOP}`"
            );
        }
        (true, false) => {
            let _ = writeln!(
                text,
                "  the host starts its thread pool with `{THREAD_POOL_START}`; nothing ends it before \
                 the instance"
            );
        }
        (false, _) => {}
    }
}
