//! Finds in a module's code what stands in the way of checkpoints.

use std::fmt;

use engine_api::{Error, GlobalIndex, TableIndex};
use wasmparser::{
    AbstractHeapType, CompositeInnerType, FunctionBody, HeapType, KnownCustom, Name,
    NameSectionReader, Parser, Payload, RefType, TypeRef, ValType,
};

use crate::code::{Change, is_held};
use crate::format::{invalid, refuse_other_formats};

/// Why an instance of a module cannot be restored from a checkpoint: it has state that can change
/// and that a checkpoint does not hold.
///
/// Displayed, it is a sentence for the module's author, without the full stop. Names from the
/// module are escaped, and long ones are cut.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Obstacle {
    /// An imported exception tag. The host owns it, and the exceptions made with it.
    ImportedTag {
        /// The import's module name.
        module: String,
        /// The import's name.
        name: String,
    },
    /// A garbage-collected type. Its objects live outside the memories, and change there.
    CollectedType {
        /// The first such type, in the type index space.
        index: u32,
    },
    /// A table of references that are neither to functions nor to objects of the host, such as
    /// `anyref`. What they refer to can change.
    ReferenceTable {
        /// The table.
        table: TableIndex,
        /// The type of its elements, as in the text format.
        element: String,
    },
    /// A mutable global of a reference type other than `funcref` and `externref`.
    ReferenceGlobal {
        /// The global.
        global: GlobalIndex,
        /// Its type, as in the text format.
        ty: String,
    },
    /// Code that changes the elements or the size of a table of typed references. Each kind of
    /// instruction is reported once.
    TableChange {
        /// The instruction: `table.set`, `table.grow`, `table.fill`, `table.copy`, `table.init`, or
        /// an atomic one.
        instruction: &'static str,
        /// The table that the first such instruction changes.
        table: TableIndex,
        /// The type of its elements, as in the text format.
        element: String,
        /// Where they are.
        sites: Sites,
    },
}

/// Where a kind of instruction occurs in a module's code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sites {
    /// The first function with it, in the function index space, imports first.
    pub function: u32,
    /// That function's name, if the module's name section has it.
    pub name: Option<String>,
    /// How many functions have such an instruction.
    pub functions: usize,
    /// How many such instructions these functions have together.
    pub instructions: usize,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Obstacle::ImportedTag { module, name } => write!(
                f,
                "the tag `{}` `{}` is imported, and a checkpoint does not hold what is the host's",
                shown(module),
                shown(name)
            ),
            Obstacle::CollectedType { index } => write!(
                f,
                "type {index} is garbage-collected, and a checkpoint does not hold such objects"
            ),
            Obstacle::ReferenceTable { table, element } => write!(
                f,
                "table {} is of {element}, and a checkpoint holds only funcref and externref",
                table.0
            ),
            Obstacle::ReferenceGlobal { global, ty } => write!(
                f,
                "global {} is mutable and of {ty}, and a checkpoint holds only funcref and externref",
                global.0
            ),
            Obstacle::TableChange {
                instruction,
                table,
                element,
                sites,
            } => write!(
                f,
                "{sites} changes table {} of {element} with `{instruction}`{}, and a checkpoint holds \
                 only funcref and externref",
                table.0,
                sites.others()
            ),
        }
    }
}

impl fmt::Display for Sites {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "function {}", self.function)?;
        match &self.name {
            Some(name) => write!(f, " (`{}`)", shown(name)),
            None => Ok(()),
        }
    }
}

/// A name as it is displayed, escaped and cut: mangled names can have thousands of characters,
/// hostile ones millions.
fn shown(name: &str) -> String {
    const CHARACTERS_MAX: usize = 80;
    let mut characters = name.chars();
    let start: String = characters.by_ref().take(CHARACTERS_MAX).collect();
    let cut = if characters.next().is_some() {
        "..."
    } else {
        ""
    };
    format!("{}{cut}", start.escape_debug())
}

impl Sites {
    /// How many further instructions there are, as an insertion into a sentence.
    fn others(&self) -> String {
        match (self.instructions, self.functions) {
            (1, _) => String::new(),
            (instructions, 1) => format!(" (the first of {instructions})"),
            (instructions, functions) => {
                format!(" (the first of {instructions}, in {functions} functions)")
            }
        }
    }
}

/// What stands in the way of a checkpoint of this module: nothing, or each reason once,
/// declarations before code. It reads all of the code, which takes about as long as validation.
///
/// A checkpoint holds the memories, the mutable globals, the tables that can change, and which
/// segments were dropped. So these are no obstacles:
///
/// * Tables of `funcref` and `externref`, whatever changes them: instructions or host functions.
/// * Tables of typed references to functions that no instruction changes: element segments fill
///   them alike in each instance, and no host can reach them.
/// * `data.drop` and `elem.drop`: a restored instance drops the same segments.
/// * Several memories, 64-bit memories, imported memories and globals, and globals of every number
///   and vector type, of `funcref` and of `externref`: a checkpoint has them all.
/// * Shared memories: an engine takes the image at a moment when no other instance has the memory,
///   and refuses at any other.
/// * Immutable globals of references, which are the same in each new instance.
/// * Tags that the module defines: an exception ends with the call that it leaves.
/// * Host functions, including those of WASI: their results are recorded, and their own state does
///   not belong to the instance.
///
/// # Errors
///
/// [`Error::InvalidModule`] for bytes that cannot be read as a core module. Without an error the
/// module may still be invalid.
pub fn obstacles(wasm: &[u8]) -> Result<Vec<Obstacle>, Error> {
    refuse_other_formats(wasm)?;
    let mut search = Search::default();
    for payload in Parser::new(0).parse_all(wasm) {
        payload
            .and_then(|payload| search.payload(payload))
            .map_err(|error| invalid(&error))?;
    }
    Ok(search.finish())
}

