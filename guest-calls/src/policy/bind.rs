//! Binding a policy to a module: everything that does not fit is an error that names the place.

mod export;
mod gather;
mod return_place;
mod services;
mod structs;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use engine_api::{FuncIndex, FuncType, ModuleInfo, ValType};
use globset::{Glob, GlobMatcher};

use super::Policy;
use super::plan::{Plan, refuse, similar};
use crate::PolicyError;
use export::{bind_export, fits_params};
use return_place::bind_return_place;
use services::{
    bind_allocator, bind_js, bind_number, bind_service, bind_stack_global, bind_state_digest,
    check_services,
};
use structs::{bind_structs, check_names};

impl Plan {
    /// Binds a policy to a module.
    ///
    /// # Errors
    ///
    /// [`PolicyError::Misfit`] or [`PolicyError::Pattern`] if the policy does not fit the module.
    pub fn bind(policy: &Policy, info: &ModuleInfo) -> Result<Self, PolicyError> {
        let matchers = policy
            .exports
            .iter()
            .map(|entry| Ok((glob(&entry.pattern)?, entry)))
            .collect::<Result<Vec<_>, PolicyError>>()?;
        for (_, entry) in &matchers {
            if is_name(&entry.pattern) && info.function(&entry.pattern).is_err() {
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
        let described: Vec<&str> = policy.structs.iter().map(|one| &*one.name).collect();
        check_names(&exports, &described, &described)?;
        check_services(&exports)?;
        let structs = bind_structs(&policy.structs, &exports, info)?;
        let service = |name: &Option<String>, usual: &str, ty: FuncType| {
            bind_service(name.as_deref(), usual, &ty, info)
        };
        let i32_to = |result| FuncType::new(&[ValType::I32], &[result]);
        let stack_pointer = service(
            &policy.module.stack_pointer_export,
            "__wbindgen_add_to_stack_pointer",
            i32_to(ValType::I32),
        )?;
        let return_place = bind_return_place(policy.module.return_place.as_ref(), info)?;
        let take_error = service(
            &policy.module.take_error_export,
            "bindgen_host_take_error",
            i32_to(ValType::ExternRef),
        )?;
        let js = bind_js(info);
        for plan in &exports {
            let has_room = stack_pointer.is_some() || return_place.is_some();
            plan.check_services(has_room, take_error.is_some(), js.is_some())?;
        }
        for entry in &policy.imports {
            check_import(&entry.pattern, info)?;
        }
        let imports = policy
            .imports
            .iter()
            .map(|entry| Ok((glob(&entry.pattern)?, entry.effect)))
            .collect::<Result<Vec<_>, PolicyError>>()?;
        let state_digest = bind_state_digest(policy.state_digest.as_deref(), &exports, info)?;
        Ok(Self {
            exports,
            allocator,
            stack_pointer,
            return_place,
            take_error,
            js,
            memory_usage: bind_number(
                policy.module.memory_usage_export.as_ref(),
                "a number of MiB",
                info,
            )?,
            swap_request: bind_number(
                policy.module.swap_request_export.as_ref(),
                "a number, above 0 to ask for a swap",
                info,
            )?,
            stack_global: bind_stack_global(policy.module.stack_pointer_global.as_deref(), info)?,
            critical_memory: bind_number(
                policy.module.critical_memory_export.as_ref(),
                "a number of MiB",
                info,
            )?,
            state_digest,
            strict: policy.strict,
            imports,
            structs,
        })
    }
}

/// Whether a pattern is the name of one thing.
fn is_name(pattern: &str) -> bool {
    !pattern.contains(['*', '?', '[', '{', '\\'])
}

/// Refuses the name of an import that the module lacks. A pattern may match nothing, since a policy may
/// be for several modules.
fn check_import(pattern: &str, info: &ModuleInfo) -> Result<(), PolicyError> {
    let names = || {
        info.imports()
            .iter()
            .map(|one| format!("{}.{}", one.module, one.name))
    };
    if !is_name(pattern) || names().any(|name| name == pattern) {
        return Ok(());
    }
    let same = |name: &str| {
        let pairs = name.chars().zip(pattern.chars());
        pairs.take_while(|(one, other)| one == other).count()
    };
    let best = names().max_by_key(|name| same(name));
    let best = best.filter(|name| same(name) * 2 > pattern.len());
    Err(refuse(format!(
        "[[import]] `{pattern}` matches no import of the module{}",
        best.map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
    )))
}

fn glob(pattern: &str) -> Result<GlobMatcher, PolicyError> {
    Ok(Glob::new(pattern)
        .map_err(|source| PolicyError::Pattern {
            pattern: pattern.to_owned(),
            source,
        })?
        .compile_matcher())
}
