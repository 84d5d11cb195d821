//! Whether what a file says can be a state of a module.

use engine_api::{MemoryType, ModuleInfo, ValType};

use crate::encoding::{Memory, Number, Ref, State};

/// The reason why it cannot, in words.
type Misfit = Result<(), String>;

/// Every memory of the module is there. None is smaller than it begins, or larger than its code can
/// address. Its maximum holds when an instance is made, as all limits do.
pub(crate) fn memories<'a>(
    info: &ModuleInfo,
    memories: impl Iterator<Item = &'a Memory> + Clone,
) -> Misfit {
    let types = info.memories();
    if !memories
        .clone()
        .map(|memory| memory.index as usize)
        .eq(0..types.len())
    {
        return Err("it has not the module's memories".to_owned());
    }
    for (memory, ty) in memories.zip(types) {
        let addressable = MemoryType {
            pages_max: None,
            ..*ty
        };
        if !(ty.bytes_min()..=addressable.bytes_max()).contains(&memory.bytes) {
            let (index, bytes) = (memory.index, memory.bytes);
            return Err(format!("memory {index} cannot have {bytes} bytes"));
        }
    }
    Ok(())
}

/// All else.
pub(crate) fn state(info: &ModuleInfo, state: &State) -> Misfit {
    globals(info, state)?;
    tables(info, state)?;
    for dropped in [&state.dropped_data, &state.dropped_elements] {
        ascending(dropped.iter().copied(), "dropped segments")?;
    }
    objects(state)
}

fn globals(info: &ModuleInfo, state: &State) -> Misfit {
    let mutable = info.mutable_globals().map(|(index, ty)| (index.0, ty));
    let (references, numbers): (Vec<_>, Vec<_>) = mutable.partition(|(_, ty)| ty.is_reference());
    let found = state.globals.iter();
    if !found
        .map(|(index, number)| (*index, number.ty()))
        .eq(numbers)
    {
        return Err("it has not the module's mutable globals of numbers".to_owned());
    }
    let found = state.references.iter().map(|(index, _)| *index);
    if !found.eq(references.iter().map(|(index, _)| *index)) {
        return Err("it has not the module's mutable globals of references".to_owned());
    }
    for ((index, reference), (_, ty)) in state.references.iter().zip(references) {
        let misfit = |reason| format!("global {index} refers to {reason}");
        reference.check(info, ty).map_err(misfit)?;
    }
    Ok(())
}

fn tables(info: &ModuleInfo, state: &State) -> Misfit {
    ascending(state.tables.iter().map(|(index, _)| *index), "tables")?;
    for (index, elements) in &state.tables {
        let ty = info.tables().get(*index as usize);
        let ty = ty.ok_or_else(|| format!("the module has no table {index}"))?;
        for element in elements {
            let misfit = |reason| format!("table {index} refers to {reason}");
            element.check(info, ty.element).map_err(misfit)?;
        }
    }
    Ok(())
}

/// Each object is referred to: the references bound how many there are.
fn objects(state: &State) -> Misfit {
    let globals = state.references.iter().map(|(_, reference)| reference);
    let elements = state.tables.iter().flat_map(|(_, elements)| elements);
    let numbers = globals
        .chain(elements)
        .filter_map(|reference| match reference {
            Ref::Object(number) => Some(u64::from(*number) + 1),
            _ => None,
        });
    if numbers.max().unwrap_or(0) == u64::from(state.objects) {
        return Ok(());
    }
    Err("its references are to other objects than it has".to_owned())
}

fn ascending(indexes: impl Iterator<Item = u32>, what: &str) -> Misfit {
    if indexes.is_sorted_by(|one, next| one < next) {
        return Ok(());
    }
    Err(format!("its {what} are not in order"))
}

impl Number {
    fn ty(&self) -> ValType {
        match self {
            Number::I32(_) => ValType::I32,
            Number::I64(_) => ValType::I64,
            Number::F32(_) => ValType::F32,
            Number::F64(_) => ValType::F64,
            Number::V128(_) => ValType::V128,
        }
    }
}

impl Ref {
    fn check(self, info: &ModuleInfo, ty: ValType) -> Misfit {
        let fits = match self {
            Ref::Null => ty.is_reference(),
            Ref::Function(index) => {
                ty == ValType::FuncRef && (index as usize) < info.function_count()
            }
            Ref::Object(_) => ty == ValType::ExternRef,
        };
        if fits {
            return Ok(());
        }
        Err(format!("{self:?}, which is no {ty} of the module"))
    }
}
