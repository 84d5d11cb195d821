//! The engines that are measured: all of the list that are compiled in.

use std::sync::Arc;

use engine_api::{Engine, EngineConfig, Imports, Module};
use proxy_core::{ArtifactStore, Builder, CheckpointPolicy, Proxy};

use crate::guests::GuestModule;
use crate::native::{self, NativeAdd};

/// One column of the tables.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// The name of the engine, such as `wasmer.cranelift`.
    pub name: &'static str,
}

impl Column {
    /// A new engine in its default configuration.
    #[must_use]
    pub fn engine(&self) -> Arc<dyn Engine> {
        ::engines::engine(self.name).expect("the engine runs on this machine")
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
        let fresh = self.builders(guest);
        move |store| Self::built(fresh().artifacts(store))
    }

    /// The same, each with these imports.
    pub fn proxies_importing<I: Fn() -> Imports>(
        &self,
        guest: &GuestModule,
        imports: I,
    ) -> impl Fn() -> Proxy + use<I> {
        let fresh = self.builders(guest);
        move || Self::built(fresh().imports(imports()))
    }

    /// Builders for a guest that is compiled once, here.
    fn builders(&self, guest: &GuestModule) -> impl Fn() -> Builder + use<> {
        let (guest, engine) = (guest.clone(), self.engine());
        let module = engine
            .compile(&guest.wasm)
            .expect("every engine compiles the guests");
        move || {
            Proxy::builder(Arc::clone(&engine))
                .module(guest.wasm.clone())
                .policy(guest.policy.clone())
                .compiled(Arc::clone(&module))
        }
    }

    /// The runtime's own typed call of `add` in a guest that exports it.
    #[must_use]
    pub fn native_add(&self, guest: &GuestModule) -> NativeAdd {
        native::add(self.name, &guest.wasm).expect("the runtime runs the guest")
    }

    fn builder(&self, guest: &GuestModule) -> Builder {
        Proxy::builder(self.engine())
            .module(guest.wasm.clone())
            .policy(guest.policy.clone())
    }

    /// Without checkpoints, because [`crate::swaps`] measures their effect.
    fn built(builder: Builder) -> Proxy {
        let builder = builder.checkpoints(CheckpointPolicy::off());
        builder.build().expect("the policy fits the guest")
    }
}

/// Every engine that is compiled in, in the order of the tables.
#[must_use]
pub fn all() -> Vec<Column> {
    ::engines::compiled_in()
        .map(|listed| Column { name: listed.name })
        .collect()
}

/// Engines with tunings other than the default, with their names.
///
/// # Panics
///
/// One does not run on this machine.
#[must_use]
pub fn tuned() -> Vec<(&'static str, Arc<dyn Engine>)> {
    let mut tuned: Vec<(&'static str, Arc<dyn Engine>)> = Vec::new();
    #[cfg(feature = "llvm")]
    {
        use engine_wasmer::{Compiler, Tuning, Wasmer};

        let tuning = Tuning::default().strict_memory(false);
        let engine = Wasmer::with_tuning(Compiler::Llvm, &EngineConfig::default(), tuning);
        let engine = engine.expect("the engine runs on this machine");
        tuned.push(("wasmer.llvm, memory not strict", engine.into()));
    }
    #[cfg(feature = "wasmtime")]
    {
        use engine_wasmtime::{Compiler, Tuning, Wasmtime};

        let default = Tuning::default();
        for (name, tuning) in [
            ("wasmtime.cranelift, no inlining", default.inlining(false)),
            (
                "wasmtime.cranelift, no interruption",
                default.interruption(false),
            ),
        ] {
            let config = EngineConfig::default();
            let engine = Wasmtime::with_tuning(Compiler::Cranelift, &config, tuning);
            let engine = engine.expect("the engine runs on this machine");
            tuned.push((name, engine.into()));
        }
    }
    tuned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_has_a_native_call() {
        for column in all() {
            column.native_add(&GuestModule::calls())(1);
        }
    }
}
