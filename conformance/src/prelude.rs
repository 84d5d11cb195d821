//! The names that nearly every case uses.

pub use std::sync::Arc;
pub use std::time::{Duration, Instant};

pub use engine_api::{
    Caller, Capabilities, Engine, EngineConfig, Error, Extern, ExternRef, ExternType, FuncIndex,
    FuncRef, FuncType, GlobalIndex, GlobalType, Imports, Instance, InstanceExt, Limits,
    MemoryIndex, MemoryType, Module, PAGE_BYTES, TABLE_ELEMENTS_MAX, TableIndex, TableType, Trap,
    Val, ValType,
};
pub use rstest::rstest;
pub use rstest_reuse::apply;

pub use crate::engines::{self, EngineUnderTest, every_engine};
pub use crate::expect::{binary, module_error, refused, trap_of};
