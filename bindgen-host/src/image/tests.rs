use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::collection::Collection;
use crate::value::{Bag, Buffer, Bytes, Closure, Object};

const CONSTANTS: fn() -> Constants = || Constants::of_release(Some(100));

fn new_heap() -> Heap {
    Heap::new(CONSTANTS())
}

fn bag(elements: Vec<Js>, fields: &[(&str, Js)]) -> Js {
    let fields = fields.iter();
    let fields = fields.map(|(key, value)| ((*key).to_owned(), value.clone()));
    Js::bag(Bag {
        kind: BagKind::Unknown,
        elements,
        fields: fields.collect(),
    })
}

fn with_bag<T>(js: &Js, what: impl FnOnce(&mut Bag) -> T) -> T {
    match js.as_object() {
        Some(Object::Bag(bag)) => what(&mut lock(bag)),
        other => panic!("{other:?}"),
    }
}

fn element(js: &Js, position: usize) -> Js {
    with_bag(js, |bag| bag.elements[position].clone())
}

fn image(heap: &Heap, references: &[ExternRef]) -> RealmImage {
    RealmImage::of(heap, references, ThreadsImage::default())
}

/// Every kind of value, with parts that are shared and a cycle.
fn rich() -> (Heap, Vec<ExternRef>) {
    let mut heap = new_heap();
    let shared = bag(
        vec![Js::Number(-0.0), Js::BigInt(-7), Js::text("text")],
        &[],
    );
    let bytes = Js::host_bytes(vec![1, 2, 3]);
    let Some(Object::Bytes(view)) = bytes.as_object() else {
        unreachable!("just made")
    };
    let part = Object::Bytes(Bytes {
        offset: 1,
        len: 1,
        ..view.clone()
    });
    let cycle = bag(
        vec![shared.clone(), bytes, Js::object(part)],
        &[("k", shared.clone())],
    );
    with_bag(&cycle, |bag| bag.elements.push(cycle.clone()));
    let freed = heap.add(Js::Undefined);
    for js in [
        cycle.clone(),
        Js::error("TypeError", "message"),
        Js::object(Object::Closure(Closure {
            words: (5, 6),
            invoke: FuncIndex(3),
            dropped: AtomicBool::new(false),
        })),
        Js::object(Object::Instance("".into(), 0x1234)),
        Js::object(Object::Instance("quad".into(), 0x5678)),
        Js::collection(Collection::map([(Js::text("k"), shared.clone())])),
        Js::collection(Collection::set_of([Js::Number(f64::NAN), shared.clone()])),
        Js::object(Object::Date(1.5_f64.to_bits())),
        Js::iterator(vec![Js::Null, shared.clone()]),
        Js::object(Object::Builtin(Builtin::Iterate)),
        Js::object(Object::Callback("call".into())),
        Js::Symbol("iterator".into()),
        Js::host_array(ElementType::F32, vec![0, 0, 0xc0, 0x3f]),
        Js::array(vec![shared.clone()]),
        Js::bag(Bag::record([
            ("z".to_owned(), Js::Null),
            ("a".to_owned(), Js::Null),
        ])),
        Js::object(Object::Buffer(Buffer::Guest)),
        Js::object(Object::Memory),
        Js::object(Object::Global(Global::Crypto)),
        Js::object(Object::GlobalGetter),
        Js::object(Object::Promise),
    ] {
        heap.add(js);
    }
    heap.take(freed);
    let references = [shared, cycle, Js::Undefined].map(ExternRef::new);
    (heap, references.into())
}

#[test]
fn a_copy_has_everything_and_shares_nothing() {
    let (heap, references) = rich();
    let taken = image(&heap, &references);
    let (copy, copied) = taken.copy(CONSTANTS());
    let again = image(&copy, &copied);
    assert_eq!(taken.difference(&again), None);
    assert_eq!(taken.digest(), again.digest());
    assert_eq!(taken.bytes_kept(), again.bytes_kept());

    let cycle = copied[1].get::<Js>().unwrap();
    assert!(cycle.is_same(copy.get(133).unwrap()));
    assert!(cycle.is_same(&element(cycle, 3)));
    let shared = element(cycle, 0);
    assert!(shared.is_same(copied[0].get::<Js>().unwrap()));
    assert!(!shared.is_same(references[0].get::<Js>().unwrap()));
    // A view and the array that it is a part of have one buffer.
    let (whole, part) = (element(cycle, 1), element(cycle, 2));
    let buffer = |js: &Js| match js.as_object() {
        Some(Object::Bytes(Bytes {
            buffer: Buffer::Host(bytes),
            ..
        })) => Arc::clone(bytes),
        other => panic!("{other:?}"),
    };
    assert!(Arc::ptr_eq(&buffer(&whole), &buffer(&part)));

    // What happens to the copy happens to nothing else.
    lock(&buffer(&whole))[1] = 99;
    with_bag(&shared, |bag| bag.elements.clear());
    if let Some(Object::Closure(closure)) = copy.get(135).unwrap().as_object() {
        closure.dropped.store(true, Ordering::Release);
    }
    assert_eq!(image(&heap, &references).difference(&taken), None);
    assert!(image(&copy, &copied).difference(&taken).is_some());
    let (third, third_references) = taken.copy(CONSTANTS());
    assert_eq!(image(&third, &third_references).digest(), taken.digest());
    for (references, heap) in [(references, heap), (copied, copy)] {
        with_bag(references[1].get::<Js>().unwrap(), |bag| {
            bag.elements.clear();
        });
        drop(heap);
    }
}

fn decoded(bytes: &[u8]) -> Result<RealmImage, String> {
    RealmImage::decode(bytes, &[FuncIndex(3)]).map_err(|error| error.to_string())
}

