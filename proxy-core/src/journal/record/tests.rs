//! Records as they are written and read, golden ones among them, and bytes that are none.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use engine_api::{GlobalIndex, MemoryIndex, TableIndex, Val};
use guest_calls::{OwnedArg, Policy};
use proptest::prelude::*;
use smallvec::smallvec;

use super::super::{Answer, CutKind, GuestWrite, HostCall, ResultRecord};
use super::*;
use crate::policy::plan::Changes;
use crate::{DivergenceKind, Handle, SequenceNumber, Value};

const TAG: u32 = 9;

fn plan() -> Plan {
    let wasm = wat::parse_str(
        r#"(module (func (export "f")) (func (export "g") (param i32) (result i32) i32.const 0))"#,
    );
    let info = module_bytes::parse(&wasm.unwrap()).unwrap();
    Plan::bind(&Policy::default(), &info).unwrap()
}

fn handle(sequence: u64) -> Handle {
    Handle::new(SequenceNumber(sequence), 1, TAG)
}

/// An entry with a value of every kind.
fn entry() -> Entry {
    let vals = [
        Val::I32(-1),
        Val::I64(i64::MIN),
        Val::F32(f32::NAN.to_bits()),
        Val::F64(0.5_f64.to_bits()),
        Val::V128(u128::MAX - 1),
        Val::FuncRef(None),
        Val::ExternRef(None),
    ];
    let writes = vec![
        GuestWrite::Write {
            memory: MemoryIndex(0),
            offset: 1 << 33,
            bytes: Box::new([1, 2, 3]),
        },
        GuestWrite::GrowMemory {
            memory: MemoryIndex(1),
            pages: 2,
        },
        GuestWrite::GrowTable {
            table: TableIndex(0),
            elements: 3,
        },
        GuestWrite::SetElement {
            table: TableIndex(0),
            element: 4,
            value: Val::FuncRef(None),
        },
        GuestWrite::SetGlobal {
            global: GlobalIndex(5),
            value: Val::I32(6),
        },
        GuestWrite::Call {
            func: FuncIndex(0),
            args: smallvec![Val::I32(7)],
        },
    ];
    Entry {
        sequence: SequenceNumber(300),
        func: FuncIndex(1),
        export: "g".into(),
        args: smallvec![
            OwnedArg::Val(Val::I32(1)),
            OwnedArg::Handle(handle(2)),
            OwnedArg::Bytes(Box::new([0, 255])),
            OwnedArg::Text("tëxt".into()),
            OwnedArg::Handles(Box::new([handle(3), handle(4)])),
        ],
        host_calls: Box::new([HostCall {
            import: 2,
            args: vals.iter().cloned().collect(),
            writes,
            results: smallvec![Val::I64(8)],
        }]),
        results: smallvec![
            ResultRecord::Val(Val::F32(1)),
            ResultRecord::Object(handle(300), Some("thing".into())),
            ResultRecord::Object(handle(301), None),
            ResultRecord::Null,
            ResultRecord::Buffer {
                len: 70_000,
                hash: [3; 32],
            },
            ResultRecord::Error { hash: [4; 32] },
        ],
        fingerprints: Box::new([Val::I32(5)]),
        frees: Box::new([handle(2)]),
        changes: Changes::Module,
        needs: Some(handle(6)),
        took: Duration::from_nanos(1234),
    }
}

fn answered(answer: Answer) -> AnsweredCall {
    AnsweredCall {
        id: Box::new(*b"an id"),
        call: [5; 32],
        answer,
    }
}

fn cut(kind: CutKind) -> Cut {
    Cut {
        entry: SequenceNumber(7),
        export: "f".to_owned(),
        kind,
        what: DivergenceKind::HostCalls,
        expected: "this".to_owned(),
        got: "that".to_owned(),
        journal_last: SequenceNumber(9),
    }
}

/// A record of every kind, with its name.
fn records() -> Vec<(&'static str, Vec<u8>)> {
    let entry = entry();
    let values = vec![
        Value::Val(Val::I32(1)),
        Value::Handle(handle(300)),
        Value::Null,
        Value::Bytes(vec![9]),
        Value::Text("text".to_owned()),
    ];
    let results = answered(Answer::Results(values.into()));
    let rejected = answered(Answer::Rejected("no".into()));
    let genesis = Genesis {
        host_calls: entry.host_calls.to_vec(),
        imports: Box::new([("env".into(), "clock".into())]),
    };
    vec![
        ("genesis", encode_genesis(&genesis).unwrap()),
        ("entry", encode_entry(&entry, None).unwrap()),
        (
            "entry-with-id",
            encode_entry(&entry, Some(&results)).unwrap(),
        ),
        ("answer", encode_answer(&rejected).unwrap()),
        (
            "accepted",
            encode_cut(&cut(CutKind::Accepted), Some(&entry)).unwrap(),
        ),
        ("skipped", encode_cut(&cut(CutKind::Skipped), None).unwrap()),
    ]
}

fn golden() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/records-{FORMAT}.txt"))
}

