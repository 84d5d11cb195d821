//! The cost of a call on every engine: by the engine's own interface, by the engine contract, and
//! by the proxy in every way it can be called.

use std::cell::{LazyCell, RefCell};
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use benches::OnThread;
use benches::engines::{self, Column};
use benches::guests::GuestModule;
use benches::results::{CALL, call};
use criterion::{BenchmarkGroup, BenchmarkId};
use engine_api::{Imports, Limits, Val};
use proxy_core::{Error, Handle, Proxy, Typed, args};

/// Entries that a journal gets before a fresh proxy takes over. This bounds the memory.
const ENTRIES_MAX: u64 = 50_000;

const SERVED: &str = "the guest's functions do not fail";

fn main() {
    let mut criterion = benches::criterion().with_measurement(OnThread);
    for column in engines::all() {
        // All rows of one engine one after the other, because the load of the machine changes
        // slowly.
        let mut group = criterion.benchmark_group(CALL);
        without_proxy(&mut group, column);
        pure(&mut group, column);
        buffers(&mut group, column);
        journaled(&mut group, column);
        beside(&mut group, column);
        group.finish();
    }
    criterion.final_summary();
}

fn without_proxy(group: &mut BenchmarkGroup<'_, OnThread>, column: Column) {
    let native = LazyCell::new(|| RefCell::new(column.native_add(&GuestModule::calls())));
    group.bench_function(BenchmarkId::new(call::NATIVE, column.name), |bencher| {
        bencher.iter_custom(|iters| native.borrow_mut()(iters));
    });
    for (row, deadline) in [
        (call::TRAIT, None),
        (call::TRAIT_DEADLINE, Some(Duration::from_mins(1))),
    ] {
        let instance = LazyCell::new(|| {
            let module = column.compile(&GuestModule::calls());
            let limits = Limits {
                deadline,
                ..Limits::default()
            };
            let instance = module.instantiate(&Imports::new(), &limits);
            let (add, _) = module.info().function("add").expect("it is an export");
            RefCell::new((instance.expect("it needs no imports"), add))
        });
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
}

fn pure(group: &mut BenchmarkGroup<'_, OnThread>, column: Column) {
    let proxy = LazyCell::new(|| column.proxy(&GuestModule::calls()));
    group.bench_function(BenchmarkId::new(call::PURE_TYPED, column.name), |bencher| {
        let add = proxy.typed::<(i32, i32), i32>("add").expect(SERVED);
        bencher.iter(|| add.call((black_box(1), black_box(2))).expect(SERVED));
    });
    group.bench_function(BenchmarkId::new(call::PURE, column.name), |bencher| {
        bencher.iter(|| {
            let args = args![black_box(1), black_box(2)];
            proxy.call("add", args).expect(SERVED)
        });
    });
    let object = LazyCell::new(|| object_of(&proxy));
    group.bench_function(
        BenchmarkId::new(call::HANDLE_TYPED, column.name),
        |bencher| {
            let (read, object) = (
                proxy.typed::<(Handle,), i32>("object_read").expect(SERVED),
                *object,
            );
            bencher.iter(|| read.call((black_box(object),)).expect(SERVED));
        },
    );
    group.bench_function(BenchmarkId::new(call::HANDLE, column.name), |bencher| {
        let object = *object;
        bencher.iter(|| {
            let args = args![black_box(object)];
            proxy.call("object_read", args).expect(SERVED)
        });
    });
    group.bench_function(BenchmarkId::new(call::PINNED, column.name), |bencher| {
        bencher.iter(|| {
            let sum = proxy
                .pinned::<_, Error>(|pinned| pinned.call("add", args![black_box(1), black_box(2)]));
            sum.expect(SERVED)
        });
    });
}

/// Pure calls that return a buffer: a proof of some kilobytes, and 1 MiB.
fn buffers(group: &mut BenchmarkGroup<'_, OnThread>, column: Column) {
    let prover = LazyCell::new(|| {
        let proxy = column.proxy(&GuestModule::prover());
        let srs = proxy.call("srs_create", args![4]).expect(SERVED);
        let srs = srs.handle().expect("the policy says it is a handle");
        let index = proxy.call("index_create", args![srs, 0]).expect(SERVED);
        (
            proxy,
            index.handle().expect("the policy says it is a handle"),
        )
    });
    group.bench_function(
        BenchmarkId::new(call::BUFFER_PROOF, column.name),
        |bencher| {
            let (proxy, index) = &*prover;
            // A proof is a raw pointer, which is good inside one scope.
            let read = proxy.pinned::<_, Error>(|pinned| {
                let proof = pinned.call("prove", args![*index, 7_u64])?.pointer()?;
                bencher.iter(|| pinned.call("proof_bytes", args![proof]).expect(SERVED));
                pinned.call("proof_free", args![proof])
            });
            read.expect(SERVED);
        },
    );
    let buffer = LazyCell::new(|| column.proxy(&GuestModule::buffer()));
    group.bench_function(BenchmarkId::new(call::BUFFER_MIB, column.name), |bencher| {
        bencher.iter(|| buffer.call("mebibyte", args![]).expect(SERVED));
    });
}

/// The time of one of two threads, each with a proxy of its own. The threads share nothing, so it
/// should be the time of one thread alone.
fn beside(group: &mut BenchmarkGroup<'_, OnThread>, column: Column) {
    let proxies = LazyCell::new(|| column.proxies(&GuestModule::calls()));
    for (row, export) in [
        (call::PURE_BESIDE, "add"),
        (call::JOURNALED_BESIDE, "add_journaled"),
    ] {
        let fresh = || typed_add(&proxies(), export);
        group.bench_function(BenchmarkId::new(row, column.name), |bencher| {
            bencher.iter_custom(|iters| {
                let ended = AtomicBool::new(false);
                thread::scope(|scope| {
                    let mut other = fresh();
                    let again = column.proxies(&GuestModule::calls());
                    let ended = &ended;
                    scope.spawn(move || {
                        while !ended.load(Ordering::Relaxed) {
                            for _ in 0..ENTRIES_MAX {
                                black_box(other.call((black_box(1), black_box(2))).expect(SERVED));
                            }
                            other = typed_add(&again(), export);
                        }
                    });
                    let took = benches::chunked(iters, ENTRIES_MAX, fresh, |add| {
                        black_box(add.call((black_box(1), black_box(2))).expect(SERVED));
                    });
                    ended.store(true, Ordering::Relaxed);
                    took
                })
            });
        });
    }
}

fn typed_add(proxy: &Proxy, export: &str) -> Typed<(i32, i32), i32> {
    proxy.typed(export).expect(SERVED)
}

fn object_of(proxy: &Proxy) -> Handle {
    let object = proxy.call("object_new", args![]).expect(SERVED);
    object.handle().expect("the policy says it is a handle")
}

fn journaled(group: &mut BenchmarkGroup<'_, OnThread>, column: Column) {
    let fresh = LazyCell::new(|| column.proxies(&GuestModule::calls()));
    group.bench_function(
        BenchmarkId::new(call::JOURNALED_TYPED, column.name),
        |bencher| {
            let fresh = || typed_add(&fresh(), "add_journaled");
            bencher.iter_custom(|iters| {
                benches::chunked(iters, ENTRIES_MAX, fresh, |add| {
                    black_box(add.call((black_box(1), black_box(2))).expect(SERVED));
                })
            });
        },
    );
    group.bench_function(BenchmarkId::new(call::JOURNALED, column.name), |bencher| {
        bencher.iter_custom(|iters| {
            benches::chunked(iters, ENTRIES_MAX, &*fresh, |proxy| {
                let args = args![black_box(1), black_box(2)];
                black_box(proxy.call("add_journaled", args).expect(SERVED));
            })
        });
    });
    let proxy = LazyCell::new(|| column.proxy(&GuestModule::calls()));
    group.bench_function(
        BenchmarkId::new(call::CREATE_FREE, column.name),
        |bencher| {
            bencher.iter(|| {
                let object = object_of(&proxy);
                proxy.call("object_free", args![object]).expect(SERVED)
            });
        },
    );
}
