//! Values go in and come out with every bit.

use conformance::prelude::*;

const NUMBERS: &str = r#"(module
    (func (export "i32") (param i32) (result i32) local.get 0)
    (func (export "i64") (param i64) (result i64) local.get 0)
    (func (export "f32") (param f32) (result f32) local.get 0)
    (func (export "f64") (param f64) (result f64) local.get 0)
    (func (export "f32_bits") (param f32) (result i32) local.get 0 i32.reinterpret_f32)
    (func (export "f64_bits") (param f64) (result i64) local.get 0 i64.reinterpret_f64)
    (func (export "f32_of") (param i32) (result f32) local.get 0 f32.reinterpret_i32)
    (func (export "f64_of") (param i64) (result f64) local.get 0 f64.reinterpret_i64)
    (func (export "nothing"))
    (func (export "reversed") (param i32 i64 f32 f64) (result f64 f32 i64 i32)
        local.get 3 local.get 2 local.get 1 local.get 0))"#;

/// Ordinary numbers, signed zeros, subnormals, infinities, and NaNs quiet and signalling, of both
/// signs and with payloads.
const F32_BITS: [u32; 12] = [
    0,
    0x8000_0000,
    1,
    0x3f80_0000,
    0xc048_f5c3,
    0x7f7f_ffff,
    0x7f80_0000,
    0xff80_0000,
    0x7fc0_0000,
    0xffc0_0000,
    0x7fc1_2345,
    0xff81_2345,
];
const F64_BITS: [u64; 11] = [
    0,
    0x8000_0000_0000_0000,
    1,
    0x3ff0_0000_0000_0000,
    0x7fef_ffff_ffff_ffff,
    0x7ff0_0000_0000_0000,
    0xfff0_0000_0000_0000,
    0x7ff8_0000_0000_0000,
    0xfff8_0000_0000_0000,
    0x7ff8_0000_dead_beef,
    0xfff0_0000_dead_beef,
];

fn same(instance: &mut dyn Instance, name: &str, value: Val) {
    let results = instance.invoke(name, std::slice::from_ref(&value)).unwrap();
    assert_eq!(results, [value]);
}

#[apply(every_engine)]
fn integers_come_back_the_same_at_their_extremes(engine: &EngineUnderTest) {
    let mut instance = engine.instantiate(NUMBERS);
    for value in [0, 1, -1, i32::MIN, i32::MAX] {
        same(instance.as_mut(), "i32", Val::I32(value));
    }
    for value in [0, 1, -1, i64::MIN, i64::MAX, 1 << 32, 0x0123_4567_89ab_cdef] {
        same(instance.as_mut(), "i64", Val::I64(value));
    }
}

#[apply(every_engine)]
fn floats_come_back_bit_for_bit_with_the_payloads_of_their_nans(engine: &EngineUnderTest) {
    let mut instance = engine.instantiate(NUMBERS);
    for bits in F32_BITS {
        same(instance.as_mut(), "f32", Val::F32(bits));
    }
    for bits in F64_BITS {
        same(instance.as_mut(), "f64", Val::F64(bits));
    }
}

#[apply(every_engine)]
fn the_guest_sees_the_same_bits_of_a_float_as_the_host(engine: &EngineUnderTest) {
    let mut instance = engine.instantiate(NUMBERS);
    for bits in F32_BITS {
        let seen = instance.invoke("f32_bits", &[Val::F32(bits)]).unwrap();
        assert_eq!(seen, [Val::from(bits)]);
        let made = instance.invoke("f32_of", &[Val::from(bits)]).unwrap();
        assert_eq!(made, [Val::F32(bits)]);
    }
    for bits in F64_BITS {
        let seen = instance.invoke("f64_bits", &[Val::F64(bits)]).unwrap();
        assert_eq!(seen, [Val::from(bits)]);
        let made = instance.invoke("f64_of", &[Val::from(bits)]).unwrap();
        assert_eq!(made, [Val::F64(bits)]);
    }
}

#[apply(every_engine)]
fn several_results_come_in_order(engine: &EngineUnderTest) {
    let mut instance = engine.instantiate(NUMBERS);
    let arguments = [
        Val::I32(-3),
        Val::I64(1 << 40),
        Val::from(1.5_f32),
        Val::from(-0.0_f64),
    ];
    let mut expected = arguments.to_vec();
    expected.reverse();
    assert_eq!(instance.invoke("reversed", &arguments).unwrap(), expected);
}

#[apply(every_engine)]
fn a_function_of_nothing_returns_nothing(engine: &EngineUnderTest) {
    let mut instance = engine.instantiate(NUMBERS);
    assert_eq!(instance.invoke("nothing", &[]).unwrap(), []);
}

#[apply(every_engine)]
fn many_arguments_and_results_arrive_in_their_places(engine: &EngineUnderTest) {
    // More than any machine has registers, in all four number types.
    let types = ["i32", "i64", "f32", "f64"];
    let (mut params, mut gets) = (String::new(), String::new());
    let mut arguments = Vec::new();
    for position in 0..40_u8 {
        params += types[usize::from(position) % 4];
        params.push(' ');
        gets += &format!("local.get {} ", 39 - position);
        arguments.push(match position % 4 {
            0 => Val::I32(position.into()),
            1 => Val::I64(position.into()),
            2 => Val::from(f32::from(position)),
            _ => Val::from(f64::from(position)),
        });
    }
    let results: Vec<&str> = params.split_whitespace().rev().collect();
    let mut instance = engine.instantiate(&format!(
        r#"(module (func (export "reversed") (param {params}) (result {}) {gets}))"#,
        results.join(" ")
    ));
    let mut expected = arguments.clone();
    expected.reverse();
    assert_eq!(instance.invoke("reversed", &arguments).unwrap(), expected);
}

#[apply(every_engine)]
fn vectors_come_back_the_same_with_lane_0_in_the_lowest_bits(engine: &EngineUnderTest) {
    let module = engine.module_if(
        engine.capabilities().simd,
        r#"(module
            (func (export "v128") (param v128) (result v128) local.get 0)
            (func (export "lane_0") (param v128) (result i32) local.get 0 i32x4.extract_lane 0)
            (func (export "mixed") (param i32 v128 f64) (result f64 v128 i32)
                local.get 2 local.get 1 local.get 0))"#,
    );
    let Some(module) = module else { return };
    let mut instance = module
        .instantiate(&Imports::new(), &Limits::default())
        .unwrap();
    for value in [0, 1, u128::MAX, 0x0011_2233_4455_6677_8899_aabb_ccdd_eeff] {
        same(instance.as_mut(), "v128", Val::V128(value));
    }
    let lane = instance
        .invoke("lane_0", &[Val::V128((7 << 64) | 9)])
        .unwrap();
    assert_eq!(lane, [Val::I32(9)]);
    let mixed = [Val::I32(1), Val::V128(u128::MAX - 1), Val::from(2.0_f64)];
    let mut expected = mixed.to_vec();
    expected.reverse();
    assert_eq!(instance.invoke("mixed", &mixed).unwrap(), expected);
}
