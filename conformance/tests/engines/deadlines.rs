//! Deadlines: a call that spins ends in time, and other calls are left alone.

use conformance::prelude::*;

/// The contract promises two ticks of 10 ms. On a busy machine a thread may wait longer for its
/// turn; a deadline that is not kept at all is still noticed.
const GRACE: Duration = Duration::from_secs(1);

const SPINNING: &str = r#"(module
    (memory (export "memory") 256)
    (func (export "spin") (loop $again br $again))
    (func (export "spin_in_calls") (loop $again (call $nothing) (br $again)))
    (func $nothing)
    (func (export "fill")
        (loop $again
            (memory.fill (i32.const 0) (i32.const 1) (i32.const 0x1000000))
            (br $again)))
    (func (export "copy")
        (loop $again
            (memory.copy (i32.const 0) (i32.const 0x800000) (i32.const 0x800000))
            (br $again)))
    (func (export "grow_by_nothing")
        (loop $again (drop (memory.grow (i32.const 0))) (br $again)))
    (func (export "fine") (result i32) i32.const 1))"#;

fn limits(deadline: Duration) -> Limits {
    Limits {
        deadline: Some(deadline),
        ..Limits::default()
    }
}

/// Runs a call that must take as long as its deadline, and not much longer.
fn ends_at<T>(deadline: Duration, call: impl FnOnce() -> Result<T, Error>) {
    let start = Instant::now();
    let trap = trap_of(call());
    let took = start.elapsed();
    assert_eq!(trap, Trap::DeadlineExceeded);
    assert!(trap.is_host_imposed());
    // One tick early is allowed, for clocks that count whole ticks.
    assert!(
        took + Duration::from_millis(10) >= deadline,
        "ended after {took:?}"
    );
    assert!(took <= deadline + GRACE, "ended after {took:?}");
}

#[apply(every_engine)]
fn a_guest_that_spins_ends_at_its_deadline(
    engine: &EngineUnderTest,
    #[values("spin", "spin_in_calls", "fill", "copy", "grow_by_nothing")] name: &str,
) {
    let deadline = Duration::from_millis(100);
    let mut instance = engine
        .instantiate_with(SPINNING, &Imports::new(), &limits(deadline))
        .unwrap();
    ends_at(deadline, || instance.invoke(name, &[]));
    assert_eq!(instance.invoke("fine", &[]).unwrap(), [Val::I32(1)]);
}

#[apply(every_engine)]
fn a_start_function_that_spins_ends_at_its_deadline(engine: &EngineUnderTest) {
    let deadline = Duration::from_millis(100);
    let text = "(module (func $spin (loop $again br $again)) (start $spin))";
    let module = engine.module(text);
    ends_at(deadline, || {
        module.instantiate(&Imports::new(), &limits(deadline))
    });
}

#[apply(every_engine)]
fn a_loop_of_cheap_host_calls_ends_at_its_deadline(engine: &EngineUnderTest) {
    let deadline = Duration::from_millis(100);
    let mut imports = Imports::new();
    imports.func("env", "nothing", FuncType::default(), |_, _, _| Ok(()));
    let text = r#"(module
        (import "env" "nothing" (func $nothing))
        (func (export "spin") (loop $again (call $nothing) (br $again))))"#;
    let mut instance = engine
        .instantiate_with(text, &imports, &limits(deadline))
        .unwrap();
    ends_at(deadline, || instance.invoke("spin", &[]));
}

#[apply(every_engine)]
fn a_host_function_is_waited_for_and_then_the_call_ends(engine: &EngineUnderTest) {
    let mut imports = Imports::new();
    let returned = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let counter = Arc::clone(&returned);
    imports.func("env", "sleep", FuncType::default(), move |_, _, _| {
        std::thread::sleep(Duration::from_millis(200));
        counter.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        Ok(())
    });
    let text = r#"(module
        (import "env" "sleep" (func $sleep))
        (func (export "sleep_then_spin") (call $sleep) (loop $again br $again)))"#;
    let deadline = Duration::from_millis(50);
    let mut instance = engine
        .instantiate_with(text, &imports, &limits(deadline))
        .unwrap();
    ends_at(Duration::from_millis(200), || {
        instance.invoke("sleep_then_spin", &[])
    });
    assert_eq!(returned.load(std::sync::atomic::Ordering::SeqCst), 1);
}

#[apply(every_engine)]
fn a_nested_call_shares_the_deadline_of_the_outermost(engine: &EngineUnderTest) {
    let mut imports = Imports::new();
    imports.func("env", "nest", FuncType::default(), |caller, _, _| {
        caller.invoke("spin", &[]).map(drop)
    });
    let text = r#"(module
        (import "env" "nest" (func $nest))
        (func (export "spin") (loop $again br $again))
        (func (export "outer") (call $nest)))"#;
    let deadline = Duration::from_millis(100);
    let mut instance = engine
        .instantiate_with(text, &imports, &limits(deadline))
        .unwrap();
    ends_at(deadline, || instance.invoke("outer", &[]));
}

#[apply(every_engine)]
fn every_outermost_call_has_the_whole_deadline(engine: &EngineUnderTest) {
    let deadline = Duration::from_millis(120);
    let mut instance = engine
        .instantiate_with(SPINNING, &Imports::new(), &limits(deadline))
        .unwrap();
    // Calls that together take longer than the deadline, and time that passes between calls.
    let start = Instant::now();
    while start.elapsed() < 3 * deadline {
        assert_eq!(instance.invoke("fine", &[]).unwrap(), [Val::I32(1)]);
        std::thread::sleep(Duration::from_millis(20));
    }
    ends_at(deadline, || instance.invoke("spin", &[]));
}

