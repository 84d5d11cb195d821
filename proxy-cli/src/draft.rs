//! A policy drafted from an export's name and type.
//!
//! Names promise nothing: a draft is a starting point for a person who knows the module. An export
//! that no naming rule knows is `mutate` on the whole module, which is safe: all its calls are
//! replayed.

mod emit;
mod rules;

use std::collections::BTreeSet;

use engine_api::{FunctionInfo, ModuleInfo, ValType};
use proxy_core::{ArgKind, ExportPolicy, ModulePolicy, Ownership, Policy, ResultKind, Role};

use rules::{Buffer, Rule};

/// The draft of one export.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Drafted {
    pub(crate) name: String,
    pub(crate) role: Role,
    /// The kinds of its arguments, if not all are plain values.
    pub(crate) args: Option<Vec<ArgKind>>,
    /// The kinds of its results, if not all are plain values.
    pub(crate) results: Option<Vec<ResultKind>>,
    /// Whether it changes its first argument only.
    pub(crate) changes_first: bool,
    /// Why it has this role, for the file's comments.
    pub(crate) reason: &'static str,
    /// Whether a policy can list it.
    pub(crate) listed: bool,
}

/// A drafted policy.
#[derive(Debug)]
pub(crate) struct Draft {
    /// The exported functions in the module's order.
    pub(crate) exports: Vec<Drafted>,
    module: ModulePolicy,
}

impl Draft {
    /// Drafts a policy for a module.
    pub(crate) fn of(info: &ModuleInfo) -> Self {
        let types = types_of(info);
        let has_allocator = rules::ALLOCATORS.iter().any(|(alloc, free)| {
            is_function(info, alloc, 1..=2, &[ValType::I32]) && is_function(info, free, 1..=3, &[])
        });
        let exports = info
            .functions()
            .iter()
            .map(|function| drafted(function, &types, has_allocator))
            .collect();
        let reporter = |names: &[&str]| {
            names
                .iter()
                .find(|name| gives_number(info, name))
                .map(|name| (*name).to_owned())
        };
        Self {
            exports,
            module: ModulePolicy {
                memory_usage_export: reporter(&rules::MEMORY_USAGE),
                critical_memory_export: reporter(&rules::CRITICAL_MEMORY),
                ..ModulePolicy::default()
            },
        }
    }

    /// The policy itself, one entry per export.
    pub(crate) fn policy(&self) -> Policy {
        Policy {
            module: self.module.clone(),
            exports: self
                .exports
                .iter()
                .filter(|export| export.listed)
                .map(Drafted::entry)
                .collect(),
            ..Policy::default()
        }
    }

    /// The policy as a file, with a reason for each group of exports.
    pub(crate) fn to_toml(&self, module: &str) -> String {
        emit::to_toml(self, module)
    }
}

impl Drafted {
    fn entry(&self) -> ExportPolicy {
        ExportPolicy {
            exhausted: Vec::new(),
            pattern: emit::pattern_of(&self.name),
            role: self.role,
            args: self.args.clone(),
            results: self.results.clone(),
            consumes: Vec::new(),
            mutates: self.changes_first.then(|| vec![0]),
            params: None,
            needs: None,
            fingerprint: None,
            artifact: None,
        }
    }
}

/// The types of objects that the names of exports mention: `srs` in `srs_create` and `srs_free`.
fn types_of(info: &ModuleInfo) -> BTreeSet<String> {
    let mut types = BTreeSet::new();
    for function in info.functions() {
        let name = &function.name;
        let found = if is_creator(function) {
            rules::matched(rules::CREATES, name)
        } else if is_destructor(function) {
            rules::matched(rules::FREES, name)
        } else {
            None
        };
        types.extend(found.filter(|ty| !ty.is_empty()).map(ToOwned::to_owned));
    }
    types
}

fn is_address(ty: ValType) -> bool {
    matches!(ty, ValType::I32 | ValType::I64)
}

