//! How long it takes to make a module ready, on every engine: compiled, loaded precompiled,
//! instantiated.

use std::cell::LazyCell;
use std::sync::Arc;
use std::time::Duration;

use benches::OnThread;
use benches::engines::{self, Column};
use benches::guests::GuestModule;
use benches::results::{COMPILE, INSTANTIATE, INSTANTIATE_DROP, LOAD, module};
use criterion::{BatchSize, BenchmarkId, Criterion, SamplingMode};
use engine_api::{Imports, Instance, Limits, Module};

/// More than one, because reading the clock takes a part of the time of an instantiation. Not many,
/// because each instance reserves gibibytes of address space until it is dropped.
const FEW: BatchSize = BatchSize::NumIterations(16);

const MODULE: &str = "every engine compiles the guests";

fn main() {
    let mut on_wall = benches::criterion();
    let mut on_thread = benches::criterion().with_measurement(OnThread);
    for column in engines::all() {
        for (row, guest) in [
            (module::TINY, GuestModule::tiny()),
            (module::PROVER, GuestModule::prover()),
        ] {
            let engine = column.engine();
            compile(&mut on_wall, column, row, &|| engine.compile(&guest.wasm));
            let module = LazyCell::new(|| engine.compile(&guest.wasm).expect(MODULE));
            let precompiled =
                LazyCell::new(|| module.precompiled().expect("every engine has them"));
            let load_it = || engine.load(&guest.wasm, &precompiled);
            load(&mut on_thread, column, row, &load_it);
            instantiate(&mut on_thread, column, row, &|| instance(&**module));
        }
    }
    on_wall.final_summary();
    on_thread.final_summary();
}

type Compiled = Result<Arc<dyn Module>, engine_api::Error>;

/// On the wall, because some compilers use several threads. Compiling the prover takes from a tenth
/// of a second to many seconds, so there are as few samples as criterion allows.
fn compile(criterion: &mut Criterion, column: Column, row: &str, compile: &dyn Fn() -> Compiled) {
    let mut group = criterion.benchmark_group(COMPILE);
    group
        .sampling_mode(SamplingMode::Flat)
        .sample_size(10)
        .warm_up_time(Duration::from_millis(1));
    group.bench_function(BenchmarkId::new(row, column.name), |bencher| {
        bencher.iter_batched(
            || (),
            |()| compile().expect(MODULE),
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

fn load(
    criterion: &mut Criterion<OnThread>,
    column: Column,
    row: &str,
    load: &dyn Fn() -> Compiled,
) {
    let mut group = criterion.benchmark_group(LOAD);
    group.bench_function(BenchmarkId::new(row, column.name), |bencher| {
        let load = || load().expect("the module was precompiled here");
        bencher.iter_batched(|| (), |()| load(), FEW);
    });
    group.finish();
}

fn instantiate(
    criterion: &mut Criterion<OnThread>,
    column: Column,
    row: &str,
    instance: &dyn Fn() -> Box<dyn Instance>,
) {
    let mut group = criterion.benchmark_group(INSTANTIATE);
    group.bench_function(BenchmarkId::new(row, column.name), |bencher| {
        bencher.iter_batched(|| (), |()| instance(), FEW);
    });
    group.finish();
    let mut group = criterion.benchmark_group(INSTANTIATE_DROP);
    group.bench_function(BenchmarkId::new(row, column.name), |bencher| {
        bencher.iter(|| drop(instance()));
    });
    group.finish();
}

fn instance(module: &dyn Module) -> Box<dyn Instance> {
    module
        .instantiate(&Imports::new(), &Limits::default())
        .expect("it needs no imports")
}
