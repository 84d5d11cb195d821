//! All obstacles to checkpoints are found, and nothing else is reported.

use engine_api::{Error, GlobalIndex, TableIndex};
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
        // Tables of what crosses the contract, changed by everything that can change them.
        "(module (import \"env\" \"t\" (table 1 externref)) (import \"env\" \"g\" (global (mut externref)))
            (table $t 1 funcref) (table $o 1 externref) (elem $s func $f)
            (global (mut funcref) (ref.null func))
            (func $f
                (table.set $t (i32.const 0) (ref.null func))
                (drop (table.grow $o (ref.null extern) (i32.const 1)))
                (table.fill 0 (i32.const 0) (ref.null extern) (i32.const 1))
                (table.copy $o 0 (i32.const 0) (i32.const 0) (i32.const 1))
                (table.init $t $s (i32.const 0) (i32.const 0) (i32.const 1))
                (elem.drop $s)))",
        "(module (memory 1) (data \"a\") (func (data.drop 0)))",
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

/// Why code that changes a table of typed references is an obstacle.
const TYPED: &str = "and a checkpoint holds only funcref and externref";

#[test]
fn each_instruction_that_changes_a_table_of_typed_references_is_an_obstacle() {
    for (instruction, code) in [
        ("table.set", "(table.set 1 (i32.const 0) (ref.null $v))"),
        (
            "table.grow",
            "(drop (table.grow 1 (ref.null $v) (i32.const 1)))",
        ),
        (
            "table.fill",
            "(table.fill 1 (i32.const 0) (ref.null $v) (i32.const 1))",
        ),
        (
            "table.copy",
            "(table.copy 1 1 (i32.const 0) (i32.const 0) (i32.const 1))",
        ),
        (
            "table.init",
            "(table.init 1 $s (i32.const 0) (i32.const 0) (i32.const 1))",
        ),
    ] {
        let wat = format!(
            "(module (type $v (func)) (import \"env\" \"f\" (func)) (table 1 funcref)
                (table 2 (ref null $v)) (elem $s (ref null $v) (ref.null $v)) (func) (func {code}))"
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
            element: "(ref null (module 0))".to_owned(),
            sites,
        };
        assert_eq!(
            expected.to_string(),
            format!(
                "function 2 changes table 1 of (ref null (module 0)) with `{instruction}`, {TYPED}"
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
    let shared = "function 0 changes table 0 of (shared funcref) with";
    assert_eq!(
        sentences(code),
        [
            format!("{shared} `table.atomic.set`, {TYPED}"),
            format!("{shared} `table.atomic.rmw.xchg`, {TYPED}"),
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
fn references_that_cannot_cross_are_obstacles_where_they_can_change() {
    let found = obstacles(
        "(module (type $v (func)) (import \"env\" \"t\" (table 1 externref))
            (import \"env\" \"g\" (global (mut externref)))
            (table 1 funcref) (table 1 exnref) (table 1 (ref null any))
            (global (mut funcref) (ref.null func)) (global externref (ref.null extern))
            (global (mut (ref null $v)) (ref.null $v)) (global (mut anyref) (ref.null any)))",
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
            table(2, "exnref"),
            table(3, "anyref"),
            global(3, "(ref null (module 0))"),
            global(4, "anyref"),
        ]
    );
    assert_eq!(
        found[0].to_string(),
        format!("table 2 is of exnref, {TYPED}")
    );
    assert_eq!(
        found[3].to_string(),
        format!("global 4 is mutable and of anyref, {TYPED}")
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
    let set = "(table.set 0 (i32.const 0) (ref.null nofunc))";
    let found = obstacles(&format!(
        "(module (table 1 nullfuncref) (func $quiet) (func $first {set} {set}) (func $other {set})
            (func $grow (drop (table.grow 0 (ref.null nofunc) (i32.const 1)))))"
    ));
    assert_eq!(
        found[0],
        Obstacle::TableChange {
            instruction: "table.set",
            table: TableIndex(0),
            element: "nullfuncref".to_owned(),
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
            format!(
                "function 1 (`first`) changes table 0 of nullfuncref with `table.set` (the first of \
                 3, in 2 functions), {TYPED}"
            ),
            format!(
                "function 3 (`grow`) changes table 0 of nullfuncref with `table.grow`, {TYPED}"
            ),
        ]
    );
    let twice = self::sentences(&format!(
        "(module (table 1 nullfuncref) (func {set} {set}))"
    ));
    assert!(twice[0].contains("(the first of 2),"), "{}", twice[0]);
}

#[test]
fn endless_names_are_cut() {
    let name = "x".repeat(100_000);
    let wat = format!(
        "(module (table 1 nullfuncref) (func ${name}
            (table.set 0 (i32.const 0) (ref.null nofunc))))"
    );
    let expected = format!("function 0 (`{}...`) changes table 0 ", &name[..80]);
    assert!(sentences(&wat)[0].starts_with(&expected));
}

#[test]
fn a_broken_name_section_only_costs_the_name() {
    let wat = "(module (table 1 nullfuncref)
        (func $f (table.set 0 (i32.const 0) (ref.null nofunc))))";
    let mut wasm = wat::parse_str(wat).unwrap();
    // The last byte of the file is the last one of the function's name, which is then not UTF-8.
    let last = wasm.len() - 1;
    assert_eq!(wasm[last], b'f');
    wasm[last] = 0xff;
    let found = module_bytes::obstacles(&wasm).unwrap();
    assert!(matches!(
        &found[..],
        [Obstacle::TableChange { sites, .. }] if sites.name.is_none()
    ));
}

#[test]
fn bytes_that_are_no_module_are_errors() {
    let wat = "(module (import \"env\" \"t\" (tag)) (table 2 nullfuncref) (memory 1 1 shared)
        (data \"abc\") (func $f (param i32) (block (br_table 0 1 0 (local.get 0))) (data.drop 0)
            (table.set (i32.const 1) (ref.null nofunc))))";
    let wasm = wat::parse_str(wat).unwrap();
    let whole = module_bytes::obstacles(&wasm).unwrap();
    assert_eq!(whole.len(), 2);
    for len in 0..wasm.len() {
        match module_bytes::obstacles(&wasm[..len]) {
            // A cut between two sections.
            Ok(found) => assert!(found.len() <= 2),
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
    for (name, wasm) in guests() {
        let found = module_bytes::obstacles(&wasm).unwrap();
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        let expected: &[&str] = match name.as_str() {
            // The older ABI of wasm-bindgen keeps all its objects outside the instance, and the
            // newer one in a table of externref. With threads the memory is shared, and the host
            // stops them.
            "chain" | "kv" | "prover" | "sqlite" | "realm_old" | "realm_new" | "realm_threads"
            | "realm_threads_old"
            // Open files are state of the host's.
            | "wasi_database" | "wasi_programs" | "wasi_rust_command" | "wasi_rust_reactor"
            | "wasi_tour" | "wasi_world" => &[],
            other => panic!("say what is expected of the guest `{other}`"),
        };
        assert_eq!(found, expected, "{name}");
    }
}
