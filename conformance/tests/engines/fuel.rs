//! Fuel: the same amount of work in every run, to the instruction.

use conformance::prelude::*;

const WORK: &str = r#"(module
    (memory (export "memory") 1)
    (global $done (export "done") (mut i32) (i32.const 0))
    (func $work (export "work") (param i32)
        (loop $again
            (global.set $done (i32.add (global.get $done) (i32.const 1)))
            (i32.store (i32.const 8) (global.get $done))
            (br_if $again (i32.lt_u (global.get $done) (local.get 0)))))
    (func (export "for_ever") (loop $again
        (global.set $done (i32.add (global.get $done) (i32.const 1)))
        (br $again)))
    (func (export "recurse") (call $recurse))
    (func $recurse (global.set $done (i32.add (global.get $done) (i32.const 1))) (call $recurse))
    (func (export "fine") (result i32) i32.const 1))"#;

fn limits(fuel: u64) -> Limits {
    Limits {
        fuel: Some(fuel),
        ..Limits::default()
    }
}

/// The module on the engine with its accounting for fuel; `None` if the engine has none.
fn module(engine: &EngineUnderTest, text: &str) -> Option<Arc<dyn Module>> {
    let config = EngineConfig {
        fuel: true,
        ..EngineConfig::default()
    };
    match engine.with_config(&config) {
        Ok(_) => {
            let fuelled = engine.fuelled();
            assert!(fuelled.capabilities().fuel, "it was made with fuel");
            Some(fuelled.compile(&binary(text)).unwrap())
        }
        Err(error) => {
            assert!(matches!(error, Error::Unsupported { .. }), "{error:?}");
            assert!(!engine.capabilities().fuel);
            None
        }
    }
}

fn done(instance: &mut dyn Instance) -> i32 {
    let index = instance.global_index("done").unwrap();
    instance.global(index).unwrap().i32().unwrap()
}

#[apply(every_engine)]
fn fuel_without_the_engines_accounting_is_unsupported(engine: &EngineUnderTest) {
    let error = refused(engine.instantiate_with(WORK, &Imports::new(), &limits(1_000)));
    assert!(matches!(error, Error::Unsupported { .. }), "{error:?}");
}

#[apply(every_engine)]
fn an_instance_without_a_limit_on_fuel_tells_none(engine: &EngineUnderTest) {
    let mut instance = engine.instantiate(WORK);
    instance.invoke("fine", &[]).unwrap();
    assert_eq!(instance.fuel_left(), None);
}

#[apply(every_engine)]
fn an_engine_with_accounting_runs_for_ever_without_a_limit(engine: &EngineUnderTest) {
    let Some(module) = module(engine, WORK) else {
        return;
    };
    let mut instance = module
        .instantiate(&Imports::new(), &Limits::default())
        .unwrap();
    instance.invoke("work", &[Val::I32(1_000_000)]).unwrap();
    assert_eq!(instance.fuel_left(), None);
}

#[apply(every_engine)]
fn fuel_runs_out_at_the_same_point_in_100_of_100_runs(engine: &EngineUnderTest) {
    let Some(module) = module(engine, WORK) else {
        return;
    };
    let mut points = std::collections::BTreeSet::new();
    for _ in 0..100 {
        let mut instance = module
            .instantiate(&Imports::new(), &limits(10_000))
            .unwrap();
        let trap = trap_of(instance.invoke("for_ever", &[]));
        assert_eq!(trap, Trap::OutOfFuel);
        assert!(trap.is_host_imposed());
        points.insert(done(instance.as_mut()));
    }
    assert_eq!(points.len(), 1, "{points:?}");
    assert!(
        points.first().is_some_and(|point| *point > 100),
        "{points:?}"
    );
}

#[apply(every_engine)]
fn fuel_runs_out_at_the_same_point_on_another_thread_and_in_another_engine(
    engine: &EngineUnderTest,
) {
    let Some(module) = module(engine, WORK) else {
        return;
    };
    let run = |module: Arc<dyn Module>| {
        let mut instance = module
            .instantiate(&Imports::new(), &limits(54_321))
            .unwrap();
        assert_eq!(
            trap_of(instance.invoke("work", &[Val::I32(i32::MAX)])),
            Trap::OutOfFuel
        );
        done(instance.as_mut())
    };
    let here = run(Arc::clone(&module));
    assert_eq!(
        std::thread::spawn(move || run(module)).join().unwrap(),
        here
    );
    let config = EngineConfig {
        fuel: true,
        ..EngineConfig::default()
    };
    let other = engine.with_config(&config).unwrap();
    assert_eq!(run(other.compile(&binary(WORK)).unwrap()), here);
}

