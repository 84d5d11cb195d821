//! Binding a policy to a module: everything that does not fit is an error that names the place.

use std::cmp::Reverse;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use engine_api::{FuncIndex, FuncType, ModuleInfo, ValType};
use globset::{Glob, GlobMatcher};

use super::plan::{AllocatorPlan, ArtifactPlan, Changes, ExportPlan, Plan, ResultPlan, refuse};
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
                .find(|(matcher, entry)| {
                    matcher.is_match(&*function.name) && fits_params(entry, &function.ty)
                })
                .map(|(_, entry)| *entry);
            let plan = bind_export(entry, &function.name, func, &function.ty, info)?;
            plan.check(allocator.is_some())?;
            exports.push(Arc::new(plan));
        }
        check_services(&exports)?;
        let service = |name: &Option<String>, usual: &str, ty: FuncType| {
            bind_service(name.as_deref(), usual, &ty, info)
        };
        let i32_to = |result| FuncType::new(&[ValType::I32], &[result]);
        let stack_pointer = service(
            &policy.module.stack_pointer_export,
            "__wbindgen_add_to_stack_pointer",
            i32_to(ValType::I32),
        )?;
        let take_error = service(
            &policy.module.take_error_export,
            "bindgen_host_take_error",
            i32_to(ValType::ExternRef),
        )?;
        for plan in &exports {
            plan.check_services(stack_pointer.is_some(), take_error.is_some())?;
        }
        let imports = policy
            .imports
            .iter()
            .map(|entry| Ok((glob(&entry.pattern)?, entry.effect)))
            .collect::<Result<Vec<_>, Error>>()?;
        Ok(Self {
            exports,
            allocator,
            stack_pointer,
            take_error,
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

/// Whether an entry is for functions of this many parameters.
fn fits_params(entry: &ExportPolicy, ty: &FuncType) -> bool {
    let count = ty.params().len() - usize::from(returns_through_pointer(entry, ty));
    entry.params.is_none_or(|params| params == count)
}

/// Whether the policy names results of a function that returns nothing: they are left where its first
/// parameter says.
fn returns_through_pointer(entry: &ExportPolicy, ty: &FuncType) -> bool {
    let named = entry
        .results
        .as_ref()
        .is_some_and(|kinds| !kinds.is_empty());
    named && ty.results().is_empty() && ty.params().first() == Some(&ValType::I32)
}

/// A function of the module's own that calls need.
fn bind_service(
    name: Option<&str>,
    usual: &str,
    needed: &FuncType,
    info: &ModuleInfo,
) -> Result<Option<FuncIndex>, Error> {
    match (name, info.function(name.unwrap_or(usual))) {
        (_, Ok((func, function))) if function.ty == *needed => Ok(Some(func)),
        (None, _) => Ok(None),
        (Some(name), Ok((_, function))) => Err(refuse(format!(
            "module: `{name}` has type {}, needed is {needed}",
            function.ty
        ))),
        (Some(name), Err(_)) => Err(refuse(format!(
            "module: the module exports no function `{name}`"
        ))),
    }
}

/// Checks that fingerprints and artifacts name exports that can serve as such, by what the policy says
/// of those.
fn check_services(exports: &[Arc<ExportPlan>]) -> Result<(), Error> {
    for plan in exports {
        let name = &plan.name;
        if let Some(func) = plan.fingerprint {
            let service = &exports[func.0 as usize];
            if !service.is_fingerprint() {
                return Err(refuse(format!(
                    "`{name}`: fingerprint `{}` has type {}, needed is (handle) -> numbers, or a \
                     `pure` export of one handle that gives values, bytes or text",
                    service.name, service.wasm_ty
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
        let is_bytes = |kind: &ArgKind| matches!(kind, ArgKind::Bytes(_));
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
            && matches!(export.results.first(), Some(result) if matches!(result.kind, ResultKind::Bytes(_)));
        if !exports {
            return Err(refuse(format!(
                "`{name}`: artifact.export `{}` must be `pure`, take one handle and give bytes",
                export.name
            )));
        }
        if !imports {
            return Err(refuse(format!(
                "`{name}`: artifact.import `{}` must be `create`, take bytes and nothing else that \
                 `{name}` does not take, and give an object of the same type",
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
        let numbers = matches!(params, [ValType::I32 | ValType::I64])
            && !self.wasm_ty.results().is_empty()
            && !self.wasm_ty.results().iter().any(|ty| ty.is_reference());
        let by_policy = self.role == Role::Pure
            && matches!(self.args.as_slice(), [ArgKind::Handle(_)])
            && !self.results.is_empty()
            && !self
                .results
                .iter()
                .any(|result| matches!(result.kind, ResultKind::Pointer));
        numbers || by_policy
    }

    /// Whether the module offers what its results need.
    fn check_services(&self, stack_pointer: bool, take_error: bool) -> Result<(), Error> {
        let name = &self.name;
        if self.return_pointer && !stack_pointer {
            return Err(refuse(format!(
                "`{name}` returns nothing, so that its results are left at a return pointer, but the \
                 module exports no `__wbindgen_add_to_stack_pointer`; name such a function in \
                 module.stack_pointer_export"
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

fn bind_export(
    entry: Option<&ExportPolicy>,
    name: &str,
    func: FuncIndex,
    ty: &FuncType,
    info: &ModuleInfo,
) -> Result<ExportPlan, Error> {
    let wasm_ty = ty;
    let return_pointer = entry.is_some_and(|entry| returns_through_pointer(entry, wasm_ty));
    let params = &wasm_ty.params()[usize::from(return_pointer)..];
    let mut args = match entry.and_then(|entry| entry.args.clone()) {
        Some(args) => args,
        None => vec![ArgKind::Value; params.len()],
    };
    let given = args
        .iter()
        .take_while(|kind| **kind != ArgKind::Zero)
        .count();
    let zeros = args.len() - given;
    if args[given..].iter().any(|kind| *kind != ArgKind::Zero) {
        return Err(refuse(format!(
            "`{name}`: an argument of kind `zero` comes after all others"
        )));
    }
    args.truncate(given);
    let params = &params[..params.len().saturating_sub(zeros)];
    let slots = match entry.and_then(|entry| entry.results.as_ref()) {
        Some(kinds) if return_pointer => return_slots(kinds, name)?,
        _ => wasm_ty.results().to_vec(),
    };
    let ty = &FuncType::new(params, &slots);
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
    let mut consumes = match (role, entry) {
        (Role::Free, _) => handles,
        (_, Some(entry)) => entry.consumes.clone(),
        (_, None) => Vec::new(),
    };
    for (position, kind) in args.iter().enumerate() {
        if matches!(kind, ArgKind::Handles(_)) && !consumes.contains(&position) {
            consumes.push(position);
        }
    }
    let mutates = entry.and_then(|entry| entry.mutates.clone());
    let changes = match (role, mutates) {
        (Role::Mutate, None) => Changes::Module,
        (_, mutates) => Changes::Handles(mutates.unwrap_or_default()),
    };
    let fingerprint = entry
        .and_then(|entry| entry.fingerprint.as_ref())
        .map(|fingerprint| bind_named(fingerprint, name, "its fingerprint", info))
        .transpose()?;
    let artifact = entry
        .and_then(|entry| entry.artifact.as_ref())
        .filter(|artifact| {
            let here = |name: &str| info.function(name).is_ok();
            !artifact.optional || (here(&artifact.export) && here(&artifact.import))
        })
        .map(|artifact| {
            Ok::<_, Error>(ArtifactPlan {
                export: bind_named(&artifact.export, name, "its artifact", info)?,
                import: bind_named(&artifact.import, name, "its artifact", info)?,
                live: artifact.live,
            })
        })
        .transpose()?;
    let needs = entry
        .and_then(|entry| entry.needs.as_deref())
        .map(Into::into);
    let plain = !return_pointer
        && zeros == 0
        && args.iter().all(|kind| *kind == ArgKind::Value)
        && results
            .iter()
            .all(|result| result.kind == ResultKind::Value);
    Ok(ExportPlan {
        name: name.into(),
        func,
        ty: ty.clone(),
        wasm_ty: wasm_ty.clone(),
        return_pointer,
        role,
        args,
        results,
        consumes,
        changes,
        needs,
        fingerprint,
        artifact,
        numeric: ty.numeric().filter(|_| plain),
        listed: entry.is_some(),
        warned: AtomicBool::new(false),
    })
}

fn bind_results(kinds: &[ResultKind], name: &str, ty: &FuncType) -> Result<Vec<ResultPlan>, Error> {
    let mut wasm = ty.results();
    let mut plans = Vec::with_capacity(kinds.len());
    for (position, kind) in kinds.iter().enumerate() {
        let buffer = matches!(
            kind,
            ResultKind::Bytes(_) | ResultKind::Text(_) | ResultKind::Numbers(..)
        );
        if *kind == ResultKind::Error && position + 1 < kinds.len() {
            return Err(refuse(format!(
                "`{name}`: a result of kind `error` comes after all others"
            )));
        }
        let (width, pair) = match (buffer, wasm) {
            (_, [ValType::I32, ValType::I32]) if *kind == ResultKind::Error => (2, true),
            _ if *kind == ResultKind::Error => {
                return Err(refuse(format!(
                    "`{name}` returns {ty}: no place there for a result of kind `error`, which is \
                     two i32"
                )));
            }
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

fn bind_named(
    service: &str,
    name: &str,
    purpose: &str,
    info: &ModuleInfo,
) -> Result<FuncIndex, Error> {
    info.function(service).map(|(func, _)| func).map_err(|_| {
        refuse(format!(
            "`{name}`: the module exports no function `{service}` for {purpose}"
        ))
    })
}

/// What a guest leaves at a return pointer: words of four bytes, of which there is room for four.
fn return_slots(kinds: &[ResultKind], name: &str) -> Result<Vec<ValType>, Error> {
    let words = |kind: &ResultKind| match kind {
        ResultKind::Value | ResultKind::Handle(_) | ResultKind::Pointer => 1,
        ResultKind::Bytes(_)
        | ResultKind::Text(_)
        | ResultKind::Numbers(..)
        | ResultKind::Error => 2,
    };
    let count: usize = kinds.iter().map(words).sum();
    if count > 4 {
        return Err(refuse(format!(
            "`{name}`: the results take {count} words, a return pointer has room for 4"
        )));
    }
    Ok(vec![ValType::I32; count])
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
        Plan::bind(&policy.parse()?, &module_bytes::parse(&wasm).unwrap())
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

    const BINDGEN: &str = r#"(module
        (memory (export "memory") 1)
        (func (export "make") (param i32 i64))
        (func (export "make_direct") (param i64) (result i32 i32 i32)
            i32.const 0 i32.const 0 i32.const 0)
        (func (export "make_free") (param i32 i32))
        (func (export "list") (param i32 i32))
        (func (export "to_bytes") (param i32 i32))
        (func (export "from_bytes") (param i32 i32 i32))
        (func (export "__wbindgen_malloc") (param i32 i32) (result i32) i32.const 0)
        (func (export "__wbindgen_free") (param i32 i32 i32))
        (func (export "__wbindgen_add_to_stack_pointer") (param i32) (result i32) i32.const 0)
        (func (export "bindgen_host_take_error") (param i32) (result externref) ref.null extern))"#;

    fn bind_to(module: &str, policy: &str) -> Result<Plan, Error> {
        let wasm = wat::parse_str(module).unwrap();
        Plan::bind(&policy.parse()?, &module_bytes::parse(&wasm).unwrap())
    }

    #[test]
    fn one_entry_fits_results_through_a_pointer_and_direct_ones() {
        let plan = bind_to(
            BINDGEN,
            "[[export]]\nmatch='{make,make_direct}'\nparams=1\nrole='create'\nargs=['value']\n\
             results=['handle:thing','error']\nneeds='pool'\n\
             [[export]]\nmatch='make_free'\nrole='free'\nargs=['handle:thing','zero']\n\
             [[export]]\nmatch='list'\nrole='mutate'\nargs=['handles:thing']\nmutates=[]",
        )
        .unwrap();
        let [pointed, direct, free, list, ..] = plan.exports.as_slice() else {
            panic!("there are more exports");
        };
        assert!(pointed.return_pointer && !direct.return_pointer);
        assert_eq!(pointed.ty, direct.ty);
        assert_eq!(pointed.needs.as_deref(), Some("pool"));
        assert_eq!((free.args.len(), free.consumes.as_slice()), (1, &[0][..]));
        // What is passed in a list is used up.
        assert_eq!(list.consumes, [0]);
        assert_eq!(plan.stack_pointer, Some(FuncIndex(8)));
        assert_eq!(plan.take_error, Some(FuncIndex(9)));
    }

    #[test]
    fn an_artifact_is_bound_to_exports_that_can_be_one() {
        let create = "[[export]]\nmatch='make'\nrole='create'\nargs=['value']\n\
                      results=['handle:thing','error']\n";
        let services = "[[export]]\nmatch='to_bytes'\nrole='pure'\nargs=['handle:thing']\n\
                        results=['bytes']\n[[export]]\nmatch='from_bytes'\nrole='create'\n\
                        args=['bytes:moved']\nresults=['handle:thing']";
        let bind = |artifact: &str, services: &str| {
            bind_to(BINDGEN, &format!("{create}artifact={artifact}\n{services}"))
        };
        let pair = "{export='to_bytes',import='from_bytes'}";
        let plan = bind(pair, services).unwrap();
        let artifact = plan.exports[0].artifact.unwrap();
        assert_eq!(
            (artifact.export, artifact.import),
            (FuncIndex(4), FuncIndex(5))
        );
        let error = bind(pair, "").unwrap_err().to_string();
        assert!(error.contains("artifact.export `to_bytes`"), "{error}");
        let missing = "{export='to_bytes',import='nothing'}";
        let error = bind(missing, services).unwrap_err().to_string();
        assert!(error.contains("no function `nothing`"), "{error}");
        let live = "{export='to_bytes',import='from_bytes',live=true}";
        assert!(
            bind(live, services).unwrap().exports[0]
                .artifact
                .unwrap()
                .live
        );
        let error = bind_to(
            BINDGEN,
            &format!(
                "[[export]]\nmatch='make_free'\nrole='create'\nargs=['handle']\n\
                 results=['handle:thing']\nconsumes=[0]\nartifact={live}\n{services}"
            ),
        );
        let error = error.unwrap_err().to_string();
        assert!(error.contains("`make_free` has artifact.live"), "{error}");
        let optional = "{export='to_bytes',import='nothing',optional=true}";
        assert!(
            bind(optional, services).unwrap().exports[0]
                .artifact
                .is_none()
        );
    }

    #[test]
    fn what_wasm_bindgen_s_conventions_need_is_named() {
        let plain = BINDGEN.replace("bindgen_host_take_error", "other");
        let fallible = "[[export]]\nmatch='make_direct'\nrole='create'\nresults=['handle','error']";
        let no_stack = BINDGEN.replace("__wbindgen_add_to_stack_pointer", "other");
        let pointed = "[[export]]\nmatch='make'\nrole='create'\nargs=['value']\nresults=['handle']";
        for (module, policy, needle) in [
            (plain.as_str(), fallible, "bindgen-host"),
            (no_stack.as_str(), pointed, "module.stack_pointer_export"),
            (
                BINDGEN,
                "[[export]]\nmatch='make_free'\nrole='free'\nargs=['zero','handle']",
                "after all others",
            ),
            (
                BINDGEN,
                "[[export]]\nmatch='make_direct'\nrole='create'\nresults=['error','handle']",
                "after all others",
            ),
            (
                BINDGEN,
                "[[export]]\nmatch='make'\nrole='pure'\nargs=['value']\n\
                 results=['bytes','bytes','error']",
                "room for 4",
            ),
            (
                BINDGEN,
                "[[export]]\nmatch='list'\nrole='pure'\nargs=['handles']",
                "`pointer`",
            ),
        ] {
            let complaint = bind_to(module, policy).unwrap_err().to_string();
            assert!(complaint.contains(needle), "{policy}: {complaint}");
        }
    }

    #[test]
    fn every_preset_can_be_read() {
        for name in crate::PRESETS {
            assert!(!Policy::preset(name).unwrap().exports.is_empty());
        }
        let error = Policy::preset("o2js").unwrap_err().to_string();
        assert!(error.contains("there are: o1js"), "{error}");
    }
}
