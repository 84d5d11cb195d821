//! The exports of a module as the staging buffer needs them, for JavaScript and for the addon.

use bindgen_host::THREAD_POOL_START;
use engine_api::{ModuleInfo, ValType};
use glue::{Glue, StackPointer};
use guest_calls::policy::plan::{ExportPlan, Plan};
use proxy_core::{ArgKind, JsPassing, ResultKind, Role};
use serde::Serialize;

use crate::failure::Failure;

/// One exported function.
#[derive(Debug)]
pub(crate) struct Export {
    pub(crate) name: String,
    /// Whether it ends its one object, as finalizers ask for.
    pub(crate) frees: bool,
    /// Its arguments, with the type of the parameter that each begins with.
    pub(crate) args: Vec<(ArgKind, ValType)>,
    pub(crate) results: Vec<(ResultKind, ValType)>,
    /// The positions of the objects that a call uses up.
    pub(crate) consumes: Vec<usize>,
    /// How JavaScript calls it.
    pub(crate) shape: Shape,
}

#[cfg(test)]
impl Export {
    /// One with these arguments and no results.
    pub(crate) fn taking(args: Vec<(ArgKind, ValType)>) -> Self {
        Self {
            name: "taking".to_owned(),
            frees: false,
            args,
            results: Vec::new(),
            consumes: Vec::new(),
            shape: Shape::default(),
        }
    }
}

/// What JavaScript must know to call an export, as JSON.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Shape {
    name: String,
    /// Whether the first parameter says where the results belong.
    return_pointer: bool,
    /// The parameters after it, each as a letter: `i` (i32), `l` (i64), `f` (f32), `d` (f64), `z`
    /// (always zero), `j` (a value that the guest takes over), `b` (one that it borrows), `o` (one
    /// that it takes over, or none), `a` (the start of an array of such values, whose length follows).
    params: String,
    /// Whether the value of each parameter is a reference, and not the number of a slot.
    references: Vec<bool>,
    /// The results, each as a letter: as above, `a` for the two of an array of values, and `e` for the
    /// two of an error.
    results: String,
    result_references: Vec<bool>,
}

/// The exports that the glue calls for itself, by what they do. The staging buffer serves them.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Services {
    alloc: Option<String>,
    realloc: Option<String>,
    free: Option<String>,
    exception: Option<String>,
    /// A function that moves the stack pointer.
    stack_pointer: Option<String>,
    /// A global that is the stack pointer.
    stack_global: Option<String>,
}

impl Services {
    /// What the glue says, with the usual names for what it does not.
    pub(crate) fn of(glue: Option<&Glue>) -> Self {
        let said = glue.map(|glue| glue.services.clone()).unwrap_or_default();
        let or = |said: Option<String>, usual: &str| said.or_else(|| Some(usual.to_owned()));
        let (stack_pointer, stack_global) = match said.stack_pointer {
            Some(StackPointer::Global(name)) => (None, Some(name)),
            Some(StackPointer::Function(name)) => (Some(name), None),
            _ => (Some("__wbindgen_add_to_stack_pointer".to_owned()), None),
        };
        Self {
            alloc: or(said.alloc, "__wbindgen_malloc"),
            realloc: or(said.realloc, "__wbindgen_realloc"),
            free: or(said.free, "__wbindgen_free"),
            exception: or(said.exception, "__wbindgen_exn_store"),
            stack_pointer,
            stack_global,
        }
    }
}

/// Why JavaScript cannot call an export.
struct NoWay(String);

fn no_way(kind: &impl ToString) -> NoWay {
    NoWay(format!(
        "the policy gives it the kind `{}`, which the JavaScript of wasm-bindgen does not pass; change the entry",
        kind.to_string()
    ))
}

fn letter(ty: ValType) -> Option<char> {
    Some(match ty {
        ValType::I32 => 'i',
        ValType::I64 => 'l',
        ValType::F32 => 'f',
        ValType::F64 => 'd',
        _ => return None,
    })
}

