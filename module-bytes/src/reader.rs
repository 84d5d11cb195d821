//! Reading a binary's sections into a [`ModuleInfo`].

use engine_api::{
    Error, Export, ExportKind, ExternType, FuncIndex, FuncType, GlobalIndex, GlobalType, Import,
    MemoryIndex, MemoryType, ModuleContents, ModuleHash, ModuleInfo, ModuleLimits, TableIndex,
    TableType, ValType,
};
use wasmparser::{CompositeInnerType, ExternalKind, Parser, Payload, TypeRef};

use crate::format::{invalid, refuse_other_formats, refused};

/// Reads a module's sections.
///
/// # Errors
///
/// [`Error::InvalidModule`] for bytes that are not a core module, with the way out for components,
/// the text format and truncated files; also for types that cannot cross the contract, such as a
/// parameter of a garbage-collected type on an export.
pub fn parse(wasm: &[u8]) -> Result<ModuleInfo, Error> {
    parse_within(wasm, &ModuleLimits::none())
}

/// Reads a module's sections, as far as the limits allow. Counts are compared before anything is
/// read in their number.
///
/// # Errors
///
/// [`Error::ModuleLimit`]; the others as of [`parse`].
pub fn parse_within(wasm: &[u8], limits: &ModuleLimits) -> Result<ModuleInfo, Error> {
    limits.check_bytes(wasm.len() as u64)?;
    refuse_other_formats(wasm)?;
    let mut reader = Reader {
        limits: *limits,
        ..Reader::default()
    };
    let mut ended = false;
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload.map_err(|error| invalid(&error))?;
        ended |= matches!(payload, Payload::End(_));
        reader.read(payload)?;
    }
    if !ended {
        return Err(refused("the file is truncated"));
    }
    reader.finish(ModuleHash::of(wasm))
}

/// Everything read so far, in the binary's own index spaces.
#[derive(Default)]
struct Reader {
    types: Vec<Option<FuncType>>,
    function_types: Vec<u32>,
    imports: Vec<Import>,
    exports: Vec<(String, ExternalKind, u32)>,
    memories: Vec<MemoryType>,
    tables: Vec<Option<TableType>>,
    globals: Vec<Option<GlobalType>>,
    start: bool,
    limits: ModuleLimits,
}

impl Reader {
    fn read(&mut self, payload: Payload<'_>) -> Result<(), Error> {
        let error = |error: wasmparser::BinaryReaderError| invalid(&error);
        match payload {
            Payload::TypeSection(section) => {
                for group in section {
                    for ty in group.map_err(error)?.types() {
                        self.types.push(match &ty.composite_type.inner {
                            CompositeInnerType::Func(ty) => func_type(ty),
                            _ => None,
                        });
                    }
                }
            }
            Payload::ImportSection(section) => {
                self.limits.check_imports(section.count().into())?;
                for import in section.into_imports() {
                    let import = import.map_err(error)?;
                    self.limits.check_imports(self.imports.len() as u64 + 1)?;
                    self.import(import.module, import.name, import.ty)?;
                }
            }
            Payload::FunctionSection(section) => {
                self.limits.check_functions(section.count().into())?;
                for ty in section {
                    self.function_types.push(ty.map_err(error)?);
                }
            }
            Payload::TableSection(section) => {
                for table in section {
                    self.tables.push(table_type(&table.map_err(error)?.ty));
                }
            }
            Payload::MemorySection(section) => {
                for memory in section {
                    self.memories.push(memory_type(&memory.map_err(error)?)?);
                }
            }
            Payload::GlobalSection(section) => {
                for global in section {
                    self.globals.push(global_type(&global.map_err(error)?.ty));
                }
            }
            Payload::ExportSection(section) => {
                self.limits.check_exports(section.count().into())?;
                for export in section {
                    let export = export.map_err(error)?;
                    self.exports
                        .push((export.name.to_owned(), export.kind, export.index));
                }
            }
            Payload::CodeSectionEntry(body) => {
                self.limits
                    .check_function_bytes(body.range().len() as u64)?;
            }
            Payload::StartSection { .. } => self.start = true,
            _ => {}
        }
        Ok(())
    }

