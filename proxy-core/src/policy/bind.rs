//! Binding a policy to a module: everything that does not fit is an error that names the place.

use std::cmp::Reverse;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use engine_api::{FuncIndex, FuncType, ModuleInfo, ValType};
use globset::{Glob, GlobMatcher};

use super::plan::{AllocatorPlan, Changes, ExportPlan, Plan, ResultPlan, refuse};
use super::{AllocatorPolicy, ArgKind, ExportPolicy, Policy, ResultKind, Role};
use crate::Error;

impl Plan {
    pub(crate) fn bind(policy: &Policy, info: &ModuleInfo) -> Result<Self, Error> {
        let matchers = policy
            .exports
            .iter()
            .map(|entry| Ok((glob(&entry.pattern)?, entry)))
            .collect::<Result<Vec<_>, Error>>()?;
        for (_, entry) in &matchers {
            let is_name = !entry.pattern.contains(['*', '?', '[', '{', '\\']);
            if is_name && info.function(&entry.pattern).is_err() {
                return Err(refuse(format!(
                    "[[export]] `{}` matches no exported function of the module{}",
                    entry.pattern,
                    similar(info, &entry.pattern)
                        .map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
                )));
            }
        }
        let allocator = bind_allocator(policy.module.allocator.as_ref(), info)?;
        let mut exports = Vec::with_capacity(info.functions().len());
        for (position, function) in info.functions().iter().enumerate() {
            let func = FuncIndex(u32::try_from(position).expect("exports are counted in u32"));
            let entry = matchers
                .iter()
                .find(|(matcher, _)| matcher.is_match(&*function.name))
                .map(|(_, entry)| *entry);
            let plan = bind_export(entry, &function.name, func, &function.ty, info)?;
            plan.check(allocator.is_some())?;
            exports.push(Arc::new(plan));
        }
        let imports = policy
            .imports
            .iter()
            .map(|entry| Ok((glob(&entry.pattern)?, entry.effect)))
            .collect::<Result<Vec<_>, Error>>()?;
        Ok(Self {
            exports,
            allocator,
            memory_usage: bind_number(policy.module.memory_usage_export.as_ref(), info)?,
            critical_memory: bind_number(policy.module.critical_memory_export.as_ref(), info)?,
            strict: policy.strict,
            imports,
        })
    }
}

fn glob(pattern: &str) -> Result<GlobMatcher, Error> {
    Ok(Glob::new(pattern)
        .map_err(|error| refuse(format!("`{pattern}` is no pattern: {}", error.kind())))?
        .compile_matcher())
}

/// The exported function whose name shares the longest prefix with `name`, if that is most of it.
pub(crate) fn similar(info: &ModuleInfo, name: &str) -> Option<String> {
    let shared = |other: &str| {
        other
            .chars()
            .zip(name.chars())
            .take_while(|(a, b)| a == b)
            .count()
    };
    let closeness = |other: &str| (shared(other), Reverse(other.len().abs_diff(name.len())));
    let best = info
        .functions()
        .iter()
        .max_by_key(|function| closeness(&function.name))?;
    (shared(&best.name) * 2 > name.len()).then(|| best.name.clone())
}

const ALLOCATORS: [(&str, &str); 3] = [
    ("guest_alloc", "guest_free"),
    ("__wbindgen_malloc", "__wbindgen_free"),
    ("malloc", "free"),
];

