//! Rewrites modules to let a checkpoint reach all of their state.
//!
//! A checkpoint is taken of an instance, and put into a fresh instance of the same module. A module
//! as its compiler wrote it prevents that in four ways. Globals such as the stack pointer are
//! hidden: they have no export, and an engine reaches a part of an instance only by the name of an
//! export. So are tables that change, and the functions in them, by which an engine knows what a
//! reference is to. Nothing tells which segments were dropped. And the start function runs inside
//! the instantiation: it would run again, with its host calls, for each restored instance.
//!
//! So an engine compiles the module's [`Instrumented`] form: hidden state is exported under names
//! that no user's module may have, code that drops a segment sets a flag, and the start function
//! becomes an export that the engine calls itself. Everything else, including all code without
//! drops, is copied byte for byte, and runs exactly as before.

mod drops;
pub(crate) mod layout;
mod references;

use std::borrow::Cow;

use engine_api::{
    Error, ExportKind, GlobalIndex, MemoryIndex, ModuleInfo, Segment, TableIndex, ValType,
};
use wasm_encoder::{Encode, SectionId};
use wasmparser::{
    BinaryReader, DataSectionReader, ElementSectionReader, ExportSectionReader,
    GlobalSectionReader, Parser, Payload, TableSectionReader, Validator, WasmFeatures,
};

use crate::code::is_held;
use crate::format::{invalid, refuse_other_formats, refused};
use drops::{Code, Flags};
use layout::{Items, Layout, Rewrite};
use references::{Referable, is_function};

/// The names of exports that [`Instrumented`] adds begin with this. No user's module may have such
/// an export.
pub const RESERVED: &str = "wasm-proxy:";

/// A module as an engine compiles it: its own bytes with an export for all state that a checkpoint
/// reads and writes, with flags for dropped segments, and with an export in place of the start
/// section.
///
/// New exports come after the module's own, and so do new types, functions and globals, so every
/// index in the [`ModuleInfo`] of the original bytes stays right. The result depends only on the
/// bytes: it is the same on every engine. Only compilers see it; hashes, precompiled modules and
/// journals name the module by its original bytes.
///
/// Each `data.drop` and `elem.drop` of a passive segment is followed by two instructions that set
/// its flag. They use two units of fuel, and move the code after them.
#[derive(Clone, Debug)]
pub struct Instrumented<'a> {
    wasm: Cow<'a, [u8]>,
    globals: Vec<(GlobalIndex, String)>,
    memories: Vec<(MemoryIndex, String)>,
    tables: Vec<(TableIndex, String)>,
    functions: Vec<(u32, String)>,
    flags: Vec<(Segment, String)>,
    drops: Option<String>,
    start: Option<String>,
}

impl<'a> Instrumented<'a> {
    /// Rewrites a module. `info` is the result of [`parse`](crate::parse) for the same bytes.
    ///
    /// It costs one pass over the bytes except for the contents of data segments, and one copy of
    /// the bytes if anything has to change. Code is validated only if it drops segments.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidModule`] for bytes that are not a valid module (the engine's compiler checks
    /// the bodies of functions), for a module with an export that begins with [`RESERVED`], and for
    /// one that would have more than 1,000,000 exports, types, functions or globals.
    pub fn new(wasm: &'a [u8], info: &ModuleInfo) -> Result<Self, Error> {
        refuse_reserved(info)?;
        let sections = Sections::read(wasm)?;
        let mut added = Added::default();
        let globals = added.globals(info);
        let memories = added.memories(info);
        let tables = added.tables(info, &sections);
        let own_names = sections.function_names(info)?;
        let start = sections.start.map(|function| {
            let own = own_names.get(function as usize).copied().flatten();
            own.map_or_else(
                || added.function("start".to_owned(), function),
                ToOwned::to_owned,
            )
        });
        let holds_functions = holds_functions(info, &tables);
        let referable = sections.referable(info, holds_functions)?;
        let functions = referable.indexes().map(|index| {
            let name = match (own_names[index as usize], &start) {
                (Some(own), _) => own.to_owned(),
                (None, Some(start)) if sections.start == Some(index) => start.clone(),
                _ => added.function(format!("function:{index}"), index),
            };
            (index, name)
        });
        let functions = functions.collect();
        let flags = sections.flags(wasm, info)?;
        let flag_names = added.flags(&flags);
        let drops = (!flags.is_empty())
            .then(|| added.function("drop".to_owned(), count(info.function_count())));
        let wasm = if added.0.count == 0 && start.is_none() {
            Cow::Borrowed(wasm)
        } else {
            Cow::Owned(sections.rewrite(wasm, &added, &flags)?)
        };
        Ok(Self {
            wasm,
            globals,
            memories,
            tables,
            functions,
            flags: flag_names,
            drops,
            start,
        })
    }

