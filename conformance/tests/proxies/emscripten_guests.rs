//! Modules that Emscripten compiled, without its JavaScript.

use std::error::Error as _;

use conformance::prelude::*;
use emscripten::{DataLayout, EmscriptenError};
use proxy_core::{Bare, CallError, Policy, Proxy, args};

/// What Emscripten with `ALLOW_MEMORY_GROWTH` compiles: the module asks the host to grow its memory.
/// `add` takes 64 KiB that it never gives back, `waste` does the same in a pure call.
const GROWING: &str = r#"(module
    (import "env" "emscripten_resize_heap" (func $grow (param i32) (result i32)))
    (memory (export "memory") 1 1024)
    (global $sum (mut i32) (i32.const 0))
    (func $more (result i32)
        (call $grow (i32.mul (i32.add (memory.size) (i32.const 1)) (i32.const 65536))))
    (func (export "add") (param i32) (result i32)
        (if (i32.eqz (call $more)) (then (return (i32.const -12))))
        (global.set $sum (i32.add (global.get $sum) (local.get 0)))
        (global.get $sum))
    (func (export "waste") (result i32) (call $more))
    (func (export "sum") (result i32) (global.get $sum))
    (func (export "malloc") (param i32) (result i32)
        (if (i32.eqz (call $grow (i32.add (local.get 0) (i32.mul (memory.size) (i32.const 65536)))))
            (then (return (i32.const 0))))
        (i32.const 65536))
    (func (export "free") (param i32)))"#;

const GROWING_POLICY: &str = "[[export]]\nmatch = \"add\"\nrole = \"mutate\"\n\
                              [[export]]\nmatch = \"{malloc,free,waste,sum}\"\nrole = \"pure\"";

/// Emscripten's imports for a module in the text format.
fn imports(engine: &EngineUnderTest, text: &str, data: Option<DataLayout>) -> Imports {
    let mut imports = Imports::new();
    emscripten::add_to(&mut imports, engine.module(text).info(), data);
    imports
}

fn growing(engine: &EngineUnderTest, pages: u64) -> Proxy {
    let limits = Limits {
        memory_bytes_max: Some(pages * PAGE_BYTES),
        ..Limits::default()
    };
    engine
        .proxied_wat(GROWING, GROWING_POLICY)
        .imports(imports(engine, GROWING, None))
        .limits(limits)
        .build()
        .unwrap()
}

#[apply(every_engine)]
fn emscripten_s_growth_goes_to_the_memory_and_stops_at_the_limit(engine: &EngineUnderTest) {
    let limits = Limits {
        memory_bytes_max: Some(4 * PAGE_BYTES),
        ..Limits::default()
    };
    let policy = Policy::default();
    let imports = imports(engine, GROWING, None);
    let bare = Bare::new(engine.module(GROWING), &policy, imports, limits).unwrap();
    let mut guest = bare.instance().unwrap();
    for (bytes, at) in [
        (1_u32, 65536),
        (65536 * 2, 65536),
        (1, 0),
        (u32::MAX, 65536),
    ] {
        // The last one wraps around to less than there is, and nothing has to grow.
        let got = guest.call("malloc", args![bytes]).unwrap().u32().unwrap();
        assert_eq!(got, at, "{bytes}");
        assert!(guest.memory_bytes() <= 4 * PAGE_BYTES);
    }
    assert_eq!(guest.memory_bytes(), 4 * PAGE_BYTES);
}

/// A standby has another size than the active generation had, so it asks for other growth. What is
/// asked is no part of the record.
#[apply(every_engine)]
fn a_replay_grows_as_it_needs_and_not_as_the_active_generation_did(engine: &EngineUnderTest) {
    let proxy = growing(engine, 64);
    for number in 1..=3 {
        assert_eq!(proxy.call("waste", args![]).unwrap().i32().unwrap(), 1);
        let sum = proxy.call("add", args![number]).unwrap();
        assert_eq!(sum.i32().unwrap(), number * (number + 1) / 2);
    }
    let before = proxy.debug_info().memory;
    proxy.prepare_standby().unwrap();
    proxy.swap().unwrap();
    let info = proxy.debug_info();
    assert_eq!(info.divergences, 0);
    // The three pages of the pure calls are gone.
    assert_eq!(info.memory + 3 * PAGE_BYTES, before);
    assert_eq!(proxy.call("sum", args![]).unwrap().i32().unwrap(), 6);
}

