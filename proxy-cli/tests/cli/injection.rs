//! Names that a module chose reach a terminal escaped.

use super::{Folder, Ran, wasm_proxy};

const MODULE: &str = r#"(module
    (import "\1b[2J" "\1b]0;owned\07\0aerror: forged" (func))
    (func (export "plain"))
    (func (export "\1b[31mred"))
    (func (export "two\0aerror: forged") unreachable))"#;

/// No control character but line feeds and tabs, and no line that a name has begun.
fn assert_harmless(ran: &Ran) {
    for text in [&ran.stdout, &ran.stderr] {
        let moves = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
        assert!(!text.contains(moves), "{text:?}");
        assert!(!text.contains("\nerror: forged"), "{text:?}");
    }
}

#[test]
fn names_with_control_characters_are_escaped_wherever_they_are_shown() {
    let folder = Folder::new();
    let module = folder.file("names.wat", MODULE);
    let ran = wasm_proxy(&["inspect", &module]);
    ran.assert_code(0).assert_says(r"\u{1b}[31mred");
    assert_harmless(&ran);
    // The missing import is named in an error.
    let workload = folder.file("plain.jsonl", "{\"call\":\"plain\"}\n");
    let ran = wasm_proxy(&["run", &module, "--workload", &workload]);
    assert_ne!(ran.code, Some(0));
    assert_harmless(&ran);
    // A call that traps is named in the report.
    let workload = folder.file(
        "names.jsonl",
        "{\"call\":\"two\\nerror: forged\"}\n{\"call\":\"\\u001b[31mred\"}\n{\"call\":\"\\u001b[5mno\"}\n",
    );
    let ran = wasm_proxy(&["run", &module, "--workload", &workload, "--stub-imports"]);
    assert_ne!(ran.code, Some(0));
    assert_harmless(&ran);
}