    /// The bytes to compile: the original ones if nothing has to change.
    #[must_use]
    pub fn wasm(&self) -> &[u8] {
        &self.wasm
    }

    /// Every mutable global that the module defines itself, in the order of their indexes, with the
    /// name of an export: the module's own if it has one, else a new one.
    ///
    /// Globals whose type cannot cross the contract are left out, because no host could hold their
    /// values.
    #[must_use]
    pub fn globals(&self) -> &[(GlobalIndex, String)] {
        &self.globals
    }

    /// Every memory that the module defines itself, in the order of their indexes, with the name of
    /// an export: the module's own if it has one, else a new one.
    #[must_use]
    pub fn memories(&self) -> &[(MemoryIndex, String)] {
        &self.memories
    }

    /// Every table that the module defines itself and that can change after the instantiation, in
    /// the order of their indexes, with the name of an export: those with an export of their own,
    /// which a host can change, and those that some instruction changes. The others are the same in
    /// every instance, and so are tables whose type cannot cross the contract left out.
    ///
    /// Imported tables can change too, and need no export.
    #[must_use]
    pub fn tables(&self) -> &[(TableIndex, String)] {
        &self.tables
    }

    /// Every function that a reference in a table or in a mutable global can be to, by its index in
    /// the function index space, imports first, in ascending order, with the name of an export. It
    /// is empty if no table and no global that can change holds references to functions.
    #[must_use]
    pub fn functions(&self) -> &[(u32, String)] {
        &self.functions
    }

    /// Every passive segment that some instruction drops, in ascending order, with the name of the
    /// export of its flag: a mutable i32 that is 1 once the segment was dropped.
    #[must_use]
    pub fn flags(&self) -> &[(Segment, String)] {
        &self.flags
    }

    /// The export of a function without parameters and results that drops each segment whose flag
    /// is set. It exists if there are flags. An engine calls it in a restored instance.
    #[must_use]
    pub fn drops(&self) -> Option<&str> {
        self.drops.as_deref()
    }

    /// The export under which the engine finds the module's start function, which has no parameters
    /// and no results. The engine calls it once in each new instance, before anything else.
    #[must_use]
    pub fn start(&self) -> Option<&str> {
        self.start.as_deref()
    }
}

fn count(items: usize) -> u32 {
    u32::try_from(items).unwrap_or(u32::MAX)
}

fn refuse_reserved(info: &ModuleInfo) -> Result<(), Error> {
    let reserved = |name: &str| name.starts_with(RESERVED);
    match info.exports().iter().find(|export| reserved(&export.name)) {
        None => Ok(()),
        Some(export) => Err(refused(format!(
            "the export `{}` begins with `{RESERVED}`, which is kept for the exports that \
             wasm-proxy adds; rename it, or give the module as its compiler wrote it",
            export.name
        ))),
    }
}

/// The exports that are added.
#[derive(Default)]
struct Added(Items);

impl Added {
    fn export(&mut self, what: String, kind: wasm_encoder::ExportKind, index: u32) -> String {
        let mut name = what;
        name.insert_str(0, RESERVED);
        let Items { bytes, count } = &mut self.0;
        name.encode(bytes);
        kind.encode(bytes);
        index.encode(bytes);
        *count += 1;
        name
    }

    fn function(&mut self, what: String, index: u32) -> String {
        self.export(what, wasm_encoder::ExportKind::Func, index)
    }

    fn globals(&mut self, info: &ModuleInfo) -> Vec<(GlobalIndex, String)> {
        let names = names(info, info.globals().len(), |kind| match kind {
            ExportKind::Global(index) => Some(index.0),
            _ => None,
        });
        let own = (0..).zip(info.globals()).skip(info.imported_globals());
        own.filter(|(_, ty)| ty.mutable)
            .map(|(index, _)| {
                let name = names[index as usize].cloned().unwrap_or_else(|| {
                    let kind = wasm_encoder::ExportKind::Global;
                    self.export(format!("global:{index}"), kind, index)
                });
                (GlobalIndex(index), name)
            })
            .collect()
    }

