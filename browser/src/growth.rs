//! Limits the growth of memories inside the module. A browser grows a memory without asking anybody,
//! and a refusal is seen by the guest alone.
//!
//! Each `memory.grow` becomes a call of a function that is added. It compares with a limit, notes the
//! smallest size that was refused, and grows. Limit and note are globals that the code of the guest
//! cannot name. Types, functions and globals are added at the end, so no index changes.

use engine_api::Error;
use module_bytes::RESERVED;
use wasm_encoder::{
    BlockType, ConstExpr, Encode, ExportKind, Function, GlobalType, Ieee64, InstructionSink,
    ValType,
};
use wasmparser::{BinaryReader, FunctionBody, Operator, Parser, Payload, TypeRef};

/// The export of the global with the pages that the memory may have.
pub(crate) fn limit_name() -> String {
    format!("{RESERVED}pages-max")
}

/// The export of the global with the fewest pages that were refused; zero for none.
pub(crate) fn refused_name() -> String {
    format!("{RESERVED}pages-refused")
}

/// A module whose growth is limited, or nothing if it does not grow by itself.
///
/// # Errors
///
/// [`Error::InvalidModule`].
pub(crate) fn limit_growth(wasm: &[u8]) -> Result<Option<Vec<u8>>, Error> {
    let parts = Parts::read(wasm).map_err(|error| Error::InvalidModule {
        reason: error.to_string(),
    })?;
    Ok(parts.grows().then(|| parts.rewritten()))
}

type Read<T> = Result<T, wasmparser::BinaryReaderError>;

/// A section: its identifier, the number of its items, and the items.
struct Section<'a> {
    id: u8,
    count: u32,
    items: &'a [u8],
    /// All of it, if it does not begin with a number of items.
    whole: &'a [u8],
}

/// The sections of a module, and what is counted in them.
#[derive(Default)]
struct Parts<'a> {
    sections: Vec<Section<'a>>,
    bodies: Vec<FunctionBody<'a>>,
    imported_functions: u32,
    imported_globals: u32,
}

const CUSTOM: u8 = 0;
const TYPE: u8 = 1;
const FUNCTION: u8 = 3;
const GLOBAL: u8 = 6;
const EXPORT: u8 = 7;
const CODE: u8 = 10;

impl<'a> Parts<'a> {
    fn read(wasm: &'a [u8]) -> Read<Self> {
        let mut parts = Self::default();
        for payload in Parser::new(0).parse_all(wasm) {
            let payload = payload?;
            if let Some((id, range)) = payload.as_section() {
                let whole = &wasm[range.clone()];
                let mut reader = BinaryReader::new(whole, range.start);
                let count = if id == CUSTOM {
                    0
                } else {
                    reader.read_var_u32()?
                };
                let items = &wasm[reader.original_position()..range.end];
                parts.sections.push(Section {
                    id,
                    count,
                    items,
                    whole,
                });
            }
            match payload {
                Payload::ImportSection(imports) => {
                    for import in imports.into_imports() {
                        match import?.ty {
                            TypeRef::Func(_) | TypeRef::FuncExact(_) => {
                                parts.imported_functions += 1;
                            }
                            TypeRef::Global(_) => parts.imported_globals += 1,
                            _ => {}
                        }
                    }
                }
                Payload::CodeSectionEntry(body) => parts.bodies.push(body),
                _ => {}
            }
        }
        Ok(parts)
    }

    fn grows(&self) -> bool {
        let grows = |body: &FunctionBody<'_>| {
            let operators = body.get_operators_reader();
            operators
                .is_ok_and(|operators| operators.into_iter().flatten().any(|op| is_growth(&op)))
        };
        self.bodies.iter().any(grows)
    }

    fn count(&self, id: u8) -> u32 {
        let section = self.sections.iter().find(|section| section.id == id);
        section.map_or(0, |section| section.count)
    }

    fn rewritten(&self) -> Vec<u8> {
        let function = self.imported_functions + self.count(FUNCTION);
        let limit = self.imported_globals + self.count(GLOBAL);
        // In the order of sections.
        let added = [
            (TYPE, 1, vec![0x60, 1, 0x7f, 1, 0x7f]),
            (FUNCTION, 1, encoded(&self.count(TYPE))),
            (GLOBAL, 2, globals()),
            (EXPORT, 2, exports(limit)),
            (CODE, 1, growing(limit)),
        ];
        let mut added = added.into_iter().peekable();
        let mut out = HEADER.to_vec();
        for section in &self.sections {
            // A section that the module lacks comes before the next one that it has.
            let lacks = |id: u8| section.id != CUSTOM && rank(id) < rank(section.id);
            while let Some((id, count, items)) = added.next_if(|(id, ..)| lacks(*id)) {
                push(&mut out, id, count, &items);
            }
            if let Some((id, count, more)) = added.next_if(|(id, ..)| *id == section.id) {
                let mut items = match id {
                    CODE => self.code(function),
                    _ => section.items.to_vec(),
                };
                items.extend(more);
                push(&mut out, id, section.count + count, &items);
            } else {
                out.push(section.id);
                section.whole.encode(&mut out);
            }
        }
        out
    }

    /// All bodies, with calls of `function` in place of growth.
    fn code(&self, function: u32) -> Vec<u8> {
        let mut out = Vec::new();
        for body in &self.bodies {
            body_with_calls(body, function).encode(&mut out);
        }
        out
    }
}

const HEADER: [u8; 8] = *b"\0asm\x01\0\0\0";

/// The place of a section in the order of sections (core specification, section 5.5.2).
fn rank(id: u8) -> Option<usize> {
    [1, 2, 3, 4, 5, 13, 6, 7, 8, 9, 12, 10, 11]
        .iter()
        .position(|known| *known == id)
}

