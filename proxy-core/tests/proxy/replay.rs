//! The journal is the state: an object from before a swap is there after it, under the same handle.

use engine_api::Val;
use proxy_core::{CallError, Error, Value, args};

use super::world::{World, add, counter, swap, until_live, value};
use crate::fake::{FakeInstance, address, number};

/// Counters that are made from others.
fn family() -> World {
    World::new()
        .func(
            "counter_sum",
            "(param i32 i32) (result i32)",
            "role = \"create\"\nargs = [\"handle:counter\", \"handle:counter\"]\n\
             results = [\"handle:counter\"]",
            |guest, args| {
                let sum = *guest.object(&args[0])? + *guest.object(&args[1])?;
                let address = guest.alloc(16)?;
                guest.objects.insert(address, sum);
                Ok(vec![Val::from(address)])
            },
        )
        .func(
            "counter_merge",
            "(param i32 i32) (result i32)",
            "role = \"create\"\nargs = [\"handle:counter\", \"handle:counter\"]\n\
             results = [\"handle:counter\"]\nconsumes = [1]\nmutates = [0]",
            |guest, args| {
                let gone = guest.objects.remove(&address(&args[1])).unwrap_or_default();
                *guest.object(&args[0])? += gone;
                let address = guest.alloc(16)?;
                guest.objects.insert(address, gone);
                Ok(vec![Val::from(address)])
            },
        )
        .func(
            "counter_try_new",
            "(param i32) (result i32)",
            "role = \"create\"\nresults = [\"handle:counter\"]",
            |guest, args| {
                if number(&args[0]) < 0 {
                    return Ok(vec![Val::I32(0)]);
                }
                let address = guest.alloc(16)?;
                guest.objects.insert(address, i64::from(number(&args[0])));
                Ok(vec![Val::from(address)])
            },
        )
}

#[test]
fn handles_name_the_same_objects_after_every_swap() {
    let (proxy, engine) = World::new().build();
    let counters = [counter(&proxy), counter(&proxy), counter(&proxy)];
    for round in 1..=5 {
        for (position, counter) in (1..).zip(counters) {
            add(&proxy, counter, position);
            assert_eq!(value(&proxy, counter), round * position);
        }
        swap(&proxy);
        for (position, counter) in (1..).zip(counters) {
            assert_eq!(value(&proxy, counter), round * position);
        }
    }
    assert_eq!(proxy.debug_info().swaps, 5);
    assert_eq!(proxy.debug_info().generation, 6);
    until_live(&proxy, &engine, 1);
}

#[test]
fn objects_made_from_others_are_made_again_in_order() {
    let (proxy, _) = family().build();
    let (one, two) = (counter(&proxy), counter(&proxy));
    add(&proxy, one, 1);
    add(&proxy, two, 20);
    let sum = proxy.call("counter_sum", args![one, two]);
    let sum = sum.unwrap().handle().unwrap();
    add(&proxy, one, 300);
    swap(&proxy);
    assert_eq!(value(&proxy, sum), 21);
    assert_eq!(value(&proxy, one), 301);
    proxy.call("counter_free", args![one]).unwrap();
    proxy.call("counter_free", args![two]).unwrap();
    swap(&proxy);
    assert_eq!(value(&proxy, sum), 21, "it outlives what it was made from");
}

#[test]
fn a_create_call_may_consume_one_object_and_change_another() {
    let (proxy, _) = family().build();
    let (kept, consumed) = (counter(&proxy), counter(&proxy));
    add(&proxy, kept, 1);
    add(&proxy, consumed, 20);
    let made = proxy.call("counter_merge", args![kept, consumed]);
    let made = made.unwrap().handle().unwrap();
    for _ in 0..2 {
        assert_eq!(value(&proxy, kept), 21);
        assert_eq!(value(&proxy, made), 20);
        let error = proxy.call("counter_value", args![consumed]).unwrap_err();
        assert!(
            matches!(error, Error::Call(CallError::FreedHandle { handle }) if handle == consumed),
            "{error}"
        );
        swap(&proxy);
    }
}

#[test]
fn null_from_a_create_call_stays_null() {
    let (proxy, _) = family().build();
    let nothing = proxy.call("counter_try_new", args![-1]).unwrap();
    assert_eq!(nothing.as_slice(), [Value::Null]);
    let something = proxy.call("counter_try_new", args![5]).unwrap();
    swap(&proxy);
    assert_eq!(value(&proxy, something.handle().unwrap()), 5);
}

