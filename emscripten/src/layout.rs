//! Memories and tables as the module asks for them, and the addresses of a main module that was
//! built for dynamic linking (`-sMAIN_MODULE`), whose data lies where its host says.

use engine_api::{Extern, ExternType, GlobalType, Import, TableType, Val, ValType};

use crate::MODULE;

/// The module name of addresses that the dynamic linker fills in.
pub(crate) const GOT: &str = "GOT.mem";

/// Where data begins, as in Emscripten's own builds: address 0 stays null.
const MEMORY_BASE: u32 = 1024;

/// Element 0 stays null.
const TABLE_BASE: u32 = 1;

/// The stack, as in Emscripten's own builds.
const STACK_BYTES: u32 = 64 * 1024;

/// How much memory and table a module needs for its own data, as its section `dylink.0` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataLayout {
    /// Bytes of memory.
    pub memory_bytes: u32,
    /// Elements of the table.
    pub table_elements: u32,
}

/// Whether an import is the memory or the table of a module by the names that linkers give them.
pub(crate) fn is_room(import: &Import) -> bool {
    import.module == MODULE
        && match import.ty {
            ExternType::Memory(_) => import.name == "memory",
            ExternType::Table(_) => import.name == "__indirect_function_table",
            _ => false,
        }
}

/// What the host gives for an import that is no function, if that is known. The table and the
/// memory are as large as the module asks.
pub(crate) fn made(import: &Import, ty: &ExternType, data: Option<DataLayout>) -> Option<Extern> {
    match ty {
        ExternType::Memory(memory) if import.module == MODULE && !memory.shared => {
            Some(Extern::Memory(*memory))
        }
        ExternType::Table(table) if import.module == MODULE => {
            // A main module's own elements begin at its base, and it asks for no room before.
            let own = data.map_or(0, |data| {
                u64::from(TABLE_BASE) + u64::from(data.table_elements)
            });
            let elements_min = table.elements_min.max(own);
            Some(Extern::Table(TableType {
                elements_min,
                ..*table
            }))
        }
        ExternType::Global(global) => {
            let address = data?.address(&import.module, &import.name)?;
            let fits = global.value == ValType::I32;
            fits.then(|| Extern::Global(GlobalType { ..*global }, Val::from(address)))
        }
        _ => None,
    }
}

impl DataLayout {
    /// The value of a global: data, then the stack, then the heap.
    fn address(self, module: &str, name: &str) -> Option<u32> {
        let data_end = MEMORY_BASE.checked_add(self.memory_bytes)?;
        let stack_low = data_end.checked_next_multiple_of(16)?;
        let stack_high = stack_low.checked_add(STACK_BYTES)?;
        Some(match (module, name) {
            (MODULE, "__memory_base") => MEMORY_BASE,
            (MODULE, "__table_base") => TABLE_BASE,
            (MODULE, "__stack_pointer") | (GOT, "__stack_high" | "__heap_base") => stack_high,
            (GOT, "__stack_low") => stack_low,
            _ => return None,
        })
    }
}
