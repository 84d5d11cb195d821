//! Cases with a process to themselves; see `conformance::probe`.

#![allow(
    clippy::unwrap_used,
    reason = "a failed expectation is a failed case: it ends the process, and the suite shows why"
)]

mod hosts;

use std::path::Path;

use conformance::prelude::*;
use conformance::process::Footprint;
use conformance::proxied::{STATE, STATE_POLICY};
use conformance::{hostile, kept};
use proxy_core::{CheckpointPolicy, Source, Supervisor, args};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (case, names) = arguments
        .split_first()
        .expect("the first argument names a case");
    if case == "goes-on-from" {
        return goes_on_from(names);
    }
    if case == "hostile" {
        return hostile(names);
    }
    let engines: Vec<&EngineUnderTest> = names
        .iter()
        .map(|name| engines::by_name(name).unwrap_or_else(|| panic!("no engine `{name}`")))
        .collect();
    match (case.as_str(), engines.as_slice()) {
        ("kill-latency", [engine]) => kill_latency(engine),
        ("release", [engine]) => release(engine),
        ("release-after-trap", [engine]) => release_after_trap(engine),
        ("release-after-failed-start", [engine]) => release_after_failed_start(engine),
        ("release-shared", [engine]) => release_shared(engine),
        ("order", engines) => order(engines),
        ("swaps", [engine]) => swaps(engine),
        ("checkpointed-swaps", [engine]) => checkpointed_swaps(engine),
        ("checkpoint-sharing", [engine]) => checkpoint_sharing(engine),
        ("swaps-with-wasi", [engine]) => hosts::wasi(engine),
        ("swaps-with-emscripten", [engine]) => hosts::emscripten(engine),
        ("swaps-with-values", [engine]) => hosts::values(engine),
        ("stack", [engine]) => stack(engine),
        ("recursion-through-host", [engine]) => recursion_through_host(engine),
        _ => panic!("no case `{case}` for {} engines", engines.len()),
    }
}

/// Opens a file that another process has written. The arguments are the engine, the guest, the
/// file, the digest of the state in it, and what the guest does next.
fn goes_on_from(arguments: &[String]) {
    let [engine, guest, path, digest, expected] = arguments else {
        panic!("five arguments, not {arguments:?}");
    };
    let engine = engines::by_name(engine).unwrap_or_else(|| panic!("no engine `{engine}`"));
    let guest = kept::by_name(guest).on(engine).unwrap();
    guest.goes_on_from(Path::new(path), digest, expected);
}

/// Prints how long after its deadline a guest is ended, whatever it does. No case of the suite: what
/// it measures depends on what else the machine does.
fn kill_latency(engine: &EngineUnderTest) {
    const DEADLINE: Duration = Duration::from_millis(50);
    const COUNT: usize = 100;
    println!("{engine:?}, {COUNT} deadlines of {DEADLINE:?} each; late by p50, p99 and at most:");
    for (way, what) in conformance::latency::WAYS {
        if way.starts_with("wait") && !engine.capabilities().threads {
            println!("{what:40} no shared memories");
            continue;
        }
        let count = if way == "fill-1-gib" { 20 } else { COUNT };
        let late = conformance::latency::kills(engine.shared().as_ref(), way, DEADLINE, count);
        let (p50, p99) = (late[count / 2], late[count * 99 / 100]);
        println!("{what:40} {p50:9.1?} {p99:9.1?} {:9.1?}", late[count - 1]);
    }
}

/// Attacks with a hostile module, and prints what the host sees.
fn hostile(arguments: &[String]) {
    let [engine, name] = arguments else {
        panic!("an engine and a case, not {arguments:?}");
    };
    let engine = engines::by_name(engine).unwrap_or_else(|| panic!("no engine `{engine}`"));
    let case = hostile::by_name(name).unwrap_or_else(|| panic!("no hostile case `{name}`"));
    println!("{}", case.attack(engine));
}

const GROWING: &str = r#"(module
    (memory (export "memory") 1)
    (table (export "table") 1 funcref)
    (global $grown (export "grown") (mut i32) (i32.const 0))
    (func (export "grow") (param i32) (result i32)
        (global.set $grown (memory.grow (local.get 0)))
        (memory.fill (i32.const 0) (i32.const 1) (i32.mul (memory.size) (i32.const 65536)))
        (global.get $grown))
    (func (export "oops") (result i32) (i32.load (i32.const -4)))
    (func $recurse (export "recurse") (call $recurse))
    (func (export "spin") (loop $again br $again)))"#;

