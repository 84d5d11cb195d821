//! What WASI in the imports costs a call that does not use it.

use std::cell::{LazyCell, RefCell};
use std::hint::black_box;

use ::wasi::{Config, Wasi};
use benches::OnThread;
use benches::engines::{self, Column};
use benches::guests::GuestModule;
use benches::results::{WASI, call, wasi};
use criterion::{BenchmarkGroup, BenchmarkId};
use engine_api::{Imports, Limits, Val};

/// Entries that a journal gets before a fresh proxy takes over.
const ENTRIES_MAX: u64 = 50_000;

const SERVED: &str = "the guest's functions do not fail";

fn main() {
    let mut criterion = benches::criterion().with_measurement(OnThread);
    for column in engines::all() {
        let mut group = criterion.benchmark_group(WASI);
        // The compositions of one way follow one another, because the load of the machine changes
        // slowly.
        for composition in wasi::COMPOSITIONS {
            contract(&mut group, column, composition);
        }
        for way in [call::PURE_TYPED, call::JOURNALED_TYPED] {
            for composition in wasi::COMPOSITIONS {
                proxied(&mut group, column, way, composition);
            }
        }
        group.finish();
    }
    criterion.final_summary();
}

/// The module and the imports of a composition.
fn composed(composition: &str) -> (GuestModule, fn() -> Imports) {
    let [_, given, imported] = wasi::COMPOSITIONS;
    let guest = if composition == imported {
        GuestModule::calls_with_wasi()
    } else {
        GuestModule::calls()
    };
    if composition == given || composition == imported {
        (guest, world)
    } else {
        (guest, Imports::new)
    }
}

fn world() -> Imports {
    let mut imports = Imports::new();
    let world = Wasi::new(Config::default()).expect("it opens nothing");
    world.add_to(&mut imports);
    imports
}

fn contract(group: &mut BenchmarkGroup<'_, OnThread>, column: Column, composition: &str) {
    let instance = LazyCell::new(|| {
        let (guest, imports) = composed(composition);
        let module = column.compile(&guest);
        let instance = module.instantiate(&imports(), &Limits::default());
        let (add, _) = module.info().function("add").expect("it is an export");
        RefCell::new((instance.expect("every import is there"), add))
    });
    let row = wasi::row(call::TRAIT, composition);
    group.bench_function(BenchmarkId::new(row, column.name), |bencher| {
        let (instance, add) = &mut *instance.borrow_mut();
        bencher.iter(|| {
            let mut results = [Val::I32(0)];
            let args = [Val::I32(black_box(1)), Val::I32(black_box(2))];
            instance.call(*add, &args, &mut results).expect(SERVED);
            results[0].i32()
        });
    });
}

fn proxied(group: &mut BenchmarkGroup<'_, OnThread>, column: Column, way: &str, composition: &str) {
    let export = match way {
        call::JOURNALED_TYPED => "add_journaled",
        _ => "add",
    };
    let fresh = LazyCell::new(|| {
        let (guest, imports) = composed(composition);
        column.proxies_importing(&guest, imports)
    });
    let row = wasi::row(way, composition);
    group.bench_function(BenchmarkId::new(row, column.name), |bencher| {
        let fresh = || fresh().typed::<(i32, i32), i32>(export).expect(SERVED);
        bencher.iter_custom(|iters| {
            benches::chunked(iters, ENTRIES_MAX, fresh, |add| {
                black_box(add.call((black_box(1), black_box(2))).expect(SERVED));
            })
        });
    });
}
