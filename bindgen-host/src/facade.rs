//! The guest as functions from outside see it.

use std::sync::Arc;

use engine_api::{Caller, Error, FuncIndex, ModuleInfo, Val};

use crate::surface::Surface;

/// The guest with the imports and exports of the outer module.
pub(crate) struct Facade<'a> {
    surface: &'a Surface,
    caller: &'a mut dyn Caller,
}

impl<'a> Facade<'a> {
    pub(crate) fn new(surface: &'a Surface, caller: &'a mut dyn Caller) -> Self {
        Self { surface, caller }
    }
}

impl Caller for Facade<'_> {
    engine_api::delegate_caller! {
        caller: may_go_on, memory_size, memory_read, memory_write, memory_grow, global, set_global, table_size,
        table_grow, table_get, table_set
    }

    fn info(&self) -> &Arc<ModuleInfo> {
        &self.surface.outer
    }

    fn call(&mut self, func: FuncIndex, args: &[Val], results: &mut [Val]) -> Result<(), Error> {
        // A function that the host adds cannot be called in the middle of another call. Its index
        // is past those of the inner module, which refuses it.
        self.caller.call(func, args, results)
    }
}
