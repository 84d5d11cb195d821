//! Conversions of values and types between the contract and wasmer.

use std::collections::HashMap;
use std::ptr::NonNull;

use engine_api::{Error, ExternRef, FuncRef, FuncType, GlobalType, MemoryType, TableType};
use engine_api::{Val, ValType};
use wasmer_types::{FunctionType, Mutability, Pages, RawValue, Type};
use wasmer_vm::VMCallerCheckedAnyfunc;

pub(crate) fn val_type(ty: ValType) -> Type {
    match ty {
        ValType::I32 => Type::I32,
        ValType::I64 => Type::I64,
        ValType::F32 => Type::F32,
        ValType::F64 => Type::F64,
        ValType::V128 => Type::V128,
        ValType::FuncRef => Type::FuncRef,
        ValType::ExternRef => Type::ExternRef,
    }
}

pub(crate) fn func_type(ty: &FuncType) -> FunctionType {
    let types = |types: &[ValType]| types.iter().copied().map(val_type).collect::<Vec<_>>();
    FunctionType::new(types(ty.params()), types(ty.results()))
}

/// `None` if the memory is larger than a 32-bit one can be.
pub(crate) fn memory_type(ty: MemoryType) -> Option<wasmer_types::MemoryType> {
    let pages = |pages: u64| u32::try_from(pages).ok().map(Pages);
    Some(wasmer_types::MemoryType {
        minimum: pages(ty.pages_min)?,
        maximum: match ty.pages_max {
            Some(max) => Some(pages(max)?),
            None => None,
        },
        shared: ty.shared,
    })
}

/// `None` if the table is larger than a 32-bit one can be.
pub(crate) fn table_type(ty: TableType) -> Option<wasmer_types::TableType> {
    Some(wasmer_types::TableType::new(
        val_type(ty.element),
        u32::try_from(ty.elements_min).ok()?,
        match ty.elements_max {
            Some(max) => Some(u32::try_from(max).ok()?),
            None => None,
        },
    ))
}

pub(crate) fn global_type(ty: GlobalType) -> wasmer_types::GlobalType {
    let mutability = if ty.mutable {
        Mutability::Var
    } else {
        Mutability::Const
    };
    wasmer_types::GlobalType::new(val_type(ty.value), mutability)
}

/// The references that one instance and its host have given each other.
///
/// None is ever released: functions live as long as their instance, and nothing tells when a guest
/// has dropped a host object.
pub(crate) struct References {
    instance: u64,
    functions: Vec<NonNull<VMCallerCheckedAnyfunc>>,
    function_slots: HashMap<usize, u32>,
    objects: Vec<ExternRef>,
    object_slots: HashMap<ExternRef, usize>,
}

impl References {
    /// For the instance with this number, which is unique in the process.
    pub(crate) fn new(instance: u64) -> Self {
        Self {
            instance,
            functions: Vec::new(),
            function_slots: HashMap::new(),
            objects: Vec::new(),
            object_slots: HashMap::new(),
        }
    }

    /// Converts a value to the form in which the guest's code holds it.
    ///
    /// # Errors
    ///
    /// [`Error::ForeignReference`].
    #[inline]
    pub(crate) fn lower(&mut self, val: &Val) -> Result<RawValue, Error> {
        Ok(match val {
            Val::I32(value) => RawValue::from(*value),
            Val::I64(value) => RawValue::from(*value),
            Val::F32(bits) => RawValue::from(bits.cast_signed()),
            Val::F64(bits) => RawValue::from(bits.cast_signed()),
            Val::V128(value) => RawValue { u128: *value },
            Val::FuncRef(None) | Val::ExternRef(None) => RawValue::default(),
            Val::FuncRef(Some(reference)) => self.function(*reference)?,
            Val::ExternRef(Some(object)) => self.object(object),
        })
    }

    /// Converts a value of the type `ty` from the form in which the guest's code holds it.
    ///
    /// # Safety
    ///
    /// `raw` must hold a value of the type which this instance's code, or [`References::lower`],
    /// put there.
    #[inline]
    pub(crate) unsafe fn lift(&mut self, ty: ValType, raw: RawValue) -> Val {
        // SAFETY: the caller says which field is valid; all bits of a `RawValue` are initialised,
        // and every field but the references takes any bits.
        unsafe {
            match ty {
                ValType::I32 => Val::I32(raw.i32),
                ValType::I64 => Val::I64(raw.i64),
                ValType::F32 => Val::F32(raw.u32),
                ValType::F64 => Val::F64(raw.u64),
                ValType::V128 => Val::V128(raw.u128),
                ValType::FuncRef => Val::FuncRef(self.name_function(raw.funcref)),
                ValType::ExternRef => {
                    let object = raw.externref.checked_sub(1);
                    Val::ExternRef(object.and_then(|slot| self.objects.get(slot).cloned()))
                }
            }
        }
    }

    fn function(&self, reference: FuncRef) -> Result<RawValue, Error> {
        if reference.instance() != self.instance {
            return Err(Error::ForeignReference);
        }
        let function = self
            .functions
            .get(reference.slot() as usize)
            .ok_or(Error::ForeignReference)?;
        Ok(RawValue {
            funcref: function.as_ptr().addr(),
        })
    }

    fn name_function(&mut self, address: usize) -> Option<FuncRef> {
        let function = NonNull::new(address as *mut VMCallerCheckedAnyfunc)?;
        let slot = *self.function_slots.entry(address).or_insert_with(|| {
            self.functions.push(function);
            u32::try_from(self.functions.len() - 1).expect("a module has fewer functions")
        });
        Some(FuncRef::new(self.instance, slot))
    }

    fn object(&mut self, object: &ExternRef) -> RawValue {
        let slot = *self.object_slots.entry(object.clone()).or_insert_with(|| {
            self.objects.push(object.clone());
            self.objects.len() - 1
        });
        // Zero is the null reference.
        RawValue {
            externref: slot + 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_kept_once_however_often_it_is_passed() {
        let mut references = References::new(1);
        let objects: Vec<ExternRef> = (0..100).map(ExternRef::new).collect();
        for _ in 0..10 {
            for (number, object) in objects.iter().enumerate() {
                let val = Val::ExternRef(Some(object.clone()));
                let raw = references.lower(&val).expect("objects belong to nobody");
                // SAFETY: a union of integers; the reference was made by `lower`.
                unsafe {
                    assert_eq!(raw.externref, number + 1);
                    assert_eq!(references.lift(ValType::ExternRef, raw), val);
                }
            }
        }
        assert_eq!(references.objects.len(), objects.len());
    }

    #[test]
    fn forged_and_foreign_function_references_are_refused() {
        let mut references = References::new(7);
        for forged in [
            FuncRef::new(7, 0),
            FuncRef::new(8, 0),
            FuncRef::new(7, u32::MAX),
        ] {
            let outcome = references.lower(&Val::FuncRef(Some(forged)));
            assert!(matches!(outcome, Err(Error::ForeignReference)));
        }
    }
}
