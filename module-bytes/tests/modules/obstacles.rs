//! All obstacles to checkpoints are found, and nothing else is reported.

use engine_api::{Error, GlobalIndex, MemoryIndex, TableIndex};
use module_bytes::{Obstacle, Sites};

use crate::guests;

fn obstacles(wat: &str) -> Vec<Obstacle> {
    module_bytes::obstacles(&wat::parse_str(wat).unwrap()).unwrap()
}

fn sentences(wat: &str) -> Vec<String> {
    obstacles(wat).iter().map(ToString::to_string).collect()
}

#[test]
fn memories_globals_and_tables_of_functions_are_no_obstacles() {
    for wat in [
        "(module)",
        "(module (import \"env\" \"m\" (memory 3)) (memory 1 2) (memory i64 1))",
        "(module (import \"env\" \"g\" (global (mut f64))) (global (mut i32) (i32.const 0))
            (global (mut v128) (v128.const i64x2 0 0)))",
        // Tables of functions, filled by segments of every kind; code calls, reads and measures
        // them.
        "(module (import \"env\" \"t\" (table 1 funcref)) (table $t (export \"t\") 4 funcref)
            (elem (table $t) (i32.const 0) func $f) (elem declare func $g) (type $v (func))
            (func $f (call_indirect $t (type $v) (i32.const 0)))
            (func $g (drop (table.get $t (table.size $t)))))",
        // Code copies from a segment and does not drop it.
        "(module (memory 1) (data $d \"abc\")
            (func (memory.init $d (i32.const 0) (i32.const 0) (i32.const 3))
                  (memory.copy (i32.const 9) (i32.const 0) (i32.const 3))
                  (memory.fill (i32.const 9) (i32.const 0) (i32.const 3))))",
        // References that are the same in every new instance.
        "(module (func $f) (elem declare func $f) (global funcref (ref.func $f))
            (global externref (ref.null extern)) (func (param externref)))",
        "(module (tag $t (param i32)) (func (throw $t (i32.const 1))))",
        "(module (import \"wasi_snapshot_preview1\" \"fd_write\"
            (func (param i32 i32 i32 i32) (result i32))) (func $f) (start $f))",
        // Typed references to functions.
        "(module (type $f (func)) (table 2 (ref null $f)) (table 2 nullfuncref))",
    ] {
        assert_eq!(obstacles(wat), [], "{wat}");
    }
}

#[test]
fn each_instruction_that_changes_a_table_is_an_obstacle() {
    for (instruction, code) in [
        ("table.set", "(table.set 1 (i32.const 0) (ref.null func))"),
        (
            "table.grow",
            "(drop (table.grow 1 (ref.null func) (i32.const 1)))",
        ),
        (
            "table.fill",
            "(table.fill 1 (i32.const 0) (ref.null func) (i32.const 1))",
        ),
        (
            "table.copy",
            "(table.copy 1 0 (i32.const 0) (i32.const 0) (i32.const 1))",
        ),
        (
            "table.init",
            "(table.init 1 $s (i32.const 0) (i32.const 0) (i32.const 1))",
        ),
    ] {
        let wat = format!(
            "(module (import \"env\" \"f\" (func)) (table 1 funcref) (table 2 funcref)
                (elem $s func 0) (func) (func {code}))"
        );
        let sites = Sites {
            function: 2,
            name: None,
            functions: 1,
            instructions: 1,
        };
        let expected = Obstacle::TableChange {
            instruction,
            table: TableIndex(1),
            sites,
        };
        assert_eq!(
            expected.to_string(),
            format!(
                "function 2 changes table 1 with `{instruction}`, and a checkpoint does not hold tables"
            )
        );
        assert_eq!(obstacles(&wat), [expected]);
    }
}

