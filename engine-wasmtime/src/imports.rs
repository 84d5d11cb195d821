//! Makes the host's imports into objects that wasmtime links.

use std::mem::MaybeUninit;

use engine_api::{Error, Extern, HostFunc, Imports, MemoryIndex, ModuleInfo, TableType};
use wasmtime::{AsContextMut, Func, Store, ValRaw};

use crate::caller::GuestAccess;
use crate::settings::Runtime;
use crate::shared_memory::Backing;
use crate::state::{Memory, State};
use crate::{convert, traps};

/// The wasmtime type of an import, if making the import needs it.
pub(crate) enum ImportType {
    Func(wasmtime::FuncType),
    Table(wasmtime::TableType),
    Other,
}

impl From<wasmtime::ExternType> for ImportType {
    fn from(ty: wasmtime::ExternType) -> Self {
        match ty {
            wasmtime::ExternType::Func(ty) => ImportType::Func(ty),
            wasmtime::ExternType::Table(ty) => ImportType::Table(ty),
            _ => ImportType::Other,
        }
    }
}

/// The host's entries for the imports of a module, in its order. Shared memories are those of this
/// engine.
///
/// # Errors
///
/// [`Error::Import`].
pub(crate) fn resolve<'a>(
    engine: &Runtime,
    info: &ModuleInfo,
    imports: &'a Imports,
) -> Result<Vec<&'a Extern>, Error> {
    let given = imports.resolve_all(info)?;
    for (import, given) in info.imports().iter().zip(&given) {
        let Extern::SharedMemory(memory) = given else {
            continue;
        };
        let backing = memory.backing::<Backing>();
        if !backing.is_some_and(|own| wasmtime::Engine::same(&own.engine, &engine.engine)) {
            return Err(import.refused(format!(
                "the shared memory was made by another engine ({}); make it with the one that \
                 compiled the module",
                memory.engine()
            )));
        }
    }
    Ok(given)
}

/// Makes an instance's imports, in the store where it will live, and keeps each under its index.
///
/// # Errors
///
/// [`Error::Runtime`] if memory is short; [`Error::ForeignReference`] for a global whose first
/// value is a function of another instance.
pub(crate) fn make(
    store: &mut Store<State>,
    types: &[ImportType],
    given: &[&Extern],
) -> Result<Vec<wasmtime::Extern>, Error> {
    let (mut memories, mut tables, mut globals) = (0_u32, 0, 0);
    let mut externs = Vec::with_capacity(given.len());
    for (given, ty) in given.iter().zip(types) {
        let made = make_one(store, ty, given)?;
        let state = store.data_mut();
        match &made {
            wasmtime::Extern::Memory(memory) => {
                state.memories[memories as usize] = Some(Memory::Unshared(*memory));
                memories += 1;
            }
            wasmtime::Extern::SharedMemory(memory) => {
                state.clock.watch_memory(memory);
                state.memories[memories as usize] = Some(Memory::Shared(memory.clone()));
                if let Extern::SharedMemory(given) = given
                    && let Some(backing) = given.backing::<Backing>()
                {
                    let attachment = backing.attachments.attach();
                    state.attachments.insert(MemoryIndex(memories), attachment);
                }
                memories += 1;
            }
            wasmtime::Extern::Table(table) => {
                state.tables[tables] = Some(*table);
                tables += 1;
            }
            wasmtime::Extern::Global(global) => {
                state.globals[globals] = Some(*global);
                globals += 1;
            }
            _ => {}
        }
        externs.push(made);
    }
    Ok(externs)
}

