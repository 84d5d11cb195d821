//! Guests whose states are kept in files, and opened by other engines and processes.

use std::path::Path;
use std::sync::Arc;

use bindgen_host::{BindgenHost, Options, THREAD_POOL_START};
use engine_api::{
    Capabilities, Engine, Extern, Imports, Instance, InstanceExt, Limits, MemoryType, Module, Val,
};
use proxy_core::{Builder, Proxy};

use crate::engines::EngineUnderTest;
use crate::expect::binary;
use crate::hosted::{HostedGuest, REALM, THREADS};

/// A guest in a state. Every kind of state is in one of [`all`].
#[derive(Clone, Copy, Debug)]
pub struct KeptGuest {
    /// Its name, by which another process finds it.
    pub name: &'static str,
    kind: Kind,
    /// Whether an engine can run it.
    runs: fn(Capabilities) -> bool,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// A module in the text format, whose exports `make` and `next` make its state and go on from
    /// there.
    Plain(&'static str),
    /// The same, with a memory that threads share.
    Shared(&'static str),
    /// The same, with a realm.
    Realm(&'static str),
    /// The guest with exports for every kind of value, of this generation of the ABI.
    RealmGuest(&'static str),
    /// The guest with a pool, of this generation of the ABI.
    Threads(&'static str),
}

/// A guest on an engine.
pub struct Kept {
    guest: KeptGuest,
    engine: &'static EngineUnderTest,
    /// The module, which every engine that runs the guest can compile.
    pub module: Arc<dyn Module>,
}

/// Numbers in a memory and in globals, far apart.
const COUNTER: &str = r#"(module
    (memory 1 200)
    (global $count (mut i64) (i64.const 0))
    (global $real (mut f32) (f32.const 0.5))
    (global $wide (mut f64) (f64.const 0.25))
    (func (export "make")
        (drop (memory.grow (i32.const 99)))
        (i64.store (i32.const 70000) (i64.const 7))
        (i64.store (i32.const 6000000) (i64.const 70))
        (global.set $real (f32.mul (global.get $real) (f32.const 3)))
        (global.set $wide (f64.mul (global.get $wide) (f64.const 3)))
        (global.set $count (i64.const 4)))
    (func (export "next") (result i64 i32 f32 f64)
        (global.set $count (i64.add (global.get $count)
            (i64.add (i64.load (i32.const 70000)) (i64.load (i32.const 6000000)))))
        (i64.store (i32.const 70000) (global.get $count))
        (global.get $count) (memory.size) (global.get $real) (global.get $wide)))"#;

/// Tables of functions that change, globals of them, and dropped segments.
const TABLES: &str = r#"(module
    (type $number (func (result i32)))
    (memory 1)
    (table $t 4 200 funcref)
    (global $chosen (mut funcref) (ref.null func))
    (global $calls (mut i32) (i32.const 0))
    (data $dropped "dropped")
    (data $kept "kept")
    (elem $gone func $one)
    (elem declare func $one $two)
    (func $one (type $number) (i32.const 1))
    (func $two (type $number) (i32.const 2))
    (func (export "make")
        (table.set $t (i32.const 1) (ref.func $one))
        (drop (table.grow $t (ref.func $two) (i32.const 30)))
        (table.set $t (i32.const 20) (ref.null func))
        (global.set $chosen (ref.func $one))
        (data.drop $dropped)
        (elem.drop $gone))
    (func (export "next") (result i32 i32 i32 i32)
        (global.set $calls (i32.add (global.get $calls)
            (call_indirect $t (type $number) (i32.const 25))))
        (memory.init $kept (i32.const 0) (i32.const 0) (i32.const 4))
        (memory.init $dropped (i32.const 0) (i32.const 0) (i32.const 0))
        (global.get $calls)
        (table.size $t)
        (ref.is_null (global.get $chosen))
        (ref.is_null (table.get $t (i32.const 20)))))"#;

const VECTORS: &str = r#"(module
    (global $v (mut v128) (v128.const i64x2 0 0))
    (func (export "make") (global.set $v (v128.const i32x4 1 2 3 -4)))
    (func (export "next") (result i32 i32)
        (global.set $v (i32x4.add (global.get $v) (v128.const i32x4 1 1 1 1)))
        (i32x4.extract_lane 2 (global.get $v)) (i32x4.extract_lane 3 (global.get $v))))"#;

const MEMORIES: &str = r#"(module
    (memory $one 1)
    (memory $empty 0)
    (memory $other 2 40)
    (func (export "make")
        (drop (memory.grow $other (i32.const 30)))
        (i32.store $one (i32.const 5) (i32.const 1))
        (i32.store $other (i32.const 2000000) (i32.const 2)))
    (func (export "next") (result i32 i32 i32)
        (i32.store $one (i32.const 5) (i32.add (i32.load $one (i32.const 5)) (i32.const 1)))
        (i32.load $one (i32.const 5))
        (i32.load $other (i32.const 2000000))
        (memory.size $other)))"#;

const SHARED: &str = r#"(module
    (import "env" "memory" (memory 1 40 shared))
    (func (export "make")
        (drop (memory.grow (i32.const 30)))
        (i32.atomic.store (i32.const 2000000) (i32.const 2)))
    (func (export "next") (result i32 i32)
        (drop (i32.atomic.rmw.add (i32.const 2000000) (i32.const 3)))
        (i32.atomic.load (i32.const 2000000))
        (memory.size)))"#;