/// The KiB that a round may add to the resident memory on average.
const RSS_KIB_PER_ROUND_MAX: u64 = 16;

/// Runs a round many times and compares the process before and after. Mappings, descriptors and
/// threads must be the same as after the first rounds, which make everything that is made once.
///
/// The proportional size is printed, not compared: it grows without an allocation when another
/// process of this executable ends and its share of the common pages falls to this one.
fn nothing_remains(rounds: u32, mut round: impl FnMut()) {
    for _ in 0..rounds.div_ceil(20).max(10) {
        round();
    }
    let before = Footprint::now().unwrap();
    for _ in 0..rounds {
        round();
    }
    let after = Footprint::now().unwrap();
    println!("before {before:?}\nafter  {after:?}");
    let counts = |of: Footprint| (of.fds, of.threads, of.mappings);
    assert_eq!(
        counts(after),
        counts(before),
        "descriptors, threads, mappings"
    );
    let rss_kib_max = before.rss_kib + u64::from(rounds) * RSS_KIB_PER_ROUND_MAX;
    assert!(after.rss_kib <= rss_kib_max, "resident memory leaks");
}

fn release(engine: &EngineUnderTest) {
    let module = engine.module(GROWING);
    let mut peak = 0;
    nothing_remains(200, || {
        let mut instance = module
            .instantiate(&Imports::new(), &Limits::default())
            .unwrap();
        let grown = instance.invoke("grow", &[Val::I32(1_023)]).unwrap();
        assert_eq!(grown, [Val::I32(1)]);
        assert_eq!(instance.memory_bytes(), 64 << 20);
        peak = peak.max(Footprint::now().unwrap().rss_kib);
    });
    assert!(peak >= 64 * 1024, "the pages were touched: {peak} KiB");
}

fn release_after_trap(engine: &EngineUnderTest) {
    let module = engine.module(GROWING);
    let grown = |limits: &Limits| {
        let mut instance = module.instantiate(&Imports::new(), limits).unwrap();
        instance.memory_grow(MemoryIndex(0), 255).unwrap();
        instance
            .memory_write(MemoryIndex(0), 0, &vec![1; 16 << 20])
            .unwrap();
        instance
    };
    // Only the guest that spins has the short deadline: on a busy machine it would end the others
    // too.
    let hasty = Limits {
        deadline: Some(Duration::from_millis(10)),
        ..Limits::default()
    };
    nothing_remains(40, || {
        let mut instance = grown(&Limits::default());
        assert_eq!(
            trap_of(instance.invoke("oops", &[])),
            Trap::MemoryOutOfBounds
        );
        assert_eq!(
            trap_of(instance.invoke("recurse", &[])),
            Trap::StackOverflow
        );
        let interrupter = instance.interrupter().unwrap();
        let thread = std::thread::spawn(move || interrupter.interrupt());
        thread.join().unwrap();
        assert_eq!(trap_of(instance.invoke("spin", &[])), Trap::Interrupted);
        let mut instance = grown(&hasty);
        assert_eq!(
            trap_of(instance.invoke("spin", &[])),
            Trap::DeadlineExceeded
        );
    });
}

fn release_after_failed_start(engine: &EngineUnderTest) {
    let module = engine.module(
        r#"(module
            (import "env" "host" (func $host))
            (memory 256)
            (func $start
                (memory.fill (i32.const 0) (i32.const 1) (i32.const 0x1000000))
                (call $host)
                (unreachable))
            (start $start))"#,
    );
    let owned = Arc::new(());
    nothing_remains(100, || {
        for fails in [false, true] {
            let inside = Arc::clone(&owned);
            let mut imports = Imports::new();
            imports.func("env", "host", FuncType::default(), move |_, _, _| {
                let _ = &inside;
                if fails {
                    Err(Error::ForeignReference)
                } else {
                    Ok(())
                }
            });
            let error = refused(module.instantiate(&imports, &Limits::default()));
            assert_eq!(error.trap().is_none(), fails);
        }
    });
    assert_eq!(
        Arc::strong_count(&owned),
        1,
        "a failed start keeps its host functions"
    );
}

