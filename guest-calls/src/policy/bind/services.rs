//! The functions of the module's own that calls need: allocator, stack pointer, fingerprints,
//! artifacts.

use std::sync::Arc;

use engine_api::{ExportKind, FuncIndex, FuncType, FunctionInfo, GlobalIndex, ModuleInfo, ValType};

use super::super::plan::{AllocatorPlan, ExportPlan, JsServices, ResultPlan, refuse};
use crate::{AllocatorPolicy, ArgKind, PolicyError, ResultKind, Role};

const ALLOCATORS: [(&str, &str); 4] = [
    ("guest_alloc", "guest_free"),
    ("__wbindgen_malloc", "__wbindgen_free"),
    // Those that `bindgen-host` finds where the exports have other names.
    ("bindgen_host_malloc", "bindgen_host_free"),
    ("malloc", "free"),
];

pub(super) fn bind_allocator(
    policy: Option<&AllocatorPolicy>,
    info: &ModuleInfo,
) -> Result<Option<AllocatorPlan>, PolicyError> {
    let named = policy.map(|policy| (policy.alloc.as_str(), policy.free.as_str()));
    let usual = || {
        ALLOCATORS
            .into_iter()
            .find(|(alloc, free)| info.function(alloc).is_ok() && info.function(free).is_ok())
    };
    let Some((alloc, free)) = named.or_else(usual) else {
        return Ok(None);
    };
    let signature = |name: &str, params: std::ops::RangeInclusive<usize>, results: usize| {
        let (func, function) = function("module.allocator", name, info)?;
        let i32_only = |types: &[ValType]| types.iter().all(|ty| *ty == ValType::I32);
        let fits = params.contains(&function.ty.params().len())
            && function.ty.results().len() == results
            && i32_only(function.ty.params())
            && i32_only(function.ty.results());
        if fits {
            Ok((func, function.ty.params().len()))
        } else {
            Err(refuse(format!(
                "module.allocator: `{name}` has type {}, needed is {} i32 parameters and {results} \
                 i32 results",
                function.ty,
                if results == 1 { "1 or 2" } else { "1 to 3" },
            )))
        }
    };
    let bound = signature(alloc, 1..=2, 1).and_then(|(alloc, alloc_params)| {
        let (free, free_params) = signature(free, 1..=3, 0)?;
        Ok(AllocatorPlan {
            alloc,
            alloc_takes_align: alloc_params == 2,
            free,
            free_params,
        })
    });
    match bound {
        Ok(plan) => Ok(Some(plan)),
        Err(error) if policy.is_some() => Err(error),
        // Functions that only happen to have an allocator's names.
        Err(_) => Ok(None),
    }
}

/// An export that gives a number, whose meaning the message says.
pub(super) fn bind_number(
    name: Option<&String>,
    meaning: &str,
    info: &ModuleInfo,
) -> Result<Option<FuncIndex>, PolicyError> {
    let Some(name) = name else { return Ok(None) };
    let (func, function) = function("module", name, info)?;
    match (function.ty.params(), function.ty.results()) {
        ([], [ValType::I32 | ValType::I64 | ValType::F32 | ValType::F64]) => Ok(Some(func)),
        _ => Err(refuse(format!(
            "module: `{name}` has type {}, needed is () -> {meaning}",
            function.ty
        ))),
    }
}

/// The global with the stack pointer: a mutable number, by the name of its export or by its index.
pub(super) fn bind_stack_global(
    name: Option<&str>,
    info: &ModuleInfo,
) -> Result<Option<GlobalIndex>, PolicyError> {
    let Some(name) = name else { return Ok(None) };
    let exported = match info.export(name).map(|export| export.kind) {
        Some(ExportKind::Global(index)) => Some(index),
        _ => name.parse().ok().map(GlobalIndex),
    };
    let ty = exported.and_then(|index| info.globals().get(index.0 as usize));
    match ty {
        Some(ty) if ty.mutable && matches!(ty.value, ValType::I32 | ValType::I64) => Ok(exported),
        Some(_) => Err(refuse(format!(
            "module.stack_pointer_global: global `{name}` is no mutable i32 or i64"
        ))),
        None => Err(refuse(format!(
            "module.stack_pointer_global: the module has no global `{name}`; give the name of an \
             exported global, or an index"
        ))),
    }
}

