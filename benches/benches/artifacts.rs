//! The time that artifacts save where an object takes long to compute, on every engine: in the
//! preparation of a standby, and in the first call of a process that finds them in a directory.
//!
//! The object is a structured reference string of the prover. Both happen on the calling
//! thread, whose time is measured.

use std::cell::LazyCell;
use std::time::Duration;

use benches::OnThread;
use benches::engines::{self, Column};
use benches::guests::GuestModule;
use benches::results::{SRS, srs};
use cpu_time::ThreadTime;
use criterion::{BenchmarkId, Criterion, SamplingMode};
use proxy_core::{ArtifactStore, Policy, Proxy, args};
use tempfile::TempDir;

const SERVED: &str = "the guest's functions do not fail";

fn main() {
    let mut criterion = benches::criterion().with_measurement(OnThread);
    for column in engines::all() {
        let computing = GuestModule {
            policy: without_artifacts(),
            ..GuestModule::prover()
        };
        let reading = GuestModule::prover();
        let directory = tempfile::tempdir().expect("there is room for a directory");
        call(&mut criterion, column, srs::CALL_COMPUTED, &computing, None);
        call(
            &mut criterion,
            column,
            srs::CALL_READ,
            &reading,
            Some(&directory),
        );
        prepare(&mut criterion, column, srs::PREPARE_COMPUTED, &computing);
        prepare(&mut criterion, column, srs::PREPARE_READ, &reading);
    }
    criterion.final_summary();
}

/// The prover's policy without artifacts.
fn without_artifacts() -> Policy {
    let mut policy = GuestModule::prover().policy;
    for export in &mut policy.exports {
        export.artifact = None;
    }
    policy
}

fn create(proxy: &Proxy) {
    proxy.call("srs_create", args![srs::K]).expect(SERVED);
}

/// The first call of a process: each iteration has a proxy and a store of its own. With a
/// directory, an earlier process has left the bytes there.
fn call(
    criterion: &mut Criterion<OnThread>,
    column: Column,
    row: &str,
    guest: &GuestModule,
    directory: Option<&TempDir>,
) {
    let process = LazyCell::new(|| {
        let fresh = column.proxies_with(guest);
        let process = move || {
            let store = directory.map_or_else(ArtifactStore::memory, |directory| {
                ArtifactStore::directory(directory.path()).expect("it is there")
            });
            fresh(store)
        };
        if directory.is_some() {
            create(&process());
        }
        process
    });
    measure(criterion, column, row, || {
        let proxy = process();
        let started = ThreadTime::now();
        create(&proxy);
        let took = started.elapsed();
        let hits = u64::from(directory.is_some());
        assert_eq!(proxy.debug_info().artifact_hits, hits);
        took
    });
}

/// A standby. The first one, which exports the artifacts, is not counted.
fn prepare(criterion: &mut Criterion<OnThread>, column: Column, row: &str, guest: &GuestModule) {
    let proxy = LazyCell::new(|| {
        let proxy = column.proxies_with(guest)(ArtifactStore::memory());
        create(&proxy);
        proxy.prepare_standby().expect("the replay is the same");
        proxy.swap().expect("there is a standby");
        proxy
    });
    measure(criterion, column, row, || {
        let started = ThreadTime::now();
        proxy.prepare_standby().expect("the replay is the same");
        let took = started.elapsed();
        proxy.swap().expect("there is a standby");
        took
    });
}

fn measure(
    criterion: &mut Criterion<OnThread>,
    column: Column,
    row: &str,
    mut once: impl FnMut() -> Duration,
) {
    let mut group = criterion.benchmark_group(SRS);
    group.sampling_mode(SamplingMode::Flat).sample_size(10);
    // Some rows take seconds: one round of each is warm enough.
    group.warm_up_time(Duration::from_millis(1));
    group.measurement_time(Duration::from_millis(1));
    group.bench_function(BenchmarkId::new(row, column.name), |bencher| {
        bencher.iter_custom(|iters| (0..iters).map(|_| once()).sum());
    });
    group.finish();
}