/// The address and the length of a buffer, in one i64.
fn pack(address: u32, len: u32) -> i64 {
    i64::from(address) | (i64::from(len) << 32)
}

fn unpack(packed: i64) -> (u32, u32) {
    let low = u32::try_from(packed & i64::from(u32::MAX)).expect("it is masked");
    (low, u32::try_from(packed >> 32).expect("lengths are small"))
}

fn blobs() -> World {
    let store = |guest: &mut FakeInstance, args: &[Val]| {
        let bytes = guest.read(address(&args[0]), address(&args[1]))?;
        let object = guest.alloc(8)?;
        let copy = guest.alloc(address(&args[1]).max(1))?;
        guest.write(copy, &bytes)?;
        guest.objects.insert(object, pack(copy, address(&args[1])));
        Ok(vec![Val::from(object)])
    };
    let create =
        |kind: &str| format!("role = \"create\"\nargs = [\"{kind}\"]\nresults = [\"handle:blob\"]");
    World::new()
        .func(
            "blob_new",
            "(param i32 i32) (result i32)",
            &create("bytes"),
            store,
        )
        .func(
            "blob_take",
            "(param i32 i32) (result i32)",
            &create("bytes:moved"),
            store,
        )
        .func(
            "text_new",
            "(param i32 i32) (result i32)",
            &create("string"),
            store,
        )
        .func(
            "blob_copy",
            "(param i32) (result i64)",
            "role = \"pure\"\nargs = [\"handle:blob\"]\nresults = [\"bytes\"]",
            |guest, args| {
                let packed = *guest.object(&args[0])?;
                let (from, len) = unpack(packed);
                let bytes = guest.read(from, len)?;
                let copy = guest.alloc(len)?;
                guest.write(copy, &bytes)?;
                Ok(vec![Val::from(pack(copy, len))])
            },
        )
        .func(
            "text_look",
            "(param i32) (result i32 i32)",
            "role = \"pure\"\nargs = [\"handle:blob\"]\nresults = [\"string:borrowed\"]",
            |guest, args| {
                let (from, len) = unpack(*guest.object(&args[0])?);
                Ok(vec![Val::from(from), Val::from(len)])
            },
        )
        .func(
            "blob_append",
            "(param i32 i32 i32) (result i64)",
            "role = \"mutate\"\nargs = [\"handle:blob\", \"bytes\"]\nresults = [\"bytes\"]\n\
             mutates = [0]",
            |guest, args| {
                let (from, len) = unpack(*guest.object(&args[0])?);
                let mut bytes = guest.read(from, len)?;
                bytes.extend(guest.read(address(&args[1]), address(&args[2]))?);
                let len = u32::try_from(bytes.len()).expect("it is small");
                let copies = [guest.alloc(len.max(1))?, guest.alloc(len.max(1))?];
                for copy in copies {
                    guest.write(copy, &bytes)?;
                }
                let [own, given] = copies.map(|copy| pack(copy, len));
                *guest.object(&args[0])? = own;
                Ok(vec![Val::from(given)])
            },
        )
}

#[test]
fn bytes_and_text_go_in_and_come_out() {
    let (proxy, _) = blobs().build();
    let blob = proxy.call("blob_new", args![&[1_u8, 2, 3][..]]);
    let blob = blob.unwrap().handle().unwrap();
    let taken = proxy.call("blob_take", args![&vec![7_u8; 300]]);
    let taken = taken.unwrap().handle().unwrap();
    let text = proxy.call("text_new", args!["Grüße, 世界"]);
    let text = text.unwrap().handle().unwrap();
    let empty = proxy.call("blob_new", args![&[][..] as &[u8]]);
    let empty = empty.unwrap().handle().unwrap();
    let appended = proxy.call("blob_append", args![blob, &[4_u8][..]]).unwrap();
    assert_eq!(appended.bytes().unwrap(), [1, 2, 3, 4]);
    for _ in 0..3 {
        let bytes = |handle| {
            let copy = proxy.call("blob_copy", args![handle]).unwrap();
            copy.bytes().unwrap()
        };
        assert_eq!(bytes(blob), [1, 2, 3, 4]);
        assert_eq!(bytes(taken), [7; 300]);
        assert_eq!(bytes(empty), [0; 0]);
        let look = proxy.call("text_look", args![text]).unwrap();
        assert_eq!(look.text().unwrap(), "Grüße, 世界");
        swap(&proxy);
    }
}

