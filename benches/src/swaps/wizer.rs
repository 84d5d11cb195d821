//! The state of a module as its initial memory, made by Wizer.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use anyhow::Context as _;
use wasmtime_wizer::{InstanceState, SnapshotVal, ValType, Wizer};

/// A module like the state guest, whose MiB were filled by one call when it was built.
///
/// # Errors
///
/// Wizer's or wasmtime's.
pub(super) fn initialised(wasm: &[u8], mib: i32) -> anyhow::Result<Vec<u8>> {
    let mut wizer = Wizer::new();
    // The guest's state is made from outside, so nothing is called; but Wizer wants a name.
    wizer.init_func("look").keep_init_func(true);
    let (context, instrumented) = wizer.instrument(wasm).map_err(wasmtime_error)?;
    let engine = wasmtime::Engine::default();
    let module = wasmtime::Module::from_binary(&engine, &instrumented).map_err(wasmtime_error)?;
    let mut store = wasmtime::Store::new(&engine, ());
    let instance = wasmtime::Instance::new(&mut store, &module, &[]).map_err(wasmtime_error)?;
    let fill = instance
        .get_typed_func::<i32, i32>(&mut store, "fill_mib")
        .map_err(wasmtime_error)?;
    for _ in 0..mib {
        fill.call(&mut store, 1).map_err(wasmtime_error)?;
    }
    let mut state = State { store, instance };
    ready(wizer.snapshot(&context, &mut state))
        .context("Wizer waits for nothing here")?
        .map_err(wasmtime_error)
}

struct State {
    store: wasmtime::Store<()>,
    instance: wasmtime::Instance,
}

impl InstanceState for State {
    async fn global_get(&mut self, name: &str, _: ValType) -> SnapshotVal {
        let global = self.instance.get_global(&mut self.store, name);
        match global.map(|global| global.get(&mut self.store)) {
            Some(wasmtime::Val::I32(value)) => SnapshotVal::I32(value),
            Some(wasmtime::Val::I64(value)) => SnapshotVal::I64(value),
            other => unreachable!("the guest has no such global: {other:?}"),
        }
    }

    async fn memory_contents(&mut self, name: &str, contents: impl FnOnce(&[u8]) + Send) {
        let memory = self.instance.get_memory(&mut self.store, name);
        contents(memory.expect("Wizer named it").data(&self.store));
    }
}

/// The output of a future that is ready at once.
fn ready<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut context = Context::from_waker(Waker::noop());
    match pin!(future).poll(&mut context) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

#[expect(clippy::needless_pass_by_value, reason = "`map_err` gives it by value")]
fn wasmtime_error(error: wasmtime::Error) -> anyhow::Error {
    anyhow::anyhow!("{error:?}")
}
