//! A guest that changes tables, drops segments and keeps references lives on checkpoints.

use std::sync::atomic::{AtomicU32, Ordering};

use conformance::prelude::*;
use proxy_core::{CheckpointPolicy, Proxy, Source, args};

/// Two tables and two globals of references. `turn` changes all of them, and drops segments.
const TURNING: &str = r#"(module
    (type $number (func (param i32) (result i32)))
    (memory 1)
    (data $bytes "\11\22\33\44")
    (table $t 3 funcref)
    (table $exported (export "table") 4 4 funcref)
    (global $chosen (mut funcref) (ref.null func))
    (global $state (mut i32) (i32.const 1))
    (elem (table $t) (i32.const 0) func $double $add $negate)
    (elem (table $exported) (i32.const 0) func $double $double $add $negate)
    (elem $late func $square $add)
    (func $double (type $number) (i32.mul (local.get 0) (i32.const 2)))
    (func $add (type $number) (i32.add (local.get 0) (i32.const 7)))
    (func $negate (type $number) (i32.sub (i32.const 0) (local.get 0)))
    (func $square (type $number) (i32.mul (local.get 0) (local.get 0)))
    (func $start (table.set $exported (i32.const 0) (ref.func $negate)))
    (start $start)
    (func (export "turn") (param $n i32) (result i32)
        (local $from i32)
        (local.set $from (i32.rem_u (local.get $n) (i32.const 3)))
        (drop (table.grow $t (table.get $t (local.get $from)) (i32.const 2)))
        (table.copy $exported $t (i32.const 1) (local.get $from) (i32.const 2))
        (table.set $t (i32.sub (table.size $t) (i32.const 1)) (global.get $chosen))
        (table.fill $t (i32.const 1) (table.get $exported (i32.const 3)) (i32.const 1))
        (global.set $chosen (table.get $exported (local.get $from)))
        (if (i32.eq (local.get $n) (i32.const 4)) (then
            (table.init $t $late (i32.const 0) (i32.const 0) (i32.const 2))
            (elem.drop $late)))
        (if (i32.eq (local.get $n) (i32.const 9)) (then
            (memory.init $bytes (i32.const 0) (i32.const 0) (i32.const 4))
            (data.drop $bytes)))
        (global.set $state
            (call_indirect $t (type $number)
                (i32.add (global.get $state) (i32.load (i32.const 0)))
                (local.get $from)))
        (global.get $state))
    (func (export "look") (result i32)
        (local $at i32) (local $sum i32)
        (loop $next
            (if (i32.eqz (ref.is_null (table.get $t (local.get $at)))) (then
                (local.set $sum
                    (call_indirect $t (type $number)
                        (i32.add (local.get $sum) (local.get $at))
                        (local.get $at)))))
            (local.set $at (i32.add (local.get $at) (i32.const 1)))
            (br_if $next (i32.lt_u (local.get $at) (table.size $t))))
        (loop $next
            (local.set $at (i32.sub (local.get $at) (i32.const 1)))
            (local.set $sum
                (call_indirect $exported (type $number)
                    (i32.add (local.get $sum) (local.get $at))
                    (i32.and (local.get $at) (i32.const 3))))
            (br_if $next (local.get $at)))
        (i32.add (local.get $sum) (ref.is_null (global.get $chosen)))))"#;

const POLICY: &str = "[[export]]\nmatch = \"turn\"\nrole = \"mutate\"\nresults = [\"value\"]\n\
                      [[export]]\nmatch = \"*\"\nrole = \"pure\"";

#[apply(every_engine)]
fn tables_segments_and_references_go_through_checkpointed_swaps(engine: &EngineUnderTest) {
    let verified = Arc::new(AtomicU32::new(0));
    let seen = Arc::clone(&verified);
    // Checkpoints are used several times, because only used ones are compared.
    let policy = CheckpointPolicy {
        tail_replay_max: Duration::MAX,
        verify_every: 1,
        ..CheckpointPolicy::default()
    };
    let plain = engine
        .proxied_wat(TURNING, POLICY)
        .checkpoints(CheckpointPolicy::off())
        .build()
        .unwrap();
    let proxy = engine
        .proxied_wat(TURNING, POLICY)
        .checkpoints(policy)
        .on_event(move |event| {
            let is_verified = event.name() == "checkpoint-verified";
            seen.fetch_add(u32::from(is_verified), Ordering::SeqCst);
        })
        .build()
        .unwrap();
    let look = |proxy: &Proxy| proxy.call("look", args![]).unwrap().i32().unwrap();
    let turn = |proxy: &Proxy, n: i32| proxy.call("turn", args![n]).unwrap().i32().unwrap();
    let everywhere = engines::all().into_iter().cycle();
    let mut from_checkpoints = 0;
    for (round, target) in (0..25).zip(everywhere) {
        for proxy in [&plain, &proxy] {
            turn(proxy, round);
        }
        if round % 3 == 2 {
            proxy.checkpoint().unwrap();
        }
        let prepared = if round % 2 == 0 {
            proxy.prepare_standby()
        } else {
            proxy.prepare_standby_on(Arc::clone(target.remembering()))
        };
        from_checkpoints += u32::from(matches!(prepared.unwrap().source, Source::Checkpoint(_)));
        proxy.swap().unwrap();
        let [expected, got] = [&plain, &proxy].map(look);
        assert_eq!(got, expected, "round {round}");
        let [expected, got] = [&plain, &proxy].map(|proxy| turn(proxy, round + 100));
        assert_eq!(got, expected, "round {round}");
    }
    assert_eq!(from_checkpoints, 24);
    let verified = verified.load(Ordering::SeqCst);
    assert!(verified >= 8, "{verified}");
    let info = proxy.debug_info();
    assert_eq!(info.checkpoint_obstacles, [""; 0]);
    assert_eq!(
        (info.divergences, info.checkpoints_rejected, info.failures),
        (0, 0, 0),
        "{info}"
    );
}
