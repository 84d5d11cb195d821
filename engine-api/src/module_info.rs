//! A module's names, types and indexes.

use std::collections::HashMap;

use crate::{
    Error, ExternType, FuncIndex, FuncType, GlobalIndex, GlobalType, MemoryIndex, MemoryType,
    ModuleHash, NumericType, Slot, TableIndex, TableType, Val, ValType,
};

/// An import of a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// The import's module name.
    pub module: String,
    /// The import's name.
    pub name: String,
    /// The type that the module needs there.
    pub ty: ExternType,
}

impl Import {
    /// For engines: the error for an entry that does not serve this import, with the reason.
    #[must_use]
    pub fn refused(&self, reason: impl Into<String>) -> Error {
        Error::Import {
            module: self.module.clone(),
            name: self.name.clone(),
            expected: self.ty.clone(),
            reason: reason.into(),
        }
    }
}

/// An export of a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// The name, which no other export of the module has.
    pub name: String,
    /// Its kind, with the index by which the host reaches it.
    pub kind: ExportKind,
    /// The type that the module declares.
    pub ty: ExternType,
}

/// The kind of an export, with its index.
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
    /// An exception tag. It has no index, because the contract does not reach tags.
    Tag,
}

/// An exported function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionInfo {
    /// The name of the export. A function that is exported under two names is listed twice.
    pub name: String,
    /// The type that the module declares.
    pub ty: FuncType,
}

/// Everything that a reader takes from a module's bytes, for [`ModuleInfo::new`].
#[derive(Clone, Debug)]
pub struct ModuleContents {
    /// The hash of the bytes.
    pub hash: ModuleHash,
    /// All imports, in the module's order.
    pub imports: Vec<Import>,
    /// All exports, in the module's order, with [`FuncIndex`]es that count exported functions.
    pub exports: Vec<Export>,
    /// The memory index space: imports first.
    pub memories: Vec<MemoryType>,
    /// The table index space: imports first.
    pub tables: Vec<TableType>,
    /// The global index space: imports first.
    pub globals: Vec<GlobalType>,
    /// Whether there is a start function.
    pub has_start: bool,
    /// How many functions the module defines or imports.
    pub function_count: usize,
}

/// A module's imports and exports, with the indexes by which the host reaches them.
///
/// It is plain data and depends only on the module's bytes, so it is the same for every engine.
#[derive(Clone, Debug)]
pub struct ModuleInfo {
    contents: ModuleContents,
    export_positions: HashMap<String, usize>,
    functions: Vec<FunctionInfo>,
}

impl ModuleInfo {
    /// Indexes the contents that a reader found.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidModule`] if two exports have one name.
    pub fn new(contents: ModuleContents) -> Result<Self, Error> {
        let mut export_positions = HashMap::with_capacity(contents.exports.len());
        let mut functions = Vec::new();
        for (position, export) in contents.exports.iter().enumerate() {
            if export_positions
                .insert(export.name.clone(), position)
                .is_some()
            {
                return Err(Error::InvalidModule {
                    reason: format!("duplicate export name `{}`", export.name),
                });
            }
            if let ExternType::Func(ty) = &export.ty {
                functions.push(FunctionInfo {
                    name: export.name.clone(),
                    ty: ty.clone(),
                });
            }
        }
        Ok(Self {
            contents,
            export_positions,
            functions,
        })
    }

