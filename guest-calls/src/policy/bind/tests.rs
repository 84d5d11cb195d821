use engine_api::{FuncIndex, Val};

use crate::policy::plan::Plan;
use crate::{Policy, PolicyError, Role, Value};

fn bind(policy: &str) -> Result<Plan, PolicyError> {
    let wasm = wat::parse_str(
        r#"(module
            (memory (export "memory") 1)
            (func (export "make") (param i32) (result i32) i32.const 1)
            (func (export "make_free") (param i32))
            (func (export "hash") (param i32 i32) (result i64) i64.const 0)
            (func (export "digest") (param i32) (result i64) i64.const 0)
            (func (export "state") (result i64) i64.const 0)
            (func (export "guest_alloc") (param i32) (result i32) i32.const 0)
            (func (export "guest_free") (param i32 i32)))"#,
    )
    .unwrap();
    Plan::bind(&policy.parse()?, &module_bytes::parse(&wasm).unwrap())
}

fn complaint(policy: &str) -> String {
    bind(policy).unwrap_err().to_string()
}

#[test]
fn an_export_that_gives_no_number_is_told_what_the_number_is() {
    let error = complaint("[module]\nswap_request_export='make'");
    assert!(
        error.contains("a number, above 0 to ask for a swap"),
        "{error}"
    );
    let error = complaint("[module]\nmemory_usage_export='make'");
    assert!(error.contains("a number of MiB"), "{error}");
}

#[test]
fn the_first_matching_entry_decides_and_the_rest_mutates() {
    let plan = bind(
        "[[export]]\nmatch='make'\nrole='create'\nresults=['handle']\nfingerprint='digest'\n\
         [[export]]\nmatch='*_free'\nrole='free'\nargs=['handle']\n\
         [[export]]\nmatch='make*'\nrole='pure'\n[[export]]\nmatch='guest_*'\nrole='pure'",
    );
    // `guest_free` matches `*_free` first, which does not fit its two parameters.
    assert!(plan.unwrap_err().to_string().contains("`guest_free`"));
    let plan = bind(
        "[[export]]\nmatch='guest_*'\nrole='pure'\n\
         [[export]]\nmatch='*_free'\nrole='free'\nargs=['handle']\n\
         [[export]]\nmatch='make'\nrole='create'\nresults=['handle']\nfingerprint='digest'\n",
    )
    .unwrap();
    assert_eq!(plan.exports[0].role, Role::Create);
    assert_eq!(plan.exports[0].fingerprint, Some(FuncIndex(3)));
    assert_eq!(plan.exports[1].consumes, [0]);
    assert_eq!(
        (plan.exports[2].role, plan.exports[2].listed),
        (Role::Mutate, false)
    );
    assert!(plan.allocator.is_some());
}

#[test]
fn what_does_not_fit_is_named() {
    for (policy, needle) in [
        (
            "[[export]]\nmatch='makes'\nrole='pure'",
            "did you mean `make`",
        ),
        ("[[export]]\nmatch='[z-a]'\nrole='pure'", "is no pattern"),
        (
            "[[export]]\nmatch='make'\nrole='create'",
            "no result is a handle",
        ),
        (
            "[[export]]\nmatch='make'\nrole='pure'\nresults=['handle']",
            "`pointer`",
        ),
        (
            "[[export]]\nmatch='make'\nrole='mutate'\nargs=['bytes']",
            "take 2 parameters",
        ),
        (
            "[[export]]\nmatch='make'\nrole='mutate'\nresults=['bytes']",
            "no place",
        ),
        (
            "[[export]]\nmatch='make'\nrole='mutate'\nconsumes=[0]",
            "no handle",
        ),
        (
            "[[export]]\nmatch='make'\nrole='mutate'\nargs=['pointer']",
            "raw pointers",
        ),
        (
            "[[export]]\nmatch='hash'\nrole='pure'\nresults=[]",
            "names only 0",
        ),
        ("[module]\nmemory_usage_export='make'", "number of MiB"),
        (
            "[module]\nallocator={alloc='make',free='nothing'}",
            "no function `nothing`",
        ),
        (
            "[[export]]\nmatch='make'\nrole='create'\nresults=['handle']\nfingerprint='hash'",
            "needed is (handle)",
        ),
    ] {
        let complaint = complaint(policy);
        assert!(complaint.contains(needle), "{policy}: {complaint}");
    }
}

