//! The engines of wasm-proxy by name.
//!
//! ```
//! # #[cfg(any(feature = "wasmer", feature = "wasmtime"))]
//! # fn main() -> Result<(), engines::Error> {
//! let engine = engines::default_engine()?;
//! assert_eq!(engine.id().to_string(), engines::default_name()?);
//! for listed in engines::compiled_in() {
//!     println!("{}: {}", listed.name, listed.when);
//! }
//! # Ok(())
//! # }
//! # #[cfg(not(any(feature = "wasmer", feature = "wasmtime")))]
//! # fn main() {}
//! ```
//!
//! The features `wasmer`, `wasmtime` and `llvm` compile engines in, and change nothing else. The
//! only list of engines is in `list.rs`: the program, the suite, the benches and the examples read
//! it from here.

mod error;
mod list;

use std::sync::Arc;

use bindgen_host::{BindgenHost, Options};
use engine_api::{Engine, EngineConfig, ModuleInfo, ModuleLimits};

pub use error::Error;
use list::listing;
pub use list::{LIST, Listed};

// The macro of each feature keeps the first of two blocks if the feature is on, else the second.
#[cfg(feature = "wasmer")]
#[doc(hidden)]
pub use crate::keep_first as if_wasmer;
#[cfg(feature = "wasmtime")]
#[doc(hidden)]
pub use crate::keep_first as if_wasmtime;
#[cfg(feature = "llvm")]
#[doc(hidden)]
pub use crate::keep_first as if_llvm;
#[cfg(not(feature = "wasmer"))]
#[doc(hidden)]
pub use crate::keep_second as if_wasmer;
#[cfg(not(feature = "wasmtime"))]
#[doc(hidden)]
pub use crate::keep_second as if_wasmtime;
#[cfg(not(feature = "llvm"))]
#[doc(hidden)]
pub use crate::keep_second as if_llvm;

/// Bytes of stack for guests that wasm-bindgen made. Provers written in Rust for JavaScript
/// overflow the usual 1 MiB; JavaScript engines give about this much.
const BINDGEN_STACK_BYTES_MAX: usize = 4 << 20;

/// The engines that are compiled into this build, in the order of the list.
pub fn compiled_in() -> impl Iterator<Item = &'static Listed> {
    LIST.iter().filter(|listed| listed.is_compiled_in())
}

/// The name of the default engine: the first of the list that is compiled in.
///
/// # Errors
///
/// [`Error::NoneCompiledIn`].
pub fn default_name() -> Result<&'static str, Error> {
    let first = compiled_in().next().ok_or(Error::NoneCompiledIn)?;
    Ok(first.name)
}

/// Looks an engine up by its name, such as `wasmer.cranelift`. It need not be compiled in.
///
/// # Errors
///
/// [`Error::Unknown`].
pub fn find(name: &str) -> Result<&'static Listed, Error> {
    LIST.iter()
        .find(|listed| listed.name == name)
        .ok_or_else(|| Error::Unknown {
            name: name.to_owned(),
        })
}

/// Makes the engine with this name, in its default configuration.
///
/// # Errors
///
/// [`Error::Unknown`], and those of [`Listed::make`].
pub fn engine(name: &str) -> Result<Arc<dyn Engine>, Error> {
    find(name)?.make(&EngineConfig::default())
}

/// Makes the engine that [`default_name`] names.
///
/// # Errors
///
/// [`Error::NoneCompiledIn`], and those of [`Listed::make`].
pub fn default_engine() -> Result<Arc<dyn Engine>, Error> {
    engine(default_name()?)
}

/// Makes the engine with this name, with a host for wasm-bindgen's modules and the stack that they
/// need. Other modules run on it unchanged.
///
/// # Errors
///
/// As [`engine`].
pub fn hosting_engine(name: &str, options: Options) -> Result<Arc<dyn Engine>, Error> {
    hosting_engine_within(name, options, ModuleLimits::default())
}

fn hosting_engine_within(
    name: &str,
    options: Options,
    module: ModuleLimits,
) -> Result<Arc<dyn Engine>, Error> {
    let engine = find(name)?.make(&EngineConfig {
        stack_bytes_max: BINDGEN_STACK_BYTES_MAX,
        module,
        ..EngineConfig::default()
    })?;
    Ok(Arc::new(BindgenHost::new(engine, options)))
}

/// Makes the engine with this name for a module: a [`hosting_engine`] if wasm-bindgen made the
/// module, else a plain [`engine`].
///
/// # Errors
///
/// As [`engine`].
pub fn engine_for(
    name: &str,
    info: &ModuleInfo,
    options: Options,
) -> Result<Arc<dyn Engine>, Error> {
    engine_within(name, info, options, ModuleLimits::default())
}

/// As [`engine_for`], for modules within other limits.
///
/// # Errors
///
/// As [`engine`].
pub fn engine_within(
    name: &str,
    info: &ModuleInfo,
    options: Options,
    module: ModuleLimits,
) -> Result<Arc<dyn Engine>, Error> {
    if bindgen_host::is_bindgen(info) {
        return hosting_engine_within(name, options, module);
    }
    find(name)?.make(&EngineConfig {
        module,
        ..EngineConfig::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_compiled_engine_can_be_made_and_bears_its_name() {
        for listed in compiled_in() {
            assert_eq!(engine(listed.name).unwrap().id().to_string(), listed.name);
        }
    }

    #[test]
    fn wasmers_cranelift_is_the_default_where_both_runtimes_are_compiled_in() {
        let expected = match (cfg!(feature = "wasmer"), cfg!(feature = "wasmtime")) {
            (true, _) => Some("wasmer.cranelift"),
            (false, true) => Some("wasmtime.cranelift"),
            (false, false) => None,
        };
        assert_eq!(default_name().ok(), expected);
    }

    #[test]
    fn an_unknown_engine_is_answered_with_those_there_are() {
        let error = engine("v8.turbofan").unwrap_err();
        assert!(matches!(error, Error::Unknown { .. }));
        for listed in compiled_in() {
            assert!(error.to_string().contains(listed.name), "{error}");
        }
    }

    #[test]
    fn an_engine_that_is_not_compiled_in_is_answered_with_its_feature() {
        for listed in LIST.iter().filter(|listed| !listed.is_compiled_in()) {
            let error = engine(listed.name).unwrap_err();
            assert!(matches!(error, Error::NotCompiledIn { .. }));
            let feature = format!("--features {}", listed.feature);
            assert!(error.to_string().contains(&feature), "{error}");
        }
    }

    /// Collects the pairs from which the suite writes its cases.
    macro_rules! functions_and_names {
        ($([$function:ident $name:literal])*) => {
            [$((stringify!($function), $name)),*]
        };
    }

    #[test]
    fn the_macro_gives_what_the_list_has_compiled_in() {
        let given: Vec<(&str, &str)> = crate::for_each!(functions_and_names).into();
        let wanted: Vec<&str> = compiled_in().map(|listed| listed.name).collect();
        assert_eq!(
            given.iter().map(|(_, name)| *name).collect::<Vec<_>>(),
            wanted
        );
        for (function, name) in given {
            assert_eq!(function, name.replace('.', "_"));
        }
    }

    #[test]
    fn the_document_says_of_each_engine_what_the_program_says() {
        let document = include_str!("../../docs/engines.md");
        for listed in LIST {
            let row = format!(
                "| `{}` | `{}` | {} |",
                listed.name, listed.feature, listed.when
            );
            assert!(document.contains(&row), "no row in docs/engines.md:\n{row}");
        }
    }
}