#[test]
fn bytes_hold_everything_and_every_cut_of_them_is_refused() {
    let (heap, references) = rich();
    let threads = ThreadsImage {
        builder: 7,
        pools_started: 3,
        pool: Some(PoolImage {
            number: 3,
            threads: 2,
        }),
    };
    let taken = RealmImage::of(&heap, &references, threads);
    let bytes = taken.encode().unwrap();
    let read = decoded(&bytes).unwrap();
    assert_eq!(taken.difference(&read), None);
    assert_eq!(taken.digest(), read.digest());
    assert_eq!(read.encode().unwrap(), bytes);
    let (copy, copied) = read.copy(CONSTANTS());
    let again = RealmImage::of(&copy, &copied, threads);
    assert_eq!(taken.digest(), again.digest());

    for len in 0..bytes.len() {
        assert!(decoded(&bytes[..len]).is_err(), "{len} bytes");
    }
    let longer = [&*bytes, &[0]].concat();
    assert!(decoded(&longer).unwrap_err().contains("after its end"));
    let other_version = [&[3], &bytes[1..]].concat();
    assert!(decoded(&other_version).unwrap_err().contains("version 3"));
    let no_closures = RealmImage::decode(&bytes, &[]).unwrap_err();
    assert!(no_closures.to_string().contains("closure"), "{no_closures}");
}

/// What is damaged is refused, or is some realm that can be copied and written like any other.
#[test]
fn damaged_bytes_never_panic() {
    let (heap, references) = rich();
    let bytes = image(&heap, &references).encode().unwrap();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;
            if let Ok(read) = decoded(&damaged) {
                let (copy, copied) = read.copy(CONSTANTS());
                assert_eq!(image(&copy, &copied).references.len(), copied.len());
                assert!(read.encode().is_ok());
            }
        }
    }
}

type Change = fn(&mut RealmImage);

#[test]
fn numbers_that_name_nothing_are_refused() {
    let (heap, references) = rich();
    let cases: [(Change, &str); 9] = [
        (
            |image| image.slots[133] = Some(Value::Object(99)),
            "no object 99",
        ),
        (
            |image| image.references[0] = Referred::Own(Value::Object(99)),
            "no object 99",
        ),
        (|image| image.free.push(132), "slot 132"),
        (|image| image.free.push(131), "slot 131"),
        (|image| image.free.push(u32::MAX), "slot 4294967295"),
        (
            |image| image.objects[0] = Item::Buffer(BufferOf::Host(2)),
            "no buffer 2",
        ),
        (
            |image| image.objects[0] = view(BufferOf::Host(0), 2, 3),
            "3 bytes at 2",
        ),
        (
            |image| image.objects[0] = view(BufferOf::Guest, u64::MAX, 1),
            "outside",
        ),
        (|image| image.threads.pools_started = i32::MAX, "pools"),
    ];
    for (change, named) in cases {
        let mut changed = image(&heap, &references);
        change(&mut changed);
        let error = decoded(&changed.encode().unwrap()).unwrap_err();
        assert!(error.contains(named), "{error}");
    }
}

fn view(buffer: BufferOf, offset: u64, len: u64) -> Item {
    Item::Bytes {
        buffer,
        offset,
        len,
        element: ElementType::U8,
    }
}

#[test]
fn the_first_difference_is_named() {
    let heap = |number: f64| {
        let mut heap = new_heap();
        heap.add(bag(vec![Js::Number(number)], &[]));
        heap
    };
    let (one, other) = (image(&heap(1.0), &[]), image(&heap(2.0), &[]));
    let difference = one.difference(&other).unwrap();
    assert_eq!(
        difference,
        "object 0 of the realm is an object with 1 elements and 0 fields, 2 instead of an \
         object with 1 elements and 0 fields, 1"
    );
    assert_ne!(one.digest(), other.digest());

    let mut freed = heap(1.0);
    freed.take(132);
    let difference = one.difference(&image(&freed, &[])).unwrap();
    assert_eq!(
        difference,
        "slot 132 of the realm is empty instead of object 0"
    );

    let pool = Some(PoolImage {
        number: 1,
        threads: 2,
    });
    let threads = ThreadsImage {
        pool,
        ..ThreadsImage::default()
    };
    let with_pool = RealmImage::of(&heap(1.0), &[], threads);
    assert!(one.difference(&with_pool).unwrap().contains("threads: 2"));
    assert_ne!(one.digest(), with_pool.digest());
}

#[test]
fn an_object_of_somebody_else_stays_the_same_object() {
    let foreign = ExternRef::new(7_u32);
    let taken = image(&new_heap(), std::slice::from_ref(&foreign));
    let (heap, copied) = taken.copy(CONSTANTS());
    assert_eq!(copied, [foreign]);
    assert_eq!(image(&heap, &copied).difference(&taken), None);
    let other = image(&heap, &[ExternRef::new(7_u32)]);
    assert!(other.difference(&taken).is_some());
    let error = taken.encode().unwrap_err().to_string();
    assert!(error.contains("somebody else"), "{error}");
}

/// A guest decides how deep its objects are nested. A recursion would overflow the stack.
#[test]
fn a_chain_of_a_million_objects_is_copied_compared_and_dropped() {
    let chain = || {
        let mut js = Js::Null;
        for _ in 0..1_000_000 {
            js = bag(vec![js], &[]);
        }
        let mut heap = new_heap();
        heap.add(js);
        heap
    };
    let taken = image(&chain(), &[]);
    let (copy, _) = taken.copy(CONSTANTS());
    let again = image(&copy, &[]);
    assert_eq!(taken.difference(&again), None);
    assert_eq!(taken.digest(), again.digest());
    let read = decoded(&taken.encode().unwrap()).unwrap();
    assert_eq!(taken.digest(), read.digest());
}
