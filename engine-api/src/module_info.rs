//! A module's names, types and indexes, read from its bytes.

mod reader;

use std::collections::HashMap;
use std::fmt;

use wasmparser::{Parser, Payload, Validator, WasmFeatures};

use crate::{
    Error, ExternType, FuncIndex, FuncType, GlobalIndex, GlobalType, MemoryIndex, MemoryType,
    ModuleHash, NumericType, Slot, TableIndex, TableType,
};
use reader::Reader;

/// An import of a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// The import's module name.
    pub module: String,
    /// The import's name.
    pub name: String,
    /// What the module needs there.
    pub ty: ExternType,
}

/// An export of a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// Its name.
    pub name: String,
    /// What it is, with the index to reach it by.
    pub kind: ExportKind,
    /// Its type.
    pub ty: ExternType,
}

/// What an export is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportKind {
    /// A function.
    Func(FuncIndex),
    /// A linear memory.
    Memory(MemoryIndex),
    /// A table.
    Table(TableIndex),
    /// A global.
    Global(GlobalIndex),
    /// An exception tag, which has no index because nothing of ours reaches it.
    Tag,
}

/// An exported function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionInfo {
    /// The name of the export. One function exported under two names is listed twice.
    pub name: String,
    /// Its type.
    pub ty: FuncType,
}

/// A feature beyond the first release of WebAssembly that a module may need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Feature {
    /// Functions and blocks with several results.
    MultiValue,
    /// `memory.copy` and its kin, passive segments.
    BulkMemory,
    /// `externref`, `ref.null`, several tables.
    ReferenceTypes,
    /// 128-bit SIMD.
    Simd,
    /// SIMD whose results may differ between machines: refused by every engine here.
    RelaxedSimd,
    /// Atomics and shared memories.
    Threads,
    /// Several linear memories.
    MultiMemory,
    /// 64-bit memories.
    Memory64,
    /// Tail calls.
    TailCalls,
    /// Exception handling.
    Exceptions,
    /// Typed function references and garbage-collected types.
    Gc,
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Feature::MultiValue => "multi-value",
            Feature::BulkMemory => "bulk-memory",
            Feature::ReferenceTypes => "reference-types",
            Feature::Simd => "simd",
            Feature::RelaxedSimd => "relaxed-simd",
            Feature::Threads => "threads",
            Feature::MultiMemory => "multi-memory",
            Feature::Memory64 => "memory64",
            Feature::TailCalls => "tail-calls",
            Feature::Exceptions => "exceptions",
            Feature::Gc => "gc",
        })
    }
}

/// What a module imports and exports, with the indexes by which everything is reached.
///
/// It is read from the bytes alone, so it is the same for every engine. Function bodies are not
/// looked at: an engine's [`crate::Engine::compile`] validates them.
#[derive(Clone, Debug)]
pub struct ModuleInfo {
    hash: ModuleHash,
    imports: Vec<Import>,
    exports: Vec<Export>,
    export_positions: HashMap<String, usize>,
    functions: Vec<FunctionInfo>,
    memories: Vec<MemoryType>,
    tables: Vec<TableType>,
    globals: Vec<GlobalType>,
    start: bool,
    function_count: usize,
}

impl ModuleInfo {
    /// Reads a module's sections.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidModule`] for anything that is no core module, with the way out for components,
    /// the text format and truncated files; [`Error::InvalidModule`] also for types that cannot cross
    /// this contract, such as a parameter of a garbage-collected type on an export.
    pub fn parse(wasm: &[u8]) -> Result<Self, Error> {
        refuse_other_formats(wasm)?;
        let mut reader = Reader::default();
        let mut ended = false;
        for payload in Parser::new(0).parse_all(wasm) {
            let payload = payload.map_err(|error| invalid(&error))?;
            ended |= matches!(payload, Payload::End(_));
            reader.read(payload)?;
        }
        if !ended {
            return Err(Error::InvalidModule {
                reason: "the file is truncated".to_owned(),
            });
        }
        reader.finish(ModuleHash::of(wasm))
    }