    fn memories(&mut self, info: &ModuleInfo) -> Vec<(MemoryIndex, String)> {
        let names = names(info, info.memories().len(), |kind| match kind {
            ExportKind::Memory(index) => Some(index.0),
            _ => None,
        });
        let own = (0..).zip(names).skip(info.imported_memories());
        own.map(|(index, name)| {
            let name = name.cloned().unwrap_or_else(|| {
                let kind = wasm_encoder::ExportKind::Memory;
                self.export(format!("memory:{index}"), kind, index)
            });
            (MemoryIndex(index), name)
        })
        .collect()
    }

    fn tables(&mut self, info: &ModuleInfo, sections: &Sections<'_>) -> Vec<(TableIndex, String)> {
        let names = names(info, info.tables().len(), |kind| match kind {
            ExportKind::Table(index) => Some(index.0),
            _ => None,
        });
        let own = (0..).zip(names).skip(info.imported_tables());
        own.zip(&sections.held_tables)
            .filter(|(_, held)| **held)
            .filter_map(|((index, name), _)| {
                let name = match name {
                    Some(name) => name.clone(),
                    None if sections.code.tables.contains(&index) => {
                        let kind = wasm_encoder::ExportKind::Table;
                        self.export(format!("table:{index}"), kind, index)
                    }
                    None => return None,
                };
                Some((TableIndex(index), name))
            })
            .collect()
    }

    fn flags(&mut self, flags: &Flags) -> Vec<(Segment, String)> {
        let names = flags.iter().map(|(segment, global)| {
            let what = match segment {
                Segment::Data(index) => format!("data:{index}"),
                Segment::Element(index) => format!("element:{index}"),
            };
            let kind = wasm_encoder::ExportKind::Global;
            (segment, self.export(what, kind, global))
        });
        names.collect()
    }
}

/// For each item of an index space the name of its first export.
fn names(
    info: &ModuleInfo,
    len: usize,
    index_of: impl Fn(ExportKind) -> Option<u32>,
) -> Vec<Option<&String>> {
    let mut names = vec![None; len];
    for export in info.exports().iter().rev() {
        if let Some(index) = index_of(export.kind) {
            names[index as usize] = Some(&export.name);
        }
    }
    names
}

/// Whether a reference to a function can be in a global or in a table that can change.
fn holds_functions(info: &ModuleInfo, tables: &[(TableIndex, String)]) -> bool {
    let imported = &info.tables()[..info.imported_tables()];
    let own = tables
        .iter()
        .map(|(index, _)| &info.tables()[index.0 as usize]);
    let mut tables = imported.iter().chain(own);
    tables.any(|table| table.element == ValType::FuncRef)
        || info.mutable_globals().any(|(_, ty)| ty == ValType::FuncRef)
}

/// What instrumentation reads of a module.
#[derive(Default)]
struct Sections<'a> {
    layout: Layout,
    types: u32,
    /// Of each table that the module defines itself, whether a checkpoint holds its references.
    held_tables: Vec<bool>,
    tables: Option<TableSectionReader<'a>>,
    globals: Option<GlobalSectionReader<'a>>,
    exports: Option<ExportSectionReader<'a>>,
    elements: Option<ElementSectionReader<'a>>,
    data: Option<DataSectionReader<'a>>,
    has_data_count: bool,
    /// The start function, in the function index space.
    start: Option<u32>,
    code: Code,
}

impl<'a> Sections<'a> {
    /// Reads and validates everything but the bodies of functions, which it only reads.
    ///
    /// Validation comes before the rewrite, which hides mistakes in a start section: a start
    /// function that takes parameters would become a valid export. One difference remains: an
    /// export declares its function, so a body may name the start function in `ref.func` although
    /// the original module did not declare it. Such a module runs as it was meant.
    fn read(wasm: &'a [u8]) -> Result<Self, Error> {
        refuse_other_formats(wasm)?;
        let mut validator = Validator::new_with_features(WasmFeatures::all());
        let mut sections = Self::default();
        // A section begins where the one before it ends, and so does the body of a function.
        let mut section_start = 0;
        let mut body_start = 0;
        for payload in Parser::new(0).parse_all(wasm) {
            let payload = payload.map_err(|error| invalid(&error))?;
            let checked = validator.payload(&payload);
            checked.map_err(|error| invalid(&error))?;
            match &payload {
                Payload::Version { range, .. } => section_start = range.end,
                Payload::CodeSectionStart { range, .. } => {
                    // In a truncated file the section would end behind the bytes.
                    let mut reader = BinaryReader::new(&wasm[range.start..], range.start);
                    let read = reader.read_var_u32();
                    read.map_err(|error| invalid(&error))?;
                    body_start = reader.original_position();
                }
                Payload::CodeSectionEntry(body) => {
                    if sections.code_matters() {
                        let read = sections.code.read(body, body_start);
                        read.map_err(|error| invalid(&error))?;
                    }
                    body_start = body.range().end;
                }
                _ => {}
            }
            if let Some((id, contents)) = payload.as_section() {
                let whole = section_start..contents.end;
                section_start = contents.end;
                sections.layout.note(wasm, id, whole, contents);
            }
            sections.keep(payload)?;
        }
        Ok(sections)
    }

