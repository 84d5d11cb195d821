//! The engines that are compared, written once.

use std::sync::Arc;
use std::time::Duration;

use engine_api::{Engine, Module};
use proxy_core::{ArtifactStore, Builder, CheckpointPolicy, Proxy};

use crate::guests::GuestModule;

/// One column of the tables.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// As in `wasmtime.cranelift`.
    pub name: &'static str,
    make: fn() -> Result<Arc<dyn Engine>, engine_api::Error>,
    native: fn(&[u8]) -> anyhow::Result<NativeAdd>,
}

/// Calls the export `add` as often as it is told, by the runtime's own typed interface, and says how
/// long that took this thread. The loop is inside, so that nothing but the call is in it.
pub type NativeAdd = Box<dyn FnMut(u64) -> Duration>;

impl Column {
    /// A new engine in its default configuration.
    #[must_use]
    pub fn engine(&self) -> Arc<dyn Engine> {
        (self.make)().expect("the engine runs on this machine")
    }

    /// A guest, compiled.
    #[must_use]
    pub fn compile(&self, guest: &GuestModule) -> Arc<dyn Module> {
        self.engine()
            .compile(&guest.wasm)
            .expect("every engine compiles the guests")
    }

    /// A proxy for a guest, which is compiled here.
    #[must_use]
    pub fn proxy(&self, guest: &GuestModule) -> Proxy {
        Self::built(self.builder(guest))
    }

    /// Makes proxies for a guest that is compiled once, here.
    pub fn proxies(&self, guest: &GuestModule) -> impl Fn() -> Proxy + use<> {
        let fresh = self.proxies_with(guest);
        move || fresh(ArtifactStore::memory())
    }

    /// The same, each with the artifact store that it is given.
    pub fn proxies_with(&self, guest: &GuestModule) -> impl Fn(ArtifactStore) -> Proxy + use<> {
        let (guest, engine) = (guest.clone(), self.engine());
        let module = engine
            .compile(&guest.wasm)
            .expect("every engine compiles the guests");
        move |store| {
            let builder = Proxy::builder(Arc::clone(&engine)).module(guest.wasm.clone());
            Self::built(
                builder
                    .policy(guest.policy.clone())
                    .compiled(Arc::clone(&module))
                    .artifacts(store),
            )
        }
    }

    /// The runtime's own typed call of `add` in a guest that exports it.
    #[must_use]
    pub fn native_add(&self, guest: &GuestModule) -> NativeAdd {
        (self.native)(&guest.wasm).expect("the runtime runs the guest")
    }

    fn builder(&self, guest: &GuestModule) -> Builder {
        Proxy::builder(self.engine())
            .module(guest.wasm.clone())
            .policy(guest.policy.clone())
    }

    /// Without checkpoints: what they change is measured by [`crate::swaps`].
    fn built(builder: Builder) -> Proxy {
        let builder = builder.checkpoints(CheckpointPolicy::off());
        builder.build().expect("the policy fits the guest")
    }
}

macro_rules! columns {
    ($(#[cfg($enabled:meta)] $name:literal, $make:expr, $native:expr;)*) => {
        /// Every engine that is compiled in, in the order of the tables.
        #[must_use]
        pub fn all() -> Vec<Column> {
            vec![$(
                #[cfg($enabled)]
                Column { name: $name, make: || Ok(Arc::new($make?)), native: $native },
            )*]
        }
    };
}

columns! {
    #[cfg(feature = "wasmtime")]
    "wasmtime.cranelift", engine_wasmtime::Wasmtime::cranelift(),
        |wasm| crate::native::wasmtime_add(wasmtime::Strategy::Cranelift, wasm);
    #[cfg(feature = "wasmtime")]
    "wasmtime.winch", engine_wasmtime::Wasmtime::winch(),
        |wasm| crate::native::wasmtime_add(wasmtime::Strategy::Winch, wasm);
    #[cfg(feature = "wasmer")]
    "wasmer.cranelift", engine_wasmer::Wasmer::cranelift(),
        |wasm| crate::native::wasmer_add(wasmer::sys::Cranelift::new(), wasm);
    #[cfg(feature = "wasmer")]
    "wasmer.singlepass", engine_wasmer::Wasmer::singlepass(),
        |wasm| crate::native::wasmer_add(wasmer::sys::Singlepass::new(), wasm);
    #[cfg(feature = "llvm")]
    "wasmer.llvm", engine_wasmer::Wasmer::llvm(),
        |wasm| crate::native::wasmer_add(wasmer::sys::LLVM::new(), wasm);
}
