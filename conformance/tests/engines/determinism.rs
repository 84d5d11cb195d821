//! One guest gives the same bits on every engine, which lets a journal move between them.

use conformance::prelude::*;

/// A chaotic computation with every operation on floats that a compiler could fuse, reorder or
/// widen. A difference in one bit grows into all of them.
const CHAOS: &str = r#"(module
    (memory (export "memory") 1)
    (func (export "chaos") (param $rounds i32) (param $x f64) (param $seed i64)
        (result f64 f32 i64)
        (local $y f32) (local $hash i64)
        (local.set $y (f32.const 0.3))
        (local.set $hash (local.get $seed))
        (loop $again
            ;; The logistic map: a product and a difference that must not be fused.
            (local.set $x (f64.mul (f64.mul (f64.const 3.99) (local.get $x))
                (f64.sub (f64.const 1) (local.get $x))))
            (local.set $y (f32.add
                (f32.mul (local.get $y) (f32.demote_f64 (local.get $x)))
                (f32.div (f32.const 1) (f32.add (local.get $y) (f32.const 1.1)))))
            (local.set $y (f32.sub (local.get $y) (f32.floor (local.get $y))))
            (local.set $hash (i64.xor
                (i64.rotl (local.get $hash) (i64.const 13))
                (i64.reinterpret_f64 (f64.sqrt (f64.add (local.get $x)
                    (f64.promote_f32 (local.get $y)))))))
            (local.set $hash (i64.add (local.get $hash)
                (i64.trunc_sat_f64_s (f64.mul (local.get $x) (f64.const 1e18)))))
            (local.set $hash (i64.add (local.get $hash)
                (i64.reinterpret_f64 (f64.convert_i64_u (local.get $hash)))))
            (local.set $hash (i64.add (local.get $hash)
                (i64.extend_i32_u (i32.reinterpret_f32 (f32.convert_i64_s (local.get $hash))))))
            (f64.store (i32.and (i32.wrap_i64 (local.get $hash)) (i32.const 0xfff8))
                (f64.nearest (f64.mul (local.get $x) (f64.const 1e6))))
            (local.set $rounds (i32.sub (local.get $rounds) (i32.const 1)))
            (br_if $again (local.get $rounds)))
        local.get $x local.get $y local.get $hash))"#;

/// The same computation in Rust, whose floats are IEEE 754's too. All engines must agree with it.
fn native(rounds: u32, mut x: f64, seed: i64) -> (Val, Val, Val) {
    let mut y = 0.3_f32;
    let mut hash = seed;
    for _ in 0..rounds {
        x = 3.99 * x * (1.0 - x);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "f32.demote_f64 rounds like this"
        )]
        let narrow = x as f32;
        y = y * narrow + 1.0 / (y + 1.1);
        y -= y.floor();
        hash = hash.rotate_left(13) ^ (x + f64::from(y)).sqrt().to_bits().cast_signed();
        #[expect(
            clippy::cast_possible_truncation,
            reason = "i64.trunc_sat_f64_s saturates too"
        )]
        let scaled = (x * 1e18) as i64;
        hash = hash.wrapping_add(scaled);
        #[expect(
            clippy::cast_precision_loss,
            reason = "f64.convert_i64_u rounds like this"
        )]
        let converted = hash.cast_unsigned() as f64;
        hash = hash.wrapping_add(converted.to_bits().cast_signed());
        #[expect(
            clippy::cast_precision_loss,
            reason = "f32.convert_i64_s rounds like this"
        )]
        let converted = hash as f32;
        hash = hash.wrapping_add(i64::from(converted.to_bits()));
    }
    (Val::from(x), Val::from(y), Val::I64(hash))
}

#[apply(every_engine)]
fn floats_compute_the_same_bits_as_on_every_other_engine(engine: &EngineUnderTest) {
    let mut instance = engine.instantiate(CHAOS);
    for (rounds, x, seed) in [(1, 0.5, 0), (100, 0.1, 7), (100_000, 0.123_456_789, -1)] {
        let arguments = [Val::from(rounds), Val::from(x), Val::I64(seed)];
        let results = instance.invoke("chaos", &arguments).unwrap();
        let (x, y, hash) = native(rounds, x, seed);
        assert_eq!(results, [x, y, hash], "{rounds} rounds");
    }
}

#[apply(every_engine)]
fn memory_after_a_computation_is_the_same_as_on_every_other_engine(engine: &EngineUnderTest) {
    let image = |engine: &EngineUnderTest| {
        let mut instance = engine.instantiate(CHAOS);
        let arguments = [Val::I32(50_000), Val::from(0.7_f64), Val::I64(99)];
        instance.invoke("chaos", &arguments).unwrap();
        let mut bytes = vec![0; usize::try_from(PAGE_BYTES).unwrap()];
        instance.memory_read(MemoryIndex(0), 0, &mut bytes).unwrap();
        engine_api::ModuleHash::of(&bytes)
    };
    assert_eq!(image(engine), image(engines::all()[0]));
}

#[apply(every_engine)]
fn growth_is_refused_at_the_same_point_as_on_every_other_engine(engine: &EngineUnderTest) {
    let text = r#"(module
        (memory 1 60)
        (table $t 1 1000 funcref)
        (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
        (func (export "grow_table") (param i32) (result i32)
            (table.grow $t (ref.null func) (local.get 0))))"#;
    let run = |engine: &EngineUnderTest| {
        let limits = Limits {
            memory_bytes_max: Some(40 * PAGE_BYTES + 1),
            table_elements_max: Some(500),
            ..Limits::default()
        };
        let mut instance = engine
            .instantiate_with(text, &Imports::new(), &limits)
            .unwrap();
        let mut results = Vec::new();
        for step in 1..20 {
            results.extend(instance.invoke("grow", &[Val::I32(step)]).unwrap());
            results.extend(
                instance
                    .invoke("grow_table", &[Val::I32(step * 10)])
                    .unwrap(),
            );
        }
        results
    };
    let results = run(engine);
    assert!(results.contains(&Val::I32(-1)));
    assert_eq!(results, run(engines::all()[0]));
}
