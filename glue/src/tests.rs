//! Excerpts of glue in the shape of each target and generation.

use crate::{
    Elements, Error, Glue, Member, MemberKind, NumberType, Outcome, Passed, Slot, StackPointer,
    Taken,
};

const BUNDLER: &str = include_str!("tests/bundler.js");
const NODEJS: &str = include_str!("tests/nodejs.cjs");
const WEB: &str = include_str!("tests/web.js");
const NO_MODULES: &str = include_str!("tests/no_modules.js");

fn read(source: &str) -> Glue {
    Glue::read(source).unwrap()
}

fn member<'a>(glue: &'a Glue, export: &str) -> &'a Member {
    let found = glue.members.iter().find(|member| member.export == export);
    found.unwrap_or_else(|| panic!("no {export} in {glue:#?}"))
}

fn passed(member: &Member) -> Vec<&Passed> {
    member.params.iter().map(|param| &param.passed).collect()
}

fn object(class: &str, consumed: bool) -> Passed {
    Passed::Object {
        class: class.to_owned(),
        consumed,
    }
}

const TEXT: Passed = Passed::Buffer {
    of: Elements::Text,
    moved: true,
};

fn buffer(of: Elements, optional: bool) -> Outcome {
    Outcome::Buffer {
        of,
        freed: true,
        optional,
    }
}

#[test]
fn a_module_for_bundlers_is_read() {
    let glue = read(BUNDLER);
    assert_eq!(glue.first_slot, Some(128));
    let services = &glue.services;
    assert_eq!(services.alloc.as_deref(), Some("__wbindgen_export_1"));
    assert_eq!(services.realloc.as_deref(), Some("__wbindgen_export_2"));
    assert_eq!(services.free.as_deref(), Some("__wbindgen_export_3"));
    assert_eq!(services.exception.as_deref(), Some("__wbindgen_export_0"));
    let function = StackPointer::Function("__wbindgen_add_to_stack_pointer".to_owned());
    assert_eq!(services.stack_pointer, Some(function));
    let new = member(&glue, "coder_new");
    assert_eq!(
        (new.kind, new.class.as_deref()),
        (MemberKind::Constructor, Some("Coder"))
    );
    assert_eq!(
        passed(new),
        [&TEXT, &Passed::Value { borrowed: false }, &TEXT]
    );
    assert_eq!(new.params[1].declared.as_deref(), Some("any"));
    let name = member(&glue, "coder_name");
    assert_eq!((name.kind, name.return_pointer), (MemberKind::Getter, true));
    assert_eq!(name.outcome, buffer(Elements::Text, true));
    let encode = member(&glue, "coder_encode");
    assert!(encode.fails && encode.return_pointer);
    assert_eq!(encode.outcome, buffer(Elements::Four, false));
    assert_eq!(encode.returns.as_deref(), Some("Uint32Array"));
    assert!(!member(&glue, "coder_decode").fails);
    let free = member(&glue, "__wbg_coder_free");
    assert_eq!(free.kind, MemberKind::Free);
    assert_eq!(passed(free), [&object("Coder", true), &Passed::Zero]);
}

#[test]
fn glue_of_2020_for_node_is_read() {
    let glue = read(NODEJS);
    assert_eq!(glue.first_slot, Some(32));
    assert_eq!(member(&glue, "min_fee").kind, MemberKind::Function);
    let to_bytes = member(&glue, "bignum_to_bytes");
    assert!(to_bytes.return_pointer, "the address 8 is a return pointer");
    assert_eq!(glue.services.stack_pointer, Some(StackPointer::Address(8)));
    assert_eq!(to_bytes.outcome, buffer(Elements::Bytes, false));
    assert_eq!(passed(to_bytes), [&object("BigNum", false)]);
    let new = member(&glue, "bignum_new");
    assert_eq!(passed(new), [&Passed::Halves]);
    assert_eq!(member(&glue, "bignum_unwrap").outcome, Outcome::Halves);
    let prefix = member(&glue, "bignum_to_bech32");
    assert_eq!(passed(prefix), [&object("BigNum", false), &TEXT]);
    assert!(prefix.params[1].optional);
    assert_eq!(prefix.outcome, buffer(Elements::Text, false));
    // `var ptr0 = fee.ptr; fee.ptr = 0;`
    let set = member(&glue, "bignum_set_fee");
    assert_eq!(
        passed(set),
        [&object("BigNum", false), &object("Fee", true)]
    );
    // Neither the class's own pointer nor the address 8 as a number is a return pointer.
    assert!(!member(&glue, "eight").return_pointer);
}

