//! Checks that a built-in policy fits the JavaScript that calls a module: every class and function of
//! the glue maps to an entry that takes its objects, gives them in the same form, and uses up those that
//! the glue gives away.
//!
//! ```sh
//! examples/o1js/fetch.sh 2.10.0 2.14.0 2.15.0
//! cargo run -p wasm-proxy-guest-calls --example glue_fits -- o1js examples/o1js/modules/*/*.cjs
//! ```
//!
//! Beside each file of glue lies its module, `NAME_bg.wasm`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::ExitCode;

use engine_api::{FuncType, FunctionInfo, ModuleInfo, ValType};
use globset::Glob;
use glue::{Elements, Glue, Member, MemberKind, Outcome, Passed};
use guest_calls::policy::plan::Plan;
use guest_calls::{ArgKind, ExportPolicy, Policy, ResultKind, Role};

/// What does not fit, and why that stays so. What is passed there is refused with a typed error.
const KNOWN: [(&str, &str); 8] = [
    (
        "wasmf?runtimetable_new",
        "one constructor of equal code makes the tables of a proof, which are ephemeral, and the \
         shapes of tables of an index, which last",
    ),
    (
        "wasmpastaf?lookuptable_new",
        "a lookup table lasts, and is made of an ephemeral vector",
    ),
    (
        "{wasmf?plonkverifierindex_{srs,set_*},__wbg_set_wasmf?plonkverifierindex_{domain,shifts}}",
        "a verifier index made of an index lasts and cannot be put together; one put together is \
         raw, and its reference string would be a new owner of something that lasts",
    ),
    (
        "{f?_oracles_create,caml_pasta_f?_plonk_{proof_verify,verifier_index_{serialize,write}}}",
        "these use up a verifier index, and take a deep copy of one that lasts",
    ),
    (
        "__wbg_set_{lookupinfo,lookuppatterns}_*",
        "a wire lasts, and its setters are those of an ephemeral class",
    ),
    (
        "caml_f?_srs_lagrange_commitments_whole_domain_*",
        "a pointer is a plain number in JavaScript",
    ),
    (
        "{initThreadPool,exitThreadPool,__wbg_poolbuilder_free,poolbuilder_*,wbg_rayon_*}",
        "the pool is the host's",
    ),
    ("get_memory", "the memory is the host's"),
];

/// What the host adds to a module.
const HOST: [(&str, &[ValType], &[ValType]); 8] = [
    (
        "bindgen_host_take_error",
        &[ValType::I32],
        &[ValType::ExternRef],
    ),
    (
        "bindgen_host_give_js",
        &[ValType::ExternRef],
        &[ValType::I32],
    ),
    (
        "bindgen_host_give_js_ref",
        &[ValType::ExternRef],
        &[ValType::ExternRef],
    ),
    (
        "bindgen_host_take_js",
        &[ValType::I32],
        &[ValType::ExternRef],
    ),
    (
        "bindgen_host_take_js_ref",
        &[ValType::ExternRef],
        &[ValType::ExternRef],
    ),
    ("bindgen_host_forget_js", &[ValType::I32], &[]),
    ("thread_pool_start", &[ValType::I32], &[ValType::I32]),
    ("thread_pool_stop", &[ValType::I32], &[]),
];

/// The form in which the objects of a class go in and out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Form {
    Lasting(Option<String>),
    Raw,
}

struct Subject<'a> {
    info: ModuleInfo,
    entries: Vec<(globset::GlobMatcher, &'a ExportPolicy)>,
    glue: Glue,
}

impl<'a> Subject<'a> {
    fn read(policy: &'a Policy, script: &Path) -> Result<Self, Box<dyn std::error::Error>> {
        let name = script.file_stem().ok_or("no name")?.to_string_lossy();
        let wasm = std::fs::read(script.with_file_name(format!("{name}_bg.wasm")))?;
        let entries = policy.exports.iter().map(|entry| {
            let glob = Glob::new(&entry.pattern)?.compile_matcher();
            Ok((glob, entry))
        });
        let info = module_bytes::parse(&wasm)?;
        // It also fits the module itself, as the host shows it.
        let added = HOST.map(|(name, params, results)| FunctionInfo {
            name: name.to_owned(),
            ty: FuncType::new(params, results),
        });
        let hosted = info.wrapped(info.imports().to_vec(), added.into());
        Plan::bind(policy, &hosted)?;
        Ok(Self {
            info,
            entries: entries.collect::<Result<_, globset::Error>>()?,
            glue: Glue::read(&std::fs::read_to_string(script)?)?,
        })
    }