    /// Whether code can change a table or drop a segment.
    fn code_matters(&self) -> bool {
        !self.held_tables.is_empty() || self.elements.is_some() || self.has_data_count
    }

    fn keep(&mut self, payload: Payload<'a>) -> Result<(), Error> {
        match payload {
            Payload::TypeSection(section) => {
                for group in section {
                    let group = group.map_err(|error| invalid(&error))?;
                    self.types += count(group.types().len());
                }
            }
            Payload::TableSection(section) => {
                for table in section.clone() {
                    let table = table.map_err(|error| invalid(&error))?;
                    self.held_tables.push(is_held(table.ty.element_type));
                }
                self.tables = Some(section);
            }
            Payload::GlobalSection(section) => self.globals = Some(section),
            Payload::ExportSection(section) => self.exports = Some(section),
            Payload::ElementSection(section) => self.elements = Some(section),
            Payload::DataSection(section) => self.data = Some(section),
            Payload::DataCountSection { .. } => self.has_data_count = true,
            Payload::StartSection { func, .. } => self.start = Some(func),
            _ => {}
        }
        Ok(())
    }

    /// For each function the name of its first export.
    fn function_names(&self, info: &ModuleInfo) -> Result<Vec<Option<&'a str>>, Error> {
        let mut names = vec![None; info.function_count()];
        for export in self.exports.iter().cloned().flatten() {
            let export = export.map_err(|error| invalid(&error))?;
            if is_function(export.kind)
                && let Some(name) = names.get_mut(export.index as usize)
            {
                name.get_or_insert(export.name);
            }
        }
        Ok(names)
    }

    /// The functions that a reference can be to, if anything `holds` references to functions.
    fn referable(&self, info: &ModuleInfo, holds: bool) -> Result<Referable, Error> {
        if !holds {
            return Ok(Referable::new(0));
        }
        let mut referable = Referable::new(info.function_count());
        if let Some(section) = &self.tables {
            referable.tables(section.clone())?;
        }
        if let Some(section) = &self.globals {
            referable.globals(section.clone())?;
        }
        if let Some(section) = &self.exports {
            referable.exports(section.clone())?;
        }
        if let Some(section) = &self.elements {
            referable.elements(section.clone())?;
        }
        // Its new export declares it.
        if let Some(start) = self.start {
            referable.add(start);
        }
        Ok(referable)
    }

    fn flags(&self, wasm: &[u8], info: &ModuleInfo) -> Result<Flags, Error> {
        let segments = self
            .code
            .droppable(self.data.clone(), self.elements.clone())?;
        if !segments.is_empty() {
            // In an invalid body a new index could be one that was missing.
            let mut validator = Validator::new_with_features(WasmFeatures::all());
            let checked = validator.validate_all(wasm);
            checked.map_err(|error| invalid(&error))?;
        }
        Ok(Flags::new(segments, count(info.globals().len())))
    }

    /// The bytes with the added exports, with flags, and without the start section.
    fn rewrite(&self, wasm: &[u8], added: &Added, flags: &Flags) -> Result<Vec<u8>, Error> {
        let mut rewrite = Rewrite::new(wasm, &self.layout);
        if flags.is_empty() {
            rewrite.add(SectionId::Export, "exports", &added.0, &[])?;
            rewrite.leave_out(SectionId::Start);
            return Ok(rewrite.finish());
        }
        // The type of the function that drops segments, and its index.
        let ty = Items {
            bytes: vec![0x60, 0, 0],
            count: 1,
        };
        let mut function = Items {
            bytes: Vec::new(),
            count: 1,
        };
        self.types.encode(&mut function.bytes);
        rewrite.add(SectionId::Type, "types", &ty, &[])?;
        rewrite.add(SectionId::Function, "functions", &function, &[])?;
        rewrite.add(SectionId::Global, "globals", &flags.globals(), &[])?;
        rewrite.add(SectionId::Export, "exports", &added.0, &[])?;
        rewrite.leave_out(SectionId::Start);
        let bodies = self.code.edits(wasm, flags);
        rewrite.add(SectionId::Code, "functions", &flags.function(), &bodies)?;
        Ok(rewrite.finish())
    }
}
