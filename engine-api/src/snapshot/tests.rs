use super::*;

type Change = fn(&mut SnapshotParts);

fn parts() -> SnapshotParts {
    SnapshotParts {
        memories: vec![(MemoryIndex(0), MemoryImage::of_bytes(&[0, 1, 2]))],
        globals: vec![(GlobalIndex(2), Val::I32(5))],
        references: vec![(GlobalIndex(3), Reference::Null)],
        tables: vec![(
            TableIndex(1),
            [Reference::Function(7), Reference::Null].into(),
        )],
        ..SnapshotParts::empty(ModuleHash::of(b"m"))
    }
}

#[test]
fn a_difference_is_named_and_changes_the_digest() {
    let one = Snapshot::new(parts());
    let same = Snapshot::new(parts());
    assert_eq!(one.difference(&same).unwrap(), None);
    assert_eq!(one.digest().unwrap(), same.digest().unwrap());

    let changes: [(Change, &str); 8] = [
        (
            |parts| parts.memories[0].1 = MemoryImage::of_bytes(&[0, 1, 3]),
            "memory 0 from offset 0x2 on",
        ),
        (
            |parts| parts.memories[0].1 = MemoryImage::of_bytes(&[0, 1]),
            "memory 0 of 2 bytes instead of 3",
        ),
        (
            |parts| parts.globals[0].1 = Val::I32(6),
            "global 2 is I32(6) instead of I32(5)",
        ),
        (
            |parts| parts.references[0].1 = Reference::Object(0),
            "global 3 is object 0 of the host instead of null",
        ),
        (
            |parts| parts.tables[0].1 = [Reference::Function(8), Reference::Null].into(),
            "element 0 of table 1 is function 8 instead of function 7",
        ),
        (
            |parts| parts.tables[0].1 = [Reference::Function(7)].into(),
            "table 1 of 1 elements instead of 2",
        ),
        (
            |parts| parts.dropped.elements.push(0),
            "other dropped segments",
        ),
        (
            |parts| parts.objects.push(ExternRef::new(1)),
            "other objects of the host",
        ),
    ];
    for (change, named) in changes {
        let mut parts = parts();
        change(&mut parts);
        let other = Snapshot::new(parts);
        assert_eq!(one.difference(&other).unwrap().as_deref(), Some(named));
        assert_ne!(one.digest().unwrap(), other.digest().unwrap(), "{named}");
    }
}

#[derive(Debug)]
struct Number(u8);

impl HostState for Number {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn difference(&self, other: &dyn HostState) -> Option<String> {
        let other = other.as_any().downcast_ref::<Self>()?;
        (self.0 != other.0).then(|| format!("{} instead of {}", other.0, self.0))
    }

    fn digest(&self) -> [u8; 32] {
        [self.0; 32]
    }

    fn bytes_kept(&self) -> u64 {
        1
    }
}

#[test]
fn what_the_host_keeps_decides_about_its_objects() {
    let of = |number| {
        let mut parts = parts();
        parts.objects.push(ExternRef::new(number));
        Snapshot::new(parts).with_host(Arc::new(Number(number)))
    };
    assert_eq!(of(1).difference(&of(1)).unwrap(), None);
    assert_eq!(of(1).digest().unwrap(), of(1).digest().unwrap());
    let without = Snapshot::new(parts());
    assert_eq!(of(1).bytes_kept(), without.bytes_kept() + 1);
    let difference = of(1).difference(&of(2)).unwrap();
    assert_eq!(difference.as_deref(), Some("2 instead of 1"));
    assert_ne!(of(1).digest().unwrap(), of(2).digest().unwrap());
    let difference = of(1).difference(&without).unwrap();
    assert_eq!(difference.as_deref(), Some("other objects of the host"));
}

