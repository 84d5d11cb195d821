//! Interruption from another thread: it ends the call in flight, and every later one.

use conformance::prelude::*;

const SPINNING: &str = r#"(module
    (memory (export "memory") 1)
    (func (export "spin")
        (i32.store (i32.const 0) (i32.const 1))
        (loop $again br $again))
    (func (export "fill")
        (loop $again (memory.fill (i32.const 16) (i32.const 1) (i32.const 60000)) (br $again)))
    (func (export "fine") (result i32) i32.const 1))"#;

/// Far above the contract's two ticks of 10 ms, for busy machines.
const GRACE: Duration = Duration::from_secs(1);

fn interrupt_in_flight(instance: &mut dyn Instance, name: &str) {
    let interrupter = instance.interrupter().unwrap();
    let (trap, took) = std::thread::scope(|scope| {
        let thread = scope.spawn(move || {
            std::thread::sleep(Duration::from_millis(50));
            interrupter.interrupt();
            Instant::now()
        });
        let trap = trap_of(instance.invoke(name, &[]));
        let ended = Instant::now();
        (
            trap,
            ended.saturating_duration_since(thread.join().unwrap()),
        )
    });
    assert_eq!(trap, Trap::Interrupted);
    assert!(trap.is_host_imposed());
    assert!(took <= GRACE, "ended {took:?} after the interruption");
}

#[apply(every_engine)]
fn a_spinning_guest_is_interrupted_from_another_thread(
    engine: &EngineUnderTest,
    #[values("spin", "fill")] name: &str,
) {
    let mut instance = engine.instantiate(SPINNING);
    interrupt_in_flight(instance.as_mut(), name);
}

#[apply(every_engine)]
fn an_interruption_sticks_to_every_later_call(engine: &EngineUnderTest) {
    let mut instance = engine.instantiate(SPINNING);
    interrupt_in_flight(instance.as_mut(), "spin");
    for _ in 0..5 {
        assert_eq!(trap_of(instance.invoke("fine", &[])), Trap::Interrupted);
        assert_eq!(trap_of(instance.invoke("spin", &[])), Trap::Interrupted);
    }
}

#[apply(every_engine)]
fn an_interruption_before_the_call_ends_it_too(engine: &EngineUnderTest) {
    let mut instance = engine.instantiate(SPINNING);
    assert_eq!(instance.invoke("fine", &[]).unwrap(), [Val::I32(1)]);
    instance.interrupter().unwrap().interrupt();
    assert_eq!(trap_of(instance.invoke("fine", &[])), Trap::Interrupted);
    assert_eq!(trap_of(instance.invoke("spin", &[])), Trap::Interrupted);
}

#[apply(every_engine)]
fn an_interrupted_instance_is_still_read_and_measured(engine: &EngineUnderTest) {
    let mut instance = engine.instantiate(SPINNING);
    interrupt_in_flight(instance.as_mut(), "spin");
    let mut bytes = [0; 4];
    instance.memory_read(MemoryIndex(0), 0, &mut bytes).unwrap();
    assert_eq!(bytes, [1, 0, 0, 0]);
    assert_eq!(instance.memory_bytes(), PAGE_BYTES);
}

#[apply(every_engine)]
fn interrupting_twice_or_after_the_instance_is_gone_is_harmless(engine: &EngineUnderTest) {
    let instance = engine.instantiate(SPINNING);
    let interrupter = instance.interrupter().unwrap();
    let clone = interrupter.clone();
    interrupter.interrupt();
    clone.interrupt();
    drop(instance);
    interrupter.interrupt();
    let mut next = engine.instantiate(SPINNING);
    assert_eq!(next.invoke("fine", &[]).unwrap(), [Val::I32(1)]);
}

#[apply(every_engine)]
fn only_the_interrupted_instance_ends(engine: &EngineUnderTest) {
    let module = engine.module(SPINNING);
    let mut instances: Vec<_> = (0..4)
        .map(|_| {
            module
                .instantiate(&Imports::new(), &Limits::default())
                .unwrap()
        })
        .collect();
    let interrupters: Vec<_> = instances
        .iter()
        .map(|instance| instance.interrupter().unwrap())
        .collect();
    std::thread::scope(|scope| {
        let (neighbour, spinning) = instances.split_first_mut().unwrap();
        let running: Vec<_> = spinning
            .iter_mut()
            .map(|instance| scope.spawn(move || trap_of(instance.invoke("spin", &[]))))
            .collect();
        std::thread::sleep(Duration::from_millis(30));
        // One after the other, with a healthy neighbour in between.
        for (thread, interrupter) in running.into_iter().zip(&interrupters[1..]) {
            assert!(!thread.is_finished());
            interrupter.interrupt();
            assert_eq!(thread.join().unwrap(), Trap::Interrupted);
            assert_eq!(neighbour.invoke("fine", &[]).unwrap(), [Val::I32(1)]);
        }
    });
}