#[apply(every_engine)]
fn the_deadline_of_one_instance_ends_no_other(engine: &EngineUnderTest) {
    let deadline = Duration::from_millis(60);
    let module = engine.module(SPINNING);
    let mut spinning = module
        .instantiate(&Imports::new(), &limits(deadline))
        .unwrap();
    let mut free = module
        .instantiate(&Imports::new(), &Limits::default())
        .unwrap();
    let mut patient = module
        .instantiate(&Imports::new(), &limits(Duration::from_mins(1)))
        .unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..3 {
                ends_at(deadline, || spinning.invoke("spin", &[]));
            }
        });
        for neighbour in [&mut free, &mut patient] {
            scope.spawn(move || {
                let start = Instant::now();
                while start.elapsed() < 5 * deadline {
                    assert_eq!(neighbour.invoke("fine", &[]).unwrap(), [Val::I32(1)]);
                }
            });
        }
    });
    drop(spinning);
    let mut next = module
        .instantiate(&Imports::new(), &Limits::default())
        .unwrap();
    assert_eq!(next.invoke("fine", &[]).unwrap(), [Val::I32(1)]);
}

#[apply(every_engine)]
fn many_deadlines_on_one_thread_leave_nothing_behind(engine: &EngineUnderTest) {
    // A deadline that passes just as the call ends must not hit the next call.
    let deadline = Duration::from_millis(15);
    let module = engine.module(
        r#"(module
            (func (export "count") (param i32)
                (loop $again
                    (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
                    (br_if $again (local.get 0))))
            (func (export "fine") (result i32) i32.const 1))"#,
    );
    let mut without = module
        .instantiate(&Imports::new(), &Limits::default())
        .unwrap();
    for round in 1..=20 {
        let mut instance = module
            .instantiate(&Imports::new(), &limits(deadline))
            .unwrap();
        // On a busy machine even the short call may pass so short a deadline.
        for (name, arguments) in [("count", &[Val::I32(round * 1_000_000)][..]), ("fine", &[])] {
            let outcome = instance.invoke(name, arguments);
            let kept = matches!(outcome, Ok(_) | Err(Error::Trap(Trap::DeadlineExceeded)));
            assert!(kept, "{outcome:?}");
        }
        assert_eq!(without.invoke("fine", &[]).unwrap(), [Val::I32(1)]);
    }
}

#[apply(every_engine)]
fn waiting_on_a_shared_memory_ends_at_the_deadline(
    engine: &EngineUnderTest,
    #[values("wait", "wait_again_and_again")] name: &str,
) {
    let Some(module) = engine.module_if(engine.capabilities().threads, WAITING) else {
        return;
    };
    let memory = engine.shared_memory(MemoryType::shared(1, 4)).unwrap();
    let mut imports = Imports::new();
    imports.define("env", "memory", Extern::SharedMemory(memory));
    let deadline = Duration::from_millis(100);
    let mut instance = module.instantiate(&imports, &limits(deadline)).unwrap();
    ends_at(deadline, || instance.invoke(name, &[]));
}

#[apply(every_engine)]
fn waiting_on_a_shared_memory_of_its_own_ends_at_the_deadline(
    engine: &EngineUnderTest,
    #[values("wait", "wait_again_and_again")] name: &str,
) {
    let text = WAITING.replace(
        "(import \"env\" \"memory\" (memory 1 4 shared))",
        "(memory (export \"own\") 1 4 shared)",
    );
    let Some(module) = engine.module_if(engine.capabilities().threads, &text) else {
        return;
    };
    let deadline = Duration::from_millis(100);
    let mut instance = module
        .instantiate(&Imports::new(), &limits(deadline))
        .unwrap();
    ends_at(deadline, || instance.invoke(name, &[]));
}

/// wasmtime cannot wake the waiters of a memory that the host cannot reach, and refuses the
/// deadline (<https://github.com/bytecodealliance/wasmtime/issues/12809>).
#[apply(every_engine)]
fn waiting_on_a_hidden_shared_memory_ends_at_the_deadline_or_is_refused(
    engine: &EngineUnderTest,
    #[values("wait", "wait_again_and_again")] name: &str,
) {
    let text = WAITING.replace(
        "(import \"env\" \"memory\" (memory 1 4 shared))",
        "(memory 1 4 shared)",
    );
    let Some(module) = engine.module_if(engine.capabilities().threads, &text) else {
        return;
    };
    let deadline = Duration::from_millis(100);
    if engine.id().runtime == "wasmtime" {
        let error = refused(module.instantiate(&Imports::new(), &limits(deadline)));
        assert!(matches!(error, Error::Unsupported { .. }), "{error}");
        let instance = module
            .instantiate(&Imports::new(), &Limits::default())
            .unwrap();
        let error = refused(instance.interrupter());
        assert!(matches!(error, Error::Unsupported { .. }), "{error}");
        return;
    }
    let mut instance = module
        .instantiate(&Imports::new(), &limits(deadline))
        .unwrap();
    ends_at(deadline, || instance.invoke(name, &[]));
}

/// A guest that waits once returns the result of the wait, which means nothing after its deadline.
/// A guest that expects spurious wake-ups waits again. The timeout of 3 s ends the case if it
/// fails.
const WAITING: &str = r#"(module
    (import "env" "memory" (memory 1 4 shared))
    (func (export "wait") (result i32)
        (memory.atomic.wait32 (i32.const 8) (i32.const 0) (i64.const 3000000000)))
    (func (export "wait_again_and_again")
        (loop $again
            (br_if $again (i32.ne (i32.const 2)
                (memory.atomic.wait32 (i32.const 8) (i32.const 0) (i64.const 3000000000)))))))"#;
