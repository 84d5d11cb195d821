//! The references of an instance, captured and restored: its tables that can change, its mutable
//! globals of references, and the segments that it has dropped.

use std::collections::HashMap;
use std::sync::Arc;

use engine_api::{
    Error, ExternRef, Objects, Reference, Snapshot, SnapshotParts, TableIndex, ValType,
};
use wasmtime::{AsContext, AsContextMut, Extern, Func, Ref, RootScope, Rooted, Store, Table};

use crate::caller::{FindExport, GuestAccess};
use crate::exports::Exports;
use crate::state::State;
use crate::{convert, traps};

/// How many elements of a table are read before their roots are given up.
const ELEMENTS_PER_SCOPE: u64 = 1_024;

/// Numbers for the references of one instance.
struct Numbers {
    /// The indexes of the module's functions, by wasmtime's raw form of a reference to them.
    functions: HashMap<usize, u32>,
    objects: Objects,
}

impl Numbers {
    /// `None` stands for a function that is none of the instance's own.
    fn of(
        &mut self,
        mut store: impl AsContextMut<Data = State>,
        reference: &Ref,
    ) -> Result<Option<Reference>, Error> {
        Ok(match reference {
            Ref::Func(Some(func)) => {
                let address = func.to_raw(&mut store).addr();
                let index = self.functions.get(&address);
                index.map(|index| Reference::Function(*index))
            }
            Ref::Extern(Some(object)) => {
                let object = convert::host_object(&store, *object)?;
                Some(self.objects.reference(&object))
            }
            _ => Some(Reference::Null),
        })
    }
}

impl GuestAccess<Store<State>> {
    /// Adds the references to a snapshot.
    pub(crate) fn capture_references(&mut self, parts: &mut SnapshotParts) -> Result<(), Error> {
        let engine = self.0.data().engine.id();
        let foreign = |what: String| Error::Unsupported {
            engine,
            what: format!("snapshots of {what}, which refers to a function of another instance"),
        };
        let mut numbers = Numbers {
            functions: self.function_indexes(),
            objects: Objects::default(),
        };
        for (index, global) in self.mutable_globals() {
            let mut store = RootScope::new(&mut self.0);
            let Some(reference) = global.get(&mut store).ref_() else {
                continue;
            };
            let number = numbers.of(&mut store, &reference)?;
            let number = number.ok_or_else(|| foreign(format!("global {}", index.0)))?;
            parts.references.push((index, number));
        }
        for (index, table) in self.changing_tables() {
            let size = table.size(&self.0);
            let mut elements = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
            while (elements.len() as u64) < size {
                let mut store = RootScope::new(&mut self.0);
                let from = elements.len() as u64;
                for element in from..size.min(from + ELEMENTS_PER_SCOPE) {
                    let reference = table.get(&mut store, element);
                    let reference = reference.expect("the element is inside the table");
                    let number = numbers.of(&mut store, &reference)?;
                    let what = || foreign(format!("element {element} of table {}", index.0));
                    elements.push(number.ok_or_else(what)?);
                }
            }
            parts.tables.push((index, elements.into()));
        }
        parts.objects = numbers.objects.finish();
        let exports = Arc::clone(&self.0.data().exports);
        let flags = exports.flags.iter().filter(|(_, export)| {
            let flag = self.0.find_export(export).and_then(Extern::into_global);
            flag.is_some_and(|flag| flag.get(&mut self.0).i32() == Some(1))
        });
        parts.dropped = flags.map(|(segment, _)| *segment).collect();
        Ok(())
    }

    /// Puts the references of a snapshot into the instance, in which nothing has run.
    pub(crate) fn restore_references(&mut self, snapshot: &Snapshot) -> Result<(), Error> {
        let tables = self.changing_tables();
        for (index, table) in &tables {
            let size = table.size(&self.0);
            let elements = snapshot.table_from(*index, size)?.len() as u64;
            self.grow_table(*table, elements, elements - size)?;
        }
        let globals = self.mutable_globals();
        let info = Arc::clone(&self.0.data().info);
        let mut lowered = Lowered::new(&mut self.0, snapshot.objects())?;
        for (index, table) in tables {
            let element = info.tables()[index.0 as usize].element;
            let mut from = 0;
            for run in snapshot.table(index)?.chunk_by(|one, other| one == other) {
                let reference = lowered.reference(run[0], element)?;
                let len = run.len() as u64;
                lowered.set(|store| table.fill(store, from, reference, len))?;
                from += len;
            }
        }
        for (index, global) in globals {
            let ty = info.globals()[index.0 as usize].value;
            if ty.is_reference() {
                let reference = lowered.reference(snapshot.reference(index)?, ty)?;
                lowered.set(|store| global.set(store, reference.into()))?;
            }
        }
        drop(lowered);
        self.drop_segments(snapshot)
    }

    /// Every table that can change.
    fn changing_tables(&mut self) -> Vec<(TableIndex, Table)> {
        let state = self.0.data();
        let exports = Arc::clone(&state.exports);
        let imported = (0..).zip(&state.tables[..state.info.imported_tables()]);
        let mut tables: Vec<_> = imported
            .map(|(index, table)| {
                let table = table.expect("an imported table is there from the start");
                (TableIndex(index), table)
            })
            .collect();
        for (index, export) in &exports.own_tables {
            let table = self.0.find_export(export).and_then(Extern::into_table);
            tables.push((*index, table.expect("the module exports it")));
        }
        tables
    }