/// The records of format 1 as they were when it was released. The file never changes: another
/// format gets another file, and this one stays readable.
#[test]
fn golden_records_are_written_and_read_as_ever() {
    let mut text = String::new();
    for (name, bytes) in records() {
        let hex = bytes.iter().fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").unwrap();
            hex
        });
        writeln!(text, "{name} {hex}").unwrap();
    }
    assert_eq!(text, fs::read_to_string(golden()).unwrap());
    let plan = plan();
    let context = Context {
        tag: TAG,
        plan: &plan,
        translation: None,
    };
    for (name, bytes) in records() {
        let encoded = match decode(&bytes, &context).unwrap() {
            Remembered::Genesis(genesis) => encode_genesis(&genesis),
            Remembered::Entry(entry, answered) => encode_entry(&entry, answered.as_ref()),
            Remembered::Answer(answered) => encode_answer(&answered),
            Remembered::Cut(cut, instead) => encode_cut(&cut, instead.as_ref()),
        };
        assert_eq!(encoded.unwrap(), bytes, "{name}");
    }
    let Remembered::Entry(read, _) = decode(&records()[1].1, &context).unwrap() else {
        panic!("it is an entry");
    };
    assert_eq!(format!("{read:?}"), format!("{:?}", entry()));
}

/// A record that the first records of the format do not have, as the file of that name has it. What
/// is read from it.
fn golden_entry(name: &str, entry: &Entry, answered: Option<&AnsweredCall>) -> Entry {
    let bytes = encode_entry(entry, answered).unwrap();
    let hex = bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    let path = golden().with_file_name(format!("records-{FORMAT}-{name}.txt"));
    assert_eq!(hex, fs::read_to_string(path).unwrap().trim_end());
    let plan = plan();
    let context = Context {
        tag: TAG,
        plan: &plan,
        translation: None,
    };
    let Remembered::Entry(read, answer) = decode(&bytes, &context).unwrap() else {
        panic!("it is an entry");
    };
    assert_eq!(encode_entry(&read, answer.as_ref()).unwrap(), bytes);
    read
}

#[test]
fn golden_records_of_javascript_values_are_written_and_read_as_ever() {
    let mut entry = entry();
    entry.args = smallvec![OwnedArg::Js("{\"a\":[1]}".into())];
    let given = vec![Value::Js("{\"$undefined\":true}".to_owned())];
    let given = answered(Answer::Results(given.into()));
    let read = golden_entry("js", &entry, Some(&given));
    assert_eq!(read.args, entry.args);
}

#[test]
fn golden_records_of_notes_are_written_and_read_as_ever() {
    let mut entry = entry();
    entry.host_calls[0].writes.push(GuestWrite::Note {
        bytes: Box::new([8, 9]),
    });
    let read = golden_entry("notes", &entry, None);
    assert_eq!(read.host_calls, entry.host_calls);
}

#[test]
fn a_record_can_be_looked_at_without_its_module() {
    let views: Vec<RecordView> = records()
        .iter()
        .map(|(_, bytes)| RecordView::read(bytes, TAG).unwrap())
        .collect();
    let RecordView::Genesis { imports, .. } = &views[0] else {
        panic!("{:?}", views[0]);
    };
    assert_eq!(imports[0], ("env".to_owned(), "clock".to_owned()));
    let RecordView::Entry {
        entry: seen,
        answer,
    } = &views[2]
    else {
        panic!("{:?}", views[2]);
    };
    let written = entry();
    assert_eq!(seen.sequence, written.sequence);
    assert_eq!(seen.args, written.args.to_vec());
    assert_eq!(seen.host_calls[0].bytes_written, 3);
    assert_eq!(seen.results.len(), written.results.len());
    assert_eq!(
        answer.as_ref().map(|answer| &*answer.id),
        Some(&b"an id"[..])
    );
    let RecordView::Answer(answer) = &views[3] else {
        panic!("{:?}", views[3]);
    };
    assert_eq!(answer.answer, Err("no".to_owned()));
    assert!(matches!(
        &views[4],
        RecordView::Cut {
            instead: Some(_),
            ..
        }
    ));
}

#[test]
fn a_reference_cannot_be_written() {
    let mut entry = entry();
    entry.fingerprints = Box::new([Val::FuncRef(Some(engine_api::FuncRef::new(1, 1)))]);
    assert!(
        encode_entry(&entry, None)
            .unwrap_err()
            .contains("reference")
    );
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let plan = plan();
        let context = Context { tag: TAG, plan: &plan, translation: None };
        let _ = decode(&bytes, &context);
        let _ = RecordView::read(&bytes, TAG);
    }

    #[test]
    fn a_changed_record_makes_it_no_panic(which in 0_usize..6, at in any::<usize>(), by in 1_u8..) {
        let plan = plan();
        let context = Context { tag: TAG, plan: &plan, translation: None };
        let mut bytes = records().swap_remove(which).1;
        let at = at % bytes.len();
        bytes[at] ^= by;
        let _ = decode(&bytes, &context);
        let _ = RecordView::read(&bytes, TAG);
    }
}