#[apply(every_engine)]
fn the_fuel_that_a_call_leaves_is_known_and_the_same_each_time(engine: &EngineUnderTest) {
    let Some(module) = module(engine, WORK) else {
        return;
    };
    let mut left = Vec::new();
    for _ in 0..2 {
        let mut instance = module
            .instantiate(&Imports::new(), &limits(1_000_000))
            .unwrap();
        instance.invoke("work", &[Val::I32(100)]).unwrap();
        left.push(instance.fuel_left().unwrap());
    }
    assert_eq!(left[0], left[1]);
    assert!((1..1_000_000).contains(&left[0]), "{left:?}");
    let mut instance = module
        .instantiate(&Imports::new(), &limits(1_000_000))
        .unwrap();
    instance.invoke("work", &[Val::I32(1_000)]).unwrap();
    assert!(instance.fuel_left().unwrap() < left[0]);
}

#[apply(every_engine)]
fn every_outermost_call_starts_with_all_its_fuel(engine: &EngineUnderTest) {
    let Some(module) = module(engine, WORK) else {
        return;
    };
    let mut instance = module.instantiate(&Imports::new(), &limits(5_000)).unwrap();
    let mut points = Vec::new();
    for _ in 0..5 {
        let before = done(instance.as_mut());
        assert_eq!(trap_of(instance.invoke("for_ever", &[])), Trap::OutOfFuel);
        points.push(done(instance.as_mut()) - before);
        assert_eq!(instance.invoke("fine", &[]).unwrap(), [Val::I32(1)]);
    }
    assert!(points.iter().all(|point| *point == points[0]), "{points:?}");
}

#[apply(every_engine)]
fn fuel_ends_recursion_before_the_stack_does(engine: &EngineUnderTest) {
    let Some(module) = module(engine, WORK) else {
        return;
    };
    let mut instance = module.instantiate(&Imports::new(), &limits(2_000)).unwrap();
    assert_eq!(trap_of(instance.invoke("recurse", &[])), Trap::OutOfFuel);
}

#[apply(every_engine)]
fn no_fuel_at_all_runs_nothing(engine: &EngineUnderTest) {
    let Some(module) = module(engine, WORK) else {
        return;
    };
    let mut instance = module.instantiate(&Imports::new(), &limits(0)).unwrap();
    assert_eq!(
        trap_of(instance.invoke("work", &[Val::I32(1_000)])),
        Trap::OutOfFuel
    );
    assert!(done(instance.as_mut()) <= 1);
}

#[apply(every_engine)]
fn a_start_function_runs_out_of_fuel_too(engine: &EngineUnderTest) {
    let text = "(module (func $spin (loop $again br $again)) (start $spin))";
    let Some(module) = module(engine, text) else {
        return;
    };
    let trap = trap_of(module.instantiate(&Imports::new(), &limits(10_000)));
    assert_eq!(trap, Trap::OutOfFuel);
}

#[apply(every_engine)]
fn a_nested_call_uses_the_fuel_of_the_outermost(engine: &EngineUnderTest) {
    let text = r#"(module
        (import "env" "nest" (func $nest))
        (global $done (export "done") (mut i32) (i32.const 0))
        (func (export "spin") (loop $again
            (global.set $done (i32.add (global.get $done) (i32.const 1)))
            (br $again)))
        (func (export "some")
            (global.set $done (i32.add (global.get $done) (i32.const 1))))
        (func (export "outer") (loop $again (call $nest) (br $again))))"#;
    let Some(module) = module(engine, text) else {
        return;
    };
    for nested in ["spin", "some"] {
        let mut imports = Imports::new();
        imports.func("env", "nest", FuncType::default(), move |caller, _, _| {
            caller.invoke(nested, &[]).map(drop)
        });
        let mut points = Vec::new();
        for _ in 0..2 {
            let mut instance = module.instantiate(&imports, &limits(10_000)).unwrap();
            assert_eq!(trap_of(instance.invoke("outer", &[])), Trap::OutOfFuel);
            points.push(done(instance.as_mut()));
        }
        assert_eq!(points[0], points[1]);
    }
}

#[apply(every_engine)]
fn fuel_and_a_deadline_hold_together(engine: &EngineUnderTest) {
    let Some(module) = module(engine, WORK) else {
        return;
    };
    let both = |fuel, deadline| Limits {
        fuel: Some(fuel),
        deadline: Some(deadline),
        ..Limits::default()
    };
    let limits = both(1_000, Duration::from_mins(1));
    let mut instance = module.instantiate(&Imports::new(), &limits).unwrap();
    assert_eq!(trap_of(instance.invoke("for_ever", &[])), Trap::OutOfFuel);
    let limits = both(1 << 60, Duration::from_millis(50));
    let mut instance = module.instantiate(&Imports::new(), &limits).unwrap();
    assert_eq!(
        trap_of(instance.invoke("for_ever", &[])),
        Trap::DeadlineExceeded
    );
}
