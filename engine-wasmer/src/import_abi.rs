//! The ABI of imported functions in LLVM's code, which must not always pass the base of memory 0.
//!
//! If memory 0 cannot move, LLVM's functions take its base as a parameter, but imported functions
//! do not. For a `call_indirect`, wasmer 7.3.0 guesses which kind it will meet from the table's
//! first element segment, as if that began at 0 and nothing were ever written to the table
//! (`build_m0_indirect_call` in its `code.rs`). If the guess is wrong, all parameters are shifted,
//! and a number of the guest's choice becomes the base of its memory: any address of the process.
//!
//! So a module in which an imported function may get into a table is compiled as if its memories
//! could move. Its functions then load the base when they need it, and compare each address with
//! the memory's size.

use std::ptr::NonNull;

use wasmer::wasmparser::{
    BinaryReaderError, ConstExpr, ElementItems, ExternalKind, Operator, Parser, Payload, TypeRef,
};
use wasmer_compiler::{BaseTunables, Tunables};
use wasmer_types::{MemoryError, MemoryStyle, MemoryType, TableStyle, TableType};
use wasmer_vm::{VMMemory, VMMemoryDefinition, VMTable, VMTableDefinition};

use crate::layout;

/// Whether the module uses an imported function as a value: in element segments, in globals, or as
/// an export, to which the host can get a reference. A function body can only make references to
/// functions that are named in one of these places.
pub(crate) fn imports_are_values(wasm: &[u8]) -> Result<bool, BinaryReaderError> {
    let mut imported = 0;
    for payload in Parser::new(0).parse_all(wasm) {
        match payload? {
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    imported += u32::from(matches!(
                        import?.ty,
                        TypeRef::Func(_) | TypeRef::FuncExact(_)
                    ));
                }
            }
            Payload::GlobalSection(section) => {
                for global in section {
                    if is_one(&global?.init_expr, imported)? {
                        return Ok(true);
                    }
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    if export.kind == ExternalKind::Func && export.index < imported {
                        return Ok(true);
                    }
                }
            }
            Payload::ElementSection(section) => {
                for element in section {
                    match element?.items {
                        ElementItems::Functions(functions) => {
                            for function in functions {
                                if function? < imported {
                                    return Ok(true);
                                }
                            }
                        }
                        ElementItems::Expressions(_, expressions) => {
                            for expression in expressions {
                                if is_one(&expression?, imported)? {
                                    return Ok(true);
                                }
                            }
                        }
                    }
                }
            }
            Payload::CodeSectionStart { .. } => break,
            _ => {}
        }
    }
    Ok(false)
}

fn is_one(expression: &ConstExpr<'_>, imported: u32) -> Result<bool, BinaryReaderError> {
    for operator in expression.get_operators_reader() {
        if matches!(operator?, Operator::RefFunc { function_index } if function_index < imported) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Tunables for compiling, which tell the compiler that memories may move. Instances have other
/// tunables, and their memories do not move.
pub(crate) struct Movable(BaseTunables);

impl Movable {
    pub(crate) fn new() -> Self {
        Self(layout::base())
    }
}

impl Tunables for Movable {
    fn memory_style(&self, _: &MemoryType) -> MemoryStyle {
        MemoryStyle::Dynamic {
            offset_guard_size: self.0.dynamic_memory_offset_guard_size,
        }
    }

    fn table_style(&self, table: &TableType) -> TableStyle {
        self.0.table_style(table)
    }

    fn create_host_memory(
        &self,
        ty: &MemoryType,
        style: &MemoryStyle,
    ) -> Result<VMMemory, MemoryError> {
        self.0.create_host_memory(ty, style)
    }

    unsafe fn create_vm_memory(
        &self,
        ty: &MemoryType,
        style: &MemoryStyle,
        location: NonNull<VMMemoryDefinition>,
    ) -> Result<VMMemory, MemoryError> {
        // SAFETY: as for this function.
        unsafe { self.0.create_vm_memory(ty, style, location) }
    }

    fn create_host_table(&self, ty: &TableType, style: &TableStyle) -> Result<VMTable, String> {
        self.0.create_host_table(ty, style)
    }

    unsafe fn create_vm_table(
        &self,
        ty: &TableType,
        style: &TableStyle,
        location: NonNull<VMTableDefinition>,
    ) -> Result<VMTable, String> {
        // SAFETY: as for this function.
        unsafe { self.0.create_vm_table(ty, style, location) }
    }
}