const BINDGEN: &str = r#"(module
    (memory (export "memory") 1)
    (func (export "make") (param i32 i64))
    (func (export "make_direct") (param i64) (result i32 i32 i32)
        i32.const 0 i32.const 0 i32.const 0)
    (func (export "make_free") (param i32 i32))
    (func (export "list") (param i32 i32))
    (func (export "to_bytes") (param i32 i32))
    (func (export "from_bytes") (param i32 i32 i32))
    (func (export "__wbindgen_malloc") (param i32 i32) (result i32) i32.const 0)
    (func (export "__wbindgen_free") (param i32 i32 i32))
    (func (export "__wbindgen_add_to_stack_pointer") (param i32) (result i32) i32.const 0)
    (func (export "bindgen_host_take_error") (param i32) (result externref) ref.null extern))"#;

fn bind_to(module: &str, policy: &str) -> Result<Plan, PolicyError> {
    let wasm = wat::parse_str(module).unwrap();
    Plan::bind(&policy.parse()?, &module_bytes::parse(&wasm).unwrap())
}

#[test]
fn one_entry_fits_results_through_a_pointer_and_direct_ones() {
    let plan = bind_to(
        BINDGEN,
        "[[export]]\nmatch='{make,make_direct}'\nparams=1\nrole='create'\nargs=['value']\n\
         results=['handle:thing','error']\nneeds='pool'\n\
         [[export]]\nmatch='make_free'\nrole='free'\nargs=['handle:thing','zero']\n\
         [[export]]\nmatch='list'\nrole='mutate'\nargs=['handles:thing']\nmutates=[]",
    )
    .unwrap();
    let [pointed, direct, free, list, ..] = plan.exports.as_slice() else {
        panic!("there are more exports");
    };
    assert!(pointed.return_pointer && !direct.return_pointer);
    assert_eq!(pointed.ty, direct.ty);
    assert_eq!(pointed.needs.as_deref(), Some("pool"));
    assert_eq!((free.args.len(), free.consumes.as_slice()), (1, &[0][..]));
    // What is passed in a list is used up.
    assert_eq!(list.consumes, [0]);
    assert_eq!(plan.stack_pointer, Some(FuncIndex(8)));
    assert_eq!(plan.take_error, Some(FuncIndex(9)));
}

#[test]
fn an_artifact_is_bound_to_exports_that_can_be_one() {
    let create = "[[export]]\nmatch='make'\nrole='create'\nargs=['value']\n\
                  results=['handle:thing','error']\n";
    let services = "[[export]]\nmatch='to_bytes'\nrole='pure'\nargs=['handle:thing']\n\
                    results=['bytes']\n[[export]]\nmatch='from_bytes'\nrole='create'\n\
                    args=['bytes:moved']\nresults=['handle:thing']";
    let bind = |artifact: &str, services: &str| {
        bind_to(BINDGEN, &format!("{create}artifact={artifact}\n{services}"))
    };
    let pair = "{export='to_bytes',import='from_bytes'}";
    let plan = bind(pair, services).unwrap();
    let artifact = plan.exports[0].artifact.unwrap();
    assert_eq!(
        (artifact.export, artifact.import),
        (FuncIndex(4), FuncIndex(5))
    );
    let error = bind(pair, "").unwrap_err().to_string();
    assert!(error.contains("artifact.export `to_bytes`"), "{error}");
    let missing = "{export='to_bytes',import='nothing'}";
    let error = bind(missing, services).unwrap_err().to_string();
    assert!(error.contains("no function `nothing`"), "{error}");
    let live = "{export='to_bytes',import='from_bytes',live=true}";
    assert!(
        bind(live, services).unwrap().exports[0]
            .artifact
            .unwrap()
            .live
    );
    let error = bind_to(
        BINDGEN,
        &format!(
            "[[export]]\nmatch='make_free'\nrole='create'\nargs=['handle']\n\
             results=['handle:thing']\nconsumes=[0]\nartifact={live}\n{services}"
        ),
    );
    let error = error.unwrap_err().to_string();
    assert!(error.contains("`make_free` has artifact.live"), "{error}");
    let optional = "{export='to_bytes',import='nothing',optional=true}";
    assert!(
        bind(optional, services).unwrap().exports[0]
            .artifact
            .is_none()
    );
}

