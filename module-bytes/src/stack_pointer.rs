//! Which global holds the guest's stack pointer.
//!
//! Compilers of C and Rust keep what has an address in a *shadow stack* in the linear memory. Its
//! pointer is a mutable global, which a function lowers when it begins and puts back when it
//! returns. Nothing in a module says which global that is, but for the name section, which release
//! builds lack.

use std::cmp::Reverse;

use engine_api::{Error, GlobalIndex};
use wasmparser::{
    FunctionBody, GlobalType, KnownCustom, Name, NameSectionReader, Operator, Parser, Payload,
    TypeRef, ValType,
};

use crate::format::{invalid, refuse_other_formats};

/// The name that linkers give it.
const NAME: &str = "__stack_pointer";

/// Stacks are kept aligned to this many bytes by the tool conventions of WebAssembly.
const ALIGNMENT: i64 = 16;

/// After this many functions that lower the same global the search ends.
const ENOUGH: u32 = 32;

/// The global that holds the stack pointer, if one is recognised: the one of the name
/// `__stack_pointer`, or the one that most functions lower by a multiple of 16. It is mutable, the
/// module defines it, it is an i32 or an i64, and it begins at a multiple of 16 above 0.
///
/// The rule can be wrong in both directions: a global that is imported, as in modules for dynamic
/// linking, is not found, and a global that counts down in steps of 16 is taken for one.
///
/// # Errors
///
/// [`Error::InvalidModule`] for bytes that cannot be read as a core module.
pub fn stack_pointer(wasm: &[u8]) -> Result<Option<GlobalIndex>, Error> {
    refuse_other_formats(wasm)?;
    let mut search = Search::default();
    for payload in Parser::new(0).parse_all(wasm) {
        payload
            .and_then(|payload| search.payload(payload))
            .map_err(|error| invalid(&error))?;
    }
    Ok(search.finish())
}

/// The globals that may be the one.
#[derive(Default)]
struct Search {
    /// Of each global in the index space, how many functions lower it; `None` if it cannot be one.
    lowered: Vec<Option<u32>>,
    named: Option<u32>,
    is_found: bool,
}