#[apply(every_engine)]
fn growth_that_emscripten_is_refused_costs_a_generation_and_no_call(engine: &EngineUnderTest) {
    let proxy = growing(engine, 16);
    for number in 1..=10 {
        assert!(proxy.call("add", args![1]).unwrap().i32().unwrap() == number);
        // Fills the memory, whoever answers.
        for _ in 0..4 {
            proxy.call("waste", args![]).unwrap();
        }
    }
    assert_eq!(proxy.call("sum", args![]).unwrap().i32().unwrap(), 10);
    assert_eq!(proxy.debug_info().divergences, 0);
}

/// Every import that ends a call or answers for a system.
const ENDS: &str = r#"(module
    (import "env" "abort" (func $abort))
    (import "env" "_abort_js" (func $abort_js))
    (import "env" "exit" (func $exit (param i32)))
    (import "env" "__assert_fail" (func $assert (param i32 i32 i32 i32)))
    (import "env" "__cxa_throw" (func $throw (param i32 i32 i32)))
    (import "env" "invoke_vi" (func $invoke (param i32 i32)))
    (import "env" "__syscall_openat" (func $openat (param i32 i32 i32 i32) (result i32)))
    (import "env" "__syscall_getpid" (func $getpid (result i32)))
    (import "env" "__syscall_getuid32" (func $getuid (result i32)))
    (import "env" "_mmap_js" (func $mmap (param i32 i32 i32 i32 i64 i32 i32) (result i32)))
    (import "env" "emscripten_notify_memory_growth" (func $notify (param i32)))
    (import "env" "emscripten_get_heap_max" (func $heap_max (result i32)))
    (import "env" "_emscripten_memcpy_js" (func $memcpy (param i32 i32 i32)))
    (import "env" "_emscripten_get_now_is_monotonic" (func $monotonic (result i32)))
    (import "env" "_tzset_js" (func $tzset (param i32 i32 i32 i32)))
    (import "env" "_localtime_js" (func $localtime (param i64 i32)))
    (import "env" "_mktime_js" (func $mktime (param i32) (result i64)))
    (import "env" "memory" (memory 4 16))
    (import "env" "__indirect_function_table" (table 5 funcref))
    (data (i32.const 1024) "x > 0\00")
    (data (i32.const 1040) "a.c\00")
    (data (i32.const 1056) "\1b[2J\00")
    (data (i32.const 131072) "begin..middle..end")
    (func (export "abort") (call $abort))
    (func (export "abort_js") (call $abort_js))
    (func (export "exit") (call $exit (i32.const 3)))
    (func (export "assert")
        (call $assert (i32.const 1024) (i32.const 1040) (i32.const 7) (i32.const 1056)))
    (func (export "assert_nowhere")
        (call $assert (i32.const -1) (i32.const 0) (i32.const 7) (i32.const 262143)))
    (func (export "throw") (call $throw (i32.const 1) (i32.const 2) (i32.const 3)))
    (func (export "invoke") (call $invoke (i32.const 1) (i32.const 2)))
    (func (export "openat") (result i32)
        (call $openat (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))
    (func (export "ids") (result i32) (i32.add (call $getpid) (call $getuid)))
    (func (export "mmap") (result i32)
        (call $mmap (i32.const 9) (i32.const 0) (i32.const 0) (i32.const 0) (i64.const 0)
            (i32.const 0) (i32.const 0)))
    (func (export "heap_max") (result i32) (call $notify (i32.const 0)) (call $heap_max))
    (func (export "memcpy") (param i32 i32 i32) (result i64)
        (call $memcpy (local.get 0) (local.get 1) (local.get 2))
        (i64.load (local.get 0)))
    (func (export "monotonic") (result i32) (call $monotonic))
    (func (export "zone") (result i64)
        (call $tzset (i32.const 2048) (i32.const 2052) (i32.const 2056) (i32.const 2072))
        (i64.load32_u (i32.const 2072)))
    (func (export "year_and_day") (param i64) (result i32 i32)
        (call $localtime (local.get 0) (i32.const 2048))
        (i32.load (i32.const 2068)) (i32.load (i32.const 2076)))
    (func (export "mktime") (param i64) (result i64)
        (call $localtime (local.get 0) (i32.const 2048))
        ;; 13 months and 40 days later
        (i32.store (i32.const 2064) (i32.add (i32.load (i32.const 2064)) (i32.const 13)))
        (i32.store (i32.const 2060) (i32.add (i32.load (i32.const 2060)) (i32.const 40)))
        (call $mktime (i32.const 2048))))"#;