#[test]
fn buffers_that_the_proxy_owns_are_freed_after_the_call() {
    let (proxy, _) = blobs().build();
    let blob = proxy.call("blob_new", args![&[1_u8; 1000][..]]);
    let blob = blob.unwrap().handle().unwrap();
    let before = proxy.memory_bytes();
    for _ in 0..1000 {
        let copy = proxy.call("blob_copy", args![blob]).unwrap();
        assert_eq!(copy.bytes().unwrap().len(), 1000);
    }
    assert_eq!(proxy.memory_bytes(), before);
}

#[test]
fn calls_may_have_several_results() {
    let world = World::new().func(
        "counter_pair",
        "(param i32) (result i32 f64 i32)",
        "role = \"create\"\nresults = [\"handle:counter\", \"value\", \"handle:counter\"]",
        |guest, args| {
            let pair = [guest.alloc(16)?, guest.alloc(16)?];
            for address in pair {
                guest.objects.insert(address, i64::from(number(&args[0])));
            }
            Ok(vec![Val::from(pair[0]), Val::from(0.5), Val::from(pair[1])])
        },
    );
    let (proxy, _) = world.build();
    let results = proxy.call("counter_pair", args![3]).unwrap().into_vec();
    let [Value::Handle(one), Value::Val(half), Value::Handle(other)] = &results[..] else {
        panic!("{results:?}");
    };
    assert_eq!(half.f64(), Some(0.5));
    let (one, other) = (*one, *other);
    assert_eq!((one.result(), other.result()), (0, 2));
    assert_eq!(one.sequence(), other.sequence());
    add(&proxy, other, 4);
    swap(&proxy);
    assert_eq!((value(&proxy, one), value(&proxy, other)), (3, 7));
}

#[test]
fn equal_histories_have_equal_digests() {
    let (one, _) = family().build();
    let (other, _) = family().script(|script| script.compiler("other")).build();
    for proxy in [&one, &other] {
        let (a, b) = (counter(proxy), counter(proxy));
        add(proxy, a, 4);
        proxy.call("counter_sum", args![a, b]).unwrap();
    }
    assert_eq!(one.journal_digests().len(), 4);
    assert_eq!(one.journal_digests(), other.journal_digests());
    add(&one, counter(&one), 1);
    counter(&other);
    assert_ne!(one.journal_digests(), other.journal_digests());
}

#[test]
fn a_module_can_be_verified_on_another_engine_and_move_there() {
    let world = family();
    let (proxy, engine) = world.build();
    let other = family().script(|script| script.compiler("other"));
    let other = other.script.engine();
    let one = counter(&proxy);
    add(&proxy, one, 9);
    let report = proxy.verify_on(other.clone()).unwrap();
    assert_eq!((report.engine.compiler, report.entries), ("other", 2));
    assert_eq!(other.probe().live(), 0, "the proof is thrown away");
    assert_eq!(proxy.engine().compiler, "script");
    proxy.prepare_standby_on(other.clone()).unwrap();
    proxy.swap().unwrap();
    assert_eq!(proxy.engine().compiler, "other");
    assert_eq!(value(&proxy, one), 9);
    swap(&proxy);
    assert_eq!(
        proxy.engine().compiler,
        "other",
        "later standbys are made there"
    );
    until_live(&proxy, &other, 1);
    assert_eq!(engine.probe().live(), 0);
}

#[test]
fn a_proxy_can_be_shared_as_clones() {
    let (proxy, engine) = World::new().build();
    let one = counter(&proxy);
    let clone = proxy.clone();
    drop(proxy);
    swap(&clone);
    assert_eq!(value(&clone, one), 0);
    drop(clone);
    assert_eq!(engine.probe().live(), 0);
}

#[test]
fn the_same_calls_have_the_same_digests_on_every_proxy_and_after_every_swap() {
    let digests = [1, 2].map(|_| {
        let (proxy, ..) = family().build();
        let [one, other] = [counter(&proxy), counter(&proxy)];
        add(&proxy, one, 5);
        proxy.call("counter_sum", args![one, other]).unwrap();
        let before = proxy.journal_digests();
        swap(&proxy);
        assert_eq!(proxy.journal_digests(), before);
        before
    });
    assert_eq!(digests[0].len(), 4);
    assert_eq!(digests[0], digests[1]);
}