#[test]
fn a_global_can_be_the_stack_pointer() {
    let glue = read(
        "class Image {
            get_raw_pixels() {
                try {
                    const retptr = wasm.__wbindgen_export_2.value - 16;
                    wasm.__wbindgen_export_2.value = retptr;
                    wasm.image_get_raw_pixels(retptr, this.ptr);
                    var r0 = getInt32Memory0()[retptr / 4 + 0];
                    var r1 = getInt32Memory0()[retptr / 4 + 1];
                    var v0 = getArrayU8FromWasm0(r0, r1).slice();
                    wasm.__wbindgen_free(r0, r1 * 1);
                    return v0;
                } finally {
                    wasm.__wbindgen_export_2.value += 16;
                }
            }
        }",
    );
    let global = StackPointer::Global("__wbindgen_export_2".to_owned());
    assert_eq!(glue.services.stack_pointer, Some(global));
    let pixels = member(&glue, "image_get_raw_pixels");
    assert_eq!(passed(pixels), [&object("Image", false)]);
    assert_eq!(pixels.outcome, buffer(Elements::Bytes, false));
}

#[test]
fn references_and_several_results_are_read() {
    let glue = read(WEB);
    assert_eq!(glue.first_slot, None);
    let new = member(&glue, "store_new");
    assert!(new.fails && !new.return_pointer);
    assert_eq!(
        new.outcome,
        Outcome::Object {
            class: "Store".to_owned(),
            optional: false
        }
    );
    assert_eq!(passed(new), [&Passed::Plain]);
    assert_eq!(
        member(&glue, "store_dump").outcome,
        buffer(Elements::Text, false)
    );
    assert!(member(&glue, "store_dump").fails);
    assert_eq!(member(&glue, "store_query").outcome, Outcome::Value);
    assert_eq!(
        member(&glue, "store_match").outcome,
        buffer(Elements::Values, false)
    );
    let size = member(&glue, "store_size");
    assert_eq!(
        size.outcome,
        Outcome::Plain {
            at: Slot::Result(0),
            none: None
        }
    );
    let index = member(&glue, "store_set_index");
    assert_eq!(
        (index.kind, index.params[1].optional),
        (MemberKind::Setter, true)
    );
    assert_eq!(
        passed(index),
        [&object("Store", false), &object("Index", true)]
    );
    assert_eq!(
        member(&glue, "store_limit").outcome,
        Outcome::Flagged {
            flag: Slot::Result(0),
            value: Slot::Result(1)
        }
    );
    let wait = member(&glue, "store_wait");
    assert_eq!(
        passed(wait),
        [&object("Store", false), &Passed::Flagged, &Passed::Plain]
    );
    let nothing: Vec<_> = wait.params.iter().map(|param| param.none).collect();
    assert_eq!(nothing, [None, None, Some(0xff_ffff)]);
    assert!(wait.params[2].optional);
    assert_eq!(wait.returns.as_deref(), Some("Promise<number>"));
    assert_eq!(glue.casts.len(), 2);
    assert_eq!(glue.casts[1].import, "__wbindgen_cast_0000000000000002");
    assert_eq!(glue.casts[1].what, "Ref(String) -> Externref");
    assert_eq!(glue.closures.len(), 1);
    let invoke = "wasm_bindgen_0123___convert__closures_____invoke___JsValue__true_";
    assert_eq!(glue.closures[0].invoke.as_deref(), Some(invoke));
}

#[test]
fn a_conversion_without_a_comment_is_told_by_its_body() {
    let glue = read(
        "export function f() { wasm.f(); }
        export function __wbindgen_cast_01(a, b) { return getStringFromWasm0(a, b); }
        export function __wbindgen_cast_02(a, b) {
            var c = getArrayU8FromWasm0(a, b).slice();
            wasm.__wbindgen_free(a, b * 1, 1);
            return c;
        }
        export function __wbindgen_cast_03(a, b) { return getArrayF32FromWasm0(a, b); }
        export function __wbindgen_cast_04(a) { return BigInt.asUintN(64, a); }
        export function __wbindgen_cast_05(a) { return a; }
        export function __wbindgen_cast_06(a) { return unknown(a); }",
    );
    let casts: Vec<(&str, &str)> = glue
        .casts
        .iter()
        .map(|cast| {
            (
                cast.import.trim_start_matches("__wbindgen_cast_"),
                &*cast.what,
            )
        })
        .collect();
    assert_eq!(
        casts,
        [
            ("01", "Ref(String) -> Externref"),
            ("02", "Vector(U8) -> Externref"),
            ("03", "Ref(Slice(F32)) -> Externref"),
            ("04", "U64 -> Externref"),
            ("05", "F64 -> Externref"),
        ]
    );
}