/// An array that contains itself under two names, and another one.
const SLOTS: &str = r#"(module
    (import "wbg" "__wbg_new_0123456789abcdef" (func $new (result i32)))
    (import "wbg" "__wbg_push_0123456789abcdef" (func $push (param i32 i32) (result i32)))
    (import "wbg" "__wbg_length_0123456789abcdef" (func $length (param i32) (result i32)))
    (import "wbg" "__wbindgen_object_clone_ref" (func $clone (param i32) (result i32)))
    (import "wbg" "__wbindgen_object_drop_ref" (func $drop (param i32)))
    (memory (export "memory") 1)
    (global $one (mut i32) (i32.const 0))
    (global $other (mut i32) (i32.const 0))
    (func (export "make") (local $freed i32)
        (local.set $freed (call $new))
        (global.set $one (call $new))
        (global.set $other (call $clone (global.get $one)))
        (call $drop (local.get $freed))
        (drop (call $push (global.get $one) (global.get $other))))
    (func (export "next") (result i32 i32 i32)
        (call $push (global.get $other) (call $new))
        (call $length (global.get $one))
        (call $new)))"#;

/// The same in a table and in a global.
const REFERENCES: &str = r#"(module
    (import "wbg" "__wbg_new_0123456789abcdef" (func $new (result externref)))
    (import "wbg" "__wbg_push_0123456789abcdef"
        (func $push (param externref externref) (result i32)))
    (import "wbg" "__wbg_length_0123456789abcdef" (func $length (param externref) (result i32)))
    (memory (export "memory") 1)
    (table $objects 4 externref)
    (global $other (mut externref) (ref.null extern))
    (func (export "make")
        (table.set $objects (i32.const 1) (call $new))
        (table.set $objects (i32.const 3) (call $new))
        (global.set $other (table.get $objects (i32.const 1)))
        (drop (call $push (global.get $other) (table.get $objects (i32.const 1)))))
    (func (export "next") (result i32 i32 i32)
        (call $push (global.get $other) (call $new))
        (call $length (table.get $objects (i32.const 1)))
        (call $length (table.get $objects (i32.const 3)))))"#;

/// All guests.
#[must_use]
pub fn all() -> Vec<KeptGuest> {
    let everywhere = |_: Capabilities| true;
    let pools = |has: Capabilities| has.threads && has.interruption;
    let guest = |name, kind, runs| KeptGuest { name, kind, runs };
    vec![
        guest("counter", Kind::Plain(COUNTER), everywhere),
        guest("tables", Kind::Plain(TABLES), everywhere),
        guest("vectors", Kind::Plain(VECTORS), |has| has.simd),
        guest("memories", Kind::Plain(MEMORIES), |has| has.multi_memory),
        guest("shared", Kind::Shared(SHARED), |has| has.threads),
        guest("slots", Kind::Realm(SLOTS), everywhere),
        guest("references", Kind::Realm(REFERENCES), |has| has.externref),
        guest("realm of slots", Kind::RealmGuest("slots"), everywhere),
        guest(
            "realm of references",
            Kind::RealmGuest("externrefs"),
            |has| has.externref,
        ),
        guest("pool of slots", Kind::Threads("slots"), pools),
        guest("pool of references", Kind::Threads("externrefs"), |has| {
            has.threads && has.interruption && has.externref
        }),
    ]
}

