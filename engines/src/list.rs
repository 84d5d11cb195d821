//! The list of engines.

use std::fmt;
use std::sync::Arc;

use engine_api::{Engine, EngineConfig};

use crate::Error;

/// Passes the list, after the tokens `before`, to another macro of this crate. The list is in the
/// order of preference: the first engine that is compiled in is the default.
///
/// An entry has a name for functions and tests, the engine's name, the macro that keeps it if it is
/// compiled in, its feature, its type and compiler, and a line about when to take it.
#[doc(hidden)]
#[macro_export]
macro_rules! give_list {
    ($to:ident $($before:tt)*) => {
        $crate::$to! {
            $($before)*
            {
                wasmer_cranelift "wasmer.cranelift" if_wasmer "wasmer"
                (engine_wasmer::Wasmer, engine_wasmer::Compiler::Cranelift)
                "unless another fits better: 0.8 of LLVM's speed, and a tenth of its compile time"
            }
            {
                wasmer_singlepass "wasmer.singlepass" if_wasmer "wasmer"
                (engine_wasmer::Wasmer, engine_wasmer::Compiler::Singlepass)
                "short runs, modules that change often: compiles in one pass; slowest code, no SIMD"
            }
            {
                wasmer_llvm "wasmer.llvm" if_llvm "llvm"
                (engine_wasmer::Wasmer, engine_wasmer::Compiler::Llvm)
                "long runs: the fastest code, the slowest compiler; needs LLVM 22 on x86-64"
            }
            {
                wasmtime_cranelift "wasmtime.cranelift" if_wasmtime "wasmtime"
                (engine_wasmtime::Wasmtime, engine_wasmtime::Compiler::Cranelift)
                "hostile guests (a stack limit of its own), most features, many short calls"
            }
            {
                wasmtime_winch "wasmtime.winch" if_wasmtime "wasmtime"
                (engine_wasmtime::Wasmtime, engine_wasmtime::Compiler::Winch)
                "hostile guests that change often: the quickest compiler; no externref, no tail calls"
            }
        }
    };
}

/// Makes the constant [`LIST`].
macro_rules! listing {
    ($({$function:tt $name:tt $keep:tt $feature:tt ($engine:ty, $compiler:path) $when:tt})*) => {
        /// Every engine, compiled in or not, in the order of preference.
        pub const LIST: &[Listed] = &[$(Listed {
            name: $name,
            feature: $feature,
            when: $when,
            constructor: $crate::$keep! {
                { Some(|config| Ok(Arc::new(<$engine>::with_config($compiler, config)?))) }
                { None }
            },
        }),*];
    };
}
pub(crate) use listing;

crate::give_list! { listing }

type Constructor = fn(&EngineConfig) -> Result<Arc<dyn Engine>, engine_api::Error>;

/// One engine of the list, which this build may lack.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Listed {
    /// Its runtime and its compiler, as in `wasmer.cranelift`.
    pub name: &'static str,
    /// The cargo feature that compiles it in.
    pub feature: &'static str,
    /// When to take it, in a line.
    pub when: &'static str,
    constructor: Option<Constructor>,
}

impl Listed {
    /// Whether this build has the engine.
    #[must_use]
    pub fn is_compiled_in(&self) -> bool {
        self.constructor.is_some()
    }

    /// Makes the engine with this configuration.
    ///
    /// # Errors
    ///
    /// [`Error::NotCompiledIn`], and [`Error::Engine`] if the engine does not start on this
    /// machine.
    pub fn make(&self, config: &EngineConfig) -> Result<Arc<dyn Engine>, Error> {
        let constructor = self.constructor.ok_or(Error::NotCompiledIn {
            name: self.name,
            feature: self.feature,
        })?;
        Ok(constructor(config)?)
    }
}

impl fmt::Debug for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listed")
            .field("name", &self.name)
            .field("feature", &self.feature)
            .field("is_compiled_in", &self.is_compiled_in())
            .finish_non_exhaustive()
    }
}

/// Calls a macro with the engines that are compiled in, in the order of the list: for each engine
/// an identifier for a function or a test, and its name.
///
/// The features of this crate decide, not those of the calling crate.
///
/// ```
/// macro_rules! count {
///     ($([$function:ident $name:literal])*) => { <[&str]>::len(&[$($name),*]) };
/// }
/// assert_eq!(engines::for_each!(count), engines::compiled_in().count());
/// ```
#[macro_export]
macro_rules! for_each {
    ($callback:ident) => {
        $crate::give_list! { give_compiled_in [$callback] [] }
    };
}

/// Goes through the list and keeps the engines that are compiled in.
#[doc(hidden)]
#[macro_export]
macro_rules! give_compiled_in {
    ([$callback:ident] [$($kept:tt)*]) => {
        $callback! { $($kept)* }
    };
    (
        [$callback:ident] [$($kept:tt)*]
        {$function:tt $name:tt $keep:tt $($details:tt)*}
        $($rest:tt)*
    ) => {
        $crate::$keep! {
            { $crate::give_compiled_in! { [$callback] [$($kept)* [$function $name]] $($rest)* } }
            { $crate::give_compiled_in! { [$callback] [$($kept)*] $($rest)* } }
        }
    };
}

/// Keeps the first of two blocks.
#[doc(hidden)]
#[macro_export]
macro_rules! keep_first {
    ({$($first:tt)*} $second:tt) => { $($first)* };
}

/// Keeps the second of two blocks.
#[doc(hidden)]
#[macro_export]
macro_rules! keep_second {
    ($first:tt {$($second:tt)*}) => { $($second)* };
}
