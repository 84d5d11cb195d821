//! The references of an instance, captured and restored: its tables that can change, its mutable
//! globals of references, and the segments that it has dropped.

use std::collections::HashMap;

use engine_api::{
    Error, Objects, Reference, Segment, Snapshot, SnapshotParts, TableIndex, Val, ValType,
};
use wasmer_types::{ExportIndex, FunctionIndex, GlobalIndex, LocalTableIndex, RawValue};
use wasmer_vm::{
    InternalStoreHandle, TableElement, Trap, VMExtern, VMExternRef, VMFuncRef, VMGlobalDefinition,
    VMTable,
};

use crate::state::{InstanceState, lookup};

/// Numbers for the references of one instance.
struct Numbers<'a> {
    state: &'a InstanceState,
    /// The indexes of the module's functions, by the addresses of references to them.
    functions: HashMap<usize, u32>,
    objects: Objects,
}

impl Numbers<'_> {
    /// `None` stands for a function that is none of the instance's own.
    ///
    /// # Safety
    ///
    /// `raw` is a reference of this type and of this instance.
    unsafe fn of(&mut self, raw: RawValue, ty: ValType) -> Option<Reference> {
        if ty == ValType::FuncRef {
            // SAFETY: all bits of a `RawValue` are initialised.
            return match unsafe { raw.funcref } {
                0 => Some(Reference::Null),
                address => {
                    let index = self.functions.get(&address);
                    index.map(|index| Reference::Function(*index))
                }
            };
        }
        // SAFETY: our caller vouches for the reference.
        let object = unsafe { self.state.references.borrow_mut().lift(ty, raw) };
        Some(match object {
            Val::ExternRef(Some(object)) => self.objects.reference(&object),
            _ => Reference::Null,
        })
    }
}

impl InstanceState {
    /// Adds the references to a snapshot.
    pub(crate) fn capture_references(&self, parts: &mut SnapshotParts) -> Result<(), Error> {
        let info = &self.compiled.info;
        let changes = &self.compiled.changes;
        let referable = changes.referable.iter();
        let addresses = referable.map(|index| (self.function_address(*index), *index));
        let mut numbers = Numbers {
            state: self,
            functions: addresses.collect(),
            objects: Objects::default(),
        };
        let foreign = |what: String| {
            let what =
                format!("snapshots of {what}, which refers to a function of another instance");
            self.compiled.settings.unsupported(what)
        };
        for (index, ty) in info.mutable_globals().filter(|(_, ty)| ty.is_reference()) {
            // SAFETY: the global lives as long as the instance, and holds a reference of its type.
            let number = unsafe {
                let raw = self.any_global(index).as_ref().val;
                numbers.of(raw, ty)
            };
            let number = number.ok_or_else(|| foreign(format!("global {}", index.0)))?;
            parts.references.push((index, number));
        }
        for index in &changes.tables {
            let ty = info.tables()[index.0 as usize].element;
            let table = self.any_table(*index);
            // SAFETY: the borrow ends with the expression.
            let size = unsafe { table.get(self.objects()).size() };
            let mut elements = Vec::with_capacity(size as usize);
            for at in 0..size {
                // SAFETY: the borrow ends with the expression. The element is a reference of the
                // table's type, which the guest or `lower` put there.
                let number = unsafe {
                    let element = table.get(self.objects()).get(at);
                    numbers.of(raw(&element.unwrap_or_default()), ty)
                };
                let what = || foreign(format!("element {at} of table {}", index.0));
                elements.push(number.ok_or_else(what)?);
            }
            parts.tables.push((*index, elements.into()));
        }
        parts.objects = numbers.objects.finish();
        let flags = changes.flags.iter();
        // SAFETY: the flags are globals of i32, and live as long as the instance.
        let set = flags.filter(|(_, global)| unsafe { self.flag(*global).as_ref().val.i32 } == 1);
        parts.dropped = set.map(|(segment, _)| *segment).collect();
        Ok(())
    }

    /// Puts the references of a snapshot into the instance, in which nothing has run.
    pub(crate) fn restore_references(&self, snapshot: &Snapshot) -> Result<(), Error> {
        let info = &self.compiled.info;
        for index in &self.compiled.changes.tables {
            let ty = info.tables()[index.0 as usize].element;
            self.restore_table(*index, ty, snapshot)?;
        }
        for (index, ty) in info.mutable_globals().filter(|(_, ty)| ty.is_reference()) {
            let raw = self.lowered(snapshot.reference(index)?, ty, snapshot)?;
            // SAFETY: the global lives as long as the instance, whose code is not running, and the
            // reference is of its type.
            unsafe { (*self.any_global(index).as_ptr()).val = raw };
        }
        self.drop_segments(snapshot)
    }

    fn restore_table(
        &self,
        index: TableIndex,
        ty: ValType,
        snapshot: &Snapshot,
    ) -> Result<(), Error> {
        let table = self.any_table(index);
        // SAFETY: the borrow ends with the expression.
        let size = unsafe { table.get(self.objects()).size() };
        let elements = snapshot.table_from(index, size.into())?;
        let refused = || self.table_limit(table, elements.len() as u64);
        let len = u32::try_from(elements.len()).map_err(|_| refused())?;
        // SAFETY: the borrow ends with the expression, growing runs no guest code, and null is a
        // reference of every type.
        let grown = len == size
            || unsafe {
                let null = element(RawValue::default(), ty);
                let table = table.get_mut(self.objects());
                table.grow(len - size, null).is_some()
            };
        if !grown {
            return Err(refused());
        }
        for (at, reference) in (0..).zip(elements) {
            if at >= size && *reference == Reference::Null {
                continue;
            }
            let raw = self.lowered(*reference, ty, snapshot)?;
            // SAFETY: `raw` is a reference of the table's type.
            let set = unsafe { self.set_element(index, at, element(raw, ty)) };
            set.map_err(|_| Error::NoSuchElement {
                element: at.into(),
                size: len.into(),
            })?;
        }
        Ok(())
    }

