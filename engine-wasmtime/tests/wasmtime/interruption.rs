//! Deadlines, interrupters and fuel.

use std::time::{Duration, Instant};

use engine_api::{
    Engine, EngineConfig, Error, Extern, Imports, InstanceExt, Limits, MemoryType, Trap, Val,
};

use engine_wasmtime::{Compiler, Tuning, Wasmtime};

use crate::{SPIN, compile, engines, engines_with, instance, limited, trap_of};

#[test]
fn a_spinning_guest_meets_its_deadline_with_every_compiler() {
    let limits = Limits {
        deadline: Some(Duration::from_millis(50)),
        ..Limits::default()
    };
    for engine in engines() {
        let mut guest = limited(&engine, SPIN, &limits).unwrap();
        for _ in 0..3 {
            let start = Instant::now();
            assert_eq!(
                trap_of(guest.invoke("spin", &[])),
                Trap::DeadlineExceeded,
                "{}",
                engine.id()
            );
            let took = start.elapsed();
            assert!(took >= Duration::from_millis(50), "{took:?}");
            assert!(took < Duration::from_millis(250), "{took:?}");
            // Each call has the whole deadline for itself.
            assert_eq!(guest.invoke("work", &[Val::I32(9)]).unwrap(), [Val::I32(7)]);
        }
        let start = "(module (func $spin (loop br 0)) (start $spin))";
        let outcome = limited(&engine, start, &limits).map(drop);
        assert_eq!(trap_of(outcome), Trap::DeadlineExceeded);
    }
}

#[test]
fn an_interrupter_ends_the_call_in_flight_and_every_later_one() {
    for engine in engines() {
        let mut guest = instance(&engine, SPIN);
        let mut neighbour = instance(&engine, SPIN);
        let interrupter = guest.interrupter().unwrap();
        let spinning = std::thread::spawn(move || {
            let first = trap_of(guest.invoke("spin", &[]));
            let second = trap_of(guest.invoke("work", &[Val::I32(1)]));
            (first, second)
        });
        std::thread::sleep(Duration::from_millis(30));
        interrupter.interrupt();
        assert_eq!(
            spinning.join().unwrap(),
            (Trap::Interrupted, Trap::Interrupted)
        );
        assert!(neighbour.invoke("work", &[Val::I32(1_000_000)]).is_ok());
    }
}

#[test]
fn a_guest_that_waits_for_another_thread_is_ended_too() {
    let text = r#"(module (import "env" "m" (memory 16 16 shared))
        (func (export "wait") (loop
            (drop (memory.atomic.wait32 (i32.const 400000) (i32.const 0) (i64.const -1)))
            (br 0))))"#;
    for engine in engines() {
        let module = compile(&engine, text);
        let memory = engine.shared_memory(MemoryType::shared(16, 16)).unwrap();
        let mut imports = Imports::new();
        imports.define("env", "m", Extern::SharedMemory(memory));
        let limits = Limits {
            deadline: Some(Duration::from_millis(30)),
            ..Limits::default()
        };
        let mut guest = module.instantiate(&imports, &limits).unwrap();
        assert_eq!(trap_of(guest.invoke("wait", &[])), Trap::DeadlineExceeded);

        let mut guest = module.instantiate(&imports, &Limits::default()).unwrap();
        let interrupter = guest.interrupter().unwrap();
        let waiting = std::thread::spawn(move || trap_of(guest.invoke("wait", &[])));
        // Long enough for the ticker to have gone to sleep.
        std::thread::sleep(Duration::from_millis(200));
        interrupter.interrupt();
        assert_eq!(waiting.join().unwrap(), Trap::Interrupted);
    }
}

#[test]
fn without_interruption_deadlines_and_interrupters_are_refused_and_fuel_still_ends_a_call() {
    let config = EngineConfig {
        fuel: true,
        ..EngineConfig::default()
    };
    let tuning = Tuning::default().interruption(false);
    for compiler in [Compiler::Cranelift, Compiler::Winch] {
        let engine = Wasmtime::with_tuning(compiler, &config, tuning).unwrap();
        assert!(!engine.capabilities().interruption);
        let limits = Limits {
            deadline: Some(Duration::from_secs(1)),
            ..Limits::default()
        };
        let outcome = limited(&engine, SPIN, &limits).map(drop);
        assert!(matches!(outcome, Err(Error::Unsupported { .. })));
        let limits = Limits {
            fuel: Some(10_000),
            ..Limits::default()
        };
        let mut guest = limited(&engine, SPIN, &limits).unwrap();
        let outcome = guest.interrupter().map(drop);
        assert!(matches!(outcome, Err(Error::Unsupported { .. })));
        assert_eq!(guest.invoke("work", &[Val::I32(9)]).unwrap(), [Val::I32(7)]);
        assert_eq!(trap_of(guest.invoke("spin", &[])), Trap::OutOfFuel);
    }
}

#[test]
fn fuel_ends_a_call_at_the_same_point_every_time() {
    let config = EngineConfig {
        fuel: true,
        ..EngineConfig::default()
    };
    let limits = Limits {
        fuel: Some(10_000),
        ..Limits::default()
    };
    for engine in engines_with(&config) {
        let mut guest = limited(&engine, SPIN, &limits).unwrap();
        guest.invoke("work", &[Val::I32(100)]).unwrap();
        let left = guest.fuel_left().unwrap();
        assert!(left > 0 && left < 10_000, "{left}");
        assert_eq!(trap_of(guest.invoke("spin", &[])), Trap::OutOfFuel);
        guest.invoke("work", &[Val::I32(100)]).unwrap();
        assert_eq!(guest.fuel_left(), Some(left), "{}", engine.id());
        let mut free = instance(&engine, SPIN);
        free.invoke("work", &[Val::I32(1_000_000)]).unwrap();
        assert_eq!(free.fuel_left(), None);
    }
    for engine in engines() {
        let outcome = limited(&engine, SPIN, &limits).map(drop);
        assert!(matches!(outcome, Err(Error::Unsupported { .. })));
    }
}