fn release_shared(engine: &EngineUnderTest) {
    let module = engine.module_if(
        engine.capabilities().threads,
        r#"(module
            (import "env" "memory" (memory 1 512 shared))
            (func (export "fill") (param i32)
                (memory.fill (i32.const 0) (local.get 0) (i32.const 0x1000000))))"#,
    );
    let Some(module) = module else { return };
    nothing_remains(50, || {
        let memory = engine.shared_memory(MemoryType::shared(256, 512)).unwrap();
        let mut imports = Imports::new();
        imports.define("env", "memory", Extern::SharedMemory(memory.clone()));
        // One after the other: the process's allocator keeps an arena for each thread that runs at
        // once.
        for value in 0..2 {
            let mut instance = module.instantiate(&imports, &Limits::default()).unwrap();
            let thread =
                std::thread::spawn(move || instance.invoke("fill", &[Val::I32(value)]).map(drop));
            thread.join().unwrap().unwrap();
        }
    });
}

const TRAPPING: &str = r#"(module
    (memory 1)
    (table 1 funcref)
    (type $nothing (func))
    (func (export "load") (result i32) (i32.load (i32.const 70000)))
    (func (export "unreachable") unreachable)
    (func (export "divide") (param i32) (result i32) (i32.div_s (i32.const 1) (local.get 0)))
    (func (export "call_null") (call_indirect (type $nothing) (i32.const 0)))
    (func $recurse (export "recurse") (call $recurse)))"#;

fn traps(instance: &mut dyn Instance) {
    assert_eq!(
        trap_of(instance.invoke("load", &[])),
        Trap::MemoryOutOfBounds
    );
    assert_eq!(
        trap_of(instance.invoke("unreachable", &[])),
        Trap::Unreachable
    );
    let zero = [Val::I32(0)];
    assert_eq!(
        trap_of(instance.invoke("divide", &zero)),
        Trap::IntegerDivisionByZero
    );
    assert_eq!(
        trap_of(instance.invoke("call_null", &[])),
        Trap::IndirectCallToNull
    );
    assert_eq!(
        trap_of(instance.invoke("recurse", &[])),
        Trap::StackOverflow
    );
    assert_eq!(
        instance.invoke("divide", &[Val::I32(1)]).unwrap(),
        [Val::I32(1)]
    );
}

fn order(engines: &[&EngineUnderTest]) {
    // Each instance is made and traps before the next one exists.
    let mut instances: Vec<_> = engines
        .iter()
        .map(|engine| {
            let mut instance = engine.instantiate(TRAPPING);
            traps(instance.as_mut());
            instance
        })
        .collect();
    for _ in 0..10 {
        for instance in &mut instances {
            traps(instance.as_mut());
        }
    }
    // All at once, each on a thread of its own that has seen no engine yet.
    std::thread::scope(|scope| {
        for instance in &mut instances {
            scope.spawn(|| {
                for _ in 0..20 {
                    traps(instance.as_mut());
                }
            });
        }
    });
    // One thread that serves them all in turn.
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..10 {
                for instance in &mut instances {
                    traps(instance.as_mut());
                }
            }
        });
    });
}

/// How deep a guest recurses before its stack overflows.
fn depth(engine: &dyn Engine) -> i32 {
    let module = engine
        .compile(&binary(
            r#"(module
                (global $depth (export "depth") (mut i32) (i32.const 0))
                (func $f (export "f")
                    (global.set $depth (i32.add (global.get $depth) (i32.const 1)))
                    (call $f)))"#,
        ))
        .unwrap();
    let mut instance = module
        .instantiate(&Imports::new(), &Limits::default())
        .unwrap();
    assert_eq!(trap_of(instance.invoke("f", &[])), Trap::StackOverflow);
    let depth = instance.global_index("depth").unwrap();
    instance.global(depth).unwrap().i32().unwrap()
}

fn stack(engine: &EngineUnderTest) {
    let with_stack = |stack_bytes_max| {
        engine
            .with_config(&EngineConfig {
                stack_bytes_max,
                ..EngineConfig::default()
            })
            .unwrap()
    };
    let small = with_stack(256 << 10);
    let small_alone = depth(small.as_ref());
    let large = with_stack(1 << 20);
    let large_depth = depth(large.as_ref());
    println!("256 KiB: {small_alone} calls, 1 MiB: {large_depth}");
    assert!(
        large_depth > 2 * small_alone,
        "four times the stack, not twice the depth"
    );
    let small_again = depth(small.as_ref());
    if engine.capabilities().stack_limit {
        assert_eq!(small_again, small_alone, "an engine keeps its own limit");
    } else {
        assert_eq!(
            small_again, large_depth,
            "the last engine made sets it for all"
        );
    }
}

