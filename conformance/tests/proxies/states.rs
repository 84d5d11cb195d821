//! States that no result shows: writes that the policy calls pure, and journals that only mutate.

use std::sync::Mutex;

use conformance::prelude::*;
use proxy_core::{
    CheckpointPolicy, Error as ProxyError, Event, History, HistoryBound, Proxy, Source, args,
};

/// `write` is called pure by mistake: think of `SELECT` or `INSERT` through one export. Nothing that
/// is journaled looks at what it writes.
const ROWS: &str = r#"(module
    (memory (export "memory") 1)
    (global $rows (mut i32) (i32.const 0))
    (func (export "write") (result i32)
        (global.set $rows (i32.add (global.get $rows) (i32.const 1)))
        (global.get $rows))
    (func (export "touch") (result i32) (i32.const 0))
    (func (export "rows") (result i32) (global.get $rows)))"#;

const ROWS_POLICY: &str = r#"
strict = true
state_digest = "rows"
[[export]]
match = "{write,rows}"
role = "pure"
[[export]]
match = "touch"
role = "mutate"
"#;

fn write_and_touch(proxy: &Proxy) {
    for _ in 0..5 {
        proxy.call("write", args![]).unwrap();
        proxy.call("touch", args![]).unwrap();
    }
}

fn rows(proxy: &Proxy) -> i32 {
    proxy.call("rows", args![]).unwrap().i32().unwrap()
}

#[apply(every_engine)]
fn a_write_called_pure_is_found_before_the_swap_that_would_lose_it(engine: &EngineUnderTest) {
    let proxy = engine.proxied_wat(ROWS, ROWS_POLICY).build().unwrap();
    write_and_touch(&proxy);
    proxy.prepare_standby().unwrap();
    let error = proxy.swap().unwrap_err();
    let ProxyError::StateDiffers(difference) = error else {
        panic!("{error}");
    };
    assert_eq!((&*difference.active, &*difference.standby), ("5", "0"));
    assert_eq!(difference.suspects, ["write"]);
    assert_eq!((rows(&proxy), proxy.debug_info().swaps), (5, 0));
    for target in engines::all() {
        let error = proxy
            .verify_on(Arc::clone(target.remembering()))
            .unwrap_err();
        assert!(matches!(error, ProxyError::StateDiffers(_)), "{error}");
    }
}

#[apply(every_engine)]
fn a_digest_that_traps_or_never_returns_costs_a_standby_and_nothing_else(engine: &EngineUnderTest) {
    for body in ["unreachable", "(loop $on (br $on)) unreachable"] {
        let digest =
            format!("(func (export \"digest\") (result i32) {body})\n(func (export \"rows\")");
        let module = ROWS.replace("(func (export \"rows\")", &digest);
        let policy = ROWS_POLICY
            .replace("state_digest = \"rows\"", "state_digest = \"digest\"")
            .replace("{write,rows}", "{write,rows,digest}");
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let heard = Arc::clone(&seen);
        let proxy = engine
            .proxied_wat(&module, &policy)
            .state_digest_patience(Duration::from_millis(300))
            .on_event(move |event| match event {
                Event::StateNotCompared { .. } => heard.lock().unwrap().push("told".to_owned()),
                Event::GenerationTainted { generation, .. } => {
                    heard.lock().unwrap().push(generation.to_string());
                }
                _ => {}
            })
            .build()
            .unwrap();
        proxy.call("write", args![]).unwrap();
        proxy
            .pinned(|pinned| {
                proxy.prepare_standby()?;
                assert_eq!(proxy.swap()?.to, 3);
                assert_eq!(
                    pinned.call("rows", args![])?.i32()?,
                    1,
                    "generation 1 is whole"
                );
                Ok::<_, ProxyError>(())
            })
            .unwrap();
        while proxy.debug_info().generations_alive > 1 {
            proxy.tick(Instant::now());
        }
        proxy.prepare_standby().unwrap();
        proxy.swap().unwrap();
        assert_eq!(*seen.lock().unwrap(), ["2", "told"], "{body}");
        assert_eq!(proxy.debug_info().emergencies, 0);
    }
}

#[apply(every_engine)]
fn an_audit_names_the_export_that_writes(engine: &EngineUnderTest) {
    let policy = ROWS_POLICY.replace("state_digest = \"rows\"\n", "");
    let builder = engine.proxied_wat(ROWS, &policy).audit(true);
    let proxy = builder.build().unwrap();
    write_and_touch(&proxy);
    proxy.prepare_standby().unwrap();
    proxy.swap().unwrap();
    assert_eq!(rows(&proxy), 0, "the write is lost, and no result shows it");
    proxy.call("write", args![]).unwrap();
    let audit = proxy.audit().unwrap();
    assert_eq!(audit.writers, ["write"]);
    assert_eq!((audit.entries, audit.calls, audit.left_out), (5, 7, 0));
    let hints = audit.memory.unwrap();
    assert_eq!(hints.len(), 1, "{hints:?}");
    assert!(hints[0].contains("global 0 is 1, and 0"), "{hints:?}");
    assert_eq!(rows(&proxy), 1, "the active generation was not asked");
}