/// The obstacles found so far, and the sizes of the index spaces.
#[derive(Default)]
struct Search<'a> {
    declared: Vec<Obstacle>,
    code: Vec<Found>,
    names: Option<NameSectionReader<'a>>,
    types: u32,
    functions: u32,
    tables: Vec<RefType>,
    globals: u32,
}

/// A kind of instruction that was found, and where.
struct Found {
    instruction: &'static str,
    table: u32,
    element: RefType,
    sites: Sites,
    /// The last function with such an instruction, to count each function once.
    last: u32,
}

impl<'a> Search<'a> {
    fn payload(&mut self, payload: Payload<'a>) -> wasmparser::Result<()> {
        match payload {
            Payload::TypeSection(section) => {
                for group in section {
                    for ty in group?.types() {
                        self.ty(&ty.composite_type.inner);
                    }
                }
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import?;
                    self.import(import.module, import.name, import.ty);
                }
            }
            Payload::TableSection(section) => {
                for table in section {
                    self.table(table?.ty.element_type);
                }
            }
            Payload::GlobalSection(section) => {
                for global in section {
                    self.global(global?.ty);
                }
            }
            Payload::CodeSectionEntry(body) => self.body(&body)?,
            Payload::CustomSection(section) => {
                if let KnownCustom::Name(names) = section.as_known() {
                    self.names = Some(names);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn import(&mut self, module: &str, name: &str, ty: TypeRef) {
        match ty {
            TypeRef::Func(_) | TypeRef::FuncExact(_) => self.functions += 1,
            TypeRef::Table(ty) => self.table(ty.element_type),
            TypeRef::Memory(_) => {}
            TypeRef::Global(ty) => self.global(ty),
            TypeRef::Tag(_) => self.declared.push(Obstacle::ImportedTag {
                module: module.to_owned(),
                name: name.to_owned(),
            }),
        }
    }

    fn ty(&mut self, ty: &CompositeInnerType) {
        let collected = !matches!(ty, CompositeInnerType::Func(_));
        let known = |obstacle: &Obstacle| matches!(obstacle, Obstacle::CollectedType { .. });
        if collected && !self.declared.iter().any(known) {
            self.declared
                .push(Obstacle::CollectedType { index: self.types });
        }
        self.types += 1;
    }

    fn table(&mut self, element: RefType) {
        if !is_held(element) && !refers_to_function(element) {
            self.declared.push(Obstacle::ReferenceTable {
                table: TableIndex(u32::try_from(self.tables.len()).unwrap_or(u32::MAX)),
                element: element.to_string(),
            });
        }
        self.tables.push(element);
    }

    fn global(&mut self, ty: wasmparser::GlobalType) {
        if let ValType::Ref(reference) = ty.content_type
            && ty.mutable
            && !is_held(reference)
        {
            self.declared.push(Obstacle::ReferenceGlobal {
                global: GlobalIndex(self.globals),
                ty: ty.content_type.to_string(),
            });
        }
        self.globals += 1;
    }

    fn body(&mut self, body: &FunctionBody<'_>) -> wasmparser::Result<()> {
        let mut operators = body.get_operators_reader()?;
        while !operators.eof() {
            let change = Change::of(&operators.read()?);
            let Some(Change::Table { instruction, table }) = change else {
                continue;
            };
            // What other tables hold is an obstacle by itself.
            let element = self.tables.get(table as usize).copied();
            if let Some(element) = element
                && !is_held(element)
                && refers_to_function(element)
            {
                self.found(instruction, table, element);
            }
        }
        self.functions += 1;
        Ok(())
    }

    fn found(&mut self, instruction: &'static str, table: u32, element: RefType) {
        let function = self.functions;
        let same = |found: &&mut Found| found.instruction == instruction;
        if let Some(found) = self.code.iter_mut().find(same) {
            found.sites.instructions += 1;
            found.sites.functions += usize::from(found.last != function);
            found.last = function;
            return;
        }
        self.code.push(Found {
            instruction,
            table,
            element,
            sites: Sites {
                function,
                name: None,
                functions: 1,
                instructions: 1,
            },
            last: function,
        });
    }

    fn finish(mut self) -> Vec<Obstacle> {
        self.name_functions();
        let code = self.code.into_iter().map(|found| Obstacle::TableChange {
            instruction: found.instruction,
            table: TableIndex(found.table),
            element: found.element.to_string(),
            sites: found.sites,
        });
        self.declared.extend(code);
        self.declared
    }

    /// Names only help the reader: a damaged name section is no error.
    fn name_functions(&mut self) {
        if self.code.is_empty() {
            return;
        }
        for subsection in self.names.take().into_iter().flatten() {
            let Ok(Name::Function(names)) = subsection else {
                continue;
            };
            for naming in names.into_iter().flatten() {
                for found in &mut self.code {
                    if found.sites.function == naming.index {
                        found.sites.name = Some(naming.name.to_owned());
                    }
                }
            }
        }
    }
}

/// Whether a reference of this type can only be to a function. The module's own types count as
/// such: one that is not a function's is an obstacle by itself.
fn refers_to_function(ty: RefType) -> bool {
    match ty.heap_type() {
        HeapType::Abstract { ty, .. } => {
            matches!(ty, AbstractHeapType::Func | AbstractHeapType::NoFunc)
        }
        HeapType::Concrete(_) | HeapType::Exact(_) => true,
    }
}