impl Search {
    fn payload(&mut self, payload: Payload<'_>) -> wasmparser::Result<()> {
        match payload {
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    if let TypeRef::Global(_) = import?.ty {
                        self.lowered.push(None);
                    }
                }
            }
            Payload::GlobalSection(section) => {
                for global in section {
                    let global = global?;
                    let mut init = global.init_expr.get_operators_reader();
                    let begins = constant(&init.read()?);
                    let is_stack = begins.is_some_and(|at| at > 0 && at % ALIGNMENT == 0);
                    let may_be = is_mutable_number(global.ty) && is_stack;
                    self.lowered.push(may_be.then_some(0));
                }
            }
            Payload::CodeSectionEntry(body) if !self.is_found => self.body(&body)?,
            Payload::CustomSection(section) => {
                if let KnownCustom::Name(names) = section.as_known() {
                    self.names(names);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Looks for `global.get`, a constant and a subtraction, and a `global.set` of the same global
    /// with nothing but the use of locals between.
    fn body(&mut self, body: &FunctionBody<'_>) -> wasmparser::Result<()> {
        let mut step = Step::Nothing;
        for operator in body.get_operators_reader()? {
            let operator = operator?;
            step = match (step, &operator) {
                (_, Operator::GlobalGet { global_index }) => Step::Read(*global_index),
                (Step::Read(global), operator)
                    if constant(operator).is_some_and(|by| by > 0 && by % ALIGNMENT == 0) =>
                {
                    Step::Constant(global)
                }
                (Step::Constant(global), Operator::I32Sub | Operator::I64Sub) => {
                    Step::Lowered(global)
                }
                (
                    Step::Lowered(global),
                    Operator::LocalTee { .. }
                    | Operator::LocalSet { .. }
                    | Operator::LocalGet { .. },
                ) => Step::Lowered(global),
                (Step::Lowered(global), Operator::GlobalSet { global_index })
                    if global == *global_index =>
                {
                    self.note(global);
                    return Ok(());
                }
                _ => Step::Nothing,
            };
        }
        Ok(())
    }

    fn note(&mut self, global: u32) {
        if let Some(Some(count)) = self.lowered.get_mut(global as usize) {
            *count += 1;
            self.is_found |= *count >= ENOUGH;
        }
    }

    /// Names that cannot be read name nothing.
    fn names(&mut self, names: NameSectionReader<'_>) {
        for part in names.into_iter().flatten() {
            if let Name::Global(globals) = part {
                let mut globals = globals.into_iter().flatten();
                let found = globals.find(|global| global.name == NAME);
                self.named = found.map(|global| global.index).or(self.named);
            }
        }
    }

    fn finish(self) -> Option<GlobalIndex> {
        let may_be = |index: &u32| matches!(self.lowered.get(*index as usize), Some(Some(_)));
        if let Some(named) = self.named.filter(may_be) {
            return Some(GlobalIndex(named));
        }
        let counted = (0..).zip(&self.lowered);
        let lowered = counted.filter_map(|(index, count)| Some((index, (*count)?)));
        let lowered = lowered.filter(|(_, count)| *count > 0);
        // Of several the first: linkers put it there.
        let most = lowered.max_by_key(|(index, count)| (*count, Reverse(*index)));
        most.map(|(index, _)| GlobalIndex(index))
    }
}

/// How far the pattern has been met.
#[derive(Clone, Copy)]
enum Step {
    Nothing,
    Read(u32),
    Constant(u32),
    Lowered(u32),
}

fn is_mutable_number(ty: GlobalType) -> bool {
    ty.mutable && !ty.shared && matches!(ty.content_type, ValType::I32 | ValType::I64)
}

fn constant(operator: &Operator<'_>) -> Option<i64> {
    match operator {
        Operator::I32Const { value } => Some(i64::from(*value)),
        Operator::I64Const { value } => Some(*value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Option<u32> {
        let wasm = wat::parse_str(text).unwrap();
        stack_pointer(&wasm).unwrap().map(|global| global.0)
    }

    const COUNTER: &str = "(global $count (mut i32) (i32.const 0))";

    fn lowering(globals: &str, by: &str) -> String {
        format!(
            "(module {globals}
                (func (param i32) (local i32)
                    (local.set 1 (i32.sub (global.get $own) (i32.const {by})))
                    (global.set $own (local.get 1)))
                (func (local i32)
                    (global.set $own
                        (local.tee 0 (i32.sub (global.get $own) (i32.const {by}))))))"
        )
    }

    #[test]
    fn the_global_that_functions_lower_is_the_stack_pointer() {
        let own = "(global $own (mut i32) (i32.const 65536))";
        assert_eq!(found(&lowering(own, "16")), Some(0));
        assert_eq!(found(&lowering(&format!("{COUNTER}{own}"), "32")), Some(1));
        assert_eq!(found(&lowering(own, "1")), None, "it counts down");
        assert_eq!(found(&format!("(module {own})")), None, "nothing lowers it");
        let odd = "(global $own (mut i32) (i32.const 1001))";
        assert_eq!(found(&lowering(odd, "16")), None, "no stack begins there");
    }

    #[test]
    fn a_heap_that_grows_upwards_is_no_stack() {
        let text = "(module (global $heap (mut i32) (i32.const 1024))
            (func (global.set $heap (i32.add (global.get $heap) (i32.const 64)))))";
        assert_eq!(found(text), None);
    }

    #[test]
    fn the_name_decides_where_there_is_one() {
        let text =
            format!("(module {COUNTER} (global $__stack_pointer (mut i32) (i32.const 65536)))");
        assert_eq!(found(&text), Some(1));
        let immutable = "(module (global $__stack_pointer i32 (i32.const 65536)))";
        assert_eq!(found(immutable), None);
        let imported = "(module (import \"env\" \"__stack_pointer\"
            (global $__stack_pointer (mut i32))))";
        assert_eq!(found(imported), None);
    }

    #[test]
    fn a_64_bit_memory_has_a_64_bit_stack_pointer() {
        let text = "(module (global $sp (mut i64) (i64.const 1048576))
            (func (global.set $sp (i64.sub (global.get $sp) (i64.const 48)))))";
        assert_eq!(found(text), Some(0));
    }

    #[test]
    fn bytes_that_are_no_module_are_refused() {
        assert!(stack_pointer(b"\0asm\x01\0\0\0\x0a").is_err());
        assert!(stack_pointer(&[0x1f, 0x8b, 8]).is_err());
    }
}