/// A function that the policy names in `place`.
fn function<'a>(
    place: &str,
    name: &str,
    info: &'a ModuleInfo,
) -> Result<(FuncIndex, &'a FunctionInfo), PolicyError> {
    let missing = || refuse(format!("{place}: the module exports no function `{name}`"));
    info.function(name).map_err(|_| missing())
}

/// A function of the module's own that calls need.
pub(super) fn bind_service(
    name: Option<&str>,
    usual: &str,
    needed: &FuncType,
    info: &ModuleInfo,
) -> Result<Option<FuncIndex>, PolicyError> {
    match (name, function("module", name.unwrap_or(usual), info)) {
        (_, Ok((func, function))) if function.ty == *needed => Ok(Some(func)),
        (None, _) => Ok(None),
        (Some(name), Ok((_, function))) => Err(refuse(format!(
            "module: `{name}` has type {}, needed is {needed}",
            function.ty
        ))),
        (Some(_), Err(error)) => Err(error),
    }
}

/// The functions of a host that has JavaScript objects, if all are there.
pub(super) fn bind_js(info: &ModuleInfo) -> Option<JsServices> {
    let find = |name: &str, takes: ValType, gives: &[ValType]| {
        let (func, function) = info.function(name).ok()?;
        (function.ty == FuncType::new(&[takes], gives)).then_some(func)
    };
    let (number, reference) = (ValType::I32, ValType::ExternRef);
    Some(JsServices {
        give: find("bindgen_host_give_js", reference, &[number])?,
        give_ref: find("bindgen_host_give_js_ref", reference, &[reference])?,
        take: find("bindgen_host_take_js", number, &[reference])?,
        take_ref: find("bindgen_host_take_js_ref", reference, &[reference])?,
        forget: find("bindgen_host_forget_js", number, &[])?,
    })
}

/// The export that gives a digest of the whole state, by its own entry in the policy.
pub(super) fn bind_state_digest(
    name: Option<&str>,
    exports: &[Arc<ExportPlan>],
    info: &ModuleInfo,
) -> Result<Option<FuncIndex>, PolicyError> {
    let Some(name) = name else { return Ok(None) };
    let (func, _) = function("state_digest", name, info)?;
    let plan = &exports[func.0 as usize];
    let is_told = |result: &ResultPlan| {
        !(result.kind.is_pointer() || matches!(result.kind, ResultKind::Handle(_)))
    };
    let is_digest = plan.role == Role::Pure
        && plan.args.is_empty()
        && plan.proper_results() > 0
        && plan.results.iter().all(is_told)
        && !plan.ty.results().iter().any(|ty| ty.is_reference());
    if is_digest {
        return Ok(Some(func));
    }
    Err(refuse(format!(
        "state_digest: `{name}` has role {} and type {}, needed is a `pure` export without arguments \
         that gives values, bytes or text",
        plan.role, plan.wasm_ty
    )))
}

/// Checks that exports named as fingerprints and artifacts can serve as such, by their own entries
/// in the policy.
pub(super) fn check_services(exports: &[Arc<ExportPlan>]) -> Result<(), PolicyError> {
    for plan in exports {
        let name = &plan.name;
        if let Some(func) = plan.fingerprint {
            let service = &exports[func.0 as usize];
            if !service.is_fingerprint() {
                return Err(refuse(format!(
                    "`{name}`: fingerprint `{}` {}, needed is (handle) -> numbers, or a `pure` export of \
                     one handle that gives values, bytes or text",
                    service.name,
                    service.described()
                )));
            }
        }
        let Some(artifact) = plan.artifact else {
            continue;
        };
        let (export, import) = (
            &exports[artifact.export.0 as usize],
            &exports[artifact.import.0 as usize],
        );
        let given = export.results.first().map(|result| &result.kind);
        let is_bytes = |kind: &ArgKind| match (kind, given) {
            (ArgKind::Bytes(_), Some(ResultKind::Bytes(_))) => true,
            (ArgKind::Struct(own), Some(ResultKind::Struct(given)))
            | (ArgKind::Structs(own), Some(ResultKind::Structs(given))) => own == given,
            _ => false,
        };
        let is_known = |kind: &ArgKind| plan.args.contains(kind);
        let imports = import.role == Role::Create
            && import.args.iter().filter(|kind| is_bytes(kind)).count() == 1
            && import
                .args
                .iter()
                .all(|kind| is_bytes(kind) || is_known(kind))
            && plan.handle_results().len() == 1
            && plan.proper_results() == 1
            && import.proper_results() == 1
            && import.handle_results() == plan.handle_results();
        let exports = export.role == Role::Pure
            && matches!(export.args.as_slice(), [ArgKind::Handle(_)])
            && matches!(
                given,
                Some(ResultKind::Bytes(_) | ResultKind::Struct(_) | ResultKind::Structs(_))
            );
        if !exports {
            return Err(refuse(format!(
                "`{name}`: artifact.export `{}` must be `pure`, take one handle and give bytes \
                 or structs",
                export.name
            )));
        }
        if !imports {
            return Err(refuse(format!(
                "`{name}`: artifact.import `{}` must be `create`, take the bytes or structs that \
                 artifact.export gives and nothing else that `{name}` does not take, and give an \
                 object of the same type",
                import.name
            )));
        }
    }
    Ok(())
}

