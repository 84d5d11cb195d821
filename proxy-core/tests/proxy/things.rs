//! A module whose objects have artifacts.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};

use engine_api::{Error as EngineError, Trap, Val};
use proxy_core::{ArtifactStore, Handle, Proxy, args};

use super::world::World;
use crate::fake::{FakeEngine, FakeInstance, address, number};

/// The size of an object's artifact.
pub(crate) const THING_BYTES: u32 = 5000;

/// `thing_new(n)` computes an object of value n². In the modules that this stands for, that takes
/// long. `thing_write` and `thing_read` are its artifact. `view_new(thing, n)` makes an object that
/// depends on another.
#[derive(Clone)]
pub(crate) struct Things {
    /// How many objects were computed, on all instances.
    pub(crate) computed: Arc<AtomicUsize>,
    /// How many were read, or failed to be.
    pub(crate) read: Arc<AtomicUsize>,
    /// An error that `thing_read` adds to each value.
    pub(crate) distortion: Arc<AtomicI64>,
    /// Whether `thing_read` traps.
    pub(crate) traps: Arc<AtomicBool>,
}

const POLICY: &str = r#"
[[export]]
match = "{thing,../../thing}_new"
role = "create"
args = ["value"]
results = ["handle:thing"]
fingerprint = "thing_value"
artifact = { export = "thing_write", import = "thing_read", live = true }

[[export]]
match = "view_new"
role = "create"
args = ["handle:thing", "value"]
results = ["handle:view"]
fingerprint = "thing_value"
artifact = { export = "thing_write", import = "view_read", live = true }

[[export]]
match = "thing_value"
role = "pure"
args = ["handle"]

[[export]]
match = "thing_write"
role = "pure"
args = ["handle"]
results = ["bytes"]

[[export]]
match = "thing_read"
role = "create"
args = ["bytes"]
results = ["handle:thing"]

[[export]]
match = "view_read"
role = "create"
args = ["bytes"]
results = ["handle:view"]

[[export]]
match = "thing_set"
role = "mutate"
args = ["handle:thing", "value"]
mutates = [0]

[[export]]
match = "touch_module"
role = "mutate"

[[export]]
match = "thing_free"
role = "free"
args = ["handle"]
"#;

impl Things {
    pub(crate) fn new() -> Self {
        Self {
            computed: Arc::default(),
            read: Arc::default(),
            distortion: Arc::default(),
            traps: Arc::default(),
        }
    }

    pub(crate) fn world(&self) -> World {
        let (computed, viewed) = (self.computed.clone(), self.computed.clone());
        let (thing, view) = (self.clone(), self.clone());
        let create = move |guest: &mut FakeInstance, args: &[Val]| {
            computed.fetch_add(1, Ordering::SeqCst);
            let n = i64::from(number(&args[0]));
            made(guest, n * n)
        };
        let mut world = World::new();
        world.policy = format!("{POLICY}{}", world.policy);
        world.script(|script| {
            script
                .func("thing_new", "(param i32) (result i32)", create.clone())
                .func("../../thing_new", "(param i32) (result i32)", create)
                .func(
                    "view_new",
                    "(param i32 i32) (result i32)",
                    move |guest, args| {
                        viewed.fetch_add(1, Ordering::SeqCst);
                        let value = *guest.object(&args[0])? + i64::from(number(&args[1]));
                        made(guest, value)
                    },
                )
                .func("thing_value", "(param i32) (result i64)", |guest, args| {
                    Ok(vec![Val::from(*guest.object(&args[0])?)])
                })
                .func("thing_write", "(param i32) (result i64)", |guest, args| {
                    let value = *guest.object(&args[0])?;
                    let at = guest.alloc(THING_BYTES)?;
                    guest.write(at, &value.to_le_bytes().repeat(THING_BYTES as usize / 8))?;
                    Ok(vec![Val::from(
                        u64::from(at) | u64::from(THING_BYTES) << 32,
                    )])
                })
                .func(
                    "thing_read",
                    "(param i32 i32) (result i32)",
                    move |guest, args| thing.import(guest, args),
                )
                .func(
                    "view_read",
                    "(param i32 i32) (result i32)",
                    move |guest, args| view.import(guest, args),
                )
                .func("thing_set", "(param i32 i32)", |guest, args| {
                    *guest.object(&args[0])? = i64::from(number(&args[1]));
                    Ok(vec![])
                })
                .func("touch_module", "", |_, _| Ok(vec![]))
                .func("thing_free", "(param i32)", |guest, args| {
                    guest.objects.remove(&address(&args[0]));
                    Ok(vec![])
                })
        })
    }

    fn import(&self, guest: &mut FakeInstance, args: &[Val]) -> Result<Vec<Val>, EngineError> {
        self.read.fetch_add(1, Ordering::SeqCst);
        if self.traps.load(Ordering::SeqCst) {
            return Err(EngineError::Trap(Trap::IntegerDivisionByZero));
        }
        let bytes = guest.read(address(&args[0]), address(&args[1]))?;
        let value = bytes.first_chunk().copied().map(i64::from_le_bytes);
        let value = value.ok_or(EngineError::Trap(Trap::MemoryOutOfBounds))?;
        made(guest, value + self.distortion.load(Ordering::SeqCst))
    }

    pub(crate) fn computed(&self) -> usize {
        self.computed.load(Ordering::SeqCst)
    }

    pub(crate) fn read(&self) -> usize {
        self.read.load(Ordering::SeqCst)
    }

    /// A proxy with a store of its own on the directory, as in another process.
    pub(crate) fn process(&self, directory: &Path) -> (Proxy, World, FakeEngine) {
        let store = ArtifactStore::directory(directory).unwrap();
        self.with_store(&store)
    }

    pub(crate) fn with_store(&self, store: &ArtifactStore) -> (Proxy, World, FakeEngine) {
        let world = self.world();
        let engine = world.script.engine();
        let builder = world.builder(&engine).artifacts(store.clone());
        (builder.build().unwrap(), world, engine)
    }

    /// Leaves the artifacts of these things in a directory, as a process that prepared a standby.
    pub(crate) fn leave(&self, directory: &Path, numbers: &[i32]) {
        let (proxy, ..) = self.process(directory);
        for n in numbers {
            thing(&proxy, *n);
        }
        proxy.prepare_standby().unwrap();
    }
}

fn made(guest: &mut FakeInstance, value: i64) -> Result<Vec<Val>, EngineError> {
    let address = guest.alloc(16)?;
    guest.objects.insert(address, value);
    Ok(vec![Val::from(address)])
}

pub(crate) fn thing(proxy: &Proxy, n: i32) -> Handle {
    let made = proxy.call("thing_new", args![n]).unwrap();
    made.handle().unwrap()
}

pub(crate) fn view(proxy: &Proxy, thing: Handle, n: i32) -> Handle {
    let made = proxy.call("view_new", args![thing, n]).unwrap();
    made.handle().unwrap()
}

pub(crate) fn value(proxy: &Proxy, object: Handle) -> i64 {
    let value = proxy.call("thing_value", args![object]).unwrap();
    value.i64().unwrap()
}