/// As wasm-bindgen writes it since a conversion that throws frees those before it.
#[test]
fn what_a_failed_conversion_undoes_says_nothing_of_the_call() {
    let glue = read(
        "export function join(words, text) {
            let ptr0, len0, ptr1, len1;
            try {
                ptr0 = passArrayJsValueToWasm0(words, wasm.__wbindgen_malloc);
                len0 = WASM_VECTOR_LEN;
                ptr1 = passStringToWasm0(text, wasm.__wbindgen_malloc, wasm.__wbindgen_realloc);
                len1 = WASM_VECTOR_LEN;
            } catch (e) {
                if (ptr1) { wasm.__wbindgen_free(ptr1, len1 * 1, 1); }
                if (ptr0) { wasm.__externref_drop_slice(ptr0, len0); }
                throw e;
            }
            const ret = wasm.join(ptr0, len0, ptr1, len1);
            return ret >>> 0;
        }
        export class Counter {
            merge(other) {
                let ptr, ptr0;
                try {
                    ptr = this.__destroy_into_raw();
                    _assertClass(other, Counter);
                    ptr0 = other.__destroy_into_raw();
                } catch (e) {
                    if (ptr0) wasm.__wbg_counter_free(ptr0, 1);
                    throw e;
                }
                const ret = wasm.counter_merge(ptr, ptr0);
                return Counter.__wrap(ret);
            }
        }",
    );
    let moved = |of| Passed::Buffer { of, moved: true };
    let join = member(&glue, "join");
    assert_eq!(
        passed(join),
        [&moved(Elements::Values), &moved(Elements::Text)]
    );
    assert!(join.params.iter().all(|param| !param.optional));
    let merge = member(&glue, "counter_merge");
    assert!(merge.params.iter().all(|param| !param.optional));
}

#[test]
fn what_is_inside_of_a_function_is_read() {
    let glue = read(NO_MODULES);
    assert_eq!(glue.first_slot, Some(32));
    let start = member(&glue, "driver_new");
    assert_eq!(
        passed(start),
        [
            &Passed::Value { borrowed: false },
            &Passed::Value { borrowed: true }
        ]
    );
    let level = member(&glue, "driver_level");
    assert!(level.return_pointer);
    assert_eq!(
        level.outcome,
        Outcome::Flagged {
            flag: Slot::Memory(0, NumberType::I32),
            value: Slot::Memory(8, NumberType::F64)
        }
    );
    // Its buffer is copied back and given back by the glue.
    let sort = member(&glue, "sort");
    let lent = Passed::Buffer {
        of: Elements::Four,
        moved: false,
    };
    assert_eq!(passed(sort), [&lent]);
    assert_eq!(glue.closures[0].import, "__wbindgen_closure_wrapper950");
    let invoke = "_dyn_core__ops__function__FnMut__A____Output___R_as_wasm_bindgen__closure";
    assert_eq!(glue.closures[0].invoke.as_deref(), Some(invoke));
    assert!(glue.members.iter().all(|member| member.export != invoke));
}

/// A number goes to the guest as it is and an object by its slot. A result through a pointer comes
/// before the closure's words.
#[test]
fn an_adapter_says_what_its_closure_takes() {
    let glue = Glue::read(include_str!("../../guests/prebuilt/realm_old.js")).unwrap();
    let of = |import: &str| {
        let closure = glue.closures.iter().find(|one| one.import == import);
        closure.unwrap().takes.clone()
    };
    assert_eq!(of("__wbindgen_closure_wrapper92"), None);
    assert_eq!(
        of("__wbindgen_closure_wrapper94"),
        Some(vec![Taken::Number])
    );
    let several = "
        let wasm;
        function __wbg_adapter_3(arg0, arg1, arg2, arg3, arg4) {
            wasm.closure_invoke(arg0, arg1, addHeapObject(arg2), arg3, addBorrowedObject(arg4));
        }
        function __wbg_adapter_4(arg0, arg1, arg2) {
            wasm.closure_invoke_text(arg0, arg1, passStringToWasm0(arg2));
        }
        imports.wbg.__wbindgen_closure_wrapper1 = function(arg0, arg1, arg2) {
            const ret = makeMutClosure(arg0, arg1, 3, __wbg_adapter_3);
            return addHeapObject(ret);
        };
        imports.wbg.__wbindgen_closure_wrapper2 = function(arg0, arg1, arg2) {
            const ret = makeMutClosure(arg0, arg1, 3, __wbg_adapter_4);
            return addHeapObject(ret);
        };
        export function double(a) { const ret = wasm.double(a); return ret; }";
    let glue = Glue::read(several).unwrap();
    let takes: Vec<_> = glue.closures.iter().map(|one| one.takes.clone()).collect();
    let all = vec![Taken::Object, Taken::Number, Taken::Borrowed];
    assert_eq!(takes, [Some(all), None]);
}

#[test]
fn a_file_that_imports_another_has_no_glue() {
    let text = "import * as wasm from './a_bg.wasm';\nexport * from './a_bg.js';\n";
    assert_eq!(Glue::read(text), Err(Error::NoGlue));
    assert_eq!(Glue::read(""), Err(Error::NoGlue));
}