#[test]
fn what_wasm_bindgen_s_conventions_need_is_named() {
    let plain = BINDGEN.replace("bindgen_host_take_error", "other");
    let fallible = "[[export]]\nmatch='make_direct'\nrole='create'\nresults=['handle','error']";
    let no_stack = BINDGEN.replace("__wbindgen_add_to_stack_pointer", "other");
    let pointed = "[[export]]\nmatch='make'\nrole='create'\nargs=['value']\nresults=['handle']";
    let many = format!(
        "[[export]]\nmatch='make'\nrole='pure'\nargs=['value']\nresults=[{}'error']",
        "'bytes',".repeat(32)
    );
    for (module, policy, needle) in [
        (plain.as_str(), fallible, "bindgen-host"),
        (no_stack.as_str(), pointed, "module.stack_pointer_export"),
        (
            BINDGEN,
            "[[export]]\nmatch='make_free'\nrole='free'\nargs=['zero','handle']",
            "after all others",
        ),
        (
            BINDGEN,
            "[[export]]\nmatch='make_direct'\nrole='create'\nresults=['error','handle']",
            "after all others",
        ),
        (BINDGEN, &many, "more than the 256 bytes"),
        (
            BINDGEN,
            "[[export]]\nmatch='list'\nrole='pure'\nargs=['handles']",
            "`pointer`",
        ),
    ] {
        let complaint = bind_to(module, policy).unwrap_err().to_string();
        assert!(complaint.contains(needle), "{policy}: {complaint}");
    }
}

#[test]
fn every_preset_can_be_read() {
    for name in crate::PRESETS {
        assert!(!Policy::preset(name).unwrap().exports.is_empty());
    }
    let error = Policy::preset("o2js").unwrap_err().to_string();
    assert!(error.contains("there are: o1js"), "{error}");
}

#[test]
fn a_state_digest_is_a_pure_export_without_arguments() {
    let pure = "[[export]]\nmatch='{state,hash}'\nrole='pure'";
    let plan = bind(&format!("state_digest = 'state'\n{pure}")).unwrap();
    assert_eq!(plan.state_digest, Some(FuncIndex(4)));
    assert_eq!(bind(pure).unwrap().state_digest, None);
    for (policy, needle) in [
        ("state_digest = 'none'\n", "no function `none`"),
        ("state_digest = 'state'\n", "role mutate"),
        (
            "state_digest = 'hash'\n[[export]]\nmatch='hash'\nrole='pure'",
            "without arguments",
        ),
    ] {
        let error = complaint(policy);
        assert!(error.contains(needle), "{error}");
    }
}

#[test]
fn a_status_code_fits_the_one_number_of_its_export() {
    let wasm = wat::parse_str(
        r#"(module
            (memory (export "memory") 1)
            (func (export "i32") (result i32) i32.const 0)
            (func (export "i64") (result i64) i64.const 0)
            (func (export "f64") (result f64) f64.const 0)
            (func (export "f32") (result f32) f32.const 0)
            (func (export "none"))
            (func (export "two") (result i32 i32) i32.const 0 i32.const 0)
            (func (export "made") (result i32 i64) i32.const 0 i64.const 0))"#,
    )
    .unwrap();
    let info = module_bytes::parse(&wasm).unwrap();
    let bind = |export: &str, codes: &str, more: &str| {
        let policy = format!(
            "[[export]]\nmatch='{export}'\nrole='mutate'\nexhausted={codes}\n{more}\n\
             [[export]]\nmatch='*'\nrole='pure'"
        );
        Plan::bind(&policy.parse::<Policy>()?, &info)
    };
    let gives = |export: &str, codes: &str, more: &str, results: &[Value]| {
        let plan = bind(export, codes, more).unwrap();
        let plan = plan.named(&info, export).unwrap();
        plan.exhausted.as_ref().unwrap().are_in(results)
    };
    let number = |val: Val| [Value::Val(val)];
    assert!(gives("i32", "[7, -1]", "", &number(Val::I32(-1))));
    assert!(!gives("i32", "[7]", "", &number(Val::I32(-1))));
    assert!(gives(
        "i64",
        "[-9223372036854775808]",
        "",
        &number(Val::I64(i64::MIN))
    ));
    assert!(gives("f64", "[0]", "", &number(Val::from(-0.0_f64))));
    assert!(!gives("f64", "[0]", "", &number(Val::from(f64::NAN))));
    assert!(!gives("i32", "[7]", "", &[]), "the guest gave an error");
    let made = [Value::Null, Value::Val(Val::I64(7))];
    assert!(gives("made", "[7]", "results=['handle', 'value']", &made));
    for (export, codes, needle) in [
        ("i32", "[2147483648]", "no i32"),
        ("f64", "[9007199254740993]", "no f64"),
        ("f32", "[7]", "neither i32, i64 nor f64"),
        ("none", "[7]", "in an entry of their own"),
        ("two", "[7]", "in an entry of their own"),
    ] {
        let error = bind(export, codes, "").unwrap_err();
        assert!(
            matches!(&error, PolicyError::StatusCode { export: told, .. } if told == export),
            "{error}"
        );
        assert!(error.to_string().contains(needle), "{error}");
    }
    assert!(matches!(
        bind("i32", "['7']", ""),
        Err(PolicyError::Syntax(_))
    ));
}