    /// For engines that wrap another: what the module looks like when the wrapper serves some of its
    /// imports, and offers functions of its own after the module's. The indexes of everything else
    /// stay.
    #[must_use]
    pub fn wrapped(&self, imports: Vec<Import>, functions: Vec<FunctionInfo>) -> Self {
        let mut info = Self {
            imports,
            ..self.clone()
        };
        for function in functions {
            let index = FuncIndex(u32::try_from(info.functions.len()).expect("counted in u32"));
            info.export_positions
                .insert(function.name.clone(), info.exports.len());
            info.exports.push(Export {
                name: function.name.clone(),
                kind: ExportKind::Func(index),
                ty: ExternType::Func(function.ty.clone()),
            });
            info.functions.push(function);
        }
        info
    }

    /// The hash of the module's bytes.
    #[must_use]
    pub fn hash(&self) -> ModuleHash {
        self.hash
    }

    /// All imports, in the module's order.
    #[must_use]
    pub fn imports(&self) -> &[Import] {
        &self.imports
    }

    /// All exports, in the module's order.
    #[must_use]
    pub fn exports(&self) -> &[Export] {
        &self.exports
    }

    /// The export of a name.
    #[must_use]
    pub fn export(&self, name: &str) -> Option<&Export> {
        self.export_positions
            .get(name)
            .map(|position| &self.exports[*position])
    }

    /// The exported functions, in the module's order: what [`FuncIndex`] counts.
    #[must_use]
    pub fn functions(&self) -> &[FunctionInfo] {
        &self.functions
    }

    /// The exported function of a name.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchExport`].
    pub fn function(&self, name: &str) -> Result<(FuncIndex, &FunctionInfo), Error> {
        match self.export(name).map(|export| export.kind) {
            Some(ExportKind::Func(index)) => Ok((index, &self.functions[index.0 as usize])),
            _ => Err(Error::NoSuchExport {
                kind: "function",
                name: name.to_owned(),
            }),
        }
    }

    /// The linear memories, imports first: what [`MemoryIndex`] counts.
    #[must_use]
    pub fn memories(&self) -> &[MemoryType] {
        &self.memories
    }

    /// The tables, imports first: what [`TableIndex`] counts.
    #[must_use]
    pub fn tables(&self) -> &[TableType] {
        &self.tables
    }

    /// The globals, imports first: what [`GlobalIndex`] counts.
    #[must_use]
    pub fn globals(&self) -> &[GlobalType] {
        &self.globals
    }

    /// Whether the module has a start function.
    #[must_use]
    pub fn has_start(&self) -> bool {
        self.start
    }

    /// How many functions the module defines or imports.
    #[must_use]
    pub fn function_count(&self) -> usize {
        self.function_count
    }

    /// The most bytes that all memories together can ever have.
    #[must_use]
    pub fn memory_bytes_max(&self) -> u64 {
        self.memories
            .iter()
            .map(MemoryType::bytes_max)
            .fold(0, u64::saturating_add)
    }

    /// Checks that what a call gives fits the function, by number and type.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchExport`]; [`Error::Signature`].
    pub fn check_call(
        &self,
        func: FuncIndex,
        args: &[crate::Val],
        results: &[crate::Val],
    ) -> Result<(), Error> {
        let Some(function) = self.functions.get(func.0 as usize) else {
            return Err(no_such_function(func));
        };
        let (params, declared) = (function.ty.params(), function.ty.results());
        let fits = params.len() == args.len()
            && declared.len() == results.len()
            && params.iter().zip(args).all(|(ty, arg)| *ty == arg.ty());
        if fits {
            return Ok(());
        }
        let types = |values: &[crate::Val]| values.iter().map(crate::Val::ty).collect::<Vec<_>>();
        Err(Error::Signature {
            name: function.name.clone(),
            expected: function.ty.clone(),
            got: FuncType::new(&types(args), &types(results)),
        })
    }

