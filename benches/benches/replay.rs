//! The replay of a journal of small calls in a row, against the calls alone, on every engine.
//!
//! Ten calls make a gate of a circuit from its wires, as o1js makes them: see
//! [`GuestModule::gates`]. All of it happens on the calling thread, whose time is measured.

use std::time::Duration;

use benches::OnThread;
use benches::engines::{self, Column};
use benches::guests::GuestModule;
use benches::results::{REPLAY, replay};
use cpu_time::ThreadTime;
use criterion::{BenchmarkId, Criterion, SamplingMode};
use engine_api::{FuncIndex, Imports, Instance, Limits, NumericType, Slot};
use proxy_core::{Arg, Bare, Callee, Proxy, args};

const GATES: u32 = 6_400;

const COLUMNS: u32 = 7;

const SERVED: &str = "the guest's functions do not fail";

fn main() {
    let mut criterion = benches::criterion().with_measurement(OnThread);
    for column in engines::all() {
        let module = column.compile(&GuestModule::gates());
        let limits = Limits::default();
        measure(&mut criterion, column, replay::CALLS, || {
            let instance = module.instantiate(&Imports::new(), &limits);
            let mut calls = Calls::of(instance.expect("it needs no imports"));
            timed(|| calls.make())
        });
        let policy = GuestModule::gates().policy;
        let bare = Bare::new(module.clone(), &policy, Imports::new(), limits.clone());
        let bare = bare.expect("the policy fits");
        measure(&mut criterion, column, replay::BARE, || {
            let mut instance = bare.instance().expect("it needs no imports");
            timed(|| make(&mut instance))
        });
        let fresh = column.proxies(&GuestModule::gates());
        measure(&mut criterion, column, replay::JOURNALED, || {
            let mut proxy = fresh();
            timed(|| make(&mut proxy))
        });
        let mut proxy = fresh();
        make(&mut proxy);
        measure(&mut criterion, column, replay::STANDBY, || standby(&proxy));
    }
    criterion.final_summary();
}

fn standby(proxy: &Proxy) -> Duration {
    let took = timed(|| {
        let prepared = proxy.prepare_standby().expect("the replay is the same");
        assert_eq!(
            prepared.entries,
            1 + GATES as usize * (COLUMNS as usize + 3)
        );
    });
    proxy.swap().expect("there is a standby");
    took
}

fn timed(run: impl FnOnce()) -> Duration {
    let started = ThreadTime::now();
    run();
    started.elapsed()
}

/// Makes a vector of gates.
fn make<C: Callee>(callee: &mut C)
where
    C::Error: std::fmt::Debug,
{
    let mut call = |export: &str, args: &[Arg<'_>]| callee.call(export, args).expect(SERVED);
    let made = "the policy says it is a handle";
    let gates = call("gates_new", args![]).handle().expect(made);
    let mut wires = Vec::with_capacity(COLUMNS as usize);
    for row in 0..GATES {
        wires.clear();
        for column in 0..COLUMNS {
            let wire = call("wire_new", args![row, column]).handle();
            wires.push(Arg::from(wire.expect(made)));
        }
        let wires = call("wires_new", &wires).handle().expect(made);
        let gate = call("gate_new", args![1, wires]).handle().expect(made);
        call("gates_add", args![gates, gate]);
    }
}

/// An instance and its functions, called with nothing between.
struct Calls {
    instance: Box<dyn Instance>,
    functions: [(FuncIndex, NumericType); 5],
}

impl Calls {
    fn of(instance: Box<dyn Instance>) -> Self {
        let names = [
            "wire_new",
            "wires_new",
            "gate_new",
            "gates_new",
            "gates_add",
        ];
        let functions = names.map(|name| {
            let (func, function) = instance.info().function(name).expect("it is an export");
            let ty = function.ty.numeric().expect("all of its types are numbers");
            (func, ty)
        });
        Self {
            instance,
            functions,
        }
    }

    fn call(&mut self, function: usize, args: &[u32]) -> u32 {
        let mut slots = [Slot::default(); Slot::MAX];
        for (slot, arg) in slots.iter_mut().zip(args) {
            *slot = Slot::from(*arg);
        }
        let (func, ty) = self.functions[function];
        let called = self.instance.call_numbers(func, ty, &mut slots);
        called.expect(SERVED);
        slots[0].u32()
    }

    fn make(&mut self) {
        let gates = self.call(3, &[]);
        for row in 0..GATES {
            let mut wires = [0; COLUMNS as usize];
            for (wire, column) in wires.iter_mut().zip(0..) {
                *wire = self.call(0, &[row, column]);
            }
            let wires = self.call(1, &wires);
            let gate = self.call(2, &[1, wires]);
            self.call(4, &[gates, gate]);
        }
    }
}

fn measure(
    criterion: &mut Criterion<OnThread>,
    column: Column,
    row: &str,
    mut once: impl FnMut() -> Duration,
) {
    let mut group = criterion.benchmark_group(REPLAY);
    group.sampling_mode(SamplingMode::Flat).sample_size(10);
    group.bench_function(BenchmarkId::new(row, column.name), |bencher| {
        bencher.iter_custom(|iters| (0..iters).map(|_| once()).sum());
    });
    group.finish();
}
