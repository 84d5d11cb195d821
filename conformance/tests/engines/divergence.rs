//! Where an engine is known to differ from the contract: each asserted with its upstream issue, so
//! that the day it is fixed the suite turns red and the case moves to where it belongs.

use conformance::prelude::*;

/// <https://github.com/wasmerio/wasmer/issues/5943>: Singlepass passes several results between
/// guests only. Its engine refuses the module, as it must what it cannot do.
#[apply(every_engine)]
fn host_functions_with_several_results_work_on_all_but_singlepass(engine: &EngineUnderTest) {
    let module = engine.module_if(
        engine.name() != "wasmer.singlepass",
        r#"(module
            (import "env" "host" (func $host
                (param i32 i64 f32 f64 i32 f32) (result f32 i32 f64 f32 i64 i32)))
            (func (export "f")
                (param i32 i64 f32 f64 i32 f32) (result f32 i32 f64 f32 i64 i32)
                (call $host
                    (local.get 0) (local.get 1) (local.get 2)
                    (local.get 3) (local.get 4) (local.get 5))))"#,
    );
    let Some(module) = module else { return };
    let arguments = [
        Val::I32(i32::MIN),
        Val::I64(i64::MIN),
        Val::F32(0x7fc1_2345),
        Val::F64(0xfff0_0000_dead_beef),
        Val::I32(-1),
        Val::from(f32::MIN_POSITIVE),
    ];
    let mut expected = arguments.to_vec();
    expected.reverse();
    let types = |values: &[Val]| values.iter().map(Val::ty).collect::<Vec<_>>();
    let ty = FuncType::new(&types(&arguments), &types(&expected));
    let mut imports = Imports::new();
    imports.func("env", "host", ty.clone(), move |_, args, results| {
        let zeros: Vec<Val> = ty.results().iter().map(|ty| Val::zero(*ty)).collect();
        assert_eq!(results, zeros);
        for (result, arg) in results.iter_mut().zip(args.iter().rev()) {
            *result = arg.clone();
        }
        Ok(())
    });
    let mut instance = module.instantiate(&imports, &Limits::default()).unwrap();
    assert_eq!(instance.invoke("f", &arguments).unwrap(), expected);
}

/// LLVM calls wasmer's bulk operations by their symbols and not through the instance's table, where
/// the engine puts operations that look whether the call is to end. A signal ends a guest only in its
/// own code, so one that does hardly anything but long fills overruns its deadline.
#[cfg(feature = "llvm")]
#[test]
fn long_fills_of_llvm_overrun_their_deadline() {
    let text = r#"(module
        (memory 256)
        (func (export "fill") (param $times i32)
            (loop $again
                (memory.fill (i32.const 0) (i32.const 1) (i32.const 0x1000000))
                (local.set $times (i32.sub (local.get $times) (i32.const 1)))
                (br_if $again (local.get $times)))))"#;
    let limits = Limits {
        deadline: Some(Duration::from_millis(20)),
        ..Limits::default()
    };
    let engine = engines::wasmer_llvm();
    let mut instance = engine
        .instantiate_with(text, &Imports::new(), &limits)
        .unwrap();
    let start = Instant::now();
    let outcome = instance.invoke("fill", &[Val::I32(3_000)]);
    let took = start.elapsed();
    assert!(
        took > Duration::from_millis(300),
        "ended after {took:?} with {outcome:?}: move the long bulk operations to `deadlines.rs`"
    );
}
