//! `setjmp` and `longjmp` as Emscripten compiles them without exceptions of WebAssembly: calls go out
//! through `invoke_*`, and the host catches what jumps out of them.

use conformance::prelude::*;
use proxy_core::{CallError, Error as ProxyError, Proxy, args};

/// What Emscripten's output does. `attempt` is a function with a `setjmp` of its own, which calls a
/// function of the table; jumps to another one go on outwards.
const JUMPING: &str = r#"(module
    (import "env" "invoke_vi" (func $invoke_vi (param i32 i32)))
    (import "env" "invoke_jid" (func $invoke_jid (param i32 i32 f64) (result i64)))
    (import "env" "_emscripten_throw_longjmp" (func $throw))
    (import "env" "emscripten_date_now" (func $date (result f64)))
    (import "env" "exit" (func $exit (param i32)))
    (memory (export "memory") 1)
    (table (export "__indirect_function_table") 12 funcref)
    (elem (i32.const 1) $dive $relay $mean $oops $spin $stamp $leave $quiet)
    (global $sp (mut i32) (i32.const 65536))
    (global $threw (mut i32) (i32.const 0))
    (global $value (mut i32) (i32.const 0))
    (global $jumps (mut i32) (i32.const 0))
    (global $stamp (mut f64) (f64.const 0))
    (func $setThrew (export "setThrew") (param i32 i32)
        (if (i32.eqz (global.get $threw)) (then
            (global.set $threw (local.get 0))
            (global.set $value (local.get 1)))))
    (func (export "stackSave") (result i32) (global.get $sp))
    (func (export "stackRestore") (param i32) (global.set $sp (local.get 0)))
    (func $longjmp (param $env i32) (param $value i32)
        (call $setThrew (local.get $env) (local.get $value))
        (call $throw))

    ;; Goes that deep, with 16 bytes of stack for each, and jumps to the place 7.
    (func $dive (param $depth i32)
        (global.set $sp (i32.sub (global.get $sp) (i32.const 16)))
        (if (i32.eqz (local.get $depth)) (then (call $longjmp (i32.const 7) (i32.const 55))))
        (call $dive (i32.sub (local.get $depth) (i32.const 1))))
    ;; Has a place of its own, at which the jump does not end.
    (func $relay (param i32) (drop (call $attempt_at (i32.const 9) (i32.const 1) (local.get 0))))
    (func $mean (param i32 f64) (result i64)
        (if (i32.eqz (local.get 0)) (then (call $longjmp (i32.const 7) (i32.const 1))))
        (i64.trunc_f64_s (f64.mul (local.get 1) (f64.convert_i32_s (local.get 0)))))
    (func $oops (param i32) (unreachable))
    (func $spin (param i32) (loop $again (br $again)))
    (func $stamp (param i32)
        (global.set $stamp (call $date))
        (call $longjmp (i32.const 7) (local.get 0)))
    (func $leave (param i32) (call $exit (local.get 0)))
    (func $quiet (param i32))

    ;; 0 if the function returned, or the value of the jump to this place.
    (func $attempt_at (param $place i32) (param $function i32) (param $arg i32) (result i32)
        (local $threw i32)
        (global.set $sp (i32.sub (global.get $sp) (i32.const 32)))
        (global.set $threw (i32.const 0))
        (call $invoke_vi (local.get $function) (local.get $arg))
        (local.set $threw (global.get $threw))
        (global.set $threw (i32.const 0))
        (if (i32.and (i32.ne (local.get $threw) (i32.const 0))
                     (i32.ne (local.get $threw) (local.get $place)))
            (then (call $longjmp (local.get $threw) (global.get $value))))
        (global.set $sp (i32.add (global.get $sp) (i32.const 32)))
        (if (i32.eqz (local.get $threw)) (then (return (i32.const 0))))
        (global.set $jumps (i32.add (global.get $jumps) (i32.const 1)))
        (global.get $value))
    (func (export "attempt") (param i32 i32) (result i32)
        (call $attempt_at (i32.const 7) (local.get 0) (local.get 1)))
    (func (export "try_mean") (param i32 f64) (result i64)
        (local $mean i64)
        (global.set $threw (i32.const 0))
        (local.set $mean (call $invoke_jid (i32.const 3) (local.get 0) (local.get 1)))
        (if (result i64) (global.get $threw) (then (i64.sub (local.get $mean) (i64.const 1)))
            (else (local.get $mean))))
    (func (export "jump") (call $longjmp (i32.const 7) (i32.const 1)))
    (func (export "many") (param $times i32) (result i32)
        (loop $again
            (drop (call $attempt_at (i32.const 7) (i32.const 2) (i32.const 3)))
            (br_if $again (local.tee $times (i32.sub (local.get $times) (i32.const 1)))))
        (global.get $jumps))
    (func (export "jumps") (result i32) (global.get $jumps))
    (func (export "stamp") (result f64) (global.get $stamp))
    (func (export "stack") (result i32) (global.get $sp)))"#;

const POLICY: &str = "[[export]]\nmatch = \"{jumps,stamp,stack,try_mean}\"\nrole = \"pure\"\n\
                      [[export]]\nmatch = \"{attempt,many,jump}\"\nrole = \"mutate\"";

