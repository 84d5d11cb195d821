//! Bytes of hostile shapes.

use std::fmt::Write;

use engine_api::Trap;

use super::Ending::{Refused, Returned, Trapped};
use super::{Case, Ending, with_fine};
use crate::engines::EngineUnderTest;

const REFUSED: &[Ending] = &[Refused];
const HEADER: &[u8] = b"\0asm\x01\0\0\0";

pub(super) const CASES: &[Case] = &[
    Case {
        name: "nothing",
        module: |_| Vec::new(),
        endings: REFUSED,
    },
    Case {
        name: "truncated",
        module: |_| {
            let mut wasm = with_fine("(memory 1) (func (export \"attack\"))");
            wasm.truncate(wasm.len() - 7);
            wasm
        },
        endings: REFUSED,
    },
    Case {
        name: "random-bytes",
        module: |_| random(4_096),
        endings: REFUSED,
    },
    Case {
        name: "garbage-behind-a-header",
        module: |_| [HEADER, &random(4_096)].concat(),
        endings: REFUSED,
    },
    Case {
        name: "counts-of-4-billion",
        // A function section that says that it has 0xffffffff functions.
        module: |_| [HEADER, b"\x03\x05\xff\xff\xff\xff\x0f"].concat(),
        endings: REFUSED,
    },
    Case {
        name: "half-a-million-functions",
        module: |_| functions(500_000),
        endings: REFUSED,
    },
    Case {
        name: "a-body-of-10-megabytes",
        module: |_| one_body(&vec![0x01; 10 << 20]),
        endings: REFUSED,
    },
    Case {
        name: "a-body-of-5-megabytes",
        module: |_| one_body(&vec![0x01; 5 << 20]),
        endings: REFUSED,
    },
    Case {
        name: "blocks-10000-deep",
        module: |_| one_body(&[[0x02, 0x40].repeat(10_000), vec![0x0b; 10_000]].concat()),
        endings: &[Returned, Refused],
    },
    Case {
        name: "fifty-thousand-locals",
        module: |_| {
            let locals = "i64 ".repeat(49_990);
            with_fine(&format!("(func (export \"attack\") (local {locals}))"))
        },
        endings: &[Returned, Refused, Trapped(Trap::StackOverflow)],
    },
    Case {
        name: "too-many-imports",
        module: |_| many("(import \"e\" \"i", "\" (global i32))"),
        endings: REFUSED,
    },
    Case {
        name: "too-many-exports",
        module: |_| many("(export \"e", "\" (func 0))"),
        endings: REFUSED,
    },
    Case {
        name: "many-hidden-globals",
        // Each is exported to the host under a name of its own, for snapshots.
        module: |_| {
            let globals = "(global (mut i64) (i64.const 7))".repeat(50_000);
            with_fine(&format!("{globals} (func (export \"attack\"))"))
        },
        endings: &[Returned, Refused],
    },
    Case {
        name: "many-segments-that-are-dropped",
        module: |_| {
            let segments = "(data \"x\")".repeat(2_000);
            let mut drops = String::new();
            for segment in 0..2_000 {
                let _ = write!(drops, "data.drop {segment} ");
            }
            with_fine(&format!(
                "(memory 1) {segments} (func (export \"attack\") {drops})"
            ))
        },
        endings: &[Returned, Refused],
    },
    Case {
        name: "a-thousand-parameters-and-results",
        module: |_| {
            let types = "i64 ".repeat(1_000);
            let (gets, drops) = ("i64.const 1 ".repeat(1_000), "drop ".repeat(1_000));
            with_fine(&format!(
                "(func $f (param {types}) (result {types}) {gets})
                 (func (export \"attack\") {gets} call $f {drops})"
            ))
        },
        endings: &[Returned, Refused, Trapped(Trap::StackOverflow)],
    },
    Case {
        name: "duplicate-exports",
        module: |_| {
            // The text format refuses it, so a valid module's second name is overwritten.
            let mut wasm = with_fine("(func (export \"attack\")) (func (export \"attacl\"))");
            let at = wasm.windows(6).position(|name| name == b"attacl");
            wasm[at.expect("it is exported") + 5] = b'k';
            wasm
        },
        endings: REFUSED,
    },
    Case {
        name: "custom-section-above-the-limit",
        module: |_| with_custom("junk", 129 << 20),
        endings: REFUSED,
    },
    Case {
        name: "broken-name-section",
        module: |_| with_custom("name", 1 << 20),
        endings: &[Returned],
    },
    Case {
        name: "component",
        module: |_| crate::expect::binary("(component)"),
        endings: REFUSED,
    },
    Case {
        name: "text",
        module: |_| b"(module (func (export \"attack\")))".to_vec(),
        endings: REFUSED,
    },
    Case {
        name: "precompiled-code",
        module: serialized,
        endings: REFUSED,
    },
    Case {
        name: "precompiled-code-in-its-envelope",
        module: |engine| compiled(engine).to_bytes(),
        endings: REFUSED,
    },
    Case {
        name: "tail-calls-for-ever",
        module: |_| with_fine("(func $f (export \"attack\") return_call $f)"),
        endings: &[Refused, Trapped(Trap::DeadlineExceeded)],
    },
    Case {
        name: "garbage-collected-types",
        module: |_| {
            with_fine(
                "(type $s (struct (field i32)))
                 (func (export \"attack\") (drop (struct.new $s (i32.const 1))))",
            )
        },
        endings: REFUSED,
    },
    Case {
        name: "exceptions",
        module: |_| with_fine("(tag $t) (func (export \"attack\") (throw $t))"),
        endings: REFUSED,
    },
    Case {
        name: "names-that-inject",
        module: |_| {
            with_fine(
                "(import \"\\1b[2J../../\" \"\\22\\0a{} <script>\" (func))
                 (func (export \"attack\"))
                 (func (export \"../../../etc/passwd\"))
                 (func (export \"\\1b]0;owned\\07\"))
                 (func (export \"<script>alert(1)</script>\"))
                 (func (export \"a\\22\\0a{} 1\"))",
            )
        },
        endings: &[Returned],
    },
];

/// Bytes of a xorshift generator with a fixed seed.
fn random(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    (0..len).map(|_| next()).collect()
}

/// A module of one item that is repeated more often than the limits allow.
fn many(before: &str, after: &str) -> Vec<u8> {
    let mut items = String::new();
    for number in 0..100_001 {
        let _ = write!(items, "{before}{number}{after}");
    }
    with_fine(&format!("{items} (func (export \"attack\"))"))
}

/// A module of so many functions that do nothing.
fn functions(count: usize) -> Vec<u8> {
    let mut wasm = [HEADER, b"\x01\x04\x01\x60\0\0"].concat();
    let types = [leb128(count), vec![0; count]].concat();
    section(&mut wasm, 3, &types);
    let bodies = [leb128(count), [2, 0, 0x0b].repeat(count)].concat();
    section(&mut wasm, 10, &bodies);
    wasm
}

/// A module whose export `attack` has these instructions.
fn one_body(instructions: &[u8]) -> Vec<u8> {
    let mut wasm = [HEADER, b"\x01\x08\x02\x60\0\0\x60\0\x01\x7f"].concat();
    section(&mut wasm, 3, &[2, 0, 1]);
    section(&mut wasm, 7, b"\x02\x06attack\0\0\x04fine\0\x01");
    let mut code = vec![2];
    code.extend(leb128(instructions.len() + 2));
    code.push(0);
    code.extend(instructions);
    code.extend([0x0b, 4, 0, 0x41, 1, 0x0b]);
    section(&mut wasm, 10, &code);
    wasm
}

fn with_custom(name: &str, len: usize) -> Vec<u8> {
    let mut wasm = with_fine("(func (export \"attack\"))");
    let contents = [&leb128(name.len()), name.as_bytes(), &vec![0xff; len]].concat();
    section(&mut wasm, 0, &contents);
    wasm
}

fn section(wasm: &mut Vec<u8>, id: u8, contents: &[u8]) {
    wasm.push(id);
    wasm.extend(leb128(contents.len()));
    wasm.extend(contents);
}

fn leb128(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let byte = u8::try_from(number & 0x7f).expect("seven bits");
        number >>= 7;
        if number == 0 {
            bytes.push(byte);
            return bytes;
        }
        bytes.push(byte | 0x80);
    }
}

fn compiled(engine: &EngineUnderTest) -> engine_api::Precompiled {
    let wasm = with_fine("(func (export \"attack\"))");
    let module = engine.shared().compile(&wasm).expect("a harmless module");
    module.precompiled().expect("every engine can")
}

/// Machine code as the runtime writes it, which a runtime would load if it were asked to.
fn serialized(engine: &EngineUnderTest) -> Vec<u8> {
    let wasm = with_fine("(func (export \"attack\"))");
    let precompiled = compiled(engine);
    let code = precompiled.code_for(&wasm, &engine.shared().fingerprint());
    code.expect("it is of this module").to_vec()
}
