//! A recovery asks the host for nothing.

use std::sync::atomic::{AtomicU64, Ordering};

use conformance::durable::JournalFolder;
use conformance::prelude::*;
use proxy_core::{Builder, CheckpointPolicy, History, args};

/// Its start function, and each `draw`, ask the host, which writes to the memory too.
const DRAWING: &str = r#"(module
    (import "host" "now" (func $now (result i64)))
    (import "host" "fill" (func $fill (param i32 i32)))
    (memory (export "memory") 1)
    (global $sum (mut i64) (i64.const 0))
    (global $started (mut i64) (i64.const 0))
    (func $start (global.set $started (call $now)))
    (start $start)
    (func (export "draw") (result i64)
        (call $fill (i32.const 64) (i32.const 8))
        (global.set $sum (i64.add (global.get $sum)
            (i64.add (i64.load (i32.const 64)) (call $now))))
        (global.get $sum))
    (func (export "sum") (result i64) (i64.add (global.get $sum) (global.get $started))))"#;

const POLICY: &str = r#"
    [[export]]
    match = "draw"
    role = "mutate"
    [[export]]
    match = "sum"
    role = "pure"
"#;

/// A host that never gives the same answer twice, and how often it was asked.
fn restless(builder: Builder) -> (Builder, Arc<AtomicU64>) {
    static ANSWERS: AtomicU64 = AtomicU64::new(1000);
    let asked = Arc::new(AtomicU64::new(0));
    let mut imports = Imports::new();
    let clock = Arc::clone(&asked);
    let ty = FuncType::new(&[], &[ValType::I64]);
    imports.func("host", "now", ty, move |_, _, results| {
        clock.fetch_add(1, Ordering::Relaxed);
        results[0] = Val::from(ANSWERS.fetch_add(1, Ordering::Relaxed));
        Ok(())
    });
    let random = Arc::clone(&asked);
    let ty = FuncType::new(&[ValType::I32, ValType::I32], &[]);
    imports.func("host", "fill", ty, move |caller, args, _| {
        random.fetch_add(1, Ordering::Relaxed);
        let byte = ANSWERS.fetch_add(1, Ordering::Relaxed).to_le_bytes()[0];
        let (Some(at), Some(len)) = (args[0].i32(), args[1].i32()) else {
            unreachable!("the guest's import has two i32")
        };
        let bytes = vec![byte; usize::try_from(len).unwrap()];
        caller.memory_write(MemoryIndex(0), u64::from(at.cast_unsigned()), &bytes)
    });
    (builder.imports(imports), asked)
}

#[apply(every_engine)]
fn a_recovery_calls_no_host_function(engine: &EngineUnderTest) {
    for history in [History::Checkpoint, History::Full] {
        let builder = |engine: &EngineUnderTest| {
            let policy = CheckpointPolicy {
                history,
                ..CheckpointPolicy::default()
            };
            restless(engine.proxied_wat(DRAWING, POLICY).checkpoints(policy))
        };
        let folder = JournalFolder::of(&binary(DRAWING), POLICY);
        let (builder_here, asked) = builder(engine);
        let mut proxy = folder.begin(builder_here);
        assert_eq!(asked.load(Ordering::Relaxed), 1, "by the start function");
        for target in engines::all() {
            for _ in 0..5 {
                proxy.call("draw", args![]).unwrap();
            }
            proxy.checkpoint_durably().unwrap().unwrap();
            proxy.call("draw", args![]).unwrap();
            let sum = proxy.call("sum", args![]).unwrap();
            drop(proxy);
            let (builder, asked) = builder(target);
            (proxy, _) = folder.recover(builder);
            assert_eq!(proxy.call("sum", args![]).unwrap(), sum, "{target:?}");
            proxy.prepare_standby().unwrap();
            proxy.swap().unwrap();
            assert_eq!(proxy.call("sum", args![]).unwrap(), sum, "{target:?}");
            assert_eq!(asked.load(Ordering::Relaxed), 0, "{target:?}");
            proxy.call("draw", args![]).unwrap();
            assert_eq!(asked.load(Ordering::Relaxed), 2, "a call asks again");
        }
    }
}