fn ends(engine: &EngineUnderTest) -> proxy_core::BareInstance {
    let imports = imports(engine, ENDS, None);
    let policy = Policy::default();
    let bare = Bare::new(engine.module(ENDS), &policy, imports, Limits::default()).unwrap();
    bare.instance().unwrap()
}

#[apply(every_engine)]
fn what_ends_a_call_says_why(engine: &EngineUnderTest) {
    for (export, expected) in [
        ("abort", "the guest aborted"),
        ("abort_js", "the guest aborted"),
        (
            "assert",
            "assertion failed in the guest: x > 0, at a.c:7 in \\u{1b}[2J",
        ),
        (
            "assert_nowhere",
            "assertion failed in the guest: , at :7 in ",
        ),
        (
            "throw",
            "the guest threw a C++ exception, for which it asks JavaScript; build it with \
             -fno-exceptions, since no engine here has those of WebAssembly",
        ),
        (
            "invoke",
            "`invoke_vi` needs Emscripten's JavaScript: exceptions and longjmp through JavaScript; \
             build without exceptions, since no engine here has those of WebAssembly",
        ),
    ] {
        let error = ends(engine).call(export, args![]).unwrap_err();
        let CallError::HostFailed { source, .. } = &error else {
            panic!("{export}: {error:?}");
        };
        let source = source.source().unwrap();
        assert!(source.is::<EmscriptenError>(), "{source:?}");
        assert_eq!(source.to_string(), expected);
    }
}

#[apply(every_engine)]
fn exit_gives_its_code(engine: &EngineUnderTest) {
    let error = ends(engine).call("exit", args![]).unwrap_err();
    assert!(
        matches!(error, CallError::Exited { code: 3, .. }),
        "{error:?}"
    );
}

#[apply(every_engine)]
fn without_a_system_its_calls_fail_softly_and_the_calendar_is_in_utc(engine: &EngineUnderTest) {
    let mut guest = ends(engine);
    for (export, expected) in [
        ("openat", -52),
        ("mmap", -52),
        ("ids", 42),
        ("heap_max", 16 * 65536),
        ("monotonic", 1),
    ] {
        let got = guest.call(export, args![]).unwrap().i32().unwrap();
        assert_eq!(got, expected, "{export}");
    }
    let zone = guest.call("zone", args![]).unwrap().u64().unwrap();
    assert_eq!(zone, u64::from(u32::from_le_bytes(*b"UTC\0")));
    // 2024-12-31T23:59:59Z, the last day of a leap year.
    let day = guest
        .call("year_and_day", args![1_735_689_599_i64])
        .unwrap();
    let expected = [124, 365].map(|number| proxy_core::Value::Val(Val::I32(number)));
    assert_eq!(day.as_slice(), expected);
    // 2026-03-12T23:59:59Z, as `mktime` of C gives for 2024-25-71.
    let later = guest.call("mktime", args![1_735_689_599_i64]).unwrap();
    assert_eq!(later.i64().unwrap(), 1_773_359_999);
    // No calendar has this one.
    let never = guest.call("year_and_day", args![i64::MAX]).unwrap();
    let expected = [70, 0].map(|number| proxy_core::Value::Val(Val::I32(number)));
    assert_eq!(never.as_slice(), expected);
}

#[apply(every_engine)]
fn copies_that_overlap_are_right_and_those_out_of_bounds_end_the_call(engine: &EngineUnderTest) {
    let word = |text: &[u8; 8]| u64::from_le_bytes(*text);
    let mut guest = ends(engine);
    let mut copy = |to: u32, from: u32, len: u32| guest.call("memcpy", args![to, from, len]);
    assert_eq!(
        copy(131_080, 131_072, 18).unwrap().u64().unwrap(),
        word(b"begin..m")
    );
    assert_eq!(
        copy(131_074, 131_080, 100_000).unwrap().u64().unwrap(),
        word(b"begin..m")
    );
    assert_eq!(
        copy(131_080, 131_074, 100_000).unwrap().u64().unwrap(),
        word(b"begin..m")
    );
    assert!(copy(0, u32::MAX, 0).is_err());
    let mut guest = ends(engine);
    let beyond = guest.call("memcpy", args![0, 8, u32::MAX]).unwrap_err();
    assert!(matches!(beyond, CallError::HostFailed { .. }), "{beyond}");
}

