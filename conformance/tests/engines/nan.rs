//! NaN canonicalisation makes float results equal on every engine and machine.

use conformance::prelude::*;

const F32_CANONICAL: u32 = 0x7fc0_0000;
const F64_CANONICAL: u64 = 0x7ff8_0000_0000_0000;

/// Operations that produce a NaN from these arguments, conversions between widths among them.
const BINARY: [&str; 6] = ["add", "sub", "mul", "div", "min", "max"];
const UNARY: [&str; 5] = ["sqrt", "ceil", "floor", "trunc", "nearest"];

fn text() -> String {
    let mut text = String::from("(module");
    for ty in ["f32", "f64"] {
        for name in BINARY {
            text += &format!(
                r#"(func (export "{ty}.{name}") (param {ty} {ty}) (result {ty})
                    ({ty}.{name} (local.get 0) (local.get 1)))"#
            );
        }
        for name in UNARY {
            text += &format!(
                r#"(func (export "{ty}.{name}") (param {ty}) (result {ty})
                    ({ty}.{name} (local.get 0)))"#
            );
        }
    }
    text + r#"
        (func (export "demote") (param f64) (result f32) (f32.demote_f64 (local.get 0)))
        (func (export "promote") (param f32) (result f64) (f64.promote_f32 (local.get 0)))
        (func (export "f32.neg") (param f32) (result f32) (f32.neg (local.get 0)))
        (func (export "f64.abs") (param f64) (result f64) (f64.abs (local.get 0)))
        (func (export "f32.copysign") (param f32 f32) (result f32)
            (f32.copysign (local.get 0) (local.get 1))))"#
}

/// The NaN of each operation, as bits widened to 64.
fn produced(engine: &EngineUnderTest) -> Vec<(String, u64, bool)> {
    let mut instance = engine.instantiate(&text());
    let payload_32 = [Val::F32(0xffc1_2345), Val::F32(0x7f81_2345)];
    let payload_64 = [
        Val::F64(0xfff8_0000_dead_beef),
        Val::F64(0x7ff0_0000_dead_beef),
    ];
    let mut nans = Vec::new();
    let mut call = |name: String, arguments: &[Val]| {
        let result = instance.invoke(&name, arguments).unwrap().remove(0);
        let (nan, bits, canonical) = match result {
            Val::F32(bits) => (
                f32::from_bits(bits).is_nan(),
                bits.into(),
                bits == F32_CANONICAL,
            ),
            Val::F64(bits) => (f64::from_bits(bits).is_nan(), bits, bits == F64_CANONICAL),
            other => panic!("{other:?}"),
        };
        assert!(nan, "{name} of {arguments:?} is {bits:#x}");
        nans.push((name, bits, canonical));
    };
    for (ty, one, payloads) in [
        ("f32", Val::from(1.0_f32), &payload_32),
        ("f64", Val::from(1.0_f64), &payload_64),
    ] {
        for payload in payloads {
            for name in BINARY {
                call(format!("{ty}.{name}"), &[payload.clone(), one.clone()]);
                call(format!("{ty}.{name}"), &[one.clone(), payload.clone()]);
            }
            for name in UNARY {
                call(format!("{ty}.{name}"), std::slice::from_ref(payload));
            }
        }
    }
    let zeros_32 = [Val::F32(0), Val::F32(0)];
    let infinities_64 = [Val::from(f64::INFINITY), Val::from(f64::INFINITY)];
    call("f32.div".to_owned(), &zeros_32);
    call("f64.sub".to_owned(), &infinities_64);
    call("f32.sqrt".to_owned(), &[Val::from(-1.0_f32)]);
    call("f64.sqrt".to_owned(), &[Val::from(-1.0_f64)]);
    call("demote".to_owned(), &payload_64[..1]);
    call("demote".to_owned(), &payload_64[1..]);
    call("promote".to_owned(), &payload_32[..1]);
    call("promote".to_owned(), &payload_32[1..]);
    nans
}

#[apply(every_engine)]
fn a_nan_that_an_operation_produces_is_canonical_exactly_if_the_capability_says_so(
    engine: &EngineUnderTest,
) {
    let others: Vec<_> = produced(engine)
        .into_iter()
        .filter(|(_, _, canonical)| !canonical)
        .collect();
    assert_eq!(
        engine.capabilities().nan_canonicalization,
        others.is_empty(),
        "not canonical: {others:x?}"
    );
}

#[apply(every_engine)]
fn operations_on_the_sign_alone_keep_the_payload(engine: &EngineUnderTest) {
    let mut instance = engine.instantiate(&text());
    let negated = instance
        .invoke("f32.neg", &[Val::F32(0x7fc1_2345)])
        .unwrap();
    assert_eq!(negated, [Val::F32(0xffc1_2345)]);
    let positive = instance
        .invoke("f64.abs", &[Val::F64(0xfff8_0000_dead_beef)])
        .unwrap();
    assert_eq!(positive, [Val::F64(0x7ff8_0000_dead_beef)]);
    let signed = [Val::F32(0x7fc1_2345), Val::from(-1.0_f32)];
    let copied = instance.invoke("f32.copysign", &signed).unwrap();
    assert_eq!(copied, [Val::F32(0xffc1_2345)]);
}

#[apply(every_engine)]
fn nans_in_vectors_are_canonical_too(engine: &EngineUnderTest) {
    let module = engine.module_if(
        engine.capabilities().simd,
        r#"(module
            (func (export "f32x4") (param v128 v128) (result v128)
                (f32x4.add (local.get 0) (local.get 1)))
            (func (export "f64x2") (param v128 v128) (result v128)
                (f64x2.mul (local.get 0) (local.get 1))))"#,
    );
    let Some(module) = module else { return };
    let mut instance = module
        .instantiate(&Imports::new(), &Limits::default())
        .unwrap();
    let nans_32 = [0xffc1_2345_u32, 0x7f81_2345, 0x3f80_0000, 0xffc0_0000]
        .iter()
        .rev()
        .fold(0_u128, |vector, lane| (vector << 32) | u128::from(*lane));
    let summed = instance
        .invoke("f32x4", &[Val::V128(nans_32), Val::V128(0)])
        .unwrap();
    let nans_64 = (0xfff8_0000_dead_beef_u128 << 64) | 0x7ff0_0000_dead_beef;
    let product = instance
        .invoke("f64x2", &[Val::V128(nans_64), Val::V128(0)])
        .unwrap();
    if engine.capabilities().nan_canonicalization {
        let canonical = u128::from(F32_CANONICAL);
        let expected = canonical | (canonical << 32) | (0x3f80_0000 << 64) | (canonical << 96);
        assert_eq!(summed, [Val::V128(expected)]);
        let canonical = u128::from(F64_CANONICAL);
        assert_eq!(product, [Val::V128(canonical | (canonical << 64))]);
    }
}