    fn import(&mut self, module: &str, name: &str, ty: TypeRef) -> Result<(), Error> {
        let foreign = || {
            refused(format!(
                "import `{module}` `{name}` has a type that a host cannot give; build the module \
                 without garbage-collected and typed references in its imports"
            ))
        };
        let ty = match ty {
            TypeRef::Func(index) | TypeRef::FuncExact(index) => {
                self.function_types.push(index);
                ExternType::Func(self.func_type(index)?.ok_or_else(foreign)?.clone())
            }
            TypeRef::Table(ty) => {
                self.tables.push(table_type(&ty));
                ExternType::Table(table_type(&ty).ok_or_else(foreign)?)
            }
            TypeRef::Memory(ty) => {
                self.memories.push(memory_type(&ty)?);
                ExternType::Memory(memory_type(&ty)?)
            }
            TypeRef::Global(ty) => {
                self.globals.push(global_type(&ty));
                ExternType::Global(global_type(&ty).ok_or_else(foreign)?)
            }
            TypeRef::Tag(_) => ExternType::Tag,
        };
        self.imports.push(Import {
            module: module.to_owned(),
            name: name.to_owned(),
            ty,
        });
        Ok(())
    }

    fn func_type(&self, index: u32) -> Result<Option<&FuncType>, Error> {
        at(&self.types, "type", index).map(Option::as_ref)
    }

    fn finish(self, hash: ModuleHash) -> Result<ModuleInfo, Error> {
        let mut exports = Vec::with_capacity(self.exports.len());
        let mut functions = 0;
        for (name, kind, index) in &self.exports {
            let (kind, ty) = self.export(name, *kind, *index, FuncIndex(functions))?;
            functions += u32::from(matches!(kind, ExportKind::Func(_)));
            exports.push(Export {
                name: name.clone(),
                kind,
                ty,
            });
        }
        // These stand for types that cannot cross the contract, which no import or export has.
        let hidden_table = TableType {
            element: ValType::FuncRef,
            elements_min: 0,
            elements_max: Some(0),
        };
        let hidden_global = GlobalType {
            value: ValType::FuncRef,
            mutable: false,
        };
        ModuleInfo::new(ModuleContents {
            hash,
            imports: self.imports,
            exports,
            memories: self.memories,
            tables: known(self.tables, hidden_table),
            globals: known(self.globals, hidden_global),
            has_start: self.start,
            function_count: self.function_types.len(),
        })
    }

    fn export(
        &self,
        name: &str,
        kind: ExternalKind,
        index: u32,
        next_function: FuncIndex,
    ) -> Result<(ExportKind, ExternType), Error> {
        let foreign = || {
            refused(format!(
                "export `{name}` has a type that a host cannot hold"
            ))
        };
        Ok(match kind {
            ExternalKind::Func | ExternalKind::FuncExact => {
                let ty = at(&self.function_types, "function", index)?;
                let ty = self.func_type(*ty)?.ok_or_else(foreign)?.clone();
                (ExportKind::Func(next_function), ExternType::Func(ty))
            }
            ExternalKind::Memory => {
                let ty = at(&self.memories, "memory", index)?;
                let kind = ExportKind::Memory(MemoryIndex(index));
                (kind, ExternType::Memory(*ty))
            }
            ExternalKind::Table => {
                let ty = at(&self.tables, "table", index)?.ok_or_else(foreign)?;
                let kind = ExportKind::Table(TableIndex(index));
                (kind, ExternType::Table(ty))
            }
            ExternalKind::Global => {
                let ty = at(&self.globals, "global", index)?.ok_or_else(foreign)?;
                let kind = ExportKind::Global(GlobalIndex(index));
                (kind, ExternType::Global(ty))
            }
            ExternalKind::Tag => (ExportKind::Tag, ExternType::Tag),
        })
    }
}

fn known<T: Copy>(types: Vec<Option<T>>, hidden: T) -> Vec<T> {
    types.into_iter().map(|ty| ty.unwrap_or(hidden)).collect()
}

fn at<'a, T>(space: &'a [T], kind: &str, index: u32) -> Result<&'a T, Error> {
    let item = space.get(index as usize);
    item.ok_or_else(|| refused(format!("there is no {kind} {index}")))
}

