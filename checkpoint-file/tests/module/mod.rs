//! A module that has memories, globals and tables, and no code: nothing runs in these tests.

#![allow(dead_code, reason = "each test and example uses a part of it")]

use std::any::Any;
use std::sync::Arc;

use engine_api::{
    EngineId, Error, GlobalType, HostState, Imports, Instance, Limits, MemoryType, Module,
    ModuleContents, ModuleHash, ModuleInfo, Precompiled, Snapshot, TableType, ValType,
};

/// A module whose instances nobody makes.
#[derive(Debug)]
pub(crate) struct Shape(Arc<ModuleInfo>);

impl Shape {
    /// A module of this name with so many memories, no globals and no tables.
    pub(crate) fn of_memories(name: &str, count: usize) -> Self {
        Self::new(name, |contents| {
            contents.memories = vec![MemoryType::new(0, None); count];
        })
    }

    /// A module of this name with a part of each kind.
    pub(crate) fn of_all_kinds(name: &str) -> Self {
        Self::new(name, |contents| {
            contents.memories = vec![MemoryType::new(1, Some(64)), MemoryType::new(0, None)];
            contents.globals = [
                (ValType::I32, true),
                (ValType::I64, false),
                (ValType::I64, true),
                (ValType::FuncRef, true),
                (ValType::F32, true),
                (ValType::ExternRef, true),
                (ValType::F64, true),
                (ValType::V128, true),
            ]
            .map(|(value, mutable)| GlobalType { value, mutable })
            .into();
            contents.tables = [ValType::FuncRef, ValType::ExternRef, ValType::FuncRef]
                .map(|element| TableType {
                    element,
                    elements_min: 0,
                    elements_max: None,
                })
                .into();
            contents.function_count = 5;
        })
    }

    fn new(name: &str, fill: impl FnOnce(&mut ModuleContents)) -> Self {
        let mut contents = ModuleContents {
            hash: ModuleHash::of(name.as_bytes()),
            imports: Vec::new(),
            exports: Vec::new(),
            memories: Vec::new(),
            tables: Vec::new(),
            globals: Vec::new(),
            has_start: false,
            function_count: 0,
        };
        fill(&mut contents);
        Self(Arc::new(ModuleInfo::new(contents).expect("no exports")))
    }
}

fn nothing_runs() -> Error {
    Error::Unsupported {
        engine: EngineId {
            runtime: "none",
            compiler: "none",
        },
        what: "anything but files".to_owned(),
    }
}

impl Module for Shape {
    fn info(&self) -> &Arc<ModuleInfo> {
        &self.0
    }

    fn precompiled(&self) -> Result<Precompiled, Error> {
        Err(nothing_runs())
    }

    fn instantiate(&self, _: &Imports, _: &Limits) -> Result<Box<dyn Instance>, Error> {
        Err(nothing_runs())
    }

    fn snapshots(&self) -> Result<(), Error> {
        Ok(())
    }

    fn obstacles(&self, _: &[u8]) -> Result<Vec<String>, Error> {
        Ok(Vec::new())
    }

    fn restore(&self, _: &Imports, _: &Limits, _: &Snapshot) -> Result<Box<dyn Instance>, Error> {
        Err(nothing_runs())
    }

    fn decode_host_state(&self, bytes: &[u8]) -> Result<Arc<dyn HostState>, Error> {
        match bytes.strip_prefix(b"kept ") {
            Some(kept) => Ok(Arc::new(Kept(kept.to_vec()))),
            None => Err(Error::HostState {
                reason: "it does not begin with `kept`".to_owned(),
            }),
        }
    }
}

/// State of a host that is bytes.
#[derive(Debug)]
pub(crate) struct Kept(pub(crate) Vec<u8>);

impl HostState for Kept {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn difference(&self, other: &dyn HostState) -> Option<String> {
        let equal = other
            .as_any()
            .downcast_ref::<Self>()
            .is_some_and(|other| other.0 == self.0);
        (!equal).then(|| "other bytes".to_owned())
    }

    fn digest(&self) -> [u8; 32] {
        *ModuleHash::of(&self.0).as_bytes()
    }

    fn bytes_kept(&self) -> u64 {
        self.0.len() as u64
    }

    fn encode(&self) -> Result<Vec<u8>, Error> {
        Ok([b"kept ", &*self.0].concat())
    }
}
