//! The baseline for the proxy: a runtime's own typed call, set up as its manual says.

#[cfg(any(feature = "wasmtime", feature = "wasmer"))]
use std::hint::black_box;
use std::time::Duration;

#[cfg(any(feature = "wasmtime", feature = "wasmer"))]
use cpu_time::ThreadTime;

/// Calls the export `add` a number of times by the runtime's own typed interface, and returns the
/// time that this took the thread. The loop is inside, and has nothing but the call in it.
pub type NativeAdd = Box<dyn FnMut(u64) -> Duration>;

/// The native call of an engine of the list.
pub(crate) fn add(engine: &str, wasm: &[u8]) -> anyhow::Result<NativeAdd> {
    match engine {
        #[cfg(feature = "wasmer")]
        "wasmer.cranelift" => wasmer_add(wasmer::sys::Cranelift::new(), wasm),
        #[cfg(feature = "wasmer")]
        "wasmer.singlepass" => wasmer_add(wasmer::sys::Singlepass::new(), wasm),
        #[cfg(feature = "llvm")]
        "wasmer.llvm" => wasmer_add(wasmer::sys::LLVM::new(), wasm),
        #[cfg(feature = "wasmtime")]
        "wasmtime.cranelift" => wasmtime_add(wasmtime::Strategy::Cranelift, wasm),
        #[cfg(feature = "wasmtime")]
        "wasmtime.winch" => wasmtime_add(wasmtime::Strategy::Winch, wasm),
        _ => anyhow::bail!(
            "no native call is written for `{engine}` with {} bytes",
            wasm.len()
        ),
    }
}

#[cfg(feature = "wasmtime")]
fn wasmtime_add(strategy: wasmtime::Strategy, wasm: &[u8]) -> anyhow::Result<NativeAdd> {
    let mut config = wasmtime::Config::new();
    config.strategy(strategy);
    let engine = wasmtime::Engine::new(&config)?;
    let module = wasmtime::Module::from_binary(&engine, wasm)?;
    let mut store = wasmtime::Store::new(&engine, ());
    let instance = wasmtime::Instance::new(&mut store, &module, &[])?;
    let add = instance.get_typed_func::<(i32, i32), i32>(&mut store, "add")?;
    Ok(Box::new(move |iters| {
        timed(iters, |a, b| {
            add.call(&mut store, (a, b))
                .expect("addition does not trap")
        })
    }))
}

#[cfg(feature = "wasmer")]
fn wasmer_add(
    compiler: impl Into<Box<dyn wasmer::sys::CompilerConfig>>,
    wasm: &[u8],
) -> anyhow::Result<NativeAdd> {
    let engine = wasmer::sys::EngineBuilder::new(compiler).engine();
    let mut store = wasmer::Store::new(engine);
    let module = wasmer::Module::new(&store, wasm)?;
    let instance = wasmer::Instance::new(&mut store, &module, &wasmer::imports! {})?;
    let add = instance
        .exports
        .get_typed_function::<(i32, i32), i32>(&store, "add")?;
    Ok(Box::new(move |iters| {
        timed(iters, |a, b| {
            add.call(&mut store, a, b).expect("addition does not trap")
        })
    }))
}

#[cfg(any(feature = "wasmtime", feature = "wasmer"))]
fn timed(iters: u64, mut add: impl FnMut(i32, i32) -> i32) -> Duration {
    let started = ThreadTime::now();
    for _ in 0..iters {
        black_box(add(black_box(1), black_box(2)));
    }
    started.elapsed()
}