fn func_type(ty: &wasmparser::FuncType) -> Option<FuncType> {
    let params: Option<Vec<ValType>> = ty.params().iter().map(|ty| val_type(*ty)).collect();
    let results: Option<Vec<ValType>> = ty.results().iter().map(|ty| val_type(*ty)).collect();
    Some(FuncType::new(&params?, &results?))
}

fn val_type(ty: wasmparser::ValType) -> Option<ValType> {
    Some(match ty {
        wasmparser::ValType::I32 => ValType::I32,
        wasmparser::ValType::I64 => ValType::I64,
        wasmparser::ValType::F32 => ValType::F32,
        wasmparser::ValType::F64 => ValType::F64,
        wasmparser::ValType::V128 => ValType::V128,
        wasmparser::ValType::Ref(ty) => ref_type(ty)?,
    })
}

fn ref_type(ty: wasmparser::RefType) -> Option<ValType> {
    match ty {
        wasmparser::RefType::FUNCREF => Some(ValType::FuncRef),
        wasmparser::RefType::EXTERNREF => Some(ValType::ExternRef),
        _ => None,
    }
}

fn table_type(ty: &wasmparser::TableType) -> Option<TableType> {
    Some(TableType {
        element: ref_type(ty.element_type)?,
        elements_min: ty.initial,
        elements_max: ty.maximum,
    })
}

fn memory_type(ty: &wasmparser::MemoryType) -> Result<MemoryType, Error> {
    if ty.page_size_log2.is_some_and(|log2| log2 != 16) {
        let reason = "a memory has a custom page size; build it with pages of 64 KiB";
        return Err(refused(reason));
    }
    Ok(MemoryType {
        pages_min: ty.initial,
        pages_max: ty.maximum,
        shared: ty.shared,
        memory64: ty.memory64,
    })
}

fn global_type(ty: &wasmparser::GlobalType) -> Option<GlobalType> {
    Some(GlobalType {
        value: val_type(ty.content_type)?,
        mutable: ty.mutable,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_text(wat: &str) -> ModuleInfo {
        parse(&wat::parse_str(wat).unwrap()).unwrap()
    }

    fn reason(wasm: &[u8]) -> String {
        parse(wasm).unwrap_err().to_string()
    }

    #[test]
    fn indexes_count_exported_functions_and_all_memories() {
        let info = parse_text(
            r#"(module
                (import "env" "m" (memory 1 2))
                (memory (export "own") 3)
                (func $hidden)
                (func (export "a") (param i32) (result i64) i64.const 0)
                (func (export "b") (result f32 f64) f32.const 0 f64.const 0)
                (global (export "g") (mut i32) i32.const 0)
                (start $hidden))"#,
        );
        assert_eq!(info.functions().len(), 2);
        let (index, b) = info.function("b").unwrap();
        assert_eq!(
            (index, b.ty.to_string()),
            (FuncIndex(1), "() -> (f32, f64)".to_owned())
        );
        assert_eq!(
            info.export("own").unwrap().kind,
            ExportKind::Memory(MemoryIndex(1))
        );
        assert_eq!(info.memory_bytes_max(), 2 * 65_536 + (1 << 32));
        assert!(info.has_start());
        assert!(info.function("own").is_err());
    }

    #[test]
    fn other_formats_are_refused_with_the_way_out() {
        assert!(reason(b"").contains("empty"));
        assert!(reason(b"(module)").contains("wat2wasm"));
        assert!(reason(b"\x7fELF").contains("magic number"));
        assert!(reason(&wat::parse_str("(component)").unwrap()).contains("core module"));
    }

    #[test]
    fn every_truncation_is_refused() {
        let wasm = wat::parse_str(
            r#"(module (memory (export "m") 1) (func (export "f") (result i32) i32.const 1))"#,
        )
        .unwrap();
        // A cut between two sections leaves a shorter valid module. All others must be refused.
        for len in 0..wasm.len() {
            let cut = &wasm[..len];
            let valid = wasmparser::Validator::new().validate_all(cut).is_ok();
            assert!(valid || parse(cut).is_err() || crate::features(cut).is_err());
        }
    }
}