#[test]
fn atomic_instructions_that_change_a_table_are_obstacles() {
    let code = "(module (table $t shared 1 (ref null (shared func)))
        (func (param $f (ref null (shared func)))
            (table.atomic.set seq_cst $t (i32.const 0) (local.get $f))
            (drop (table.atomic.rmw.xchg seq_cst $t (i32.const 0) (local.get $f)))))";
    assert_eq!(
        sentences(code),
        [
            "function 0 changes table 0 with `table.atomic.set`, and a checkpoint does not hold tables",
            "function 0 changes table 0 with `table.atomic.rmw.xchg`, and a checkpoint does not hold \
             tables",
        ]
    );
    let code = "(module (table $t shared 1 (ref null (shared eq)))
        (func (param $f (ref null (shared eq)))
            (drop (table.atomic.rmw.cmpxchg seq_cst $t (i32.const 0) (local.get $f) (local.get $f)))))";
    assert_eq!(
        sentences(code)[1],
        "function 0 changes table 0 with `table.atomic.rmw.cmpxchg`, and a checkpoint does not hold \
         tables"
    );
}

#[test]
fn dropped_segments_are_obstacles() {
    assert_eq!(
        sentences(
            "(module (memory 1) (data \"a\") (data \"b\") (elem funcref) (table 1 funcref)
                (func (data.drop 1)) (func (elem.drop 0) (data.drop 0)))"
        ),
        [
            "function 0 drops segment 1 with `data.drop` (the first of 2, in 2 functions), and a \
             restored instance has its segments again",
            "function 1 drops segment 0 with `elem.drop`, and a restored instance has its segments again",
        ]
    );
}

#[test]
fn shared_memories_are_no_obstacle_imported_or_not() {
    let found = obstacles(
        "(module (import \"env\" \"m\" (memory 1 2 shared)) (memory 1) (memory 1 1 shared))",
    );
    assert_eq!(found, []);
}

#[test]
fn references_to_what_is_no_function_are_obstacles_where_they_can_change() {
    let found = obstacles(
        "(module (import \"env\" \"t\" (table 1 externref)) (import \"env\" \"g\" (global (mut externref)))
            (table 1 funcref) (table 1 exnref) (table 1 (ref null any))
            (global (mut funcref) (ref.null func)) (global externref (ref.null extern)))",
    );
    let table = |table, element: &str| Obstacle::ReferenceTable {
        table: TableIndex(table),
        element: element.to_owned(),
    };
    let global = |global, ty: &str| Obstacle::ReferenceGlobal {
        global: GlobalIndex(global),
        ty: ty.to_owned(),
    };
    assert_eq!(
        found,
        [
            table(0, "externref"),
            global(0, "externref"),
            table(2, "exnref"),
            table(3, "anyref"),
            global(1, "funcref"),
        ]
    );
    assert_eq!(
        found[0].to_string(),
        "table 0 is of externref, and a checkpoint does not hold what it refers to"
    );
    assert_eq!(
        found[1].to_string(),
        "global 0 is mutable and of externref, and a checkpoint does not hold what it refers to"
    );
}

#[test]
fn garbage_collected_types_are_one_obstacle() {
    assert_eq!(
        sentences(
            "(module (type (func)) (type $s (struct (field (mut i32)))) (type (array i8))
                (global (ref $s) (struct.new $s (i32.const 1))) (table 1 (ref null $s)))"
        ),
        ["type 1 is garbage-collected, and a checkpoint does not hold such objects"]
    );
}

#[test]
fn imported_tags_are_obstacles_and_their_names_are_escaped() {
    assert_eq!(
        sentences("(module (import \"env\" \"t\\1b[2J\" (tag (param i32))))"),
        [
            "the tag `env` `t\\u{1b}[2J` is imported, and a checkpoint does not hold what is the host's"
        ]
    );
}

#[test]
fn instructions_of_a_kind_are_one_obstacle_that_counts_them() {
    let set = "(table.set 0 (i32.const 0) (ref.null func))";
    let found = obstacles(&format!(
        "(module (table 1 funcref) (func $quiet) (func $first {set} {set}) (func $other {set})
            (func $grow (drop (table.grow 0 (ref.null func) (i32.const 1)))))"
    ));
    assert_eq!(
        found[0],
        Obstacle::TableChange {
            instruction: "table.set",
            table: TableIndex(0),
            sites: Sites {
                function: 1,
                name: Some("first".to_owned()),
                functions: 2,
                instructions: 3,
            },
        }
    );
    let sentences: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(
        sentences,
        [
            "function 1 (`first`) changes table 0 with `table.set` (the first of 3, in 2 functions), and \
             a checkpoint does not hold tables",
            "function 3 (`grow`) changes table 0 with `table.grow`, and a checkpoint does not hold tables",
        ]
    );
    let twice = self::sentences(&format!("(module (table 1 funcref) (func {set} {set}))"));
    assert!(twice[0].contains("(the first of 2),"), "{}", twice[0]);
}