/// Functions by their place in the table.
const DIVE: i32 = 1;
const RELAY: i32 = 2;
const OOPS: i32 = 4;
const SPIN: i32 = 5;
const STAMP: i32 = 6;
const LEAVE: i32 = 7;
const QUIET: i32 = 8;

fn proxy(engine: &EngineUnderTest, limits: Limits) -> Proxy {
    let wasm = binary(JUMPING);
    let wasm = emscripten::dyn_calls(&wasm).unwrap();
    let info = module_bytes::parse(&wasm).unwrap();
    let mut imports = Imports::new();
    emscripten::add_to(&mut imports, &info, None);
    let builder = engine.proxied(&wasm, POLICY);
    builder.imports(imports).limits(limits).build().unwrap()
}

fn attempt(proxy: &Proxy, function: i32, arg: i32) -> Result<i32, ProxyError> {
    let results = proxy.call("attempt", args![function, arg])?;
    Ok(results.i32().unwrap())
}

fn number(proxy: &Proxy, export: &str) -> i32 {
    proxy.call(export, args![]).unwrap().i32().unwrap()
}

#[apply(every_engine)]
fn a_jump_ends_where_it_is_meant_to_and_puts_the_stack_back(engine: &EngineUnderTest) {
    let proxy = proxy(engine, Limits::default());
    let stack = number(&proxy, "stack");
    assert_eq!(attempt(&proxy, QUIET, 1).unwrap(), 0);
    assert_eq!(attempt(&proxy, DIVE, 5).unwrap(), 55);
    assert_eq!(attempt(&proxy, RELAY, 3).unwrap(), 55);
    assert_eq!(number(&proxy, "jumps"), 2, "the one in between had none");
    assert_eq!(number(&proxy, "stack"), stack);
    let mean = |count: i32, of: f64| {
        let results = proxy.call("try_mean", args![count, of]).unwrap();
        results.i64().unwrap()
    };
    assert_eq!((mean(4, 2.5), mean(0, 2.5)), (10, -1));
    let many = proxy.call("many", args![20_000]).unwrap();
    assert_eq!(many.i32().unwrap(), 20_002);
    assert_eq!(number(&proxy, "stack"), stack);
}

#[apply(every_engine)]
fn jumps_are_made_again_by_a_replay_and_clocks_are_not_asked_again(engine: &EngineUnderTest) {
    let proxy = proxy(engine, Limits::default());
    for target in engines::all() {
        assert_eq!(attempt(&proxy, RELAY, 3).unwrap(), 55);
        assert_eq!(attempt(&proxy, STAMP, 8).unwrap(), 8);
        let stamp = || {
            proxy
                .call("stamp", args![])
                .unwrap()
                .f64()
                .unwrap()
                .to_bits()
        };
        let before = (number(&proxy, "jumps"), stamp());
        let target = Arc::clone(target.remembering());
        proxy.prepare_standby_on(target).unwrap();
        proxy.swap().unwrap();
        assert_eq!((number(&proxy, "jumps"), stamp()), before);
    }
    assert_eq!(proxy.debug_info().divergences, 0);
}

#[apply(every_engine)]
fn only_jumps_are_caught(engine: &EngineUnderTest) {
    let limits = Limits {
        deadline: Some(Duration::from_millis(300)),
        ..Limits::default()
    };
    let proxy = proxy(engine, limits);
    let (jumps, stack) = (number(&proxy, "jumps"), number(&proxy, "stack"));
    for (function, expected) in [
        (OOPS, Trap::Unreachable),
        (SPIN, Trap::DeadlineExceeded),
        // A function of another type, an empty element, and none at all.
        (3, Trap::BadSignature),
        (10, Trap::IndirectCallToNull),
        (-1, Trap::TableOutOfBounds),
    ] {
        let error = attempt(&proxy, function, 0).unwrap_err();
        let ProxyError::Call(CallError::Trapped { trap, .. }) = error else {
            panic!("{function}: {error}");
        };
        assert_eq!(trap, expected, "{function}");
    }
    let error = attempt(&proxy, LEAVE, 3).unwrap_err();
    assert!(
        matches!(error, ProxyError::Call(CallError::Exited { code: 3, .. })),
        "{error}"
    );
    let error = proxy.call("jump", args![]).unwrap_err();
    let said = format!("{error:?}");
    assert!(said.contains("Jumped"), "{said}");
    assert_eq!(
        (number(&proxy, "jumps"), number(&proxy, "stack")),
        (jumps, stack)
    );
    assert_eq!(attempt(&proxy, DIVE, 5).unwrap(), 55, "the state lives on");
}

/// Without the exports that a jump needs, the call ends with what is missing.
#[apply(every_engine)]
fn without_the_exports_for_it_a_call_through_invoke_is_refused(engine: &EngineUnderTest) {
    let text = JUMPING.replace("(export \"setThrew\")", "");
    let wasm = binary(&text);
    let wasm = emscripten::dyn_calls(&wasm).unwrap();
    let info = module_bytes::parse(&wasm).unwrap();
    let mut imports = Imports::new();
    emscripten::add_to(&mut imports, &info, None);
    let proxy = engine.proxied(&wasm, POLICY).imports(imports);
    let error = attempt(&proxy.build().unwrap(), QUIET, 0).unwrap_err();
    let said = format!("{error:?}");
    assert!(
        said.contains("invoke_vi") && said.contains("longjmp"),
        "{said}"
    );
}