fn recursion_through_host(engine: &EngineUnderTest) {
    let mut imports = Imports::new();
    imports.func("env", "host", FuncType::default(), |caller, _, _| {
        caller.invoke("f", &[]).map(drop)
    });
    let text = r#"(module
        (import "env" "host" (func $host))
        (func (export "f") (call $host))
        (func (export "fine") (result i32) i32.const 1))"#;
    let mut instance = engine.instantiate_importing(text, &imports);
    for _ in 0..2 {
        assert_eq!(trap_of(instance.invoke("f", &[])), Trap::StackOverflow);
        assert_eq!(instance.invoke("fine", &[]).unwrap(), [Val::I32(1)]);
    }
}

/// A thousand swaps of a proxy whose every generation has grown to 64 MiB, all of it touched.
fn swaps(engine: &EngineUnderTest) {
    let text = include_str!("../../../../guests/wat/grow_leak.wat");
    let policy = "[[export]]\nmatch = \"leak\"\nrole = \"mutate\"\n\
                  [[export]]\nmatch = \"*\"\nrole = \"pure\"";
    let proxy = engine
        .proxied_wat(text, policy)
        .checkpoints(CheckpointPolicy::off())
        .build()
        .unwrap();
    proxy.call("leak", args![1023]).unwrap();
    assert_eq!(proxy.memory_bytes(), 64 << 20);
    nothing_remains(1000, || {
        proxy.prepare_standby().unwrap();
        proxy.swap().unwrap();
        assert_eq!(proxy.debug_info().generations_alive, 1);
    });
    assert_eq!(proxy.memory_bytes(), 64 << 20);
}

/// A thousand swaps to standbys from a checkpoint of 64 MiB, which a reaper frees.
fn checkpointed_swaps(engine: &EngineUnderTest) {
    let proxy = engine.proxied_wat(STATE, STATE_POLICY).build().unwrap();
    let supervisor = Supervisor::start(&proxy, Duration::from_hours(1)).unwrap();
    proxy.call("fill", args![64]).unwrap();
    proxy.checkpoint().unwrap();
    let freed = || {
        let end = Instant::now() + Duration::from_secs(20);
        while proxy.debug_info().generations_alive > 1 {
            assert!(Instant::now() < end, "an old generation is not freed");
            std::thread::yield_now();
        }
    };
    nothing_remains(1000, || {
        let prepared = proxy.prepare_standby().unwrap();
        assert!(matches!(prepared.source, Source::Checkpoint(_)));
        proxy.swap().unwrap();
        proxy.call("touch", args![16]).unwrap();
        freed();
    });
    assert_eq!(proxy.memory_bytes(), (64 << 20) + PAGE_BYTES);
    drop(supervisor);
    assert!(proxy.shutdown());
}

/// The memory of an instance and of another one from its snapshot, after both have read every page:
/// the image, and the pages that were written since.
fn checkpoint_sharing(engine: &EngineUnderTest) {
    const IMAGE_KIB: u64 = 128 << 10;
    const WRITTEN_PAGES: i32 = 1024;
    let module = engine.module(STATE);
    let fresh = || {
        module
            .instantiate(&Imports::new(), &Limits::default())
            .unwrap()
    };
    let mut active = fresh();
    let empty = Footprint::now().unwrap();
    active.invoke("fill", &[Val::I32(128)]).unwrap();
    let snapshot = active.capture().unwrap();
    let mut standby = module
        .restore(&Imports::new(), &Limits::default(), &snapshot)
        .unwrap();
    let seen = active.invoke("look", &[]).unwrap();
    assert_eq!(standby.invoke("look", &[]).unwrap(), seen);
    standby.invoke("touch", &[Val::I32(WRITTEN_PAGES)]).unwrap();
    let both = Footprint::now().unwrap();
    let grown = both.pss_kib.saturating_sub(empty.pss_kib);
    let written = u64::from(WRITTEN_PAGES.unsigned_abs()) * 4;
    let allowed = IMAGE_KIB + IMAGE_KIB / 10 + written;
    println!("image {IMAGE_KIB} KiB, both {grown} KiB, allowed {allowed} KiB");
    assert!(grown >= IMAGE_KIB, "the state is not there");
    assert!(grown <= allowed, "the pages are not shared");
    // Dropping one leaves the other whole.
    drop((active, snapshot));
    assert_ne!(standby.invoke("look", &[]).unwrap(), [Val::I32(0)]);
    let alone = fresh();
    assert_eq!(alone.memory_bytes(), PAGE_BYTES);
}
