//! Modules made by wasm-bindgen on the engines under test, with a host instead of JavaScript.

use std::sync::Arc;

use bindgen_host::{BindgenHost, Options, WorkerExit};
use engine_api::{Engine, Error, Imports, Instance, Limits, Module};
use proxy_core::{Builder, Policy, Proxy};

use crate::engines::EngineUnderTest;

/// A guest in both generations of wasm-bindgen's ABI.
#[derive(Clone, Copy, Debug)]
pub struct HostedGuest {
    /// Objects are slots of a heap, results come through a return pointer.
    slots: &'static [u8],
    /// Objects are externrefs, functions have several results.
    externrefs: &'static [u8],
    /// One policy for both.
    policy: &'static str,
}

/// A guest with exports for every kind of value.
pub const REALM: HostedGuest = HostedGuest {
    slots: include_bytes!("../../guests/prebuilt/realm_old.wasm"),
    externrefs: include_bytes!("../../guests/prebuilt/realm_new.wasm"),
    policy: include_str!("../../guests/policies/realm.toml"),
};

/// A guest with a thread pool.
pub const THREADS: HostedGuest = HostedGuest {
    slots: include_bytes!("../../guests/prebuilt/realm_threads_old.wasm"),
    externrefs: include_bytes!("../../guests/prebuilt/realm_threads.wasm"),
    policy: include_str!("../../guests/policies/realm_threads.toml"),
};

/// One module of a guest, on an engine that can run it.
pub struct Hosted {
    /// The generation of the ABI, for messages.
    pub abi: &'static str,
    /// The module in binary form.
    pub wasm: &'static [u8],
    /// The text of the policy file.
    pub policy: &'static str,
    engine: Arc<dyn Engine>,
}

impl HostedGuest {
    /// The modules that the engine can run. Without the capability `externref` it must refuse the
    /// one with externrefs.
    #[must_use]
    #[track_caller]
    pub fn on(&self, engine: &EngineUnderTest) -> Vec<Hosted> {
        self.with_exit(engine, WorkerExit::Destroy)
    }

    /// As [`HostedGuest::on`], with workers that leave memory in this way.
    #[must_use]
    #[track_caller]
    pub fn with_exit(&self, engine: &EngineUnderTest, exit: WorkerExit) -> Vec<Hosted> {
        let mut options = Options::default();
        options.worker_exit = exit;
        let host: Arc<dyn Engine> =
            Arc::new(BindgenHost::new(Arc::clone(engine.remembering()), options));
        let hosted = |abi, wasm| Hosted {
            abi,
            wasm,
            policy: self.policy,
            engine: Arc::clone(&host),
        };
        let mut all = vec![hosted("slots", self.slots)];
        if engine.capabilities().externref {
            all.push(hosted("externrefs", self.externrefs));
        } else {
            let refused = host.compile(self.externrefs);
            assert!(
                matches!(refused, Err(Error::Unsupported { .. })),
                "{refused:?}"
            );
        }
        all
    }
}

impl Hosted {
    /// A bare instance.
    ///
    /// # Errors
    ///
    /// As [`engine_api::Module::instantiate`].
    pub fn instantiate(&self, limits: &Limits) -> Result<Box<dyn Instance>, Error> {
        self.instantiate_with(&bindgen_host::system(), limits)
    }

    /// A bare instance with these imports instead of those of this machine.
    ///
    /// # Errors
    ///
    /// As [`engine_api::Module::instantiate`].
    pub fn instantiate_with(
        &self,
        imports: &Imports,
        limits: &Limits,
    ) -> Result<Box<dyn Instance>, Error> {
        let module = self.engine.compile(self.wasm)?;
        module.instantiate(imports, limits)
    }

    /// The compiled module.
    ///
    /// # Errors
    ///
    /// As [`Engine::compile`].
    pub fn compile(&self) -> Result<Arc<dyn Module>, Error> {
        self.engine.compile(self.wasm)
    }

    /// The module's bytes with another name of the same length for one of its exports.
    #[must_use]
    #[track_caller]
    pub fn with_renamed_export(&self, name: &str, renamed: &str) -> Vec<u8> {
        assert_eq!(name.len(), renamed.len());
        let mut wasm = self.wasm.to_vec();
        let windows = wasm.windows(name.len());
        let found: Vec<_> = windows
            .enumerate()
            .filter_map(|(at, bytes)| (bytes == name.as_bytes()).then_some(at))
            .collect();
        assert!(!found.is_empty(), "no `{name}` in the module");
        for at in found {
            wasm[at..at + name.len()].copy_from_slice(renamed.as_bytes());
        }
        wasm
    }

    /// A builder of a proxy.
    #[track_caller]
    pub fn proxied(&self) -> Builder {
        let policy: Policy = self
            .policy
            .parse()
            .unwrap_or_else(|error| panic!("{error}"));
        Proxy::builder(Arc::clone(&self.engine))
            .module(self.wasm)
            .policy(policy)
            .imports(bindgen_host::system())
    }
}