    /// The index of each function that a reference can be to, by wasmtime's raw form of it.
    fn function_indexes(&mut self) -> HashMap<usize, u32> {
        let exports = Arc::clone(&self.0.data().exports);
        let mut indexes = HashMap::with_capacity(exports.referable.len());
        for (index, export) in &exports.referable {
            if let Some(Extern::Func(func)) = self.0.find_export(export) {
                indexes.insert(func.to_raw(&mut self.0).addr(), *index);
            }
        }
        indexes
    }

    /// Grows a table to `needed` elements, of which `missing` are missing, under the limits.
    fn grow_table(&mut self, table: Table, needed: u64, missing: u64) -> Result<(), Error> {
        if missing == 0 {
            return Ok(());
        }
        let ty = table.ty(&self.0);
        let limit = self.0.data().limiter.table_elements_max();
        let null = Ref::null(ty.element().heap_type());
        let grown = table.grow(&mut self.0, missing, null);
        grown.map(drop).map_err(|_| Error::Limit {
            what: "table elements",
            needed,
            limit: ty.maximum().map_or(limit, |maximum| maximum.min(limit)),
        })
    }

    /// Drops the segments that the captured instance had dropped.
    fn drop_segments(&mut self, snapshot: &Snapshot) -> Result<(), Error> {
        let dropped = snapshot.dropped();
        let exports = Arc::clone(&self.0.data().exports);
        let Some(drops) = exports.drops.as_ref().filter(|_| !dropped.is_empty()) else {
            return Ok(());
        };
        let engine = self.0.data().engine.id();
        let failed = |error| traps::failed(engine, "drop segments", error);
        let set = exports.flags.iter();
        for (_, export) in set.filter(|(segment, _)| dropped.contains(*segment)) {
            let flag = self.0.find_export(export).and_then(Extern::into_global);
            let flag = flag.expect("the module exports it");
            flag.set(&mut self.0, wasmtime::Val::I32(1))
                .map_err(failed)?;
        }
        let drops = self.0.find_export(drops).and_then(Extern::into_func);
        let drops = drops.expect("the module exports it");
        // It is no call of the owner's: the fuel is as before.
        self.enter()?;
        let fuel = self.0.get_fuel().ok();
        if fuel.is_some() {
            self.0.set_fuel(u64::MAX).map_err(failed)?;
        }
        let outcome = drops.call(&mut self.0, &[], &mut []);
        let in_time = self.leave();
        if let Some(fuel) = fuel {
            self.0.set_fuel(fuel).map_err(failed)?;
        }
        outcome.map_err(|error| traps::call_failed(engine, error))?;
        in_time
    }
}

/// The references of a snapshot in the form of one instance.
struct Lowered<'a> {
    store: RootScope<&'a mut Store<State>>,
    exports: Arc<Exports>,
    /// The objects of the host, each once in the guest's heap.
    objects: Vec<Rooted<wasmtime::ExternRef>>,
    functions: HashMap<u32, Func>,
}

impl<'a> Lowered<'a> {
    fn new(store: &'a mut Store<State>, objects: &[ExternRef]) -> Result<Self, Error> {
        let exports = Arc::clone(&store.data().exports);
        let mut store = RootScope::new(store);
        let objects = objects.iter();
        let objects = objects.map(|object| convert::new_externref(&mut store, object));
        Ok(Self {
            objects: objects.collect::<Result<_, _>>()?,
            store,
            exports,
            functions: HashMap::new(),
        })
    }

    /// # Errors
    ///
    /// [`Error::Snapshot`] for a function or an object that is not there.
    fn reference(&mut self, reference: Reference, ty: ValType) -> Result<Ref, Error> {
        Ok(match reference {
            Reference::Null if ty == ValType::ExternRef => Ref::Extern(None),
            Reference::Null => Ref::Func(None),
            Reference::Function(index) => Ref::Func(Some(self.function(index)?)),
            Reference::Object(number) => {
                let object = self.objects.get(number as usize).copied();
                Ref::Extern(Some(object.ok_or_else(|| lacks("object", number))?))
            }
        })
    }

    fn function(&mut self, index: u32) -> Result<Func, Error> {
        if let Some(function) = self.functions.get(&index) {
            return Ok(*function);
        }
        let referable = &self.exports.referable;
        let found = referable.binary_search_by_key(&index, |(index, _)| *index);
        let export = found.ok().map(|position| referable[position].1);
        let instance = self.store.as_context().data().instance;
        let function = export
            .zip(instance)
            .and_then(|(export, instance)| instance.get_module_export(&mut self.store, &export))
            .and_then(Extern::into_func)
            .ok_or_else(|| lacks("function", index))?;
        self.functions.insert(index, function);
        Ok(function)
    }

    /// Puts a reference into its place.
    fn set(
        &mut self,
        set: impl FnOnce(&mut RootScope<&'a mut Store<State>>) -> wasmtime::Result<()>,
    ) -> Result<(), Error> {
        let engine = self.store.as_context().data().engine.id();
        set(&mut self.store).map_err(|error| traps::failed(engine, "restore a reference", error))
    }
}

fn lacks(kind: &str, index: u32) -> Error {
    Error::Snapshot {
        reason: format!("the module has no {kind} {index} that a reference can be to"),
    }
}
