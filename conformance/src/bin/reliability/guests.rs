//! R8 and R9: what hostile guests take from others, and how soon they are ended.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
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

/// A guest that works as hard as hostile ones do, and does no harm: it takes 64 MiB, writes all of them, and
/// keeps a processor for tens of milliseconds.
const BUSY: &str = r#"(module
    (memory (export "memory") 1 1024)
    (func (export "work") (result i32)
        (local $left i32)
        (drop (memory.grow (i32.const 1023)))
        (memory.fill (i32.const 0) (i32.const 1) (i32.const 0x4000000))
        (local.set $left (i32.const 30000000))
        (loop $again
            (local.set $left (i32.sub (local.get $left) (i32.const 1)))
            (br_if $again (local.get $left)))
        (i32.load8_u (i32.const 1))))"#;

const BUSY_POLICY: &str = "[[export]]\nmatch = \"work\"\nrole = \"pure\"";

/// R8: the calls of a neighbour, alone, beside guests that only work, and beside every hostile module.
///
/// What hostile guests do to a neighbour is compared with what other guests do to it. Two threads of one core
/// share its caches and its units, so any work beside a call of three microseconds doubles it, and no host
/// can give that back.
pub(crate) fn neighbour(scale: &Scale) -> Measured {
    let mut measured = Measured::default();
    for engine in &scale.engines {
        let served = Served::measure(engine, scale);
        measured.must(served.holds(), format!("{}: {served}", engine.name()));
    }
    measured
}

/// What goes on beside the neighbour.
#[derive(Clone, Copy)]
enum Beside {
    Nothing,
    BusyGuests,
    /// The hostile module at this position.
    Hostile(usize),
}

impl Beside {
    fn position(self) -> usize {
        match self {
            Beside::Nothing => 0,
            Beside::BusyGuests => 1,
            Beside::Hostile(case) => 2 + case,
        }
    }
}

/// What the calls of a neighbour took, in nanoseconds, by what went on beside them.
struct Served {
    times: Vec<Histogram<u64>>,
}

impl Served {
    /// Takes turns between the three, so each has what else the machine does.
    fn measure(engine: &EngineUnderTest, scale: &Scale) -> Self {
        let builder = engine.proxied_wat(NEIGHBOUR, NEIGHBOUR_POLICY);
        let proxy = builder.build().unwrap();
        let beside = AtomicUsize::new(Beside::Nothing.position());
        let times = served_during(&proxy, &beside, || {
            let enter = |next: Beside| beside.store(next.position(), Ordering::Release);
            for (position, case) in hostile::all().enumerate() {
                enter(Beside::Nothing);
                thread::sleep(Duration::from_millis(scale.of(30, 150)));
                enter(Beside::BusyGuests);
                work(engine);
                enter(Beside::Hostile(position));
                let _ = case.attack(engine);
            }
        });
        let calls = times.iter().map(Histogram::len).sum::<u64>();
        assert_eq!(proxy.debug_info().journal_last.0, calls, "calls were lost");
        Self { times }
    }

    /// The calls beside hostile modules, all together.
    fn beside_hostile(&self) -> Histogram<u64> {
        let mut together = times();
        for times in &self.times[Beside::Hostile(0).position()..] {
            together.add(times).unwrap();
        }
        together
    }

    /// The two hostile modules beside which most calls were slower than almost all beside busy guests.
    fn worst(&self) -> [(&'static str, u64); 2] {
        let bound = 2 * self.times[Beside::BusyGuests.position()].value_at_quantile(0.99);
        let slow = |(position, case): (usize, &hostile::Case)| {
            let times = &self.times[Beside::Hostile(position).position()];
            (case.name, times.len() - times.count_between(0, bound))
        };
        let mut worst: Vec<_> = hostile::all().enumerate().map(slow).collect();
        worst.sort_by_key(|(_, slow)| std::cmp::Reverse(*slow));
        [worst[0], worst[1]]
    }

    fn ratio(&self) -> f64 {
        let busy = p99(&self.times[Beside::BusyGuests.position()]);
        p99(&self.beside_hostile()).as_secs_f64() / busy.as_secs_f64()
    }

    fn holds(&self) -> bool {
        self.ratio() <= 2.0
    }
}

impl fmt::Display for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let calls: u64 = self.times.iter().map(Histogram::len).sum();
        let hostile = self.beside_hostile();
        let [(first, most), (second, more)] = self.worst();
        write!(
            f,
            "neighbour's p99 {:.1?} alone, {:.1?} beside busy guests, {:.1?} in {} calls beside hostile ones: \
             {:.2} of busy ones, 0 of {calls} failed, {most} over twice that beside `{first}`, {more} \
             beside `{second}`",
            p99(&self.times[Beside::Nothing.position()]),
            p99(&self.times[Beside::BusyGuests.position()]),
            p99(&hostile),
            hostile.len(),
            self.ratio(),
        )
    }
}

/// No times yet.
fn times() -> Histogram<u64> {
    Histogram::new(3).unwrap()
}

/// What 99 of 100 calls took at most.
fn p99(times: &Histogram<u64>) -> Duration {
    Duration::from_nanos(times.value_at_quantile(0.99))
}

/// What a guest does that only works, on a bare engine and through a proxy, as hostile modules run.
fn work(engine: &EngineUnderTest) {
    let wasm = binary(BUSY);
    let module = engine.shared().compile(&wasm).unwrap();
    let instance = module.instantiate(&Imports::new(), &Limits::default());
    instance.unwrap().invoke("work", &[]).unwrap();
    let proxy = engine.proxied_wat(BUSY, BUSY_POLICY).build().unwrap();
    proxy.call("work", args![]).unwrap();
}

/// How long calls took until `during` is over, by what went on when they began. Each must succeed.
fn served_during(
    proxy: &Proxy,
    beside: &AtomicUsize,
    during: impl FnOnce(),
) -> Vec<Histogram<u64>> {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let calls = scope.spawn(|| {
            let kinds = Beside::Hostile(hostile::all().count()).position();
            let mut times: Vec<_> = (0..kinds).map(|_| times()).collect();
            while !is_over.load(Ordering::Acquire) {
                let at = beside.load(Ordering::Acquire);
                let begun = Instant::now();
                proxy.call("add", args![]).unwrap();
                let took = u64::try_from(begun.elapsed().as_nanos()).unwrap();
                times[at].record(took).unwrap();
                // The processors are for the other guests too.
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
