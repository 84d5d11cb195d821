//! Every trap, on every thread.

use engine_api::{FuncType, Imports, InstanceExt, Limits, Trap, Val};
use engine_wasmer::Wasmer;

use super::{compile, engines, instantiate, invoke};

pub(super) const TRAPS: &str = r#"(module
    (memory (export "m") 1 2)
    (table 2 funcref)
    (type $none (func))
    (type $other (func (param i32)))
    (func $one (type $none))
    (elem (i32.const 0) $one)
    (func (export "unreachable") unreachable)
    (func (export "memory") (drop (i32.load (i32.const 65536))))
    (func (export "fill") (memory.fill (i32.const 65535) (i32.const 0) (i32.const 2)))
    (func (export "far") (drop (i32.load offset=0xfffffff0 (i32.const -1))))
    (func (export "table") (call_indirect (type $none) (i32.const 2)))
    (func (export "null") (call_indirect (type $none) (i32.const 1)))
    (func (export "signature") (call_indirect (type $other) (i32.const 0) (i32.const 0)))
    (func (export "div") (param i32) (result i32) (i32.div_s (i32.const 1) (local.get 0)))
    (func (export "overflow") (param i32) (result i32) (i32.div_s (i32.const 0x80000000) (local.get 0)))
    (func (export "trunc") (param f32) (result i32) (i32.trunc_f32_s (local.get 0)))
    (func $recurse (export "recurse") (param i32) (result i32)
        ;; No compiler makes a loop of this.
        (i32.rotl (call $recurse (i32.add (local.get 0) (i32.const 1))) (local.get 0)))
    (func (export "atomic") (drop (i32.atomic.load (i32.const 1))))
    (func (export "wait") (result i32) (memory.atomic.wait32 (i32.const 0) (i32.const 0) (i64.const 0)))
    (func (export "tget") (drop (table.get 0 (i32.const 9))))
    (func (export "fine") (result i32) (i32.const 1)))"#;

fn check_traps(engine: &Wasmer) {
    let mut instance = instantiate(engine, TRAPS);
    let nan = Val::from(f32::NAN);
    let big = Val::from(1e30_f32);
    let cases: [(&str, Vec<Val>, &[Trap]); 16] = [
        ("unreachable", vec![], &[Trap::Unreachable]),
        ("memory", vec![], &[Trap::MemoryOutOfBounds]),
        ("fill", vec![], &[Trap::MemoryOutOfBounds]),
        ("far", vec![], &[Trap::MemoryOutOfBounds]),
        ("table", vec![], &[Trap::TableOutOfBounds]),
        ("null", vec![], &[Trap::IndirectCallToNull]),
        ("signature", vec![], &[Trap::BadSignature]),
        ("div", vec![Val::I32(0)], &[Trap::IntegerDivisionByZero]),
        ("overflow", vec![Val::I32(-1)], &[Trap::IntegerOverflow]),
        ("trunc", vec![nan], &[Trap::BadConversionToInteger]),
        (
            "trunc",
            vec![big],
            &[Trap::IntegerOverflow, Trap::BadConversionToInteger],
        ),
        ("recurse", vec![Val::I32(0)], &[Trap::StackOverflow]),
        ("atomic", vec![], &[Trap::UnalignedAtomic]),
        ("wait", vec![], &[Trap::AtomicWaitUnshared]),
        ("tget", vec![], &[Trap::TableOutOfBounds]),
        ("unreachable", vec![], &[Trap::Unreachable]),
    ];
    for (name, args, expected) in cases {
        let error = invoke(&mut *instance, name, &args).unwrap_err();
        let trap = error.trap();
        assert!(
            trap.is_some_and(|trap| expected.contains(&trap)),
            "{engine:?} {name}: {error} {error:?}"
        );
        assert_eq!(invoke(&mut *instance, "fine", &[]).unwrap(), [Val::I32(1)]);
    }
}

#[test]
fn traps_have_the_names_of_their_causes_on_every_thread() {
    for engine in engines() {
        check_traps(&engine);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        check_traps(&engine);
                    }
                });
            }
        });
    }
}

/// A library call that traps takes a backtrace on the guest's stack, while it holds locks. If the
/// stack overflowed there, everything that takes a backtrace later would hang.
#[test]
fn a_library_call_that_traps_at_the_end_of_the_stack_leaves_no_lock_behind() {
    let traps = [
        (
            "(memory.fill (i32.const -1) (i32.const 0) (i32.const 9))",
            Trap::MemoryOutOfBounds,
        ),
        // Some compilers raise this trap by a library call too.
        ("unreachable", Trap::Unreachable),
    ];
    for (engine, (operation, trap)) in engines().iter().flat_map(|e| traps.map(|t| (e, t))) {
        let wat = format!(
            r#"(module
                (memory 1)
                (func $dig (export "dig") (param i32) (result i32)
                    (if (i32.eqz (local.get 0)) (then {operation}))
                    (i32.rotl (call $dig (i32.sub (local.get 0) (i32.const 1))) (local.get 0))))"#
        );
        let mut instance = instantiate(engine, &wat);
        let mut dig = |depth| {
            let error = invoke(&mut *instance, "dig", &[Val::I32(depth)]).unwrap_err();
            error.trap().unwrap()
        };
        let (mut fits, mut overflows) = (1, 1 << 24);
        assert_eq!(dig(overflows), Trap::StackOverflow);
        while overflows - fits > 1 {
            let depth = i32::midpoint(fits, overflows);
            match dig(depth) {
                Trap::StackOverflow => overflows = depth,
                other if other == trap => fits = depth,
                other => panic!("{other}"),
            }
        }
        for depth in (fits - 50).max(1)..fits + 2000 {
            dig(depth);
        }
        assert_eq!(dig(5), trap);
    }
}

#[test]
fn recursion_through_a_host_function_is_a_stack_overflow_and_frees_its_stacks() {
    let wat = r#"(module
        (import "env" "host" (func $host))
        (func (export "f") (call $host))
        (func (export "fine") (result i32) (i32.const 1)))"#;
    let mut imports = Imports::new();
    imports.func("env", "host", FuncType::default(), |caller, _, _| {
        caller.invoke("f", &[]).map(drop)
    });
    for engine in engines() {
        let module = compile(&engine, wat);
        let mut instance = module.instantiate(&imports, &Limits::default()).unwrap();
        for _ in 0..3 {
            let error = invoke(&mut *instance, "f", &[]).unwrap_err();
            assert_eq!(error.trap(), Some(Trap::StackOverflow));
            assert_eq!(invoke(&mut *instance, "fine", &[]).unwrap(), [Val::I32(1)]);
        }
    }
}