/// The guest of a name.
#[must_use]
#[track_caller]
pub fn by_name(name: &str) -> KeptGuest {
    let found = all().into_iter().find(|guest| guest.name == name);
    found.unwrap_or_else(|| panic!("no guest `{name}`"))
}

impl KeptGuest {
    /// The guest on an engine that can run it.
    #[must_use]
    #[track_caller]
    pub fn on(self, engine: &'static EngineUnderTest) -> Option<Kept> {
        if !(self.runs)(engine.capabilities()) {
            return None;
        }
        let of_abi = |guest: HostedGuest, abi| {
            let all = guest.on(engine);
            let module = all.iter().find(|hosted| hosted.abi == abi)?;
            Some(
                module
                    .compile()
                    .unwrap_or_else(|error| panic!("{engine:?}: {error:?}")),
            )
        };
        let module = match self.kind {
            Kind::RealmGuest(abi) => of_abi(REALM, abi)?,
            Kind::Threads(abi) => of_abi(THREADS, abi)?,
            Kind::Plain(text) | Kind::Shared(text) | Kind::Realm(text) => {
                return Some(self.of(engine, &binary(text)));
            }
        };
        Some(Kept {
            guest: self,
            engine,
            module,
        })
    }

    /// The guest on an engine that can run it, from its module's bytes.
    #[must_use]
    #[track_caller]
    pub fn of(self, engine: &'static EngineUnderTest, wasm: &[u8]) -> Kept {
        let module = self.host(engine).compile(wasm);
        Kept {
            guest: self,
            engine,
            module: module.unwrap_or_else(|error| panic!("{engine:?}: {error:?}")),
        }
    }

    /// The engine that compiles the guest: the one given, or a host around it.
    fn host(self, engine: &EngineUnderTest) -> Arc<dyn Engine> {
        let engine = Arc::clone(engine.remembering());
        match self.kind {
            Kind::Plain(_) | Kind::Shared(_) => engine,
            Kind::Realm(_) | Kind::RealmGuest(_) | Kind::Threads(_) => {
                BindgenHost::new(engine, Options::default()).into()
            }
        }
    }

    /// A builder of a proxy on an engine that can run the guest. Every call is journaled. `None` for
    /// guests with a policy of their own, and for those whose memory comes from outside.
    #[must_use]
    pub fn proxied(self, engine: &EngineUnderTest) -> Option<Builder> {
        let imports = match self.kind {
            Kind::Plain(_) => Imports::new(),
            Kind::Realm(_) => bindgen_host::system(),
            Kind::Shared(_) | Kind::RealmGuest(_) | Kind::Threads(_) => return None,
        };
        let wasm = self.wasm()?;
        let runs = (self.runs)(engine.capabilities());
        runs.then(|| {
            Proxy::builder(self.host(engine))
                .module(wasm)
                .imports(imports)
        })
    }

    /// The bytes of a module that the suite itself has written, or `None`.
    #[must_use]
    pub fn wasm(self) -> Option<Vec<u8>> {
        match self.kind {
            Kind::Plain(text) | Kind::Shared(text) | Kind::Realm(text) => Some(binary(text)),
            Kind::RealmGuest(_) | Kind::Threads(_) => None,
        }
    }

    /// Whether its instances have threads of their own.
    #[must_use]
    pub fn has_pool(self) -> bool {
        matches!(self.kind, Kind::Threads(_))
    }
}