    /// Checks that a call by slots fits the function: `ty` is its type, and there are slots enough.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchExport`]; [`Error::Signature`].
    #[inline]
    pub fn check_numbers(
        &self,
        func: FuncIndex,
        ty: NumericType,
        slots: &[Slot],
    ) -> Result<(), Error> {
        let function = self.functions.get(func.0 as usize);
        match function.and_then(|function| function.ty.numeric()) {
            Some(own) if own == ty && slots.len() >= ty.slots() => Ok(()),
            _ => Err(self.misfit(func, ty)),
        }
    }

    #[cold]
    fn misfit(&self, func: FuncIndex, ty: NumericType) -> Error {
        match self.functions.get(func.0 as usize) {
            None => no_such_function(func),
            Some(function) => Error::Signature {
                name: function.name.clone(),
                expected: function.ty.clone(),
                got: ty.to_func_type(),
            },
        }
    }

    /// Which features a module's bytes use, by validating every function: costs about as much as
    /// the first pass of a compiler.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidModule`] if no set of features makes it valid.
    pub fn features(wasm: &[u8]) -> Result<Vec<Feature>, Error> {
        refuse_other_formats(wasm)?;
        let everything = WasmFeatures::all();
        Validator::new_with_features(everything)
            .validate_all(wasm)
            .map_err(|error| invalid(&error))?;
        let optional = [
            (Feature::MultiValue, WasmFeatures::MULTI_VALUE),
            (
                Feature::BulkMemory,
                WasmFeatures::BULK_MEMORY | WasmFeatures::BULK_MEMORY_OPT,
            ),
            (Feature::ReferenceTypes, WasmFeatures::REFERENCE_TYPES),
            (Feature::Simd, WasmFeatures::SIMD),
            (Feature::RelaxedSimd, WasmFeatures::RELAXED_SIMD),
            (Feature::Threads, WasmFeatures::THREADS),
            (Feature::MultiMemory, WasmFeatures::MULTI_MEMORY),
            (Feature::Memory64, WasmFeatures::MEMORY64),
            (Feature::TailCalls, WasmFeatures::TAIL_CALL),
            (
                Feature::Exceptions,
                WasmFeatures::EXCEPTIONS | WasmFeatures::LEGACY_EXCEPTIONS,
            ),
            (Feature::Gc, WasmFeatures::GC),
        ];
        // A feature is needed if the module is invalid without it, everything else allowed.
        Ok(optional
            .into_iter()
            .filter(|(_, flags)| {
                let without = dependents(*flags).complement() & everything;
                Validator::new_with_features(without)
                    .validate_all(wasm)
                    .is_err()
            })
            .map(|(feature, _)| feature)
            .collect())
    }
}

fn no_such_function(func: FuncIndex) -> Error {
    Error::NoSuchExport {
        kind: "function",
        name: format!("#{}", func.0),
    }
}

/// The flags and those that wasmparser refuses without them.
fn dependents(flags: WasmFeatures) -> WasmFeatures {
    let mut all = flags;
    if flags.contains(WasmFeatures::SIMD) {
        all |= WasmFeatures::RELAXED_SIMD;
    }
    if flags.contains(WasmFeatures::THREADS) {
        all |= WasmFeatures::SHARED_EVERYTHING_THREADS;
    }
    if flags.contains(WasmFeatures::REFERENCE_TYPES) {
        all |= WasmFeatures::FUNCTION_REFERENCES | WasmFeatures::GC;
    }
    all
}

pub(crate) fn invalid(error: &wasmparser::BinaryReaderError) -> Error {
    let way_out = if error.message().contains("unexpected end") {
        "; the file is truncated: copy or build it again"
    } else {
        ""
    };
    Error::InvalidModule {
        reason: format!(
            "{} (at offset {:#x}){way_out}",
            error.message(),
            error.offset()
        ),
    }
}

