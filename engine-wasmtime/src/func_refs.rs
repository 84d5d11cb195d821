//! References to functions that the host holds.

use std::collections::HashMap;

use engine_api::{Error, FuncRef};
use wasmtime::Func;

/// The functions of one instance that the host holds references to.
///
/// Slots are never reused: there are at most as many as the module has functions.
pub(crate) struct FuncRefs {
    instance: u64,
    funcs: Vec<Func>,
    slots: HashMap<usize, u32>,
}

impl FuncRefs {
    pub(crate) fn new() -> Self {
        Self {
            instance: FuncRef::new_instance(),
            funcs: Vec::new(),
            slots: HashMap::new(),
        }
    }

    /// The reference to a function. It is always the same for the same `address`, which is
    /// wasmtime's raw form of the function.
    pub(crate) fn intern(&mut self, func: Func, address: usize) -> FuncRef {
        let slot = *self.slots.entry(address).or_insert_with(|| {
            self.funcs.push(func);
            u32::try_from(self.funcs.len() - 1).expect("a module has less than 2^32 functions")
        });
        FuncRef::new(self.instance, slot)
    }

    /// The function of a reference, which may come from another instance or be forged.
    pub(crate) fn resolve(&self, reference: FuncRef) -> Result<Func, Error> {
        if reference.instance() != self.instance {
            return Err(Error::ForeignReference);
        }
        self.funcs
            .get(reference.slot() as usize)
            .copied()
            .ok_or(Error::ForeignReference)
    }
}