fn is_creator(function: &FunctionInfo) -> bool {
    matches!(function.ty.results(), [ty] if is_address(*ty))
}

/// `(object)`, or wasm-bindgen's `(object, flag)`.
fn is_destructor(function: &FunctionInfo) -> bool {
    let bound = function.name.starts_with("__wbg_");
    let params = function.ty.params();
    function.ty.results().is_empty()
        && params.first().is_some_and(|ty| is_address(*ty))
        && (params.len() == 1 || (bound && params.len() == 2))
}

fn is_function(
    info: &ModuleInfo,
    name: &str,
    params: std::ops::RangeInclusive<usize>,
    results: &[ValType],
) -> bool {
    info.function(name).is_ok_and(|(_, function)| {
        params.contains(&function.ty.params().len())
            && function.ty.params().iter().all(|ty| *ty == ValType::I32)
            && function.ty.results() == results
    })
}

fn gives_number(info: &ModuleInfo, name: &str) -> bool {
    info.function(name).is_ok_and(|(_, function)| {
        function.ty.params().is_empty()
            && matches!(
                function.ty.results(),
                [ValType::I32 | ValType::I64 | ValType::F32 | ValType::F64]
            )
    })
}

fn drafted(function: &FunctionInfo, types: &BTreeSet<String>, has_allocator: bool) -> Drafted {
    let rule = rules::rule_for(function, types);
    let references = function
        .ty
        .params()
        .iter()
        .chain(function.ty.results())
        .any(|ty| ty.is_reference());
    if references && rule.role.is_journaled() {
        return Drafted {
            name: function.name.clone(),
            role: Role::Mutate,
            args: None,
            results: None,
            changes_first: false,
            reason: "passes references, which cannot be journaled: not listed",
            listed: false,
        };
    }
    let args = args_of(function, &rule, types);
    let changes_first = rule.changes_first && args.is_some();
    Drafted {
        name: function.name.clone(),
        role: rule.role,
        args,
        results: results_of(function, &rule, has_allocator),
        changes_first,
        reason: rule.reason,
        listed: true,
    }
}

/// Takes the first argument for the object that the name mentions. A name says nothing about the
/// others.
fn args_of(function: &FunctionInfo, rule: &Rule, types: &BTreeSet<String>) -> Option<Vec<ArgKind>> {
    let params = function.ty.params();
    if !params.first().is_some_and(|ty| is_address(*ty)) {
        return None;
    }
    let first = match (rule.role, &rule.object) {
        _ if rule.raw_pointers && params.len() <= 3 && function.ty.results().is_empty() => {
            ArgKind::Pointer
        }
        (Role::Create, _) => return None,
        (Role::Free, Some(object)) => ArgKind::Handle(Some(object.clone())),
        (Role::Free, None) => ArgKind::Handle(None),
        _ if rule.raw_pointers => return None,
        _ => ArgKind::Handle(Some(rules::object_of(&function.name, types)?.to_owned())),
    };
    let mut args = vec![ArgKind::Value; params.len()];
    args[0] = first;
    Some(args)
}

fn results_of(
    function: &FunctionInfo,
    rule: &Rule,
    has_allocator: bool,
) -> Option<Vec<ResultKind>> {
    let results = function.ty.results();
    if rule.raw_pointers && matches!(results, [ty] if is_address(*ty)) {
        return Some(vec![ResultKind::Pointer]);
    }
    if rule.role == Role::Create {
        return Some(vec![ResultKind::Handle(rule.object.clone())]);
    }
    let is_buffer = matches!(results, [ValType::I64] | [ValType::I32, ValType::I32]);
    match rule.buffer {
        Some(Buffer::Bytes) if is_buffer && has_allocator => {
            Some(vec![ResultKind::Bytes(Ownership::Host)])
        }
        Some(Buffer::Text) if is_buffer && has_allocator => {
            Some(vec![ResultKind::Text(Ownership::Host)])
        }
        _ => None,
    }
}
