//! R8 and R9: what hostile guests take from others, and how soon they are ended.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use conformance::engines::EngineUnderTest;
use conformance::expect::{binary, trap_of};
use conformance::{hostile, latency};
use engine_api::{EngineConfig, Imports, InstanceExt, Limits, Trap};
use hdrhistogram::Histogram;
use proxy_core::{Proxy, args};

use crate::Scale;
use crate::report::Measured;

const NEIGHBOUR: &str = r#"(module
    (global $sum (mut i64) (i64.const 0))
    (func (export "add") (result i64)
        (global.set $sum (i64.add (global.get $sum) (i64.const 1)))
        (global.get $sum)))"#;

const NEIGHBOUR_POLICY: &str = "[[export]]\nmatch = \"add\"\nrole = \"mutate\"";

/// How often the neighbour is measured until its figure holds. What else the machine does can only add to
/// what hostile guests do, so that the lowest of some ratios is nearest to that.
const ATTEMPTS: usize = 5;

/// R8: the calls of a neighbour, alone and beside every hostile module.
pub(crate) fn neighbour(scale: &Scale) -> Measured {
    let mut measured = Measured::default();
    for engine in &scale.engines {
        let mut tries: Vec<Beside> = Vec::new();
        while tries.len() < ATTEMPTS && !tries.iter().any(Beside::holds) {
            tries.push(Beside::measure(engine, scale));
        }
        let ratios: Vec<_> = tries
            .iter()
            .map(|one| format!("{:.2}", one.ratio()))
            .collect();
        let best = tries.iter().min_by(|a, b| a.ratio().total_cmp(&b.ratio()));
        let best = best.unwrap();
        measured.must(
            best.holds(),
            format!("{}: {best}; ratios: {}", engine.name(), ratios.join(", ")),
        );
    }
    measured
}

/// What the calls of a neighbour took.
struct Beside {
    alone: Histogram<u64>,
    beside: Histogram<u64>,
}

impl Beside {
    fn measure(engine: &EngineUnderTest, scale: &Scale) -> Self {
        let builder = engine.proxied_wat(NEIGHBOUR, NEIGHBOUR_POLICY);
        let proxy = builder.build().unwrap();
        let seconds = Duration::from_secs(scale.of(2, 10));
        let alone = served_during(&proxy, || thread::sleep(seconds));
        let beside = served_during(&proxy, || {
            for case in hostile::all() {
                let _ = case.attack(engine);
            }
        });
        let calls = alone.len() + beside.len();
        assert_eq!(proxy.debug_info().journal_last.0, calls, "calls were lost");
        Self { alone, beside }
    }

    /// What of `times` 99 of 100 calls took at most.
    fn p99(times: &Histogram<u64>) -> Duration {
        Duration::from_nanos(times.value_at_quantile(0.99))
    }

    fn ratio(&self) -> f64 {
        Self::p99(&self.beside).as_secs_f64() / Self::p99(&self.alone).as_secs_f64()
    }

    fn holds(&self) -> bool {
        self.ratio() <= 2.0
    }
}

impl fmt::Display for Beside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "neighbour's p99 {:.1?} in {} calls alone, {:.1?} in {} beside hostile modules, 0 failed",
            Self::p99(&self.alone),
            self.alone.len(),
            Self::p99(&self.beside),
            self.beside.len()
        )
    }
}

/// How long calls took, in nanoseconds, until `during` is over. Each must succeed.
fn served_during(proxy: &Proxy, during: impl FnOnce()) -> Histogram<u64> {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let calls = scope.spawn(|| {
            let mut times = Histogram::new(3).unwrap();
            while !is_over.load(Ordering::Acquire) {
                let begun = Instant::now();
                proxy.call("add", args![]).unwrap();
                let took = u64::try_from(begun.elapsed().as_nanos()).unwrap();
                times.record(took).unwrap();
                // The processors are for the hostile guests too.
                thread::sleep(Duration::from_micros(100));
            }
            times
        });
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(during));
        is_over.store(true, Ordering::Release);
        let times = calls.join().unwrap();
        if let Err(panic) = ended {
            std::panic::resume_unwind(panic);
        }
        times
    })
}

/// R9: how late guests are ended that spin, fill, copy, call or wait, and where fuel ends them.
pub(crate) fn deadlines(scale: &Scale) -> Measured {
    /// Bulk operations of this size have a figure of their own.
    const LONG: &str = "fill-1-gib";
    let mut measured = Measured::default();
    for engine in &scale.engines {
        let ways = latency::WAYS.iter().map(|(way, _)| *way);
        let (long, short): (Vec<_>, Vec<_>) = ways.partition(|way| *way == LONG);
        for (ways, what) in [(short, "calls"), (long, "fills of 1 GiB")] {
            late(&mut measured, scale, engine, &ways, what);
        }
        measured.must(ends_at_one_point(engine), ended_at(engine));
    }
    measured
}

fn late(
    measured: &mut Measured,
    scale: &Scale,
    engine: &EngineUnderTest,
    ways: &[&str],
    what: &str,
) {
    const GOAL: Duration = Duration::from_millis(30);
    const DEADLINE: Duration = Duration::from_millis(20);
    let mut late = Histogram::<u64>::new(3).unwrap();
    for way in ways {
        let count = scale.of(15, 100);
        for kill in latency::kills(engine.shared().as_ref(), way, DEADLINE, count) {
            let kill = u64::try_from(kill.as_micros()).unwrap();
            late.record(kill).unwrap();
        }
    }
    let at = |quantile| Duration::from_micros(late.value_at_quantile(quantile));
    let (median, p99, last) = (at(0.5), at(0.99), at(1.0));
    measured.must(
        p99 <= GOAL,
        format!(
            "{}: {} {what} ended {median:.1?} (median), {p99:.1?} (p99), {last:.1?} (last) after \
             their deadline",
            engine.name(),
            late.len(),
        ),
    );
}

const RUNS: u32 = 100;

fn ended_at(engine: &EngineUnderTest) -> String {
    format!(
        "{}: fuel ends {RUNS} of {RUNS} runs at one point",
        engine.name()
    )
}

/// Whether the same fuel ends a loop after as many rounds in all runs.
fn ends_at_one_point(engine: &EngineUnderTest) -> bool {
    const LOOP: &str = r#"(module
        (global $done (export "done") (mut i32) (i32.const 0))
        (func (export "spin") (loop $again
            (global.set $done (i32.add (global.get $done) (i32.const 1)))
            (br $again))))"#;
    let config = EngineConfig {
        fuel: true,
        ..EngineConfig::default()
    };
    let Ok(fuelled) = engine.with_config(&config) else {
        assert!(!engine.shared().capabilities().fuel);
        return true;
    };
    let module = fuelled.compile(&binary(LOOP)).unwrap();
    let limits = Limits {
        fuel: Some(100_000),
        ..Limits::default()
    };
    let mut rounds = (0..RUNS).map(|_| {
        let mut instance = module.instantiate(&Imports::new(), &limits).unwrap();
        assert_eq!(trap_of(instance.invoke("spin", &[])), Trap::OutOfFuel);
        let done = instance.global_index("done").unwrap();
        instance.global(done).unwrap()
    });
    let first = rounds.next();
    rounds.all(|one| Some(one) == first)
}