    /// For engines that wrap another: the module as its users see it if the wrapper serves some of
    /// its imports, and offers functions of its own after the module's. All other indexes stay.
    #[must_use]
    pub fn wrapped(&self, imports: Vec<Import>, functions: Vec<FunctionInfo>) -> Self {
        let mut info = self.clone();
        info.contents.imports = imports;
        for function in functions {
            let index = FuncIndex(u32::try_from(info.functions.len()).expect("counted in u32"));
            let exports = &mut info.contents.exports;
            info.export_positions
                .insert(function.name.clone(), exports.len());
            exports.push(Export {
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
        self.contents.hash
    }

    /// All imports, in the module's order.
    #[must_use]
    pub fn imports(&self) -> &[Import] {
        &self.contents.imports
    }

    /// All exports, in the module's order.
    #[must_use]
    pub fn exports(&self) -> &[Export] {
        &self.contents.exports
    }

    /// The export of a name.
    #[must_use]
    pub fn export(&self, name: &str) -> Option<&Export> {
        self.export_positions
            .get(name)
            .map(|position| &self.contents.exports[*position])
    }

    /// The exported functions, in the module's order. [`FuncIndex`] is a position in this list.
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

    /// The linear memories, imports first. [`MemoryIndex`] is a position in this list.
    #[must_use]
    pub fn memories(&self) -> &[MemoryType] {
        &self.contents.memories
    }

    /// The tables, imports first. [`TableIndex`] is a position in this list.
    #[must_use]
    pub fn tables(&self) -> &[TableType] {
        &self.contents.tables
    }

    /// The globals, imports first. [`GlobalIndex`] is a position in this list.
    #[must_use]
    pub fn globals(&self) -> &[GlobalType] {
        &self.contents.globals
    }

    /// How many memories are imported. They are the first ones.
    #[must_use]
    pub fn imported_memories(&self) -> usize {
        self.imported(|ty| matches!(ty, ExternType::Memory(_)))
    }

    /// How many tables are imported. They are the first ones.
    #[must_use]
    pub fn imported_tables(&self) -> usize {
        self.imported(|ty| matches!(ty, ExternType::Table(_)))
    }

    /// How many globals are imported. They are the first ones.
    #[must_use]
    pub fn imported_globals(&self) -> usize {
        self.imported(|ty| matches!(ty, ExternType::Global(_)))
    }

    fn imported(&self, is: fn(&ExternType) -> bool) -> usize {
        let imports = self.imports().iter();
        imports.filter(|import| is(&import.ty)).count()
    }

    /// The mutable globals with their types. A snapshot holds their values, or what they refer to.
    pub fn mutable_globals(&self) -> impl Iterator<Item = (GlobalIndex, ValType)> + '_ {
        let globals = (0..).map(GlobalIndex).zip(self.globals());
        let mutable = globals.filter(|(_, ty)| ty.mutable);
        mutable.map(|(index, ty)| (index, ty.value))
    }

    /// For engines: refuses to set an immutable global, and to set a global to a value of another
    /// type. The index must be one of the module's.
    ///
    /// # Errors
    ///
    /// [`Error::ImmutableGlobal`]; [`Error::ValueType`].
    pub fn check_set_global(&self, global: GlobalIndex, value: &Val) -> Result<(), Error> {
        let ty = self.globals()[global.0 as usize];
        if !ty.mutable {
            return Err(Error::ImmutableGlobal { global: global.0 });
        }
        value.check_type(ty.value)
    }

    /// The function `_initialize` of a *reactor*: a library of WASI or Emscripten, whose
    /// constructors run there. An engine calls it once in each fresh instance, after the start
    /// function and before anything else, and never in a restored one. A module with a `_start` is a
    /// command and has none.
    #[must_use]
    pub fn initializer(&self) -> Option<FuncIndex> {
        match self.command() {
            Some(_) => None,
            None => self.entry_point("_initialize"),
        }
    }

    /// The function `_start` of a *command*: a WASI program that runs once from its beginning to its
    /// end.
    #[must_use]
    pub fn command(&self) -> Option<FuncIndex> {
        self.entry_point("_start")
    }

    fn entry_point(&self, name: &str) -> Option<FuncIndex> {
        let Some(ExportKind::Func(index)) = self.export(name).map(|export| export.kind) else {
            return None;
        };
        let ty = &self.functions[index.0 as usize].ty;
        (ty.params().is_empty() && ty.results().is_empty()).then_some(index)
    }

    /// Whether the module has a start function.
    #[must_use]
    pub fn has_start(&self) -> bool {
        self.contents.has_start
    }

    /// How many functions the module defines or imports.
    #[must_use]
    pub fn function_count(&self) -> usize {
        self.contents.function_count
    }

    /// The most bytes that all memories together can ever have.
    #[must_use]
    pub fn memory_bytes_max(&self) -> u64 {
        self.contents
            .memories
            .iter()
            .map(MemoryType::bytes_max)
            .fold(0, u64::saturating_add)
    }

    /// Checks the arguments and results of a call against the function, by number and type.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchExport`]; [`Error::Signature`].
    pub fn check_call(&self, func: FuncIndex, args: &[Val], results: &[Val]) -> Result<(), Error> {
        let Some(function) = self.functions.get(func.0 as usize) else {
            return Err(Error::no_such_index("function", func.0));
        };
        let (params, declared) = (function.ty.params(), function.ty.results());
        let fits = params.len() == args.len()
            && declared.len() == results.len()
            && params.iter().zip(args).all(|(ty, arg)| *ty == arg.ty());
        if fits {
            return Ok(());
        }
        let types = |values: &[Val]| values.iter().map(Val::ty).collect::<Vec<_>>();
        Err(Error::Signature {
            name: function.name.clone(),
            expected: function.ty.clone(),
            got: FuncType::new(&types(args), &types(results)),
        })
    }

    /// Checks a call by slots against the function: `ty` is its type, and there are enough slots.
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
            None => Error::no_such_index("function", func.0),
            Some(function) => Error::Signature {
                name: function.name.clone(),
                expected: function.ty.clone(),
                got: ty.to_func_type(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A module of exported functions: name, parameters, results.
    fn exporting(functions: &[(&str, &[ValType], &[ValType])]) -> ModuleInfo {
        let functions = (0..).zip(functions);
        let exports = functions.map(|(index, (name, params, results))| Export {
            name: (*name).to_owned(),
            kind: ExportKind::Func(FuncIndex(index)),
            ty: ExternType::Func(FuncType::new(params, results)),
        });
        ModuleInfo::new(ModuleContents {
            hash: ModuleHash::of(b""),
            imports: Vec::new(),
            exports: exports.collect(),
            memories: Vec::new(),
            tables: Vec::new(),
            globals: Vec::new(),
            has_start: false,
            function_count: 0,
        })
        .unwrap()
    }

    #[test]
    fn an_export_name_that_occurs_twice_is_refused() {
        let mut contents = exporting(&[("f", &[], &[])]).contents;
        contents.exports.push(contents.exports[0].clone());
        let error = ModuleInfo::new(contents).unwrap_err().to_string();
        assert!(error.contains("duplicate export name `f`"), "{error}");
    }

    #[test]
    fn a_call_is_checked_by_number_and_type() {
        let info = exporting(&[("f", &[ValType::I32], &[ValType::I64])]);
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
        let info = exporting(&[
            ("f", &[ValType::I32], &[ValType::I64, ValType::I64]),
            ("g", &[ValType::ExternRef], &[]),
        ]);
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
}
