//! `invoke_*` and `longjmp`, as Emscripten builds them without exceptions of WebAssembly: a call that
//! a jump may end goes out to the host and in again, and the host catches the jump.
//!
//! `_emscripten_throw_longjmp` ends the call with an error of its own. The nearest `invoke_*` catches
//! this error and no other, puts the guest's stack pointer back to where it was, and tells the guest
//! by `setThrew`; the guest's code then finds out whose `setjmp` is meant. So it is with Emscripten's
//! JavaScript. Traps, deadlines, exits and errors of other host functions pass through.

use engine_api::{
    Caller, Error, ExternType, FuncIndex, FuncType, Import, ModuleInfo, Val, ValType,
};

use crate::arguments::is;
use crate::{EmscriptenError, MODULE};

/// What the call of a function of the table needs of the module.
#[derive(Clone, Debug)]
pub(crate) struct Invoke {
    target: FuncIndex,
    stack_pointer: FuncIndex,
    set_stack_pointer: FuncIndex,
    set_threw: FuncIndex,
    results: Vec<ValType>,
}

impl Invoke {
    /// For an import `invoke_SIGNATURE` of a module that has the exports for it: `dynCall_SIGNATURE`,
    /// `setThrew`, and two for its stack pointer.
    pub(crate) fn of(import: &Import, info: &ModuleInfo) -> Option<Self> {
        let signature = import.name.strip_prefix("invoke_")?;
        let ExternType::Func(ty) = &import.ty else {
            return None;
        };
        let (target, found) = info.function(&format!("dynCall_{signature}")).ok()?;
        if import.module != MODULE || found.ty != *ty {
            return None;
        }
        Some(Self {
            target,
            stack_pointer: exported(info, &["stackSave", "emscripten_stack_get_current"], ">i")?,
            set_stack_pointer: exported(
                info,
                &["stackRestore", "_emscripten_stack_restore"],
                "i>",
            )?,
            set_threw: set_threw(info)?,
            results: ty.results().to_vec(),
        })
    }

    /// Calls the function. After a jump the results are zero, and the guest does not look at them.
    pub(crate) fn run(
        &self,
        caller: &mut dyn Caller,
        args: &[Val],
        results: &mut [Val],
    ) -> Result<(), Error> {
        let mut stack = [Val::I32(0)];
        caller.call(self.stack_pointer, &[], &mut stack)?;
        match caller.call(self.target, args, results) {
            Err(error) if is_jump(&error) => {
                caller.call(self.set_stack_pointer, &stack, &mut [])?;
                let threw = [Val::I32(1), Val::I32(0)];
                caller.call(self.set_threw, &threw, &mut [])?;
                for (result, ty) in results.iter_mut().zip(&self.results) {
                    *result = Val::zero(*ty);
                }
                Ok(())
            }
            outcome => outcome,
        }
    }
}

/// What ends a call for the nearest `invoke_*`, if that can be served for the module.
pub(crate) fn jump(import: &Import, ty: &FuncType, info: &ModuleInfo) -> Option<Jump> {
    let set_threw = set_threw(info)?;
    match import.name.as_str() {
        "_emscripten_throw_longjmp" if is(ty, ">") => Some(Jump(None)),
        "emscripten_longjmp" if is(ty, "ii>") => Some(Jump(Some(set_threw))),
        _ => None,
    }
}

/// The end of a call by `longjmp`. Older releases leave it to the host to tell the guest whose
/// `setjmp` is meant.
#[derive(Clone, Debug)]
pub(crate) struct Jump(Option<FuncIndex>);

impl Jump {
    pub(crate) fn run(&self, name: &str, caller: &mut dyn Caller, args: &[Val]) -> Error {
        let told = self
            .0
            .map(|set_threw| caller.call(set_threw, args, &mut []));
        match told {
            Some(Err(error)) => error,
            _ => EmscriptenError::Jumped.ends(name),
        }
    }
}

fn set_threw(info: &ModuleInfo) -> Option<FuncIndex> {
    exported(info, &["setThrew"], "ii>")
}

/// The first of these exports that is a function of this type.
fn exported(info: &ModuleInfo, names: &[&str], signature: &str) -> Option<FuncIndex> {
    names.iter().find_map(|name| {
        let (index, found) = info.function(name).ok()?;
        is(&found.ty, signature).then_some(index)
    })
}

fn is_jump(error: &Error) -> bool {
    let Error::Host { source, .. } = error else {
        return false;
    };
    let ended = source.downcast_ref::<EmscriptenError>();
    matches!(ended, Some(EmscriptenError::Jumped))
}
