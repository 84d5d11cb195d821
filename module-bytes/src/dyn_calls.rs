//! Exports through which a host calls a function of the table by its number, as Emscripten's
//! JavaScript does without them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use engine_api::{Error, ExportKind, ExternType, FuncType, ModuleInfo, ValType};
use wasm_encoder::{Encode, Function, Instruction, SectionId};
use wasmparser::{Parser, Payload};

use crate::format::invalid;
use crate::instrument::layout::{Items, Layout, Rewrite};
use crate::parse;

/// What imports begin with that call a function of the table.
const INVOKE: &str = "invoke_";

/// Adds an export `dynCall_SIGNATURE` for each import `env.invoke_SIGNATURE`, if the module has
/// none of that name: a function of the same type as the import, which calls the function of the
/// table whose number is its first argument with the others. Older releases of Emscripten write
/// these exports themselves.
///
/// New types, functions and exports come after the module's own, so every index stays right. A
/// module without such imports, or without a table, stays as it is.
///
/// # Errors
///
/// [`Error::InvalidModule`], also for a module that would have more than 1,000,000 types, functions
/// or exports.
pub fn dyn_calls(wasm: &[u8]) -> Result<Cow<'_, [u8]>, Error> {
    let info = parse(wasm)?;
    let (Some(table), wanted) = (function_table(&info), wanted(&info)) else {
        return Ok(Cow::Borrowed(wasm));
    };
    if wanted.is_empty() {
        return Ok(Cow::Borrowed(wasm));
    }
    let (layout, types) = sections(wasm)?;
    let mut added = Added::default();
    for (position, (name, ty)) in (0..).zip(&wanted) {
        let first = types + 2 * position;
        let function = count(info.function_count()) + position;
        added.dyn_call(name, ty, first, function, table);
    }
    let mut rewrite = Rewrite::new(wasm, &layout);
    rewrite.add(SectionId::Type, "types", &added.types, &[])?;
    rewrite.add(SectionId::Function, "functions", &added.functions, &[])?;
    rewrite.add(SectionId::Export, "exports", &added.exports, &[])?;
    rewrite.add(SectionId::Code, "functions", &added.bodies, &[])?;
    Ok(Cow::Owned(rewrite.finish()))
}

/// The table of functions: the one that Emscripten exports or imports.
fn function_table(info: &ModuleInfo) -> Option<u32> {
    const NAME: &str = "__indirect_function_table";
    let exported = match info.export(NAME).map(|export| export.kind) {
        Some(ExportKind::Table(index)) => Some(index.0),
        _ => None,
    };
    let mut imported = info.imports().iter().filter_map(|import| match import.ty {
        ExternType::Table(_) => Some(import.name == NAME),
        _ => None,
    });
    let table = exported.or_else(|| imported.position(|is| is).map(count))?;
    let is_function_table = info.tables()[table as usize].element == ValType::FuncRef;
    is_function_table.then_some(table)
}

/// Exports to add, with the types of their imports.
fn wanted(info: &ModuleInfo) -> BTreeMap<String, FuncType> {
    let mut wanted = BTreeMap::new();
    for import in info.imports() {
        let signature = match import.name.strip_prefix(INVOKE) {
            Some(signature) if import.module == "env" => signature,
            _ => continue,
        };
        let name = format!("dynCall_{signature}");
        if let ExternType::Func(ty) = &import.ty
            && ty.params().first() == Some(&ValType::I32)
            && (ty.params().iter().chain(ty.results())).all(|ty| encoded(*ty).is_some())
            && info.export(&name).is_none()
        {
            wanted.insert(name, ty.clone());
        }
    }
    wanted
}

fn encoded(ty: ValType) -> Option<wasm_encoder::ValType> {
    match ty {
        ValType::I32 => Some(wasm_encoder::ValType::I32),
        ValType::I64 => Some(wasm_encoder::ValType::I64),
        ValType::F32 => Some(wasm_encoder::ValType::F32),
        ValType::F64 => Some(wasm_encoder::ValType::F64),
        _ => None,
    }
}

/// The places of the sections, and the number of types.
fn sections(wasm: &[u8]) -> Result<(Layout, u32), Error> {
    let (mut layout, mut types, mut section_start) = (Layout::default(), 0, 0);
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload.map_err(|error| invalid(&error))?;
        if let Payload::Version { range, .. } = &payload {
            section_start = range.end;
        }
        if let Some((id, contents)) = payload.as_section() {
            let whole = section_start..contents.end;
            section_start = contents.end;
            layout.note(wasm, id, whole, contents);
        }
        if let Payload::TypeSection(section) = payload {
            for group in section {
                let group = group.map_err(|error| invalid(&error))?;
                types += count(group.types().len());
            }
        }
    }
    Ok((layout, types))
}

