//! Types and values between the contract and wasmtime.

use std::any::Any;

use engine_api::{Error, ExternRef, FuncRef, MemoryType, Val, ValType};
use wasmtime::{AsContext, AsContextMut, Func, Rooted, ValRaw};

use crate::state::State;
use crate::traps;

/// The wasmtime type of a value.
pub(crate) fn val_type(ty: ValType) -> wasmtime::ValType {
    match ty {
        ValType::I32 => wasmtime::ValType::I32,
        ValType::I64 => wasmtime::ValType::I64,
        ValType::F32 => wasmtime::ValType::F32,
        ValType::F64 => wasmtime::ValType::F64,
        ValType::V128 => wasmtime::ValType::V128,
        ValType::FuncRef => wasmtime::ValType::FUNCREF,
        ValType::ExternRef => wasmtime::ValType::EXTERNREF,
    }
}

/// The wasmtime type of a linear memory.
pub(crate) fn memory_type(ty: MemoryType) -> wasmtime::Result<wasmtime::MemoryType> {
    wasmtime::MemoryType::builder()
        .min(ty.pages_min)
        .max(ty.pages_max)
        .memory64(ty.memory64)
        .shared(ty.shared)
        .build()
}

/// A value in raw form, if making that needs no store: every value but references that are not
/// null.
#[inline]
fn number_to_raw(value: &Val) -> Option<ValRaw> {
    Some(match value {
        Val::I32(value) => ValRaw::i32(*value),
        Val::I64(value) => ValRaw::i64(*value),
        Val::F32(bits) => ValRaw::f32(*bits),
        Val::F64(bits) => ValRaw::f64(*bits),
        Val::V128(value) => ValRaw::v128(*value),
        Val::FuncRef(None) => ValRaw::funcref(std::ptr::null_mut()),
        Val::ExternRef(None) => ValRaw::externref(0),
        Val::FuncRef(Some(_)) | Val::ExternRef(Some(_)) => return None,
    })
}

/// Appends values in raw form to `raw`.
///
/// # Errors
///
/// [`Error::ForeignReference`]; [`Error::Runtime`] if the heap of externrefs is full.
#[inline]
pub(crate) fn to_raw(
    mut store: impl AsContextMut<Data = State>,
    values: &[Val],
    raw: &mut Vec<ValRaw>,
) -> Result<(), Error> {
    for (position, value) in values.iter().enumerate() {
        match number_to_raw(value) {
            Some(number) => raw.push(number),
            None => return references_to_raw(&mut store, &values[position..], raw),
        }
    }
    Ok(())
}

/// As [`to_raw`], for the rest of the values from the first reference on.
#[cold]
fn references_to_raw(
    mut store: impl AsContextMut<Data = State>,
    values: &[Val],
    raw: &mut Vec<ValRaw>,
) -> Result<(), Error> {
    // Nothing roots a raw externref, and allocating another object may collect garbage. So this
    // first allocates all objects, and then makes the raw forms.
    let mut store = wasmtime::RootScope::new(&mut store);
    let mut rooted = Vec::with_capacity(values.len());
    for value in values {
        rooted.push(match value {
            Val::ExternRef(Some(object)) => Some(new_externref(&mut store, object)?),
            _ => None,
        });
    }
    for (value, rooted) in values.iter().zip(rooted) {
        raw.push(match (value, rooted) {
            (_, Some(rooted)) => {
                let engine = store.as_context().data().engine.id();
                let index = rooted
                    .to_raw(&mut store)
                    .map_err(|error| traps::failed(engine, "pass an externref", error))?;
                ValRaw::externref(index)
            }
            (Val::FuncRef(Some(reference)), _) => {
                let func = store.as_context().data().func_refs.resolve(*reference)?;
                ValRaw::funcref(func.to_raw(&mut store))
            }
            (value, None) => {
                number_to_raw(value).expect("every other value needs nothing of the store")
            }
        });
    }
    Ok(())
}

/// The value of a type from its raw form. It reads only as many bytes as the type has: the guest
/// may have just written these, and a wider load than that store stalls the processor.
///
/// # Safety
///
/// `raw` was written by `store`'s guest as a value of type `ty`, and no garbage was collected
/// since.
#[expect(unsafe_code, reason = "raw values carry no type; see Safety")]
#[inline]
pub(crate) unsafe fn from_raw(
    store: impl AsContextMut<Data = State>,
    raw: &ValRaw,
    ty: ValType,
) -> Result<Val, Error> {
    Ok(match ty {
        ValType::I32 => Val::I32(raw.get_i32()),
        ValType::I64 => Val::I64(raw.get_i64()),
        ValType::F32 => Val::F32(raw.get_f32()),
        ValType::F64 => Val::F64(raw.get_f64()),
        ValType::V128 => Val::V128(raw.get_v128()),
        ValType::FuncRef => {
            let address = raw.get_funcref();
            // SAFETY: the caller says that the guest of this store wrote it as a funcref.
            Val::FuncRef(unsafe { func_ref(store, address) })
        }
        ValType::ExternRef => {
            let mut store = wasmtime::RootScope::new(store);
            let rooted = wasmtime::ExternRef::from_raw(&mut store, raw.get_externref());
            Val::ExternRef(
                rooted
                    .map(|rooted| host_object(&store, rooted))
                    .transpose()?,
            )
        }
    })
}

/// The contract's reference for the raw form of a funcref, which is null or a function of the
/// store.
///
/// # Safety
///
/// `address` comes from this store, which still lives.
#[expect(unsafe_code, reason = "a raw pointer becomes a function; see Safety")]
unsafe fn func_ref(
    mut store: impl AsContextMut<Data = State>,
    address: *mut std::ffi::c_void,
) -> Option<FuncRef> {
    // SAFETY: the caller says that it is null or a function of this store.
    let func = unsafe { Func::from_raw(&mut store, address) }?;
    let mut context = store.as_context_mut();
    Some(context.data_mut().func_refs.intern(func, address.addr()))
}