#[test]
fn the_digest_is_of_bytes_in_the_documented_layout() {
    let values = [
        Val::I32(-2),
        Val::I64(3),
        Val::F32(1.5_f32.to_bits()),
        Val::F64(f64::NAN.to_bits()),
        Val::V128(7 << 100),
    ];
    let codes = [0x7f, 0x7e, 0x7d, 0x7c, 0x7b];
    let bits: [u128; 5] = [0xffff_fffe, 3, 0x3fc0_0000, 0x7ff8_0000_0000_0000, 7 << 100];
    let image = MemoryImage::of_bytes(b"state");
    let mut bytes = 3_u32.to_le_bytes().to_vec();
    bytes.extend(blake3::hash(b"m").as_bytes());
    bytes.extend(1_u32.to_le_bytes());
    bytes.extend(0_u32.to_le_bytes());
    bytes.extend(5_u64.to_le_bytes());
    bytes.extend(image.digest().unwrap());
    bytes.extend(5_u32.to_le_bytes());
    for (index, (code, bits)) in (0_u32..).zip(codes.into_iter().zip(bits)) {
        bytes.extend(index.to_le_bytes());
        bytes.push(code);
        bytes.extend(bits.to_le_bytes());
    }
    bytes.extend(1_u32.to_le_bytes());
    bytes.extend([6, 0, 0, 0, 2, 1, 0, 0, 0]);
    bytes.extend(1_u32.to_le_bytes());
    bytes.extend([4, 0, 0, 0, 2, 0, 0, 0]);
    bytes.extend([1, 0xff, 0, 0, 0]);
    bytes.extend([0; 5]);
    bytes.extend([1, 0, 0, 0, 9, 0, 0, 0]);
    bytes.extend([0; 4]);
    bytes.extend(2_u32.to_le_bytes());
    bytes.extend([0; 32]);
    let snapshot = Snapshot::new(SnapshotParts {
        module: ModuleHash::of(b"m"),
        memories: vec![(MemoryIndex(0), image)],
        globals: (0..).map(GlobalIndex).zip(values).collect(),
        references: vec![(GlobalIndex(6), Reference::Object(1))],
        tables: vec![(
            TableIndex(4),
            [Reference::Function(255), Reference::Null].into(),
        )],
        dropped: DroppedSegments {
            data: vec![9],
            elements: Vec::new(),
        },
        objects: [1, 2].map(ExternRef::new).into(),
    });
    let digest = blake3::Hash::from_bytes(snapshot.digest().unwrap());
    assert_eq!(digest, blake3::hash(&bytes));
    assert_eq!(
        digest.to_hex().as_str(),
        "c3e82be0869bcc35a5cea3e788bca150f0b5b9a8819416c6ffd99def9c17e705"
    );
}

#[test]
fn objects_are_numbered_in_the_order_in_which_they_occur() {
    let [a, b] = [1, 2].map(ExternRef::new);
    let mut objects = Objects::default();
    let numbers = [&b, &a, &b].map(|object| objects.reference(object));
    assert_eq!(numbers, [0, 1, 0].map(Reference::Object));
    assert_eq!(objects.finish(), [b, a]);
}

#[test]
fn dropped_segments_are_sorted_by_kind_and_index() {
    let segments = [Segment::Data(7), Segment::Element(1), Segment::Data(3)];
    let dropped: DroppedSegments = segments.into_iter().collect();
    assert_eq!(
        (&dropped.data[..], &dropped.elements[..]),
        (&[3, 7][..], &[1][..])
    );
    assert!(segments.iter().all(|segment| dropped.contains(*segment)));
    assert!(!dropped.contains(Segment::Element(7)));
    assert!(!dropped.is_empty() && DroppedSegments::default().is_empty());
}

#[test]
fn a_table_is_refused_to_an_instance_where_it_starts_larger() {
    let snapshot = Snapshot::new(parts());
    let found = |table, size| snapshot.table_from(TableIndex(table), size);
    assert_eq!(found(1, 2).unwrap().len(), 2);
    for (table, size) in [(1, 3), (0, 0)] {
        assert!(matches!(found(table, size), Err(Error::Snapshot { .. })));
    }
    assert_eq!(snapshot.bytes_kept(), 3 + 2 * 8);
}

#[test]
fn a_snapshot_of_another_module_is_refused() {
    let one = Snapshot::new(SnapshotParts::empty(ModuleHash::of(b"m")));
    assert!(one.check_module(ModuleHash::of(b"m")).is_ok());
    let error = one.check_module(ModuleHash::of(b"n")).unwrap_err();
    assert!(error.to_string().contains("taken of module"), "{error}");
}
