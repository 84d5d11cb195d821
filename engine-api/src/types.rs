//! The types of the WebAssembly specification that cross the contract, and the index spaces.

use std::fmt;

use crate::NumericType;

/// Bytes in one page of linear memory (core specification, section 2.3.8: 64 KiB).
pub const PAGE_BYTES: u64 = 65_536;

/// The type of a value (core specification, section 2.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ValType {
    /// A 32-bit integer.
    I32,
    /// A 64-bit integer.
    I64,
    /// A 32-bit float.
    F32,
    /// A 64-bit float.
    F64,
    /// A 128-bit vector.
    V128,
    /// A nullable reference to a function.
    FuncRef,
    /// A nullable reference to a host object.
    ExternRef,
}

impl fmt::Display for ValType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ValType::I32 => "i32",
            ValType::I64 => "i64",
            ValType::F32 => "f32",
            ValType::F64 => "f64",
            ValType::V128 => "v128",
            ValType::FuncRef => "funcref",
            ValType::ExternRef => "externref",
        })
    }
}

/// The type of a function: its parameters and its results. There may be several of each.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FuncType {
    params: Box<[ValType]>,
    results: Box<[ValType]>,
    numeric: Option<NumericType>,
}

impl Default for FuncType {
    fn default() -> Self {
        Self::new(&[], &[])
    }
}

impl FuncType {
    /// A function type from its parameters and results, in order.
    #[must_use]
    pub fn new(params: &[ValType], results: &[ValType]) -> Self {
        Self {
            params: params.into(),
            results: results.into(),
            numeric: NumericType::new(params, results),
        }
    }

    /// The type in one word, if all parameters and results are numbers, at most
    /// [`Slot::MAX`](crate::Slot::MAX) each.
    #[must_use]
    #[inline]
    pub fn numeric(&self) -> Option<NumericType> {
        self.numeric
    }

    /// The types of the parameters, in order.
    #[must_use]
    pub fn params(&self) -> &[ValType] {
        &self.params
    }

    /// The types of the results, in order.
    #[must_use]
    pub fn results(&self) -> &[ValType] {
        &self.results
    }
}

impl fmt::Display for FuncType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, types: &[ValType]| {
            f.write_str("(")?;
            for (position, ty) in types.iter().enumerate() {
                if position > 0 {
                    f.write_str(", ")?;
                }
                write!(f, "{ty}")?;
            }
            f.write_str(")")
        };
        list(f, &self.params)?;
        f.write_str(" -> ")?;
        list(f, &self.results)
    }
}

/// The type of a linear memory. Sizes are in pages of [`PAGE_BYTES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MemoryType {
    /// Pages the memory starts with.
    pub pages_min: u64,
    /// Pages it may grow to; for `None` only the index type limits it.
    pub pages_max: Option<u64>,
    /// Whether several threads may use it at once (threads proposal); needs `pages_max`.
    pub shared: bool,
    /// Whether offsets are 64-bit (memory64).
    pub memory64: bool,
}

impl MemoryType {
    /// An unshared 32-bit memory.
    #[must_use]
    pub fn new(pages_min: u64, pages_max: Option<u64>) -> Self {
        Self {
            pages_min,
            pages_max,
            shared: false,
            memory64: false,
        }
    }

    /// A shared 32-bit memory. Its maximum is not optional.
    #[must_use]
    pub fn shared(pages_min: u64, pages_max: u64) -> Self {
        Self {
            pages_min,
            pages_max: Some(pages_max),
            shared: true,
            memory64: false,
        }
    }

    /// The size that the memory starts with, in bytes.
    #[must_use]
    pub fn bytes_min(&self) -> u64 {
        self.pages_min.saturating_mul(PAGE_BYTES)
    }

    /// The largest size that the memory can have, in bytes: its maximum, or as much as its index
    /// type can address.
    #[must_use]
    pub fn bytes_max(&self) -> u64 {
        let pages_addressable: u64 = if self.memory64 { 1 << 48 } else { 1 << 16 };
        self.pages_max
            .unwrap_or(pages_addressable)
            .min(pages_addressable)
            .saturating_mul(PAGE_BYTES)
    }
}

/// The type of a table of references. Sizes are in elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TableType {
    /// [`ValType::FuncRef`] or [`ValType::ExternRef`].
    pub element: ValType,
    /// Elements the table starts with.
    pub elements_min: u64,
    /// Elements it may grow to, or `None` for no limit of its own.
    pub elements_max: Option<u64>,
}

/// The type of a global.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GlobalType {
    /// The type of the value that it holds.
    pub value: ValType,
    /// Whether the guest and the host can set it.
    pub mutable: bool,
}

/// The type of an import or an export.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ExternType {
    /// A function.
    Func(FuncType),
    /// A linear memory.
    Memory(MemoryType),
    /// A table.
    Table(TableType),
    /// A global.
    Global(GlobalType),
    /// An exception tag. The host cannot give one, so a module that imports one is refused.
    Tag,
}

impl fmt::Display for ExternType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExternType::Func(ty) => write!(f, "function {ty}"),
            ExternType::Memory(ty) => {
                let shared = if ty.shared { "shared " } else { "" };
                write!(f, "{shared}memory of {} to ", ty.pages_min)?;
                match ty.pages_max {
                    Some(pages) => write!(f, "{pages} pages"),
                    None => f.write_str("any number of pages"),
                }
            }
            ExternType::Table(ty) => write!(f, "table of {}", ty.element),
            ExternType::Global(ty) => {
                write!(
                    f,
                    "{}global {}",
                    if ty.mutable { "mutable " } else { "" },
                    ty.value
                )
            }
            ExternType::Tag => f.write_str("tag"),
        }
    }
}

/// An exported function, by its position in [`crate::ModuleInfo::functions`].
///
/// Only exported functions can be called from outside, so only these have an index. It comes from
/// the module's bytes, and is the same in every instance, on every engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FuncIndex(pub u32);

/// A linear memory, by its position in the module's memory index space, imports first.
///
/// The host reaches it only if the module imports or exports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MemoryIndex(pub u32);

/// A table, by its position in the module's table index space, imports first.
///
/// The host reaches it only if the module imports or exports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableIndex(pub u32);

/// A global, by its position in the module's global index space, imports first.
///
/// The host reaches it only if the module imports or exports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GlobalIndex(pub u32);