fn push(out: &mut Vec<u8>, id: u8, count: u32, items: &[u8]) {
    let mut contents = encoded(&count);
    contents.extend_from_slice(items);
    out.push(id);
    contents.encode(out);
}

fn encoded(item: &impl Encode) -> Vec<u8> {
    let mut bytes = Vec::new();
    item.encode(&mut bytes);
    bytes
}

fn is_growth(operator: &Operator<'_>) -> bool {
    matches!(operator, Operator::MemoryGrow { mem: 0 })
}

fn body_with_calls(body: &FunctionBody<'_>, function: u32) -> Vec<u8> {
    let (start, bytes) = (body.range().start, body.as_bytes());
    let mut changed = Vec::with_capacity(bytes.len());
    let (mut copied, mut growth) = (0, None);
    let operators = body.get_operators_reader().into_iter();
    for (operator, at) in operators.flat_map(|all| all.into_iter_with_offsets().flatten()) {
        // An instruction ends where the next one begins, and the last one is no growth.
        if let Some(growth) = growth.take() {
            changed.extend_from_slice(&bytes[copied..growth]);
            InstructionSink::new(&mut changed).call(function);
            copied = at - start;
        }
        growth = is_growth(&operator).then_some(at - start);
    }
    changed.extend_from_slice(&bytes[copied..]);
    changed
}

/// The limit, which is none at first, and the note.
fn globals() -> Vec<u8> {
    let ty = GlobalType {
        val_type: ValType::F64,
        mutable: true,
        shared: false,
    };
    let mut bytes = Vec::new();
    for value in [f64::INFINITY, 0.0] {
        ty.encode(&mut bytes);
        ConstExpr::f64_const(value.into()).encode(&mut bytes);
    }
    bytes
}

fn exports(limit: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, global) in [(limit_name(), limit), (refused_name(), limit + 1)] {
        name.encode(&mut bytes);
        ExportKind::Global.encode(&mut bytes);
        global.encode(&mut bytes);
    }
    bytes
}

/// The body of the function that grows: it takes pages and gives what `memory.grow` gives. Sizes are
/// floats, which hold every number of pages exactly and are numbers in JavaScript.
fn growing(limit: u32) -> Vec<u8> {
    let (delta, wanted, before) = (0, 1, 2);
    let refused = limit + 1;
    let zero = Ieee64::from(0.0);
    let mut body = Function::new([(1, ValType::F64), (1, ValType::I32)]);
    let mut code = body.instructions();
    code.local_get(delta).f64_convert_i32_u();
    code.memory_size(0).f64_convert_i32_u();
    code.f64_add().local_tee(wanted);
    code.global_get(limit).f64_le();
    code.if_(BlockType::Result(ValType::I32));
    code.local_get(delta).memory_grow(0);
    code.else_().i32_const(-1).end();
    code.local_tee(before).i32_const(-1).i32_eq();
    code.if_(BlockType::Empty);
    code.global_get(refused).f64_const(zero).f64_eq();
    code.local_get(wanted).global_get(refused).f64_lt();
    code.i32_or().if_(BlockType::Empty);
    code.local_get(wanted).global_set(refused);
    code.end().end();
    code.local_get(before).end();
    encoded(&body)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limited(text: &str) -> Option<Vec<u8>> {
        let wasm = wat::parse_str(text).expect("it is a module");
        limit_growth(&wasm).expect("it is valid")
    }

    #[test]
    fn growth_becomes_a_call_and_all_indexes_stay() {
        let limited = limited(
            r#"(module
                (import "a" "f" (func $f (param i32)))
                (memory 1)
                (func (export "grow") (param i32) (result i32)
                    (call $f (memory.grow (local.get 0)))
                    (memory.grow (i32.const 7)))
                (data (i32.const 0) "x"))"#,
        );
        let limited = limited.expect("it grows");
        wasmparser::validate(&limited).expect("it is valid still");
        let info = module_bytes::parse(&limited).expect("it can be read");
        assert_eq!(info.function_count(), 3);
        let names: Vec<&str> = info.exports().iter().map(|export| &*export.name).collect();
        assert_eq!(names, ["grow", &limit_name(), &refused_name()]);
        let parts = Parts::read(&limited).expect("it is valid");
        let growing: Vec<usize> = parts.bodies.iter().map(growths).collect();
        assert_eq!(growing, [0, 1], "the added function alone grows");
    }

    fn growths(body: &FunctionBody<'_>) -> usize {
        let operators = body.get_operators_reader().expect("it is valid");
        let operators = operators.into_iter().flatten();
        operators.filter(is_growth).count()
    }

    #[test]
    fn a_module_with_all_sections_keeps_what_it_had() {
        let limited = limited(
            r#"(module
                (table 1 funcref)
                (memory 1)
                (global (mut i32) (i32.const 5))
                (export "m" (memory 0))
                (func $s (drop (memory.grow (i32.const 1))))
                (start $s)
                (elem (i32.const 0) $s))"#,
        );
        let limited = limited.expect("it grows");
        wasmparser::validate(&limited).expect("it is valid still");
        let info = module_bytes::parse(&limited).expect("it can be read");
        assert_eq!((info.globals().len(), info.exports().len()), (3, 3));
        assert!(info.has_start());
    }

    #[test]
    fn a_module_that_does_not_grow_stays_as_it_is() {
        assert_eq!(
            limited("(module (memory 1) (func (drop (memory.size))))"),
            None
        );
        assert_eq!(limited("(module)"), None);
    }

    #[test]
    fn what_is_no_module_is_refused() {
        assert!(limit_growth(b"\0asm\x01\0\0\0\x0a\x05").is_err());
    }
}