fn count(items: usize) -> u32 {
    u32::try_from(items).unwrap_or(u32::MAX)
}

/// What comes to the ends of the sections.
#[derive(Default)]
struct Added {
    types: Items,
    functions: Items,
    exports: Items,
    bodies: Items,
}

impl Added {
    /// One export with its function, whose types are those at `first` and behind it.
    fn dyn_call(&mut self, name: &str, ty: &FuncType, first: u32, function: u32, table: u32) {
        self.function_type(&ty.params()[1..], ty.results());
        self.function_type(ty.params(), ty.results());
        push(&mut self.functions, &(first + 1));
        push(&mut self.exports, name);
        wasm_encoder::ExportKind::Func.encode(&mut self.exports.bytes);
        function.encode(&mut self.exports.bytes);
        let mut body = Function::new([]);
        for param in 1..count(ty.params().len()) {
            body.instruction(&Instruction::LocalGet(param));
        }
        body.instruction(&Instruction::LocalGet(0));
        body.instruction(&Instruction::CallIndirect {
            type_index: first,
            table_index: table,
        });
        body.instruction(&Instruction::End);
        push(&mut self.bodies, &body);
    }

    fn function_type(&mut self, params: &[ValType], results: &[ValType]) {
        const FUNCTION: u8 = 0x60;
        self.types.bytes.push(FUNCTION);
        self.types.count += 1;
        for list in [params, results] {
            let list: Vec<_> = list.iter().filter_map(|ty| encoded(*ty)).collect();
            list.as_slice().encode(&mut self.types.bytes);
        }
    }
}

fn push(items: &mut Items, item: &(impl Encode + ?Sized)) {
    item.encode(&mut items.bytes);
    items.count += 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binary(text: &str) -> Vec<u8> {
        wat::parse_str(text).expect("a module")
    }

    #[test]
    fn each_invoke_gets_an_export_that_calls_the_table() {
        let wasm = binary(
            r#"(module
                (import "env" "invoke_vi" (func (param i32 i32)))
                (import "env" "invoke_jd" (func (param i32 f64) (result i64)))
                (import "env" "invoke_i" (func (param i32) (result i32)))
                (import "other" "invoke_v" (func (param i32)))
                (table $other 1 funcref)
                (table $functions 4 funcref)
                (export "__indirect_function_table" (table $functions))
                (func (export "dynCall_i") (param i32) (result i32) local.get 0))"#,
        );
        let expected = binary(
            r#"(module
                (type (func (param i32 i32)))
                (type (func (param i32 f64) (result i64)))
                (type (func (param i32) (result i32)))
                (type (func (param i32)))
                (type (func (param f64) (result i64)))
                (type (func (param i32 f64) (result i64)))
                (type (func (param i32)))
                (type (func (param i32 i32)))
                (import "env" "invoke_vi" (func (type 0)))
                (import "env" "invoke_jd" (func (type 1)))
                (import "env" "invoke_i" (func (type 2)))
                (import "other" "invoke_v" (func (type 3)))
                (table $other 1 funcref)
                (table $functions 4 funcref)
                (export "__indirect_function_table" (table $functions))
                (func (export "dynCall_i") (type 2) local.get 0)
                (func (export "dynCall_jd") (type 5)
                    (call_indirect $functions (type 4) (local.get 1) (local.get 0)))
                (func (export "dynCall_vi") (type 7)
                    (call_indirect $functions (type 6) (local.get 1) (local.get 0))))"#,
        );
        assert_eq!(dyn_calls(&wasm).expect("a module").as_ref(), expected);
    }

    #[test]
    fn a_module_that_asks_for_none_stays_as_it_is() {
        for text in [
            "(module)",
            r#"(module (import "env" "invoke_vi" (func (param i32 i32))))"#,
            r#"(module (table (export "__indirect_function_table") 1 funcref))"#,
            r#"(module (import "env" "invoke_v" (func (param i64)))
                (table (export "__indirect_function_table") 1 funcref))"#,
            r#"(module (import "env" "invoke_v" (func (param i32)))
                (table (export "__indirect_function_table") 1 externref))"#,
        ] {
            let wasm = binary(text);
            let same = dyn_calls(&wasm).expect("a module");
            assert!(matches!(same, Cow::Borrowed(_)), "{text}");
        }
        assert!(dyn_calls(b"\0asm\x01\0\0\0\x02\x05\x01\x09a").is_err());
    }
}