/// Makes an object in the guest's heap that stands for a host object, rooted in the innermost
/// scope.
pub(crate) fn new_externref(
    mut store: impl AsContextMut<Data = State>,
    object: &ExternRef,
) -> Result<Rooted<wasmtime::ExternRef>, Error> {
    // The heap of externrefs grows through the limiter of linear memories, but is not one.
    store.as_context_mut().data_mut().limiter.in_gc_heap = true;
    let outcome = collect_if_due(&mut store)
        .and_then(|()| wasmtime::ExternRef::new(&mut store, object.clone()));
    let mut context = store.as_context_mut();
    let state = context.data_mut();
    state.limiter.in_gc_heap = false;
    outcome.map_err(|error| traps::failed(state.engine.id(), "allocate an externref", error))
}

/// How many host objects are passed to a guest between two garbage collections. wasmtime itself
/// counts only the few bytes that each has in its heap, not the size of the host's object.
const EXTERNREFS_PER_COLLECTION: u32 = 1_024;

fn collect_if_due(mut store: impl AsContextMut<Data = State>) -> wasmtime::Result<()> {
    let mut context = store.as_context_mut();
    let passed = &mut context.data_mut().externrefs_passed;
    *passed += 1;
    if *passed < EXTERNREFS_PER_COLLECTION {
        return Ok(());
    }
    *passed = 0;
    context.gc(None)
}

/// The host object that an externref stands for.
pub(crate) fn host_object(
    store: impl AsContext<Data = State>,
    rooted: Rooted<wasmtime::ExternRef>,
) -> Result<ExternRef, Error> {
    let context = store.as_context();
    let object: Option<&(dyn Any + Send + Sync)> = rooted
        .data(&context)
        .map_err(|error| traps::failed(context.data().engine.id(), "read an externref", error))?;
    Ok(object
        .and_then(|object| object.downcast_ref::<ExternRef>())
        .expect("every externref of a store is made by `new_externref`")
        .clone())
}

/// Converts a value to wasmtime's typed form. An externref is rooted in the innermost scope.
///
/// # Errors
///
/// [`Error::ForeignReference`]; [`Error::Runtime`] if the heap of externrefs is full.
pub(crate) fn to_wasmtime(
    mut store: impl AsContextMut<Data = State>,
    value: &Val,
) -> Result<wasmtime::Val, Error> {
    Ok(match value {
        Val::I32(value) => wasmtime::Val::I32(*value),
        Val::I64(value) => wasmtime::Val::I64(*value),
        Val::F32(bits) => wasmtime::Val::F32(*bits),
        Val::F64(bits) => wasmtime::Val::F64(*bits),
        Val::V128(value) => wasmtime::Val::V128((*value).into()),
        Val::FuncRef(None) => wasmtime::Val::FuncRef(None),
        Val::FuncRef(Some(reference)) => {
            let func = store.as_context().data().func_refs.resolve(*reference)?;
            wasmtime::Val::FuncRef(Some(func))
        }
        Val::ExternRef(None) => wasmtime::Val::ExternRef(None),
        Val::ExternRef(Some(object)) => {
            wasmtime::Val::ExternRef(Some(new_externref(&mut store, object)?))
        }
    })
}

/// Converts a reference to wasmtime's typed form, as an element of a table.
///
/// # Errors
///
/// [`Error::ForeignReference`]; [`Error::Runtime`]; [`Error::ValueType`] if the value does not have
/// the type `element`.
pub(crate) fn to_wasmtime_ref(
    store: impl AsContextMut<Data = State>,
    value: &Val,
    element: ValType,
) -> Result<wasmtime::Ref, Error> {
    value.check_type(element)?;
    Ok(match to_wasmtime(store, value)? {
        wasmtime::Val::FuncRef(func) => wasmtime::Ref::Func(func),
        wasmtime::Val::ExternRef(object) => wasmtime::Ref::Extern(object),
        _ => unreachable!("a table's element type is a reference, and the value has it"),
    })
}

/// Converts a value from wasmtime's typed form.
///
/// # Errors
///
/// [`Error::Runtime`] for a value of a type that the contract does not have.
pub(crate) fn from_wasmtime(
    mut store: impl AsContextMut<Data = State>,
    value: &wasmtime::Val,
) -> Result<Val, Error> {
    Ok(match value {
        wasmtime::Val::I32(value) => Val::I32(*value),
        wasmtime::Val::I64(value) => Val::I64(*value),
        wasmtime::Val::F32(bits) => Val::F32(*bits),
        wasmtime::Val::F64(bits) => Val::F64(*bits),
        wasmtime::Val::V128(value) => Val::V128(value.as_u128()),
        wasmtime::Val::FuncRef(None) => Val::FuncRef(None),
        wasmtime::Val::FuncRef(Some(func)) => {
            let address = func.to_raw(&mut store).addr();
            let mut context = store.as_context_mut();
            Val::FuncRef(Some(context.data_mut().func_refs.intern(*func, address)))
        }
        wasmtime::Val::ExternRef(object) => Val::ExternRef(
            object
                .map(|object| host_object(&store, object))
                .transpose()?,
        ),
        other => {
            let engine = store.as_context().data().engine.id();
            let error = wasmtime::Error::msg(format!("{other:?} is no value of the contract"));
            return Err(traps::failed(engine, "read a value", error));
        }
    })
}