/// `grab` leaks a block and answers with its address, and `size` with the size of the memory.
const GRAB: &str = r#"(module
    (memory (export "memory") 1)
    (global $end (mut i32) (i32.const 1024))
    (global $set (mut i32) (i32.const 0))
    (func $alloc (export "alloc") (param $len i32) (result i32) (local $at i32)
        (local.set $at (global.get $end))
        (global.set $end (i32.add (local.get $at) (local.get $len)))
        (if (i32.gt_u (global.get $end) (i32.shl (memory.size) (i32.const 16)))
            (then (if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then unreachable))))
        (local.get $at))
    (func (export "free") (param i32 i32))
    (func (export "grab") (result i32) (call $alloc (i32.const 64)))
    (func (export "size") (result i32) (memory.size))
    (func (export "leak") (drop (memory.grow (i32.const 1))))
    (func (export "set") (param i32) (global.set $set (local.get 0)))
    (func (export "get") (result i32) (global.get $set))
    (func (export "touch")))"#;

const GRAB_POLICY: &str = r#"
strict = true
[module]
allocator = { alloc = "alloc", free = "free" }
[[export]]
match = "{alloc,free,grab,size,leak,set,get}"
role = "pure"
[[export]]
match = "touch"
role = "mutate"
"#;

#[apply(every_engine)]
fn an_audit_tells_sizes_addresses_and_leaks_from_writes(engine: &EngineUnderTest) {
    for has_checkpoints in [true, false] {
        let builder = engine.proxied_wat(GRAB, GRAB_POLICY).audit(true);
        let proxy = if has_checkpoints {
            builder.build().unwrap()
        } else {
            let off = CheckpointPolicy::off();
            builder.checkpoints(off).build().unwrap()
        };
        for _ in 0..3 {
            for export in ["grab", "leak", "touch", "size"] {
                proxy.call(export, args![]).unwrap();
            }
        }
        let audit = proxy.audit().unwrap();
        assert_eq!((&*audit.lost, &*audit.writers), (&[][..], &[][..]));
        assert_eq!(audit.moved, ["grab", "size"]);
        let leaks: Vec<&str> = audit.leaks.iter().map(|leak| &*leak.export).collect();
        assert_eq!(leaks, ["grab", "leak"]);
        proxy.call("set", args![5]).unwrap();
        proxy.call("get", args![]).unwrap();
        let audit = proxy.audit().unwrap();
        assert_eq!(audit.writers, ["set"]);
        let lost = &audit.lost[0];
        assert_eq!(
            (&*lost.export, &*lost.without, &*lost.with),
            ("get", "0", "5")
        );
    }
}

/// `insert` puts a row into a table that is the module's own, of which every row counts.
const INSERTS: &str = r#"(module
    (memory 2)
    (global $rows (mut i32) (i32.const 0))
    (global $sum (mut i64) (i64.const 7))
    (func (export "insert") (param i64) (result i64)
        (i64.store
            (i32.shl (i32.and (global.get $rows) (i32.const 0x1fff)) (i32.const 3))
            (local.get 0))
        (global.set $rows (i32.add (global.get $rows) (i32.const 1)))
        (global.set $sum (i64.rotl
            (i64.mul (i64.xor (global.get $sum) (local.get 0)) (i64.const 0x9e3779b97f4a7c15))
            (i64.const 31)))
        (global.get $sum))
    (func (export "crash") unreachable))"#;

#[apply(every_engine)]
fn a_journal_that_only_mutates_stays_short_over_swaps_and_deaths(engine: &EngineUnderTest) {
    const CALLS: i64 = 12_000;
    let policy = "[[export]]\nmatch = \"crash\"\nrole = \"pure\"\n\
                  [[export]]\nmatch = \"insert\"\nrole = \"mutate\"";
    let folds = Arc::new(Mutex::new(0));
    let seen = Arc::clone(&folds);
    let proxy = engine
        .proxied_wat(INSERTS, policy)
        .checkpoints(CheckpointPolicy {
            history: History::Checkpoint,
            ..CheckpointPolicy::default()
        })
        .history_bound(HistoryBound {
            entries: 1_000,
            bytes: u64::MAX,
        })
        .on_event(move |event| {
            if let Event::HistoryFolded { .. } = event {
                *seen.lock().unwrap() += 1;
            }
        })
        .build()
        .unwrap();
    let mut sum = 7_i64;
    let everywhere = engines::all();
    for row in 0..CALLS {
        sum = (sum ^ row)
            .wrapping_mul(-0x61c8_8646_80b5_83eb)
            .rotate_left(31);
        let given = proxy.call("insert", args![row]).unwrap().i64().unwrap();
        assert_eq!(given, sum, "row {row}");
        if row % 200 == 0 {
            proxy.tick(Instant::now());
            assert!(proxy.debug_info().journal_entries <= 1_200);
        }
        if row % 3_000 == 2_999 {
            proxy.call("crash", args![]).unwrap_err();
            let target = everywhere[usize::try_from(row / 3_000).unwrap() % everywhere.len()];
            let remembering = Arc::clone(target.remembering());
            let prepared = proxy.prepare_standby_on(remembering).unwrap();
            assert!(
                matches!(prepared.source, Source::Checkpoint(_)),
                "{prepared:?}"
            );
            proxy.swap().unwrap();
        }
    }
    let compacted = proxy.compact().unwrap();
    assert_eq!((compacted.entries, compacted.base.unwrap().0), (0, 12_000));
    let info = proxy.debug_info();
    assert!(*folds.lock().unwrap() >= 10, "{info}");
    assert_eq!(
        (info.divergences, info.checkpoints_rejected),
        (0, 0),
        "{info}"
    );
    assert!(info.emergencies >= 4, "{info}");
}