/// A main module that was built for dynamic linking, as web-tree-sitter is.
const MAIN: &str = r#"(module
    (import "env" "memory" (memory 512 32768))
    (import "env" "__indirect_function_table" (table 30 funcref))
    (import "env" "__memory_base" (global $base i32))
    (import "env" "__table_base" (global $table i32))
    (import "env" "__stack_pointer" (global $stack (mut i32)))
    (import "GOT.mem" "__heap_base" (global $heap (mut i32)))
    (import "GOT.mem" "__stack_low" (global $low (mut i32)))
    (import "GOT.mem" "__stack_high" (global $high (mut i32)))
    (elem (global.get $table) func 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0)
    (func (export "layout") (result i32 i32 i32 i32 i32 i32)
        global.get $base global.get $table global.get $stack
        global.get $heap global.get $low global.get $high))"#;

#[apply(every_engine)]
fn data_stack_and_heap_of_a_main_module_lie_one_after_the_other(engine: &EngineUnderTest) {
    let data = DataLayout {
        memory_bytes: 1001,
        table_elements: 30,
    };
    let imports = imports(engine, MAIN, Some(data));
    let policy = Policy::default();
    let bare = Bare::new(engine.module(MAIN), &policy, imports, Limits::default()).unwrap();
    let layout = bare.instance().unwrap().call("layout", args![]).unwrap();
    let expected = [1024, 1, 2032 + 65536, 2032 + 65536, 2032, 2032 + 65536];
    assert_eq!(
        layout.as_slice(),
        expected.map(|at| proxy_core::Value::Val(Val::I32(at)))
    );
}

#[apply(every_engine)]
fn what_only_the_module_s_author_knows_stays_missing(engine: &EngineUnderTest) {
    for (import, name) in [
        (
            "(import \"env\" \"__stack_pointer\" (global (mut i32)))",
            "__stack_pointer",
        ),
        (
            "(import \"env\" \"my_callback\" (func (param i32)))",
            "my_callback",
        ),
        (
            "(import \"GOT.mem\" \"table_of_mine\" (global (mut i32)))",
            "table_of_mine",
        ),
    ] {
        let text = format!("(module (import \"env\" \"_abort_js\" (func)) {import})");
        let module = engine.module(&text);
        let imports = imports(engine, &text, None);
        match refused(module.instantiate(&imports, &Limits::default())) {
            Error::Import { name: told, .. } => assert_eq!(told, name),
            error => panic!("{error:?}"),
        }
    }
}

/// Clocks reach outside: a replay gets what they gave before.
#[apply(every_engine)]
fn the_clocks_of_emscripten_are_recorded(engine: &EngineUnderTest) {
    const CLOCKS: &str = r#"(module
        (import "env" "emscripten_date_now" (func $date (result f64)))
        (import "env" "emscripten_get_now" (func $now (result f64)))
        (global $last (mut f64) (f64.const 0))
        (func (export "stamp") (result f64)
            (global.set $last (f64.add (call $date) (call $now)))
            (global.get $last))
        (func (export "last") (result f64) (global.get $last)))"#;
    let policy = "[[export]]\nmatch = \"last\"\nrole = \"pure\"";
    let proxy = engine
        .proxied_wat(CLOCKS, policy)
        .imports(imports(engine, CLOCKS, None))
        .build()
        .unwrap();
    let stamp = proxy.call("stamp", args![]).unwrap().f64().unwrap();
    // Later than this was written.
    assert!(stamp > 1.7e12, "{stamp}");
    proxy.prepare_standby().unwrap();
    proxy.swap().unwrap();
    let last = proxy.call("last", args![]).unwrap().f64().unwrap();
    assert_eq!(last.to_bits(), stamp.to_bits());
    assert_eq!(proxy.debug_info().divergences, 0);
}