pub(crate) fn refuse_other_formats(wasm: &[u8]) -> Result<(), Error> {
    let refuse = |reason: &str| {
        Err(Error::InvalidModule {
            reason: reason.to_owned(),
        })
    };
    if wasm.is_empty() {
        return refuse("the file is empty");
    }
    if Parser::is_component(wasm) {
        return refuse(
            "this is a component; give the core module (`wasm-tools component unbundle` extracts it)",
        );
    }
    if wasm.starts_with(b"\0asm") {
        return Ok(());
    }
    let text = wasm.trim_ascii_start();
    if text.starts_with(b"(") || text.starts_with(b";;") {
        return refuse("this is the text format; convert it with `wat2wasm` or `wasm-tools parse`");
    }
    refuse("it does not start with the wasm magic number `\\0asm`")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Val, ValType};

    fn parse(wat: &str) -> ModuleInfo {
        ModuleInfo::parse(&wat::parse_str(wat).unwrap()).unwrap()
    }

    fn reason(wasm: &[u8]) -> String {
        ModuleInfo::parse(wasm).unwrap_err().to_string()
    }

    #[test]
    fn indexes_count_exported_functions_and_all_memories() {
        let info = parse(
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
    fn a_call_is_checked_by_number_and_type() {
        let info = parse(r#"(module (func (export "f") (param i32) (result i64) i64.const 0))"#);
        let f = FuncIndex(0);
        assert!(info.check_call(f, &[Val::I32(1)], &[Val::I64(0)]).is_ok());
        assert!(info.check_call(f, &[Val::I64(1)], &[Val::I64(0)]).is_err());
        assert!(info.check_call(f, &[], &[Val::I64(0)]).is_err());
        let error = info
            .check_call(f, &[Val::I32(1)], &[])
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "function `f` has type (i32) -> (i64), called with (i32) -> ()"
        );
        assert!(info.check_call(FuncIndex(1), &[], &[]).is_err());
    }

    #[test]
    fn a_call_by_slots_is_checked_by_type_and_room() {
        let info = parse(
            r#"(module
                (func (export "f") (param i32) (result i64 i64) i64.const 0 i64.const 0)
                (func (export "g") (param externref)))"#,
        );
        let numeric = |params: &[ValType], results: &[ValType]| {
            let ty = FuncType::new(params, results).numeric();
            ty.expect("all are numbers")
        };
        let own = numeric(&[ValType::I32], &[ValType::I64, ValType::I64]);
        let slots = [Slot::default(); 3];
        let f = FuncIndex(0);
        assert!(info.check_numbers(f, own, &slots).is_ok());
        assert!(info.check_numbers(f, own, &slots[..2]).is_ok());
        assert!(info.check_numbers(f, own, &slots[..1]).is_err());
        let other = numeric(&[ValType::F32], &[ValType::I64, ValType::I64]);
        let error = info.check_numbers(f, other, &slots).unwrap_err();
        assert!(matches!(error, Error::Signature { .. }), "{error}");
        let empty = numeric(&[], &[]);
        assert!(info.check_numbers(FuncIndex(1), empty, &slots).is_err());
        let error = info.check_numbers(FuncIndex(2), own, &slots).unwrap_err();
        assert!(matches!(error, Error::NoSuchExport { .. }), "{error}");
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
        // Cuts between two sections leave a shorter valid module; all others must be refused.
        for len in 0..wasm.len() {
            let cut = &wasm[..len];
            let valid = Validator::new().validate_all(cut).is_ok();
            assert!(valid || ModuleInfo::parse(cut).is_err() || ModuleInfo::features(cut).is_err());
        }
    }

    #[test]
    fn features_are_those_the_module_needs() {
        let features = |wat: &str| ModuleInfo::features(&wat::parse_str(wat).unwrap()).unwrap();
        assert_eq!(features("(module (func))"), []);
        assert_eq!(features("(module (memory 1 1 shared))"), [Feature::Threads]);
        assert_eq!(
            features("(module (memory 1) (memory 1))"),
            [Feature::MultiMemory]
        );
        assert_eq!(
            features("(module (func (param v128) (result i32 i32) i32.const 0 i32.const 0))"),
            [Feature::MultiValue, Feature::Simd]
        );
    }
}