impl ExportPlan {
    /// The types of the objects that it creates.
    fn handle_results(&self) -> Vec<&ResultKind> {
        let kinds = self.results.iter().map(|result| &result.kind);
        kinds
            .filter(|kind| matches!(kind, ResultKind::Handle(_)))
            .collect()
    }

    /// How many results it has besides an error.
    fn proper_results(&self) -> usize {
        let errors = |result: &&ResultPlan| result.kind != ResultKind::Error;
        self.results.iter().filter(errors).count()
    }

    /// Whether it can say what an object is like.
    fn is_fingerprint(&self) -> bool {
        let params = self.wasm_ty.params();
        // Numbers that are addresses differ from one generation to the next.
        let numbers = matches!(params, [ValType::I32 | ValType::I64])
            && !self.wasm_ty.results().is_empty()
            && !self.wasm_ty.results().iter().any(|ty| ty.is_reference())
            && self
                .results
                .iter()
                .all(|result| result.kind == ResultKind::Value);
        let by_policy = self.role == Role::Pure
            && matches!(self.args.as_slice(), [ArgKind::Handle(_)])
            && !self.results.is_empty()
            && !self.results.iter().any(|result| {
                matches!(
                    result.kind,
                    ResultKind::Pointer
                        | ResultKind::Pointers
                        | ResultKind::Struct(_)
                        | ResultKind::Structs(_)
                )
            });
        numbers || by_policy
    }

    /// What it takes and gives, in words: as the policy says, or else its type.
    pub(super) fn described(&self) -> String {
        let list = |kinds: Vec<String>| kinds.join(", ");
        let args = self.args.iter().map(ToString::to_string).collect();
        let results = self.results.iter().map(|result| result.kind.to_string());
        let (args, results) = (list(args), list(results.collect()));
        format!(
            "has role {}, type {} and by the policy ({args}) -> ({results})",
            self.role, self.wasm_ty
        )
    }

    /// Whether the module offers what its results need.
    pub(super) fn check_services(
        &self,
        stack_pointer: bool,
        take_error: bool,
        js: bool,
    ) -> Result<(), PolicyError> {
        let name = &self.name;
        if self.return_pointer && !stack_pointer {
            return Err(refuse(format!(
                "`{name}` returns nothing, so that its results are left at a return pointer, but the \
                 module exports no `__wbindgen_add_to_stack_pointer`; name such a function in \
                 module.stack_pointer_export, or where they are left in module.return_place"
            )));
        }
        let is_js = |kind: &ArgKind| matches!(kind.inner(), ArgKind::Js(_));
        let passes_js =
            self.args.iter().any(is_js) || self.results.iter().any(|result| result.kind.is_js());
        if passes_js && !js {
            return Err(refuse(format!(
                "`{name}` passes JavaScript values, kind `js`, and the engine has none: run the module \
                 with `bindgen-host`, which the program does for modules made by wasm-bindgen"
            )));
        }
        let fallible = self
            .results
            .iter()
            .any(|result| result.kind == ResultKind::Error);
        if fallible && !take_error {
            return Err(refuse(format!(
                "`{name}` has a result of kind `error`, but nothing shows what is behind an error: \
                 run the module with `bindgen-host`, or name a function in module.take_error_export"
            )));
        }
        Ok(())
    }
}
