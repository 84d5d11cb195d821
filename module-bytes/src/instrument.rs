//! Rewrites modules to let a checkpoint reach all of their state.
//!
//! A checkpoint holds the memories and the mutable globals of an instance, and is put into a fresh
//! instance of the same module. A module as its compiler wrote it prevents that in two ways.
//! Globals such as the stack pointer are hidden: they have no export, and an engine reaches a
//! global or a memory of an instance only by the name of an export. And the start function runs
//! inside the instantiation: it would run again, with its host calls, for each restored instance.
//!
//! So an engine compiles the module's [`Instrumented`] form: hidden state is exported under names
//! that no user's module may have, and the start function becomes an export that the engine calls
//! itself. Everything else, including all code, is copied byte for byte, and runs exactly as
//! before.

use std::borrow::Cow;
use std::ops::Range;

use engine_api::{Error, ExportKind, GlobalIndex, MemoryIndex, ModuleInfo};
use wasm_encoder::{Encode, RawSection, Section, SectionId};
use wasmparser::{ExportSectionReader, ExternalKind, Parser, Payload, Validator, WasmFeatures};

use crate::format::{invalid, refuse_other_formats, refused};

/// The names of exports that [`Instrumented`] adds begin with this. No user's module may have such
/// an export.
pub const RESERVED: &str = "wasm-proxy:";

/// The most exports that a module may have: the limit of the JavaScript embedding (section
/// "Implementation limits"), which wasmparser enforces, and with it every engine.
const EXPORTS_MAX: usize = 1_000_000;

/// A module as an engine compiles it: its own bytes with an export for all state that a checkpoint
/// reads and writes, and with an export in place of the start section.
///
/// New exports come after the module's own, so every index in the [`ModuleInfo`] of the original
/// bytes stays right. The result depends only on the bytes: it is the same on every engine. Only
/// compilers see it; hashes, precompiled modules and journals name the module by its original
/// bytes.
#[derive(Clone, Debug)]
pub struct Instrumented<'a> {
    wasm: Cow<'a, [u8]>,
    globals: Vec<(GlobalIndex, String)>,
    memories: Vec<(MemoryIndex, String)>,
    start: Option<String>,
}