    /// The refusal to give a table so many elements.
    fn table_limit(&self, table: InternalStoreHandle<VMTable>, needed: u64) -> Error {
        let limit = self.limits.table_elements();
        // SAFETY: the borrow ends with the expression.
        let own = unsafe { table.get(self.objects()).ty().maximum };
        Error::Limit {
            what: "table elements",
            needed,
            limit: own.map_or(limit, |own| limit.min(own.into())),
        }
    }

    /// A reference in the form in which the guest's code holds it.
    ///
    /// # Errors
    ///
    /// [`Error::Snapshot`] for a function or an object that is not there.
    fn lowered(
        &self,
        reference: Reference,
        ty: ValType,
        snapshot: &Snapshot,
    ) -> Result<RawValue, Error> {
        let lacks = |kind: &str, index: u32| Error::Snapshot {
            reason: format!("the module has no {kind} {index} that a reference of {ty} can be to"),
        };
        match reference {
            Reference::Null => Ok(RawValue::default()),
            Reference::Function(index) => {
                let referable = &self.compiled.changes.referable;
                if ty != ValType::FuncRef || referable.binary_search(&index).is_err() {
                    return Err(lacks("function", index));
                }
                Ok(RawValue {
                    funcref: self.function_address(index),
                })
            }
            Reference::Object(number) => {
                let object = snapshot.objects().get(number as usize);
                let object = object.filter(|_| ty == ValType::ExternRef);
                let object = object.ok_or_else(|| lacks("object", number))?;
                let mut references = self.references.borrow_mut();
                references.lower(&Val::ExternRef(Some(object.clone())))
            }
        }
    }

    /// Drops the segments that the captured instance had dropped.
    fn drop_segments(&self, snapshot: &Snapshot) -> Result<(), Error> {
        let changes = &self.compiled.changes;
        let dropped = snapshot.dropped();
        let Some(drops) = changes.drops.as_ref().filter(|_| !dropped.is_empty()) else {
            return Ok(());
        };
        let is_dropped = |(segment, _): &&(Segment, GlobalIndex)| dropped.contains(*segment);
        for (_, global) in changes.flags.iter().filter(is_dropped) {
            // SAFETY: the flag is a global of i32, and lives as long as the instance, whose code is
            // not running.
            unsafe { (*self.flag(*global).as_ptr()).val = RawValue::from(1) };
        }
        self.run_added(drops)
    }

    fn flag(&self, global: GlobalIndex) -> std::ptr::NonNull<VMGlobalDefinition> {
        self.global_definition(self.parts().instance, global)
    }

    /// The address of references to a function, which lives as long as the instance.
    fn function_address(&self, index: u32) -> usize {
        // Each lookup of a function of the module's own makes an object that stays.
        let mut functions = self.functions.borrow_mut();
        *functions.entry(index).or_insert_with(|| {
            let place = ExportIndex::Function(FunctionIndex::from_u32(index));
            match lookup(self.parts().instance, place) {
                // SAFETY: the borrow ends with the expression.
                VMExtern::Function(handle) => unsafe {
                    handle.get(self.objects()).anyfunc.as_ptr().as_ptr().addr()
                },
                _ => unreachable!("asked for a function"),
            }
        })
    }

    fn any_table(&self, index: TableIndex) -> InternalStoreHandle<VMTable> {
        let place = ExportIndex::Table(wasmer_types::TableIndex::from_u32(index.0));
        match lookup(self.parts().instance, place) {
            VMExtern::Table(handle) => handle,
            _ => unreachable!("asked for a table"),
        }
    }

    /// Sets an element of a table. The instance keeps copies of the elements of some tables of its
    /// own, so it does this itself.
    ///
    /// # Safety
    ///
    /// The module has the table, and `value` is a reference of the table's type.
    pub(crate) unsafe fn set_element(
        &self,
        table: TableIndex,
        at: u32,
        value: TableElement,
    ) -> Result<(), Trap> {
        let imported = self.compiled.info.imported_tables();
        let own = (table.0 as usize).checked_sub(imported);
        match own.and_then(|own| u32::try_from(own).ok()) {
            // SAFETY: the instance is boxed, and nobody else borrows it: guest code reaches it
            // through its context only.
            Some(own) => unsafe {
                let instance = &mut *self.parts().instance.as_ptr();
                instance.table_set(LocalTableIndex::from_u32(own), at, value)
            },
            // SAFETY: the borrow ends with the expression.
            None => unsafe { self.any_table(table).get_mut(self.objects()).set(at, value) },
        }
    }
}

/// An element of a table, in the form in which the guest's code holds it.
pub(crate) fn raw(element: &TableElement) -> RawValue {
    let raw = match element {
        TableElement::FuncRef(function) => function.map(VMFuncRef::into_raw),
        TableElement::ExternRef(object) => object.map(VMExternRef::into_raw),
    };
    raw.unwrap_or_default()
}

/// A reference as an element of a table.
///
/// # Safety
///
/// `raw` is a reference of this type.
pub(crate) unsafe fn element(raw: RawValue, ty: ValType) -> TableElement {
    // SAFETY: our caller vouches for the reference.
    unsafe {
        match ty {
            ValType::FuncRef => TableElement::FuncRef(VMFuncRef::from_raw(raw)),
            _ => TableElement::ExternRef(VMExternRef::from_raw(raw)),
        }
    }
}
