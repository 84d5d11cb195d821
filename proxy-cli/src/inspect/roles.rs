//! The exported functions, grouped by their roles.

use std::fmt::{Display, Write};

use anyhow::Result;
use engine_api::{FuncType, FunctionInfo, ModuleInfo};
use globset::Glob;
use proxy_core::{ArgKind, ExportPolicy, Policy, ResultKind, Role};

use super::{printable, widest};
use crate::chosen_policy::ChosenPolicy;
use draft::Draft;

/// One line of the listing.
struct Line<'a> {
    function: &'a FunctionInfo,
    role: Role,
    args: Option<Vec<ArgKind>>,
    results: Option<Vec<ResultKind>>,
    why: String,
    /// Whether a naming rule or an entry decided.
    listed: bool,
}

/// Lists drafted roles.
pub(super) fn by_draft(text: &mut String, info: &ModuleInfo, draft: Draft) {
    let from = if draft.has_glue() {
        "the glue and names"
    } else {
        "their names"
    };
    let lines: Vec<Line<'_>> = info
        .functions()
        .iter()
        .zip(draft.exports)
        .map(|(function, drafted)| Line {
            function,
            role: drafted.role,
            args: drafted.args,
            results: drafted.results,
            why: drafted.reason,
            listed: drafted.listed,
        })
        .collect();
    let _ = writeln!(
        text,
        "exported functions: {}, with roles drafted from {from} (--emit-policy writes them down):",
        lines.len()
    );
    list(text, &lines);
}

/// Lists roles as a policy gives them, and the pattern that decided.
pub(super) fn by_policy(text: &mut String, info: &ModuleInfo, chosen: &ChosenPolicy) -> Result<()> {
    let policy = &chosen.policy;
    let matchers = policy
        .exports
        .iter()
        .map(|entry| Ok((Glob::new(&entry.pattern)?.compile_matcher(), entry)))
        .collect::<Result<Vec<_>>>()?;
    let mut decided = vec![false; matchers.len()];
    let mut lines = Vec::new();
    for function in info.functions() {
        let first = matchers.iter().position(|(matcher, entry)| {
            matcher.is_match(&function.name) && fits_params(entry, &function.ty)
        });
        let entry = first.map(|position| {
            decided[position] = true;
            matchers[position].1
        });
        lines.push(Line {
            function,
            role: entry.map_or(Role::Mutate, |entry| entry.role),
            args: entry.and_then(|entry| entry.args.clone()),
            results: entry.and_then(|entry| entry.results.clone()),
            why: match (entry, policy.strict) {
                (Some(entry), _) => decided_by(entry),
                (None, true) => "not listed: calls are refused".to_owned(),
                (None, false) => "not listed: journaled, to be safe".to_owned(),
            },
            listed: entry.is_some(),
        });
    }
    let _ = writeln!(
        text,
        "exported functions: {}, with roles by the policy:",
        lines.len()
    );
    list(text, &lines);
    let listed = lines.iter().filter(|line| line.listed).count();
    if let Some(doubt) = chosen.doubt(listed, lines.len()) {
        let _ = writeln!(text, "{doubt}");
    }
    beside_roles(text, policy, info);
    let unused = || matchers.iter().zip(&decided).filter(|(_, used)| !**used);
    if chosen.is_preset {
        let _ = writeln!(
            text,
            "note: {} of its {} entries decide no export: a preset is for several versions of a module",
            unused().count(),
            matchers.len()
        );
        return Ok(());
    }
    for ((_, entry), _) in unused() {
        let _ = writeln!(
            text,
            "note: the entry `{}` decides no export: none matches, or earlier entries do",
            shortened(&entry.pattern)
        );
    }
    Ok(())
}

/// What the policy says beside the exports' roles.
fn beside_roles(text: &mut String, policy: &Policy, info: &ModuleInfo) {
    let of_state = policy.state_digest.as_deref().map_or_else(
        || "none".to_owned(),
        |name| format!("by `{}`", printable(name)),
    );
    let _ = writeln!(text, "state digest: {of_state}");
    if policy.structs.is_empty() {
        return;
    }
    let _ = writeln!(text, "structs:");
    for policy in &policy.structs {
        let has = |name: &str| info.function(name).is_ok();
        let services = [&policy.new, &policy.free].into_iter();
        let fields = policy.fields.iter();
        let of_fields = fields.flat_map(|field| [Some(&field.get), field.set.as_ref()]);
        let is_whole = services.chain(of_fields.flatten()).all(|name| has(name));
        let fields: Vec<String> = policy
            .fields
            .iter()
            .map(|field| match &field.set {
                Some(set) => format!("{} (set by {})", printable(&field.get), printable(set)),
                None => printable(&field.get),
            })
            .collect();
        let _ = writeln!(
            text,
            "  {}: made by {}, freed by {}; fields: {}{}",
            printable(&policy.name),
            printable(&policy.new),
            printable(&policy.free),
            fields.join(", "),
            if is_whole {
                ""
            } else {
                "; optional, and the module lacks it"
            }
        );
    }
}

/// The pattern that decides, and the results that mean that the guest had no memory left.
fn decided_by(entry: &ExportPolicy) -> String {
    let mut why = format!("by `{}`", shortened(&entry.pattern));
    if !entry.exhausted.is_empty() {
        let codes: Vec<String> = entry.exhausted.iter().map(ToString::to_string).collect();
        let _ = write!(why, ", no memory if it returns {}", codes.join(" or "));
    }
    why
}

/// Whether an entry is for functions of this type, as in the binding: an entry may name the number
/// of parameters, and a return pointer does not count as one.
fn fits_params(entry: &ExportPolicy, ty: &FuncType) -> bool {
    let count = ty.params().len() - usize::from(entry.returns_through_pointer(ty));
    entry.params.is_none_or(|params| params == count)
}

fn list(text: &mut String, lines: &[Line<'_>]) {
    let name_width = widest(lines.iter().map(|line| line.function.name.chars().count()));
    let types: Vec<String> = lines.iter().map(signature).collect();
    let type_width = widest(types.iter().map(|ty| ty.chars().count()));
    for role in [Role::Create, Role::Mutate, Role::Free, Role::Pure] {
        let of_role = || {
            lines
                .iter()
                .zip(&types)
                .filter(move |(line, _)| line.role == role)
        };
        let count = of_role().count();
        if count == 0 {
            continue;
        }
        let _ = writeln!(text, "  {role} ({count})");
        for (line, ty) in of_role() {
            let name = printable(&line.function.name);
            let _ = writeln!(
                text,
                "    {name:name_width$}  {ty:type_width$}  {}",
                line.why
            );
        }
    }
}

/// The type as wasm has it, or as the policy reads it.
fn signature(line: &Line<'_>) -> String {
    let ty = &line.function.ty;
    let args = line
        .args
        .as_deref()
        .map_or_else(|| joined(ty.params()), joined);
    let results = line
        .results
        .as_deref()
        .map_or_else(|| joined(ty.results()), joined);
    format!("({args}) -> ({results})")
}

fn joined(items: &[impl Display]) -> String {
    let items: Vec<String> = items.iter().map(ToString::to_string).collect();
    items.join(", ")
}

/// A drafted pattern can be a list of hundreds of names.
fn shortened(pattern: &str) -> String {
    const MAX: usize = 48;
    if pattern.chars().count() <= MAX {
        return pattern.to_owned();
    }
    let start: String = pattern.chars().take(MAX).collect();
    format!("{start}...")
}