impl<'a> Instrumented<'a> {
    /// Rewrites a module. `info` is the result of [`parse`](crate::parse) for the same bytes.
    ///
    /// It costs one pass over the bytes, except for the bodies of functions and the contents of
    /// data segments, which it neither reads nor checks, and one copy of the bytes if anything has
    /// to change.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidModule`] for bytes that are not a valid module (the engine's compiler checks
    /// the bodies of functions), for a module with an export that begins with [`RESERVED`], and for
    /// one that would have more than 1,000,000 exports.
    pub fn new(wasm: &'a [u8], info: &ModuleInfo) -> Result<Self, Error> {
        refuse_reserved(info)?;
        let layout = Layout::read(wasm)?;
        let mut added = Added::default();
        let globals = added.globals(info);
        let memories = added.memories(info);
        let start = layout.start.as_ref().map(|start| {
            start.exported_as.clone().unwrap_or_else(|| {
                added.export(
                    "start".to_owned(),
                    wasm_encoder::ExportKind::Func,
                    start.function,
                )
            })
        });
        let wasm = if added.count == 0 && start.is_none() {
            Cow::Borrowed(wasm)
        } else {
            Cow::Owned(layout.rewrite(wasm, &added)?)
        };
        Ok(Self {
            wasm,
            globals,
            memories,
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

    /// The export under which the engine finds the module's start function, which has no parameters
    /// and no results. The engine calls it once in each new instance, before anything else.
    #[must_use]
    pub fn start(&self) -> Option<&str> {
        self.start.as_deref()
    }
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

/// The exports that are added, encoded.
#[derive(Default)]
struct Added {
    bytes: Vec<u8>,
    count: usize,
}

impl Added {
    fn export(&mut self, what: String, kind: wasm_encoder::ExportKind, index: u32) -> String {
        let mut name = what;
        name.insert_str(0, RESERVED);
        name.encode(&mut self.bytes);
        kind.encode(&mut self.bytes);
        index.encode(&mut self.bytes);
        self.count += 1;
        name
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

/// The places of the sections that change.
struct Layout {
    exports: Option<Exports>,
    start: Option<Start>,
    /// Where a new export section belongs: before the first section that must follow it (core
    /// specification, section 5.5.2), else at the end.
    exports_at: usize,
}

struct Exports {
    /// The whole section, with its identifier and size.
    section: Range<usize>,
    /// The exports, without the number of them that precedes them.
    entries: Range<usize>,
    count: usize,
}

struct Start {
    /// The whole section, with its identifier and size.
    section: Range<usize>,
    /// The function, in the function index space.
    function: u32,
    /// The name of the first export of this function in the original module.
    exported_as: Option<String>,
}

impl Layout {
    /// Reads and validates everything but the bodies of functions.
    ///
    /// Validation comes before the rewrite, which hides mistakes in a start section: a start
    /// function that takes parameters would become a valid export. One difference remains: an
    /// export declares its function, so a body may name the start function in `ref.func` although
    /// the original module did not declare it. Such a module runs as it was meant.
    fn read(wasm: &[u8]) -> Result<Self, Error> {
        refuse_other_formats(wasm)?;
        let mut validator = Validator::new_with_features(WasmFeatures::all());
        let mut own_exports = None;
        let mut exports = None;
        let mut start = None;
        let mut exports_at = None;
        // A section begins where the one before it ends.
        let mut section_start = 0;
        for payload in Parser::new(0).parse_all(wasm) {
            let payload = payload.map_err(|error| invalid(&error))?;
            let checked = validator.payload(&payload);
            checked.map_err(|error| invalid(&error))?;
            if let Payload::Version { range, .. } = &payload {
                section_start = range.end;
            }
            let Some((id, contents)) = payload.as_section() else {
                continue;
            };
            let section = section_start..contents.end;
            section_start = contents.end;
            if follows_exports(id) {
                exports_at.get_or_insert(section.start);
            }
            match payload {
                Payload::ExportSection(reader) => {
                    exports = Some(Exports {
                        section,
                        entries: reader.original_position()..contents.end,
                        count: reader.count() as usize,
                    });
                    own_exports = Some(reader);
                }
                Payload::StartSection { func, .. } => {
                    start = Some(Start {
                        section,
                        function: func,
                        exported_as: own_exports
                            .take()
                            .map_or(Ok(None), |exports| name_of(exports, func))?,
                    });
                }
                _ => {}
            }
        }
        Ok(Self {
            exports,
            start,
            exports_at: exports_at.unwrap_or(wasm.len()),
        })
    }

    /// The bytes without the start section and with the added exports.
    fn rewrite(&self, wasm: &[u8], added: &Added) -> Result<Vec<u8>, Error> {
        let own_count = self.exports.as_ref().map_or(0, |exports| exports.count);
        let count = own_count + added.count;
        if count > EXPORTS_MAX {
            return Err(refused(format!(
                "{own_count} exports and {} more for checkpoints exceed the limit of \
                 {EXPORTS_MAX}; build the module with fewer exports or mutable globals",
                added.count
            )));
        }
        let (before, own) = match &self.exports {
            Some(exports) => (exports.section.clone(), exports.entries.clone()),
            None => (self.exports_at..self.exports_at, 0..0),
        };
        let mut contents = Vec::with_capacity(own.len() + added.bytes.len() + 5);
        count.encode(&mut contents);
        contents.extend_from_slice(&wasm[own]);
        contents.extend_from_slice(&added.bytes);
        if u32::try_from(contents.len()).is_err() {
            return Err(refused(
                "with the exports for checkpoints the export section would exceed 4 GiB; build the \
                 module with fewer exports or shorter names",
            ));
        }

        // The start section, if there is one, follows the export section.
        let dropped = self
            .start
            .as_ref()
            .map_or(before.end..before.end, |start| start.section.clone());
        let mut rewritten = Vec::with_capacity(wasm.len() + contents.len() + 16);
        rewritten.extend_from_slice(&wasm[..before.start]);
        let section = RawSection {
            id: SectionId::Export.into(),
            data: &contents,
        };
        section.append_to(&mut rewritten);
        rewritten.extend_from_slice(&wasm[before.end..dropped.start]);
        rewritten.extend_from_slice(&wasm[dropped.end..]);
        Ok(rewritten)
    }
}

/// Whether a section with this identifier must come after the export section.
fn follows_exports(id: u8) -> bool {
    [
        SectionId::Start,
        SectionId::Element,
        SectionId::DataCount,
        SectionId::Code,
        SectionId::Data,
    ]
    .into_iter()
    .any(|section| u8::from(section) == id)
}

fn name_of(exports: ExportSectionReader<'_>, function: u32) -> Result<Option<String>, Error> {
    for export in exports {
        let export = export.map_err(|error| invalid(&error))?;
        let is_function = matches!(export.kind, ExternalKind::Func | ExternalKind::FuncExact);
        if is_function && export.index == function {
            return Ok(Some(export.name.to_owned()));
        }
    }
    Ok(None)
}