#[test]
fn endless_names_are_cut() {
    let name = "x".repeat(100_000);
    let wat = format!("(module (memory 1) (data \"\") (func ${name} (data.drop 0)))");
    assert_eq!(
        sentences(&wat),
        [format!(
            "function 0 (`{}...`) drops segment 0 with `data.drop`, and a restored instance has its \
             segments again",
            &name[..80]
        )]
    );
}

#[test]
fn a_broken_name_section_only_costs_the_name() {
    let wat = "(module (memory 1) (data \"\") (func $f (data.drop 0)))";
    let mut wasm = wat::parse_str(wat).unwrap();
    // The last byte of the file is the last one of the function's name, which is then not UTF-8.
    let last = wasm.len() - 1;
    assert_eq!(wasm[last], b'f');
    wasm[last] = 0xff;
    let found = module_bytes::obstacles(&wasm).unwrap();
    assert!(matches!(
        &found[..],
        [Obstacle::SegmentDrop { sites, .. }] if sites.name.is_none()
    ));
}

#[test]
fn bytes_that_are_no_module_are_errors() {
    let wat = "(module (import \"env\" \"t\" (tag)) (table 2 funcref) (memory 1) (data \"abc\")
        (func $f (param i32) (block (br_table 0 1 0 (local.get 0))) (data.drop 0)
            (table.set (i32.const 1) (ref.null func))))";
    let wasm = wat::parse_str(wat).unwrap();
    let whole = module_bytes::obstacles(&wasm).unwrap();
    assert_eq!(whole.len(), 3);
    for len in 0..wasm.len() {
        match module_bytes::obstacles(&wasm[..len]) {
            // A cut between two sections.
            Ok(found) => assert!(found.len() <= 3),
            Err(error) => assert!(matches!(error, Error::InvalidModule { .. })),
        }
    }
    for position in 0..wasm.len() {
        for byte in 0..=u8::MAX {
            let mut changed = wasm.clone();
            changed[position] = byte;
            if let Err(error) = module_bytes::obstacles(&changed) {
                assert!(matches!(error, Error::InvalidModule { .. }));
            }
        }
    }
    assert!(module_bytes::obstacles(b"(module)").is_err());
}

#[test]
fn the_guests_are_what_they_are_known_to_be() {
    let externrefs = "table 1 is of externref, and a checkpoint does not hold what it refers to";
    for (name, wasm) in guests() {
        let found = module_bytes::obstacles(&wasm).unwrap();
        let declared: Vec<String> = found
            .iter()
            .filter(|obstacle| instruction(obstacle).is_none())
            .map(ToString::to_string)
            .collect();
        let code: Vec<&str> = found.iter().filter_map(instruction).collect();
        let (expected_declared, expected_code): (&[&str], &[&str]) = match name.as_str() {
            // The older ABI of wasm-bindgen keeps all its objects outside the instance.
            "chain" | "kv" | "prover" | "realm_old" => (&[], &[]),
            "realm_new" => (&[externrefs], &["table.grow", "table.set", "table.fill"]),
            "realm_threads" => (&[externrefs], &["table.grow", "table.set", "data.drop"]),
            "realm_threads_old" => (&[], &["data.drop"]),
            other => panic!("say what is expected of the guest `{other}`"),
        };
        assert_eq!(declared, expected_declared, "{name}");
        assert_eq!(code, expected_code, "{name}");
    }
}

fn instruction(obstacle: &Obstacle) -> Option<&'static str> {
    match obstacle {
        Obstacle::TableChange { instruction, .. } | Obstacle::SegmentDrop { instruction, .. } => {
            Some(instruction)
        }
        _ => None,
    }
}