impl Kept {
    /// What the guest imports, anew for each instance.
    #[must_use]
    #[track_caller]
    pub fn imports(&self) -> Imports {
        match self.guest.kind {
            Kind::Plain(_) => Imports::new(),
            Kind::Shared(_) => {
                let memory = self.engine.shared_memory(MemoryType::shared(1, 40));
                let memory = memory.unwrap_or_else(|error| panic!("{error:?}"));
                let mut imports = Imports::new();
                imports.define("env", "memory", Extern::SharedMemory(memory));
                imports
            }
            Kind::Realm(_) | Kind::RealmGuest(_) | Kind::Threads(_) => bindgen_host::system(),
        }
    }

    /// An instance in the state.
    #[must_use]
    #[track_caller]
    pub fn made(&self) -> Box<dyn Instance> {
        let instance = self.module.instantiate(&self.imports(), &limits());
        let mut instance = instance.unwrap_or_else(|error| panic!("{error:?}"));
        match self.guest.kind {
            Kind::Plain(_) | Kind::Shared(_) | Kind::Realm(_) => {
                drop(invoke(&mut *instance, "make", &[]));
            }
            Kind::RealmGuest(_) => {
                for number in 0..40 {
                    let counter = invoke(&mut *instance, "counter_new", &[Val::I32(number)]);
                    invoke(&mut *instance, "counter_increment", &counter);
                }
            }
            Kind::Threads(_) => {
                drop(invoke(&mut *instance, THREAD_POOL_START, &[Val::I32(2)]));
            }
        }
        instance
    }

    /// What an instance in the state does next: the same on every engine.
    #[must_use]
    #[track_caller]
    pub fn goes_on(&self, instance: &mut dyn Instance) -> String {
        let results = match self.guest.kind {
            Kind::Plain(_) | Kind::Shared(_) | Kind::Realm(_) => invoke(instance, "next", &[]),
            Kind::RealmGuest(_) => {
                let mut results = invoke(instance, "counter_new", &[Val::I32(7)]);
                results.extend(invoke(instance, "counter_value", &results.clone()));
                results.extend(invoke(instance, "registry_new", &[]));
                results.extend(invoke(instance, "chain_value", &[]));
                results
            }
            Kind::Threads(_) => {
                let mut results = invoke(instance, "parallel_sum", &[Val::I32(100_000)]);
                results.extend(invoke(instance, "workers", &[]));
                results
            }
        };
        format!("{results:?}")
    }

    /// Opens a file in which the state was written, and makes an instance of it. Fails a case if
    /// it is another state, or if the instance goes on otherwise.
    #[track_caller]
    pub fn goes_on_from(&self, path: &Path, digest: &str, expected: &str) {
        let opened = checkpoint_file::open(path, &*self.module);
        let opened = opened.unwrap_or_else(|error| panic!("{error:?}"));
        let snapshot = opened.snapshot;
        assert_eq!(hex(&snapshot), digest, "{:?}", self.guest.name);
        let restored = self.module.restore(&self.imports(), &limits(), &snapshot);
        let mut restored = restored.unwrap_or_else(|error| panic!("{error:?}"));
        if !self.guest.has_pool() {
            let again = restored
                .capture()
                .unwrap_or_else(|error| panic!("{error:?}"));
            let difference = snapshot.difference(&again);
            assert_eq!(difference.unwrap_or_else(|error| panic!("{error:?}")), None);
        }
        assert_eq!(
            self.goes_on(&mut *restored),
            expected,
            "{:?}",
            self.guest.name
        );
    }
}

/// The digest of a snapshot as text.
#[must_use]
#[track_caller]
pub fn hex(snapshot: &engine_api::Snapshot) -> String {
    let digest = snapshot
        .digest()
        .unwrap_or_else(|error| panic!("{error:?}"));
    engine_api::ModuleHash::from_bytes(digest).to_string()
}

fn limits() -> Limits {
    Limits {
        memory_bytes_max: Some(48 << 20),
        ..Limits::default()
    }
}

#[track_caller]
fn invoke(instance: &mut dyn Instance, name: &str, args: &[Val]) -> Vec<Val> {
    let results = instance.invoke(name, args);
    results.unwrap_or_else(|error| panic!("`{name}`: {error:?}"))
}
