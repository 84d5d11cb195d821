//! Known differences of an engine from the contract, each asserted with its upstream issue. When
//! one is fixed, the suite turns red, and the case moves to the file of its subject.

use conformance::prelude::*;

/// <https://github.com/wasmerio/wasmer/issues/5943>: Singlepass passes several results between
/// guests only. Its engine refuses the module.
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