fn bind_allocator(
    policy: Option<&AllocatorPolicy>,
    info: &ModuleInfo,
) -> Result<Option<AllocatorPlan>, Error> {
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
        let (func, function) = info.function(name).map_err(|_| {
            refuse(format!(
                "module.allocator: the module exports no function `{name}`"
            ))
        })?;
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

fn bind_number(name: Option<&String>, info: &ModuleInfo) -> Result<Option<FuncIndex>, Error> {
    let Some(name) = name else { return Ok(None) };
    match info.function(name) {
        Ok((func, function))
            if function.ty.params().is_empty()
                && matches!(
                    function.ty.results(),
                    [ValType::I32 | ValType::I64 | ValType::F32 | ValType::F64]
                ) =>
        {
            Ok(Some(func))
        }
        Ok((_, function)) => Err(refuse(format!(
            "module: `{name}` has type {}, needed is () -> a number of MiB",
            function.ty
        ))),
        Err(_) => Err(refuse(format!(
            "module: the module exports no function `{name}`"
        ))),
    }
}

fn bind_export(
    entry: Option<&ExportPolicy>,
    name: &str,
    func: FuncIndex,
    ty: &FuncType,
    info: &ModuleInfo,
) -> Result<ExportPlan, Error> {
    let args = match entry.and_then(|entry| entry.args.clone()) {
        Some(args) => args,
        None => vec![ArgKind::Value; ty.params().len()],
    };
    let results = match entry.and_then(|entry| entry.results.as_ref()) {
        Some(kinds) => bind_results(kinds, name, ty)?,
        None => vec![
            ResultPlan {
                kind: ResultKind::Value,
                pair: false
            };
            ty.results().len()
        ],
    };
    let role = entry.map_or(Role::Mutate, |entry| entry.role);
    let handles: Vec<usize> = (0..args.len()).filter(|at| args[*at].is_handle()).collect();
    let consumes = match (role, entry) {
        (Role::Free, _) => handles,
        (_, Some(entry)) => entry.consumes.clone(),
        (_, None) => Vec::new(),
    };
    let mutates = entry.and_then(|entry| entry.mutates.clone());
    let changes = match (role, mutates) {
        (Role::Mutate, None) => Changes::Module,
        (_, mutates) => Changes::Handles(mutates.unwrap_or_default()),
    };
    let fingerprint = entry
        .and_then(|entry| entry.fingerprint.as_ref())
        .map(|fingerprint| bind_fingerprint(fingerprint, name, info))
        .transpose()?;
    let plain = role == Role::Pure
        && args.iter().all(|kind| *kind == ArgKind::Value)
        && results
            .iter()
            .all(|result| result.kind == ResultKind::Value);
    Ok(ExportPlan {
        name: name.into(),
        func,
        ty: ty.clone(),
        role,
        args,
        results,
        consumes,
        changes,
        fingerprint,
        plain,
        listed: entry.is_some(),
        warned: AtomicBool::new(false),
    })
}

fn bind_results(kinds: &[ResultKind], name: &str, ty: &FuncType) -> Result<Vec<ResultPlan>, Error> {
    let mut wasm = ty.results();
    let mut plans = Vec::with_capacity(kinds.len());
    for kind in kinds {
        let buffer = matches!(kind, ResultKind::Bytes(_) | ResultKind::Text(_));
        let (width, pair) = match (buffer, wasm) {
            (true, [ValType::I64, ..]) | (false, [ValType::I32 | ValType::I64, ..]) => (1, false),
            (true, [ValType::I32, ValType::I32, ..]) => (2, true),
            (false, [_, ..]) if *kind == ResultKind::Value => (1, false),
            _ => {
                return Err(refuse(format!(
                    "`{name}` returns {ty}: no place there for a result of kind `{kind}`"
                )));
            }
        };
        wasm = &wasm[width..];
        plans.push(ResultPlan {
            kind: kind.clone(),
            pair,
        });
    }
    if wasm.is_empty() {
        Ok(plans)
    } else {
        Err(refuse(format!(
            "`{name}` has type {ty}, of whose results the policy names only {}",
            kinds.len()
        )))
    }
}

fn bind_fingerprint(fingerprint: &str, name: &str, info: &ModuleInfo) -> Result<FuncIndex, Error> {
    match info.function(fingerprint) {
        Ok((func, function))
            if function.ty.params().len() == 1
                && matches!(function.ty.params(), [ValType::I32 | ValType::I64])
                && !function.ty.results().is_empty()
                && !function.ty.results().iter().any(|ty| ty.is_reference()) =>
        {
            Ok(func)
        }
        Ok((_, function)) => Err(refuse(format!(
            "`{name}`: fingerprint `{fingerprint}` has type {}, needed is (handle) -> numbers",
            function.ty
        ))),
        Err(_) => Err(refuse(format!(
            "`{name}`: the module exports no function `{fingerprint}` for its fingerprint"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bind(policy: &str) -> Result<Plan, Error> {
        let wasm = wat::parse_str(
            r#"(module
                (memory (export "memory") 1)
                (func (export "make") (param i32) (result i32) i32.const 1)
                (func (export "make_free") (param i32))
                (func (export "hash") (param i32 i32) (result i64) i64.const 0)
                (func (export "digest") (param i32) (result i64) i64.const 0)
                (func (export "guest_alloc") (param i32) (result i32) i32.const 0)
                (func (export "guest_free") (param i32 i32)))"#,
        )
        .unwrap();
        Plan::bind(&policy.parse()?, &ModuleInfo::parse(&wasm).unwrap())
    }

    fn complaint(policy: &str) -> String {
        bind(policy).unwrap_err().to_string()
    }

    #[test]
    fn the_first_matching_entry_decides_and_the_rest_mutates() {
        let plan = bind(
            "[[export]]\nmatch='make'\nrole='create'\nresults=['handle']\nfingerprint='digest'\n\
             [[export]]\nmatch='*_free'\nrole='free'\nargs=['handle']\n\
             [[export]]\nmatch='make*'\nrole='pure'\n[[export]]\nmatch='guest_*'\nrole='pure'",
        );
        // `guest_free` matches `*_free` first, which does not fit its two parameters.
        assert!(plan.unwrap_err().to_string().contains("`guest_free`"));
        let plan = bind(
            "[[export]]\nmatch='guest_*'\nrole='pure'\n\
             [[export]]\nmatch='*_free'\nrole='free'\nargs=['handle']\n\
             [[export]]\nmatch='make'\nrole='create'\nresults=['handle']\nfingerprint='digest'\n",
        )
        .unwrap();
        assert_eq!(plan.exports[0].role, Role::Create);
        assert_eq!(plan.exports[0].fingerprint, Some(FuncIndex(3)));
        assert_eq!(plan.exports[1].consumes, [0]);
        assert_eq!(
            (plan.exports[2].role, plan.exports[2].listed),
            (Role::Mutate, false)
        );
        assert!(plan.allocator.is_some());
    }

    #[test]
    fn what_does_not_fit_is_named() {
        for (policy, needle) in [
            (
                "[[export]]\nmatch='makes'\nrole='pure'",
                "did you mean `make`",
            ),
            ("[[export]]\nmatch='[z-a]'\nrole='pure'", "is no pattern"),
            (
                "[[export]]\nmatch='make'\nrole='create'",
                "no result is a handle",
            ),
            (
                "[[export]]\nmatch='make'\nrole='pure'\nresults=['handle']",
                "`pointer`",
            ),
            (
                "[[export]]\nmatch='make'\nrole='mutate'\nargs=['bytes']",
                "take 2 parameters",
            ),
            (
                "[[export]]\nmatch='make'\nrole='mutate'\nresults=['bytes']",
                "no place",
            ),
            (
                "[[export]]\nmatch='make'\nrole='mutate'\nconsumes=[0]",
                "no handle",
            ),
            (
                "[[export]]\nmatch='make'\nrole='mutate'\nargs=['pointer']",
                "raw pointers",
            ),
            (
                "[[export]]\nmatch='hash'\nrole='pure'\nresults=[]",
                "names only 0",
            ),
            ("[module]\nmemory_usage_export='make'", "number of MiB"),
            (
                "[module]\nallocator={alloc='make',free='nothing'}",
                "no function `nothing`",
            ),
            (
                "[[export]]\nmatch='make'\nrole='create'\nresults=['handle']\nfingerprint='hash'",
                "needed is (handle)",
            ),
        ] {
            let complaint = complaint(policy);
            assert!(complaint.contains(needle), "{policy}: {complaint}");
        }
    }
}
