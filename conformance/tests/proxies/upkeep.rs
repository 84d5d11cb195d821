//! What upkeep does beside calls, where memory is short: verifications, working sets, holes, and
//! calls near the limit.

use conformance::prelude::*;
use proxy_core::{
    Builder, CheckpointPolicy, Error as ProxyError, History, Proxy, Source, Supervisor, args,
};

const GUEST: &str = r#"(module
    (memory (export "memory") 1)
    (global $hash (mut i64) (i64.const 1))
    (global $at (mut i32) (i32.const 0))
    (global $end (mut i32) (i32.const 0))
    (func $grow (param $pages i32) (result i32)
        (local $old i32)
        (local.set $old (memory.grow (local.get $pages)))
        (if (i32.eq (local.get $old) (i32.const -1)) (then (unreachable)))
        (local.get $old))
    ;; Takes some ms, and changes the state.
    (func (export "build") (result i64)
        (local $left i32)
        (local.set $left (i32.const 4000000))
        (loop $again
            (global.set $hash (i64.add
                (i64.mul (global.get $hash) (i64.const 6364136223846793005))
                (i64.const 1442695040888963407)))
            (br_if $again
                (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
        (global.get $hash))
    (func (export "leak") (param $pages i32) (drop (call $grow (local.get $pages))))
    ;; Takes 26 pages once, and uses them again.
    (func (export "sort")
        (if (i32.lt_u (memory.size) (i32.const 27)) (then (drop (call $grow (i32.const 26))))))
    (func (export "hold") (param $pages i32) (result i32)
        (i32.add (call $grow (local.get $pages)) (i32.const 1)))
    (func (export "hold_free") (param i32))
    ;; Takes at least eight pages from the engine at a time.
    (func (export "region") (param $pages i32) (result i32)
        (local $old i32)
        (if (i32.gt_u (i32.add (global.get $at) (local.get $pages)) (global.get $end))
            (then
                (global.set $at (call $grow (select
                    (local.get $pages) (i32.const 8)
                    (i32.gt_u (local.get $pages) (i32.const 8)))))
                (global.set $end (memory.size))))
        (local.set $old (global.get $at))
        (global.set $at (i32.add (global.get $at) (local.get $pages)))
        (local.get $old))
    (func (export "region_free") (param $at i32) (global.set $at (local.get $at))))"#;

const POLICY: &str = r#"
    strict = true
    [[export]]
    match = "build"
    role = "mutate"
    [[export]]
    match = "{leak,sort}"
    role = "pure"
    [[export]]
    match = "hold"
    role = "create"
    results = ["handle:hold"]
    [[export]]
    match = "region"
    role = "create"
    results = ["handle:region"]
    [[export]]
    match = "hold_free"
    role = "free"
    args = ["handle:hold"]
    [[export]]
    match = "region_free"
    role = "free"
    args = ["handle:region"]
"#;

/// One checkpoint, compared after its first use.
const ONCE: CheckpointPolicy = CheckpointPolicy {
    enabled: true,
    tail_replay_max: Duration::MAX,
    verify_every: 1,
    history: History::Full,
};

fn guest(engine: &EngineUnderTest, pages: u64) -> Builder {
    let limits = Limits {
        memory_bytes_max: Some(pages << 16),
        ..Limits::default()
    };
    let builder = engine.proxied_wat(GUEST, POLICY);
    builder.limits(limits).checkpoints(ONCE)
}

#[apply(every_engine)]
fn a_verification_goes_on_across_swaps(engine: &EngineUnderTest) {
    let proxy = guest(engine, 32).build().unwrap();
    for _ in 0..16 {
        proxy.call("build", args![]).unwrap();
    }
    for _ in 0..2 {
        proxy.prepare_standby().unwrap();
        proxy.swap().unwrap();
    }
    proxy.tick(Instant::now());
    assert_eq!(proxy.debug_info().checkpoint_uses, 1, "it has only begun");
    proxy.call("leak", args![30]).unwrap();
    proxy.tick(Instant::now());
    assert_eq!(proxy.debug_info().swaps, 3);
    let mut ticks = 0;
    while proxy.debug_info().checkpoint_uses > 0 {
        proxy.tick(Instant::now());
        ticks += 1;
        assert!(ticks < 1000);
    }
    let info = proxy.debug_info();
    assert_eq!((info.emergencies, info.checkpoints_rejected), (0, 0));
}

#[apply(every_engine)]
fn a_working_set_brings_no_swaps_in_circles(engine: &EngineUnderTest) {
    let proxy = guest(engine, 48).build().unwrap();
    for _ in 0..300 {
        proxy.call("sort", args![]).unwrap();
        proxy.tick(Instant::now());
    }
    let info = proxy.debug_info();
    assert!(info.swaps <= 8, "{info}");
    assert_eq!(info.working_set, 26 << 16);
}

#[apply(every_engine)]
fn a_checkpoint_with_holes_is_replaced_by_one_from_nothing(engine: &EngineUnderTest) {
    let proxy = guest(engine, 32).build().unwrap();
    let large = proxy.call("hold", args![16]).unwrap().handle().unwrap();
    proxy.prepare_standby().unwrap();
    proxy.swap().unwrap();
    proxy.call("hold_free", args![large]).unwrap();
    proxy.call("hold", args![8]).unwrap();
    let prepared = proxy.prepare_standby().unwrap();
    assert_eq!(
        (prepared.source, prepared.memory),
        (Source::Replay, 9 << 16)
    );
}

#[apply(every_engine)]
fn calls_near_the_limit_wait_for_the_swap(engine: &EngineUnderTest) {
    let builder = guest(engine, 64).hold_back(Duration::from_hours(1));
    let proxy = builder.build().unwrap();
    let _supervisor = Supervisor::start(&proxy, Duration::from_millis(1)).unwrap();
    // Afterwards it watches: a first swap takes place.
    while proxy.debug_info().swaps == 0 {
        proxy.call("leak", args![1]).unwrap();
    }
    let before = proxy.debug_info();
    for _ in 0..500 {
        proxy.call("leak", args![1]).unwrap();
    }
    let info = proxy.debug_info();
    assert!(info.swaps > before.swaps, "{info}");
    assert_eq!(info.emergencies, before.emergencies, "{info}");
}

#[apply(every_engine)]
fn a_standby_that_runs_out_of_memory_is_no_divergence(engine: &EngineUnderTest) {
    let proxy = guest(engine, 14).build().unwrap();
    let region = |pages: i32| {
        let made = proxy.call("region", args![pages]).unwrap();
        made.handle().unwrap()
    };
    let first = region(10);
    proxy.call("region_free", args![first]).unwrap();
    region(4);
    region(6);
    let error = proxy.prepare_standby().unwrap_err();
    assert!(
        matches!(&error, ProxyError::StandbyOutOfMemory { entry, .. } if entry.0 == 4),
        "{error}"
    );
    assert_eq!(proxy.debug_info().divergences, 0);
}

#[apply(every_engine)]
fn calls_that_cannot_fit_name_the_live_objects(engine: &EngineUnderTest) {
    let proxy = guest(engine, 32).build().unwrap();
    for _ in 0..31 {
        proxy.call("hold", args![1]).unwrap();
    }
    proxy.call("hold", args![1]).unwrap_err();
    let swaps = proxy.debug_info().swaps;
    for _ in 0..50 {
        let error = proxy.call("hold", args![1]).unwrap_err();
        let ProxyError::StateExceedsBudget { objects, .. } = &error else {
            panic!("{error}");
        };
        assert_eq!(*objects, [("hold".to_owned(), 31)]);
    }
    assert!(proxy.debug_info().swaps <= swaps + 1);
}

/// A standby with an object of ten pages, which is freed while the standby waits. Another of `pages`
/// pages takes its place.
fn a_standby_with_a_hole(engine: &EngineUnderTest, pages: i32) -> Proxy {
    let proxy = guest(engine, 20).build().unwrap();
    let passing = proxy.call("hold", args![10]).unwrap().handle().unwrap();
    proxy.prepare_standby().unwrap();
    proxy.call("hold_free", args![passing]).unwrap();
    proxy.call("hold", args![pages]).unwrap();
    proxy
}

#[apply(every_engine)]
fn a_call_that_fits_without_what_was_freed_on_the_standby_is_repeated(engine: &EngineUnderTest) {
    let proxy = a_standby_with_a_hole(engine, 8);
    assert_eq!(proxy.swap().unwrap().memory_after, 19 << 16);
    proxy.call("hold", args![6]).unwrap();
    let info = proxy.debug_info();
    assert_eq!((info.emergencies, info.memory), (1, 15 << 16), "{info}");
}

#[apply(every_engine)]
fn a_standby_that_grows_as_it_catches_up_is_made_anew(engine: &EngineUnderTest) {
    let proxy = a_standby_with_a_hole(engine, 7);
    let now = Instant::now();
    proxy.tick(now);
    proxy.tick(now + Duration::from_secs(1));
    let info = proxy.debug_info();
    assert_eq!((info.swaps, info.memory), (1, 8 << 16), "{info}");
}

#[apply(every_engine)]
fn so_is_one_that_should_replace_a_dead_generation(engine: &EngineUnderTest) {
    let proxy = a_standby_with_a_hole(engine, 7);
    proxy.call("hold", args![6]).unwrap();
    let info = proxy.debug_info();
    assert_eq!((info.swaps, info.memory), (1, 14 << 16), "{info}");
}