    /// The entry for an export, if one is listed.
    fn entry(&self, export: &str) -> Option<&'a ExportPolicy> {
        let (_, function) = self.info.function(export).ok()?;
        let ty = &function.ty;
        let fits = |entry: &ExportPolicy| {
            let hidden = usize::from(entry.returns_through_pointer(ty));
            entry
                .params
                .is_none_or(|params| params + hidden == ty.params().len())
        };
        let mut entries = self.entries.iter();
        let found = entries.find(|(glob, entry)| glob.is_match(export) && fits(entry));
        found.map(|(_, entry)| *entry)
    }

    /// The forms in which the objects of each class come out of the module.
    fn forms(&self) -> BTreeMap<String, BTreeSet<Form>> {
        let mut forms: BTreeMap<String, BTreeSet<Form>> = BTreeMap::new();
        for member in &self.glue.members {
            let class = match &member.outcome {
                Outcome::Object { class, .. } => Some(class.clone()),
                _ if member.kind == MemberKind::Constructor => member.class.clone(),
                _ => None,
            };
            let result = self
                .entry(&member.export)
                .and_then(|entry| entry.results.as_ref()?.first());
            let form = match result {
                Some(ResultKind::Handle(ty)) => Form::Lasting(ty.clone()),
                Some(ResultKind::Pointer | ResultKind::Struct(_)) => Form::Raw,
                _ => continue,
            };
            if let Some(class) = class {
                forms.entry(class).or_default().insert(form);
            }
        }
        forms
    }

    /// What of the policy does not fit the glue.
    fn misfits(&self) -> Vec<String> {
        let forms = self.forms();
        let mut misfits = Vec::new();
        for member in &self.glue.members {
            let Some(entry) = self.entry(&member.export) else {
                misfits.push(format!("`{}`: no entry", member.export));
                continue;
            };
            check(member, entry, &forms, &mut |what| {
                let class = member.class.as_deref().unwrap_or("a function");
                misfits.push(format!(
                    "`{}` ({class}, {}): {what}",
                    member.export, member.name
                ));
            });
        }
        misfits
    }
}

/// Checks one function of the glue against its entry.
fn check(
    member: &Member,
    entry: &ExportPolicy,
    forms: &BTreeMap<String, BTreeSet<Form>>,
    complain: &mut dyn FnMut(String),
) {
    let kinds = entry.args.clone().unwrap_or_default();
    let mut at = 0;
    for param in &member.params {
        let Some(kind) = kinds.get(at) else { break };
        // A number in two parameters is two plain values.
        let words = if *kind == ArgKind::Value {
            param.passed.width()
        } else {
            1
        };
        match &param.passed {
            Passed::Object { class, consumed } => {
                for form in forms.get(class).into_iter().flatten() {
                    if !takes(entry, at, kind, form) {
                        complain(format!(
                            "`{kind}` at {at} does not take {class} as {form:?}"
                        ));
                    }
                }
                let is_raw = forms
                    .get(class)
                    .is_some_and(|forms| forms.contains(&Form::Raw));
                let is_struct = matches!(kind, ArgKind::Struct(_) | ArgKind::Structs(_));
                let uses_up = entry.role == Role::Free
                    || entry.consumes.contains(&at)
                    || entry.role == Role::Pure && is_struct;
                if is_raw && *consumed != uses_up {
                    complain(format!(
                        "{class} at {at} is given away: {consumed}, and used up: {uses_up}"
                    ));
                }
            }
            Passed::Buffer {
                of: Elements::Values,
                ..
            } if !is_list(kind) => {
                complain(format!("`{kind}` at {at} takes no list of objects"));
            }
            Passed::Value { .. } if !matches!(kind, ArgKind::Js(_) | ArgKind::Value) => {
                complain(format!("`{kind}` at {at} takes no value"));
            }
            _ => {}
        }
        at += words;
    }
    let result = entry.results.as_ref().and_then(|results| results.first());
    let gives_list = matches!(result, Some(ResultKind::Pointers | ResultKind::Structs(_)));
    if matches!(
        member.outcome,
        Outcome::Buffer {
            of: Elements::Values,
            ..
        }
    ) && !gives_list
    {
        complain("gives no list of objects".to_owned());
    }
    if member.outcome == Outcome::Value && !matches!(result, Some(ResultKind::Js)) {
        complain("gives no value".to_owned());
    }
}

fn is_list(kind: &ArgKind) -> bool {
    matches!(
        kind,
        ArgKind::Handles(_) | ArgKind::Pointers | ArgKind::Structs(_)
    )
}

/// Whether an argument takes an object in this form, in a turn.
fn takes(entry: &ExportPolicy, at: usize, kind: &ArgKind, form: &Form) -> bool {
    match (kind.inner(), form) {
        (ArgKind::Handle(needed), Form::Lasting(ty)) => needed.is_none() || needed == ty,
        (ArgKind::Pointer | ArgKind::Struct(_), Form::Raw) => true,
        (ArgKind::Handle(_), Form::Raw) => {
            let is_touched = entry.role == Role::Free
                || entry
                    .mutates
                    .as_ref()
                    .is_some_and(|touched| touched.contains(&at))
                || entry.consumes.contains(&at);
            entry.role == Role::Pure || (entry.role != Role::Create && is_touched)
        }
        _ => false,
    }
}

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let preset = args
        .next()
        .ok_or("name a built-in policy, and files of glue")?;
    let policy = Policy::preset(&preset)?;
    let known = KNOWN.map(|(pattern, _)| Glob::new(pattern).map(|glob| glob.compile_matcher()));
    let known = known.into_iter().collect::<Result<Vec<_>, _>>()?;
    let mut bad = 0;
    for script in args {
        let subject = Subject::read(&policy, Path::new(&script))?;
        let misfits = subject.misfits();
        let (known, new): (Vec<_>, Vec<_>) = misfits.into_iter().partition(|misfit| {
            let export = misfit.split('`').nth(1).unwrap_or_default();
            known.iter().any(|glob| glob.is_match(export))
        });
        println!(
            "{script}: {} members, {} misfits, {} known ones",
            subject.glue.members.len(),
            new.len(),
            known.len()
        );
        for misfit in &new {
            println!("  {misfit}");
        }
        bad += new.len();
    }
    Ok(if bad == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