fn make_one(
    store: &mut Store<State>,
    ty: &ImportType,
    given: &Extern,
) -> Result<wasmtime::Extern, Error> {
    let engine = store.data().engine.id();
    let failed = |action| move |error| traps::failed(engine, action, error);
    Ok(match (given, ty) {
        (Extern::Func(func), ImportType::Func(ty)) => {
            host_func(store, ty.clone(), func.clone()).into()
        }
        (Extern::Memory(ty), _) => convert::memory_type(*ty)
            .and_then(|ty| wasmtime::Memory::new(&mut *store, ty))
            .map_err(failed("make an imported memory"))?
            .into(),
        (Extern::SharedMemory(memory), _) => memory
            .backing::<Backing>()
            .expect("`resolve` has checked it")
            .memory
            .clone()
            .into(),
        (Extern::Table(given), ImportType::Table(needed)) => {
            let ty = table_type(*given, needed);
            let null = wasmtime::Ref::null(ty.element().heap_type());
            wasmtime::Table::new(&mut *store, ty, null)
                .map_err(failed("make an imported table"))?
                .into()
        }
        (Extern::Global(ty, value), _) => {
            let mutability = if ty.mutable {
                wasmtime::Mutability::Var
            } else {
                wasmtime::Mutability::Const
            };
            let ty = wasmtime::GlobalType::new(convert::val_type(ty.value), mutability);
            let mut scope = wasmtime::RootScope::new(&mut *store);
            let value = convert::to_wasmtime(&mut scope, value)?;
            wasmtime::Global::new(&mut scope, ty, value)
                .map_err(failed("make an imported global"))?
                .into()
        }
        (other, _) => {
            let error = wasmtime::Error::msg(format!("no import can be given {other:?}"));
            return Err(failed("link an import")(error));
        }
    })
}

/// The type for a new table: its sizes come from the host, the type of its indexes from the module,
/// because the contract's types do not have it.
fn table_type(given: TableType, needed: &wasmtime::TableType) -> wasmtime::TableType {
    let element = needed.element().clone();
    if needed.is_64() {
        return wasmtime::TableType::new64(element, given.elements_min, given.elements_max);
    }
    let saturate = |elements: u64| u32::try_from(elements).unwrap_or(u32::MAX);
    wasmtime::TableType::new(
        element,
        saturate(given.elements_min),
        given.elements_max.map(saturate),
    )
}

/// A host function in wasmtime's raw form. Its values are converted into buffers that the store
/// keeps, so a call does not allocate.
fn host_func(store: &mut Store<State>, ty: wasmtime::FuncType, func: HostFunc) -> Func {
    let run = move |caller: wasmtime::Caller<'_, State>, raw: &mut [MaybeUninit<ValRaw>]| {
        let mut guest = GuestAccess(caller);
        guest.0.data().clock.set_in_host(true);
        guest.link();
        let mut values = guest.0.data_mut().scratch.take_values();
        let outcome = invoke(&mut guest, &func, raw, &mut values);
        guest.0.data_mut().scratch.put_values(values);
        guest.0.data().clock.set_in_host(false);
        outcome.map_err(wasmtime::Error::new)
    };
    #[expect(unsafe_code, reason = "the checked form allocates at every call")]
    // SAFETY: `run` reads `raw` as the parameters of `func.ty()` and writes its results there.
    // `Imports::resolve` has found that type equal to the import's, of which `ty` is wasmtime's
    // form.
    unsafe {
        Func::new_unchecked(store, ty, run)
    }
}

/// Runs a host function on behalf of the guest that wrote `raw`.
fn invoke(
    guest: &mut GuestAccess<wasmtime::Caller<'_, State>>,
    func: &HostFunc,
    raw: &mut [MaybeUninit<ValRaw>],
    values: &mut Vec<engine_api::Val>,
) -> Result<(), Error> {
    let (params, declared) = (func.ty().params(), func.ty().results());
    for (ty, raw) in params.iter().zip(raw.iter()) {
        #[expect(unsafe_code, reason = "raw values carry no type")]
        // SAFETY: the guest wrote its arguments, of the import's type, to the front of `raw`, and
        // nothing has been collected since it called.
        let value = unsafe { convert::from_raw(&mut guest.0, raw.assume_init_ref(), *ty) };
        values.push(value?);
    }
    values.extend(declared.iter().map(|ty| engine_api::Val::zero(*ty)));
    let (args, results) = values.split_at_mut(params.len());
    func.invoke(guest, args, results)?;
    write_results(guest, results, raw)
}

/// Passes a host function's results, whose types have been checked, to the guest.
fn write_results(
    guest: &mut GuestAccess<wasmtime::Caller<'_, State>>,
    results: &[engine_api::Val],
    raw: &mut [MaybeUninit<ValRaw>],
) -> Result<(), Error> {
    let mut context = guest.0.as_context_mut();
    let mut buffer = context.data_mut().scratch.take_raw();
    let outcome = convert::to_raw(&mut guest.0, results, &mut buffer);
    for (slot, value) in raw.iter_mut().zip(&buffer) {
        slot.write(*value);
    }
    let mut context = guest.0.as_context_mut();
    context.data_mut().scratch.put_raw(buffer);
    outcome
}
