//! What is wrong with arguments, before the guest is touched.

use super::javascript::check_js;
use super::structs::are_structs;
use super::{BoundInstance, CallFailure};
use crate::param::Param;
use crate::policy::plan::ExportPlan;
use crate::{Arg, ArgKind, CallError, Handle, Pointer, Scope};

impl BoundInstance {
    /// Checks every argument before the guest is touched.
    pub(super) fn check(
        &self,
        plan: &ExportPlan,
        args: &[Arg<'_>],
        scope: Option<Scope>,
    ) -> Result<(), CallFailure> {
        plan.check_args(args)?;
        let gives_pointers = plan.results.iter().any(|result| result.kind.is_pointer());
        if gives_pointers && scope.is_none() {
            return Err(outside_scope(plan));
        }
        for (arg, param) in args.iter().zip(plan.params()) {
            let param = Param {
                is_pure: param.is_pure || scope.is_some_and(|scope| scope.raw_calls),
                ..param
            };
            if !param.takes(&arg.shape()) {
                return Err(CallFailure::Refused(plan.misfit(param, arg.kind())));
            }
            let param = Param {
                kind: param.kind.inner(),
                ..param
            };
            match arg {
                Arg::Handle(handle) => self.check_handle(plan, *handle, param.kind).map(drop)?,
                Arg::Handles(handles) => {
                    for handle in *handles {
                        self.check_handle(plan, *handle, param.kind)?;
                    }
                }
                Arg::Pointer(pointer) => check_scope(plan, *pointer, scope)?,
                Arg::Pointers(pointers) => {
                    for pointer in *pointers {
                        check_scope(plan, *pointer, scope)?;
                    }
                }
                Arg::Bytes(bytes) => {
                    self.check_structs(plan, param, bytes)?;
                    check_cstring(plan, param, bytes)?;
                }
                Arg::Text(text) => check_cstring(plan, param, text.as_bytes())?,
                Arg::Js(text) => check_js(plan, param, text)?,
                Arg::Val(_) => {}
            }
        }
        Ok(())
    }

    fn check_structs(
        &self,
        plan: &ExportPlan,
        param: Param<'_>,
        bytes: &[u8],
    ) -> Result<(), CallFailure> {
        let is_struct = matches!(param.kind, ArgKind::Struct(_) | ArgKind::Structs(_));
        if !is_struct || are_structs(&self.plan, param.kind, bytes) {
            return Ok(());
        }
        let got = format!("{} bytes that are none", bytes.len());
        Err(CallFailure::Refused(plan.misfit(param, got)))
    }

    /// The address of an object, if it is of the type that the parameter takes.
    pub(super) fn check_handle(
        &self,
        plan: &ExportPlan,
        handle: Handle,
        kind: &ArgKind,
    ) -> Result<u64, CallFailure> {
        if handle.tag != self.tag {
            return Err(CallFailure::Refused(CallError::ForeignHandle { handle }));
        }
        let object = self
            .objects
            .get(&handle)
            .ok_or(CallFailure::NoSuchHandle(handle))?;
        match (kind, object.ty.as_deref()) {
            (ArgKind::Handle(Some(expected)) | ArgKind::Handles(Some(expected)), Some(got))
                if expected != got =>
            {
                Err(CallFailure::Refused(CallError::HandleType {
                    export: plan.name.to_string(),
                    handle,
                    expected: expected.clone(),
                    got: got.to_owned(),
                }))
            }
            _ => Ok(object.raw),
        }
    }
}

/// Refuses text that C would see the beginning of.
fn check_cstring(plan: &ExportPlan, param: Param<'_>, text: &[u8]) -> Result<(), CallFailure> {
    if !matches!(param.kind, ArgKind::CString(_)) {
        return Ok(());
    }
    let Some(at) = text.iter().position(|byte| *byte == 0) else {
        return Ok(());
    };
    Err(CallFailure::Refused(CallError::Argument {
        export: plan.name.to_string(),
        position: param.position,
        expected: "text without a zero byte, which is the end of a C string".to_owned(),
        got: format!("text with one at {at}"),
    }))
}

fn check_scope(
    plan: &ExportPlan,
    pointer: Pointer,
    scope: Option<Scope>,
) -> Result<(), CallFailure> {
    if scope.is_some_and(|scope| scope.number == pointer.scope) {
        Ok(())
    } else {
        Err(outside_scope(plan))
    }
}

#[cold]
fn outside_scope(plan: &ExportPlan) -> CallFailure {
    CallFailure::Refused(CallError::PointerOutsideScope {
        export: plan.name.to_string(),
    })
}