fn js_letter(passing: JsPassing) -> char {
    match passing {
        JsPassing::Moved => 'j',
        JsPassing::Borrowed => 'b',
        JsPassing::Optional => 'o',
        JsPassing::List => 'a',
    }
}

/// Exports that JavaScript cannot call, by name, and why.
type LeftOut = Vec<(String, String)>;

/// The exports that JavaScript can call, and why it cannot call others. Those that pass references
/// which the policy does not describe are neither.
pub(crate) fn exports(plan: &Plan, info: &ModuleInfo) -> Result<(Vec<Export>, LeftOut), Failure> {
    let mut exports = Vec::with_capacity(info.functions().len());
    let mut left_out = Vec::new();
    for function in info.functions() {
        let plan = plan
            .named(info, &function.name)
            .map_err(|error| Failure::Policy(error.to_string()))?;
        match export(plan) {
            Ok(found) => exports.extend(found),
            Err(NoWay(reason)) => left_out.push((function.name.clone(), reason)),
        }
    }
    Ok((exports, left_out))
}

fn export(plan: &ExportPlan) -> Result<Option<Export>, NoWay> {
    let mut shape = Shape {
        name: plan.name.to_string(),
        return_pointer: plan.return_pointer,
        params: String::new(),
        references: Vec::new(),
        results: String::new(),
        result_references: Vec::new(),
    };
    let mut args = Vec::with_capacity(plan.args.len());
    let mut types = plan.ty.params();
    for kind in &plan.args {
        let (ty, rest) = types.split_first().ok_or_else(|| no_way(kind))?;
        match kind.inner() {
            ArgKind::Js(JsPassing::List) => {
                // The second one is its length, which the text has too.
                shape.params.push_str("az");
                shape.references.extend([false; 2]);
            }
            ArgKind::Js(passing) => {
                shape.params.push(js_letter(*passing));
                shape.references.push(ty.is_reference());
            }
            ArgKind::Value | ArgKind::OrNull(..) if letter(*ty).is_none() => return Ok(None),
            ArgKind::Value
            | ArgKind::OrNull(..)
            | ArgKind::Handle(_)
            | ArgKind::Pointer
            | ArgKind::Bytes(_)
            | ArgKind::Text(_)
            | ArgKind::Numbers(..)
            | ArgKind::Handles(_)
            | ArgKind::Pointers
            | ArgKind::Struct(_)
            | ArgKind::Structs(_) => {
                for ty in plan.ty.params()[plan.ty.params().len() - types.len()..]
                    .iter()
                    .take(kind.width())
                {
                    shape.params.push(letter(*ty).ok_or_else(|| no_way(kind))?);
                    shape.references.push(false);
                }
            }
            _ => return Err(no_way(kind)),
        }
        // A number that may be left out comes after a word that says whether it was.
        let ty = if kind.is_flagged() {
            *rest.first().ok_or_else(|| no_way(kind))?
        } else {
            *ty
        };
        args.push((kind.clone(), ty));
        types = rest.get(kind.width() - 1..).unwrap_or(&[]);
    }
    let taken = shape.params.len() + usize::from(plan.return_pointer);
    for _ in taken..plan.wasm_ty.params().len() {
        shape.params.push('z');
        shape.references.push(false);
    }
    let Some(results) = shape.results_of(plan)? else {
        return Ok(None);
    };
    Ok(Some(Export {
        name: plan.name.to_string(),
        frees: frees(plan),
        args,
        results,
        consumes: plan.consumes.clone(),
        shape,
    }))
}

/// By its role; or, for objects of one turn, by the name that wasm-bindgen gives it.
fn frees(plan: &ExportPlan) -> bool {
    let is_object = matches!(plan.args[..], [ArgKind::Handle(_) | ArgKind::Pointer]);
    let is_named = plan.name.starts_with("__wbg_") && plan.name.ends_with("_free");
    is_object && (plan.role == Role::Free || is_named)
}

