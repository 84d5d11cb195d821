//! Compiled modules, which their instances share.

use std::sync::Arc;

use engine_api::{
    Error, ExternType, FuncType, GlobalIndex, GlobalType, Imports, Instance, Limits, Module,
    ModuleInfo, PAGE_BYTES, Precompiled, Snapshot, ValType,
};
use module_bytes::Instrumented;
use serde_json::{Value, json};

use crate::engine::unsupported;
use crate::growth::{limit_name, refused_name};
use crate::instance::Guest;
use crate::js::Object;

/// A module that the browser has compiled.
#[derive(Debug)]
pub(crate) struct Compiled {
    object: Object,
    info: Arc<ModuleInfo>,
    /// What each instance is made with, except for its key and its limit.
    spec: Value,
    parts: Arc<Parts>,
    /// What stands in the way of snapshots, if anything does.
    obstacle: Option<&'static str>,
}

/// The parts of an instance, by their places in the lists that JavaScript has.
#[derive(Debug)]
pub(crate) struct Parts {
    /// The place of the start function behind the exported ones, if there is one.
    pub(crate) start: Option<u32>,
    /// All memories: there is at most one.
    pub(crate) memories: u32,
    /// The globals that the host can reach, in this order.
    pub(crate) globals: Vec<(GlobalIndex, GlobalType)>,
}

impl Compiled {
    /// Joins a compiled module with the names of its parts. `limits` says whether its growth is
    /// limited inside.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`].
    pub(crate) fn new(
        object: Object,
        info: Arc<ModuleInfo>,
        instrumented: &Instrumented<'_>,
        limits: bool,
    ) -> Result<Self, Error> {
        let imports = info.imports().iter().map(|import| match &import.ty {
            ExternType::Func(ty) => Ok(json!([
                import.module,
                import.name,
                letters(ty.params())?,
                letters(ty.results())?
            ])),
            _ => Err(unsupported("imports that are no functions")),
        });
        let imports = imports.collect::<Result<Vec<_>, Error>>()?;
        let own = info.functions().iter().map(|own| (&*own.name, &own.ty));
        let none = FuncType::default();
        let all = own.chain(instrumented.start().map(|name| (name, &none)));
        let functions =
            all.map(|(name, ty)| Ok(json!([name, letters(ty.params())?, letters(ty.results())?])));
        let functions = functions.collect::<Result<Vec<_>, Error>>()?;
        let mut globals = Vec::new();
        let mut names = Vec::new();
        for (index, name) in instrumented.globals() {
            let ty = info.globals()[index.0 as usize];
            names.push(json!([name, letters(&[ty.value])?]));
            globals.push((*index, ty));
        }
        let memories: Vec<&String> = instrumented
            .memories()
            .iter()
            .map(|(_, name)| name)
            .collect();
        let is_held = !instrumented.tables().is_empty() || !instrumented.flags().is_empty();
        Ok(Self {
            parts: Arc::new(Parts {
                start: instrumented.start().map(|_| count(info.functions().len())),
                memories: count(memories.len()),
                globals,
            }),
            spec: json!({
                "imports": imports, "functions": functions, "globals": names, "memories": memories,
                "limit": limits.then(limit_name), "refused": limits.then(refused_name),
            }),
            obstacle: is_held.then_some("snapshots of tables that change and of dropped segments"),
            object,
            info,
        })
    }

    /// Makes an instance without running its start function.
    fn unstarted(&self, imports: &Imports, limits: &Limits) -> Result<Guest, Error> {
        if limits.fuel.is_some() || limits.deadline.is_some() {
            return Err(unsupported(
                "deadlines and fuel: nothing ends a call in a browser",
            ));
        }
        let given = imports.resolve_all(&self.info)?;
        limits.check_start(&self.info, &given)?;
        let bytes_max = limits.memory_bytes_max.unwrap_or(u64::MAX);
        Guest::new(
            &self.object,
            &self.info,
            &self.parts,
            &given,
            bytes_max / PAGE_BYTES,
            self.spec.clone(),
        )
    }
}

fn count(items: usize) -> u32 {
    u32::try_from(items).expect("the module's limits are far below")
}

/// The types of numbers as letters, which JavaScript reads.
fn letters(types: &[ValType]) -> Result<String, Error> {
    let letter = |ty: &ValType| match ty {
        ValType::I32 => Ok('i'),
        ValType::I64 => Ok('I'),
        ValType::F32 => Ok('f'),
        ValType::F64 => Ok('F'),
        _ => Err(unsupported("references and vectors across the boundary")),
    };
    types.iter().map(letter).collect()
}

impl Module for Compiled {
    fn info(&self) -> &Arc<ModuleInfo> {
        &self.info
    }

    fn precompiled(&self) -> Result<Precompiled, Error> {
        Err(unsupported("precompiled modules"))
    }

    fn instantiate(&self, imports: &Imports, limits: &Limits) -> Result<Box<dyn Instance>, Error> {
        let mut guest = self.unstarted(imports, limits)?;
        if let Some(start) = self.parts.start {
            guest.run(start, &mut [])?;
        }
        if let Some(initialize) = self.info.initializer() {
            guest.run(initialize.0, &mut [])?;
        }
        Ok(Box::new(guest))
    }

    fn snapshots(&self) -> Result<(), Error> {
        self.obstacle.map_or(Ok(()), |what| Err(unsupported(what)))
    }

    fn obstacles(&self, wasm: &[u8]) -> Result<Vec<String>, Error> {
        let obstacles = module_bytes::obstacles(wasm)?;
        Ok(obstacles.iter().map(ToString::to_string).collect())
    }

    fn stack_pointer(&self, wasm: &[u8]) -> Result<Option<GlobalIndex>, Error> {
        module_bytes::stack_pointer(wasm)
    }

    fn restore(
        &self,
        imports: &Imports,
        limits: &Limits,
        snapshot: &Snapshot,
    ) -> Result<Box<dyn Instance>, Error> {
        self.snapshots()?;
        snapshot.check_module(self.info.hash())?;
        let mut guest = self.unstarted(imports, limits)?;
        guest.restore(snapshot)?;
        Ok(Box::new(guest))
    }
}
