//! The peers, with the same state: a module that Wizer has initialised, instantiated on
//! wasmtime, whose images are mapped copy-on-write too; and a copy of the memory.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread;

use anyhow::Context as _;
use engine_api::{Engine, Imports, Instance, Limits, Module};

use super::wizer::initialised;
use super::{Cell, Effort, SIZES, Samples, What};
use crate::guests::GuestModule;

pub(super) fn measure(effort: Effort, cells: &mut Vec<Cell>) -> anyhow::Result<()> {
    let engine: Arc<dyn Engine> = Arc::new(engine_wasmtime::Wasmtime::cranelift()?);
    for mib in SIZES {
        let wasm = initialised(&GuestModule::state().wasm, mib)
            .with_context(|| format!("initialise {mib} MiB"))?;
        let module = engine.compile(&wasm)?;
        drop(wasm);
        let wizer = instances(module.as_ref(), effort.checkpointed)?;
        let bytes = usize::try_from(mib)? << 20;
        let from = vec![7_u8; bytes];
        let mut memcpy = Samples::new();
        for _ in 0..effort.replayed {
            // A fresh place each time, as a new instance has.
            drop(memcpy.time(|| black_box(black_box(&from).clone())));
        }
        for (engine, what, samples) in [
            (Some("wasmtime.cranelift"), What::Wizer, &wizer),
            (None, What::Memcpy, &memcpy),
        ] {
            cells.push(Cell {
                engine: engine.map(ToOwned::to_owned),
                what,
                by: None,
                mib: Some(mib),
                entries: None,
                summary: samples.summary(),
            });
        }
    }
    Ok(())
}

/// Times instances. Another thread frees each before the next is made, as with the generations of a
/// proxy. If one thread did both, all that they touch would be in the processor's caches.
fn instances(module: &dyn Module, count: u32) -> anyhow::Result<Samples> {
    let mut samples = Samples::new();
    let (bury, buried) = mpsc::channel::<Box<dyn Instance>>();
    let freed = AtomicU32::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            for instance in buried {
                drop(instance);
                freed.fetch_add(1, Ordering::Release);
            }
        });
        // Ends with the closure, and the other thread with it.
        let bury = bury;
        for made in 1..=count {
            let instance =
                samples.time(|| module.instantiate(&Imports::new(), &Limits::default()))?;
            if bury.send(instance).is_err() {
                anyhow::bail!("the thread that frees instances is gone");
            }
            while freed.load(Ordering::Acquire) < made {
                thread::yield_now();
            }
        }
        Ok(samples)
    })
}