#[apply(every_engine)]
fn a_host_function_in_flight_is_waited_for(engine: &EngineUnderTest) {
    let mut imports = Imports::new();
    let finished = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let flag = Arc::clone(&finished);
    imports.func("env", "sleep", FuncType::default(), move |_, _, _| {
        std::thread::sleep(Duration::from_millis(150));
        flag.store(true, std::sync::atomic::Ordering::SeqCst);
        Ok(())
    });
    let text = r#"(module
        (import "env" "sleep" (func $sleep))
        (func (export "sleep_then_spin") (call $sleep) (loop $again br $again)))"#;
    let mut instance = engine.instantiate_importing(text, &imports);
    interrupt_in_flight(instance.as_mut(), "sleep_then_spin");
    assert!(finished.load(std::sync::atomic::Ordering::SeqCst));
}

#[apply(every_engine)]
fn a_host_function_that_interrupts_its_own_caller_ends_it(engine: &EngineUnderTest) {
    let slot: Arc<std::sync::OnceLock<engine_api::Interrupter>> = Arc::default();
    let mut imports = Imports::new();
    let inside = Arc::clone(&slot);
    imports.func("env", "stop", FuncType::default(), move |_, _, _| {
        inside.get().unwrap().interrupt();
        Ok(())
    });
    let text = r#"(module
        (import "env" "stop" (func $stop))
        (func (export "stop_then_spin") (call $stop) (loop $again br $again)))"#;
    let mut instance = engine.instantiate_importing(text, &imports);
    slot.set(instance.interrupter().unwrap()).unwrap();
    assert_eq!(
        trap_of(instance.invoke("stop_then_spin", &[])),
        Trap::Interrupted
    );
}

#[apply(every_engine)]
fn an_interruption_and_a_deadline_hold_together(engine: &EngineUnderTest) {
    let limits = Limits {
        deadline: Some(Duration::from_mins(1)),
        ..Limits::default()
    };
    let mut instance = engine
        .instantiate_with(SPINNING, &Imports::new(), &limits)
        .unwrap();
    interrupt_in_flight(instance.as_mut(), "spin");
    assert_eq!(trap_of(instance.invoke("fine", &[])), Trap::Interrupted);
}

#[apply(every_engine)]
fn interruptions_that_race_with_the_calls_end_are_kept(engine: &EngineUnderTest) {
    // The call returns or is interrupted, depending on the race. The next one is interrupted.
    let module = engine.module(SPINNING);
    for round in 0..50 {
        let mut instance = module
            .instantiate(&Imports::new(), &Limits::default())
            .unwrap();
        let interrupter = instance.interrupter().unwrap();
        let thread = std::thread::spawn(move || {
            for _ in 0..round * 20 {
                std::hint::spin_loop();
            }
            interrupter.interrupt();
        });
        for _ in 0..20 {
            let outcome = instance.invoke("fine", &[]);
            assert!(
                matches!(outcome, Ok(_) | Err(Error::Trap(Trap::Interrupted))),
                "{outcome:?}"
            );
        }
        thread.join().unwrap();
        assert_eq!(trap_of(instance.invoke("fine", &[])), Trap::Interrupted);
    }
}

#[apply(every_engine)]
fn waiting_on_a_shared_memory_is_interrupted(
    engine: &EngineUnderTest,
    #[values("wait", "wait_again_and_again")] name: &str,
) {
    // The guest's own timeout of 3 s ends the case if it fails.
    let module = engine.module_if(
        engine.capabilities().threads,
        r#"(module
            (import "env" "memory" (memory 1 4 shared))
            (func (export "wait") (result i32)
                (memory.atomic.wait32 (i32.const 8) (i32.const 0) (i64.const 3000000000)))
            (func (export "wait_again_and_again")
                (loop $again
                    (br_if $again (i32.ne (i32.const 2)
                        (memory.atomic.wait32
                            (i32.const 8) (i32.const 0) (i64.const 3000000000)))))))"#,
    );
    let Some(module) = module else { return };
    let memory = engine.shared_memory(MemoryType::shared(1, 4)).unwrap();
    let mut imports = Imports::new();
    imports.define("env", "memory", Extern::SharedMemory(memory));
    let mut instance = module.instantiate(&imports, &Limits::default()).unwrap();
    interrupt_in_flight(instance.as_mut(), name);
}
