//! R10: what a swap takes from the process, it gives back.

use std::process::Command;
use std::time::{Duration, Instant};

use conformance::durable::{LINKS, LINKS_POLICY};
use conformance::engines::EngineUnderTest;
use conformance::process::Footprint;
use proxy_core::{CheckpointPolicy, Supervisor, args};

use crate::Scale;
use crate::report::Measured;

const SLOPE_KIB_MAX: f64 = 16.0;

/// R10, each engine in a process of its own.
pub(crate) fn returns(scale: &Scale) -> Measured {
    let mut measured = Measured::default();
    let (swaps, mib) = scale.of((20, 128), (1000, 256));
    for engine in &scale.engines {
        let arguments = [engine.name(), &swaps.to_string(), &mib.to_string()];
        told_by(&mut measured, "memory", &arguments);
    }
    measured
}

/// Runs this program in a process of its own, and takes its figures.
pub(crate) fn told_by(measured: &mut Measured, what: &str, arguments: &[&str]) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["child", what]).args(arguments);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{what} {arguments:?}: {said}{errors}"
    );
    for line in said.lines() {
        if let Some(figure) = line.strip_prefix("figure ") {
            measured.figure(figure);
        } else if let Some(figure) = line.strip_prefix("short ") {
            measured.must(false, figure);
        }
    }
}

/// Says figures to the process that has started this one.
pub(crate) fn tell(measured: &Measured) {
    for figure in &measured.figures {
        let kind = if measured.short.contains(figure) {
            "short"
        } else {
            "figure"
        };
        println!("{kind} {figure}");
    }
}

/// A slope by least squares, and the upper end of what it may be with 95 % confidence.
pub(crate) fn slope(samples: &[(f64, f64)]) -> (f64, f64) {
    let n = samples.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| samples.iter().map(of).sum::<f64>() / n;
    let (x, y) = (mean(|sample| sample.0), mean(|sample| sample.1));
    let xx: f64 = samples.iter().map(|sample| (sample.0 - x).powi(2)).sum();
    let xy = samples.iter().map(|sample| (sample.0 - x) * (sample.1 - y));
    let slope = xy.sum::<f64>() / xx;
    let residuals = samples.iter().map(|sample| {
        let expected = y + slope * (sample.0 - x);
        (sample.1 - expected).powi(2)
    });
    let error = (residuals.sum::<f64>() / (n - 2.0) / xx).sqrt();
    // Student's quantile is at most this from 20 samples on.
    (slope, slope + 2.102 * error)
}

/// Swaps of a generation that has grown to `mib`, half of it state.
pub(crate) fn child(engine: &'static EngineUnderTest, swaps: u32, mib: i32) {
    let mut measured = Measured::default();
    let off = CheckpointPolicy::off();
    let builder = engine.proxied_wat(LINKS, LINKS_POLICY).checkpoints(off);
    let proxy = builder.build().unwrap();
    let supervisor = Supervisor::start(&proxy, Duration::from_hours(1)).unwrap();
    proxy.call("fill", args![mib / 2]).unwrap();
    let mut highest = 0;
    let swap = |peak: &mut u64| {
        proxy.call("leak", args![mib / 2 * 16]).unwrap();
        proxy.prepare_standby().unwrap();
        *peak = (*peak).max(Footprint::now().unwrap().pss_kib);
        proxy.swap().unwrap();
        let end = Instant::now() + Duration::from_mins(1);
        while proxy.debug_info().generations_alive > 1 {
            assert!(Instant::now() < end, "an old generation is not freed");
            std::thread::yield_now();
        }
    };
    for _ in 0..10 {
        swap(&mut highest);
    }
    let before = Footprint::now().unwrap();
    highest = 0;
    let mut samples = Vec::new();
    for round in 0..swaps {
        swap(&mut highest);
        samples.push((f64::from(round), Footprint::now().unwrap().rss_kib as f64));
    }
    let after = Footprint::now().unwrap();
    drop(supervisor);
    let allowed = before.pss_kib + (before.pss_kib / 20).max(16 << 10);
    let name = engine.name();
    measured.must(
        after.pss_kib <= allowed,
        format!(
            "{name}: {swaps} swaps of {mib} MiB: PSS {} MiB before, {} after",
            before.pss_kib >> 10,
            after.pss_kib >> 10
        ),
    );
    let (slope, upper) = slope(&samples);
    measured.must(
        upper <= SLOPE_KIB_MAX,
        format!("{name}: slope {slope:.2} KiB per swap, at most {upper:.2}"),
    );
    let counts = |of: Footprint| (of.fds, of.threads, of.mappings);
    measured.must(
        counts(before) == counts(after),
        format!(
            "{name}: descriptors, threads, mappings {:?} before, {:?} after",
            counts(before),
            counts(after)
        ),
    );
    // Beside the two generations is what the process has without either.
    let standby = u64::from(mib.unsigned_abs() / 2) << 10;
    let active = before.pss_kib + standby;
    let peak_max = (active + standby) * 11 / 10;
    measured.must(
        highest <= peak_max,
        format!(
            "{name}: peak {} MiB, at most {}",
            highest >> 10,
            peak_max >> 10
        ),
    );
    tell(&measured);
}