impl Shape {
    /// Adds the results. `None` if one is a reference that the policy does not describe.
    fn results_of(
        &mut self,
        plan: &ExportPlan,
    ) -> Result<Option<Vec<(ResultKind, ValType)>>, NoWay> {
        let mut results = Vec::with_capacity(plan.results.len());
        let mut types = plan.ty.results();
        for kind in plan.results.iter().map(|result| &result.kind) {
            let Some(ty) = types.first().copied() else {
                return Err(no_way(kind));
            };
            let width = kind.width(ty);
            match kind {
                ResultKind::Js => self.push_result('j', ty.is_reference()),
                ResultKind::JsList => self.push_result('a', false),
                ResultKind::Error => self.push_result('e', false),
                ResultKind::Value | ResultKind::Number(_) | ResultKind::OrNull(..) => {
                    match letter(ty) {
                        Some(letter) => self.push_result(letter, false),
                        None => return Ok(None),
                    }
                }
                // The glue asks for the flag itself.
                ResultKind::Optional(_) => {
                    for ty in types.iter().take(width) {
                        self.push_result(letter(*ty).ok_or_else(|| no_way(kind))?, false);
                    }
                }
                ResultKind::Handle(_) | ResultKind::Pointer | ResultKind::Struct(_) => {
                    self.push_result('i', false);
                }
                // A buffer in one number is C's.
                ResultKind::Bytes(_)
                | ResultKind::Text(_)
                | ResultKind::Numbers(..)
                | ResultKind::Pointers
                | ResultKind::Structs(_)
                    if width == 2 =>
                {
                    self.push_result('i', false);
                    self.push_result('i', false);
                }
                _ => return Err(no_way(kind)),
            }
            let ty = match kind {
                ResultKind::Optional(_) => *types.get(1).ok_or_else(|| no_way(kind))?,
                _ => ty,
            };
            results.push((kind.clone(), ty));
            types = types.get(width..).unwrap_or(&[]);
        }
        Ok(Some(results))
    }

    fn push_result(&mut self, letter: char, reference: bool) {
        self.results.push(letter);
        self.result_references.push(reference);
    }
}

/// Whether all of a module's objects can outlive the process: they are made by journaled calls and have
/// a class.
pub(crate) fn check_lasting(exports: &[Export], info: &ModuleInfo) -> Result<(), Failure> {
    if has_pointers(exports) {
        return Err(Failure::Option(
            "option `journal`: objects of this package last no longer than a turn of the event loop (kinds `pointer` \
             and `struct` of its policy), so no later process can have them; leave the option out"
                .to_owned(),
        ));
    }
    if info
        .functions()
        .iter()
        .any(|function| function.name == THREAD_POOL_START)
    {
        return Err(Failure::Option(
            "option `journal`: the thread pool of this package ends with its process; leave the option out".to_owned(),
        ));
    }
    let gives_any = |export: &&Export| {
        let is_any = |(kind, _): &(ResultKind, ValType)| *kind == ResultKind::Handle(None);
        export.results.iter().any(is_any)
    };
    match exports.iter().find(gives_any) {
        None => Ok(()),
        Some(export) => Err(Failure::Policy(format!(
            "option `journal`: `{}` gives an object without a class, which a later process cannot name; write \
             `handle:CLASS` in its entry",
            export.name
        ))),
    }
}

/// Whether a plan has exports that deal in objects of one turn.
pub(crate) fn has_pointers(exports: &[Export]) -> bool {
    exports.iter().any(|export| {
        let arg = |(kind, _): &(ArgKind, ValType)| {
            kind.is_pointer() || matches!(kind.inner(), ArgKind::Struct(_) | ArgKind::Structs(_))
        };
        let result = |(kind, _): &(ResultKind, ValType)| {
            kind.is_pointer() || matches!(kind, ResultKind::Struct(_) | ResultKind::Structs(_))
        };
        !is_service(&export.name)
            && (export.args.iter().any(arg) || export.results.iter().any(result))
    })
}

/// Exports that the staging buffer serves, or nobody calls.
fn is_service(name: &str) -> bool {
    name.starts_with("__wbindgen_")
        || name.starts_with("__externref_")
        || name.starts_with("bindgen_host_")
}
