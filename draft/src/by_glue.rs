//! The draft of an export by what the glue says of it.

use std::collections::{BTreeMap, BTreeSet};

use engine_api::{FunctionInfo, ModuleInfo};
use glue::{Glue, Member, MemberKind, Outcome, Passed, StackPointer};
use guest_calls::Role;

use super::Certainty::{self, Likely, Safe, Sure};
use super::kinds::{self, Args, Gap};
use super::{Drafted, ForeignGlue, rules};

/// The glue, by the exports of a module.
#[derive(Debug)]
pub(super) struct ByGlue<'a> {
    members: BTreeMap<&'a str, Member>,
    /// Classes whose objects can have state in common with others.
    sharing: BTreeSet<&'a str>,
    /// Whether a function of the module gives room for results.
    has_stack_pointer: bool,
    /// Exports that run closures, allocate, or take exceptions.
    services: BTreeSet<&'a str>,
}

impl<'a> ByGlue<'a> {
    /// Refuses glue that is another module's.
    pub(super) fn new(glue: &'a Glue, info: &ModuleInfo) -> Result<Self, ForeignGlue> {
        let mut members: BTreeMap<&str, Member> = BTreeMap::new();
        let mut lacking = BTreeSet::new();
        for member in &glue.members {
            if info.function(&member.export).is_ok() {
                members
                    .entry(&*member.export)
                    .and_modify(|known| join(known, member))
                    .or_insert_with(|| member.clone());
            } else {
                lacking.insert(&*member.export);
            }
        }
        if members.len() < lacking.len() {
            let some: Vec<&str> = lacking.iter().take(3).copied().collect();
            return Err(ForeignGlue {
                lacking: lacking.len(),
                called: members.len() + lacking.len(),
                some: format!("`{}`", some.join("`, `")),
            });
        }
        Ok(Self {
            members,
            sharing: sharing(glue),
            has_stack_pointer: match &glue.services.stack_pointer {
                Some(StackPointer::Function(name)) => info.function(name).is_ok(),
                Some(StackPointer::Global(name)) => info.export(name).is_some(),
                Some(StackPointer::Address(_)) => true,
                _ => false,
            },
            services: services(glue),
        })
    }

    /// The draft of an export, if the glue says something of it.
    pub(super) fn draft(&self, function: &FunctionInfo) -> Option<Drafted> {
        let name = function.name.as_str();
        if self.services.contains(name) || rules::is_glue_service(name) {
            let reason = "Only the host and the proxy need to call it";
            return Some(Drafted {
                is_service: true,
                ..unlisted(name, None, reason.to_owned())
            });
        }
        let member = self.members.get(name)?;
        let class = member.class.clone();
        if is_promise(member) {
            let reason = format!(
                "{}: gives a promise, and nothing here waits for one",
                signature(member)
            );
            return Some(unlisted(name, class, reason));
        }
        if member.return_pointer && !self.has_stack_pointer {
            let gap = Gap::Kind("results at a return pointer, for which the module gives no room");
            return Some(not_described(name, class, member, &gap));
        }
        let args = match kinds::args(member, &function.ty) {
            Ok(args) => args,
            Err(gap) => return Some(not_described(name, class, member, &gap)),
        };
        let results = match kinds::results(member, &function.ty) {
            Ok(results) => results,
            Err(gap) => return Some(not_described(name, class, member, &gap)),
        };
        let decided = self.role(member, &args);
        let all_plain = args
            .kinds
            .iter()
            .all(|kind| *kind == guest_calls::ArgKind::Value);
        let consumes = match decided.role {
            Role::Free => Vec::new(),
            _ => args.consumed.clone(),
        };
        Some(Drafted {
            name: name.to_owned(),
            role: decided.role,
            args: (!all_plain).then_some(args.kinds),
            results,
            mutates: decided.mutates,
            consumes,
            reason: decided.reason.to_owned(),
            certainty: decided.certainty,
            class,
            signature: Some(signature(member)),
            listed: true,
            is_service: false,
        })
    }

    fn role(&self, member: &Member, args: &Args) -> Decided {
        let gives_object = matches!(member.outcome, Outcome::Object { .. });
        let reads = rules::reads(&member.name);
        let changed = (!args.borrowed.is_empty()).then(|| args.borrowed.clone());
        let says = |role, mutates, certainty, reason| Decided {
            role,
            mutates,
            certainty,
            reason,
        };
        match member.kind {
            MemberKind::Free => says(Role::Free, None, Sure, "ends the object"),
            MemberKind::Constructor => says(Role::Create, None, Sure, "makes the object"),
            MemberKind::Getter if gives_object => says(
                Role::Create,
                None,
                Likely,
                "reads a field, which is an object",
            ),
            MemberKind::Getter if args.consumed.is_empty() => {
                says(Role::Pure, None, Likely, "reads a field")
            }
            MemberKind::Setter => says(
                Role::Mutate,
                self.own(member, args),
                Likely,
                "writes a field",
            ),
            _ if gives_object && reads => says(
                Role::Create,
                None,
                Likely,
                "gives an object; by its name it changes nothing",
            ),
            _ if gives_object => says(Role::Create, changed, Likely, "gives an object"),
            _ if !args.consumed.is_empty() && args.borrowed.is_empty() => {
                says(Role::Free, None, Sure, "uses up the objects that it takes")
            }
            _ if reads && args.consumed.is_empty() && member.outcome != Outcome::Nothing => {
                says(Role::Pure, None, Likely, "by its name it only looks")
            }
            _ => match self.own(member, args) {
                Some(own) => says(
                    Role::Mutate,
                    Some(own),
                    Likely,
                    "may change its object, which has no part in others",
                ),
                None => says(Role::Mutate, None, Safe, "may change anything"),
            },
        }
    }

    /// The positions of the objects that a call can change, if they have nothing in common with
    /// others.
    fn own(&self, member: &Member, args: &Args) -> Option<Vec<usize>> {
        let shares = member.params.iter().any(|param| match &param.passed {
            Passed::Object { class, .. } => {
                class == kinds::ANY_CLASS || self.sharing.contains(&**class)
            }
            _ => false,
        });
        (!shares && !args.borrowed.is_empty()).then(|| args.borrowed.clone())
    }
}

/// The exports that nobody but the host and the proxy calls, if their names do not say it.
fn services(glue: &Glue) -> BTreeSet<&str> {
    let services = &glue.services;
    let invokers = glue.closures.iter().map(|closure| &closure.invoke);
    let own = [
        &services.alloc,
        &services.realloc,
        &services.free,
        &services.exception,
    ];
    invokers
        .chain(own)
        .flatten()
        .map(String::as_str)
        .filter(|name| !rules::is_known_service(name))
        .collect()
}

/// Joins two members with the same export: a linker folds functions with the same code. Where their
/// objects differ, any will do.
fn join(known: &mut Member, other: &Member) {
    for (one, two) in known.params.iter_mut().zip(&other.params) {
        one.optional |= two.optional;
        if (one.none, one.coerced) != (two.none, two.coerced) {
            (one.none, one.coerced) = (None, None);
        }
        if let (
            Passed::Object { class, consumed },
            Passed::Object {
                class: other,
                consumed: also,
            },
        ) = (&mut one.passed, &two.passed)
        {
            *consumed |= also;
            any_if_other(class, other);
        }
    }
    if let (
        Outcome::Object { class, optional },
        Outcome::Object {
            class: other,
            optional: also,
        },
    ) = (&mut known.outcome, &other.outcome)
    {
        *optional |= also;
        any_if_other(class, other);
    }
    if let (Outcome::Plain { none, .. }, Outcome::Plain { none: other, .. }) =
        (&mut known.outcome, &other.outcome)
        && *none != *other
    {
        *none = None;
    }
    // The more careful reading counts.
    if known.kind == MemberKind::Getter && other.kind != MemberKind::Getter {
        known.kind = other.kind;
    }
}

fn any_if_other(class: &mut String, other: &str) {
    if class != other {
        kinds::ANY_CLASS.clone_into(class);
    }
}

struct Decided {
    role: Role,
    mutates: Option<Vec<usize>>,
    certainty: Certainty,
    reason: &'static str,
}

/// The classes whose objects come from others, give others, or are given to functions with others:
/// two such objects can be two views of the same state.
fn sharing(glue: &Glue) -> BTreeSet<&str> {
    let mut sharing = BTreeSet::new();
    for member in &glue.members {
        let objects: Vec<&str> = member
            .params
            .iter()
            .filter_map(|param| match &param.passed {
                Passed::Object { class, .. } => Some(&**class),
                _ => None,
            })
            .collect();
        let given = match &member.outcome {
            Outcome::Object { class, .. } => Some(&**class),
            _ => None,
        };
        if objects.len() + usize::from(given.is_some()) > 1 {
            sharing.extend(objects);
            sharing.extend(given);
        }
    }
    sharing
}

fn is_promise(member: &Member) -> bool {
    member
        .returns
        .as_deref()
        .is_some_and(|ty| ty.starts_with("Promise"))
}

fn not_described(name: &str, class: Option<String>, member: &Member, gap: &Gap) -> Drafted {
    let signature = signature(member);
    let reason = match gap {
        Gap::Type => format!("{signature}: the glue passes other parameters than the module has"),
        Gap::Kind(what) => format!("{signature}: no kind describes {what}"),
    };
    unlisted(name, class, reason)
}

fn unlisted(name: &str, class: Option<String>, reason: String) -> Drafted {
    Drafted {
        name: name.to_owned(),
        role: Role::Mutate,
        args: None,
        results: None,
        mutates: None,
        consumes: Vec::new(),
        reason,
        certainty: Safe,
        class,
        signature: None,
        listed: false,
        is_service: false,
    }
}

/// A member as JavaScript has it: `encode(text: string): Uint32Array`.
fn signature(member: &Member) -> String {
    let params: Vec<String> = member
        .params
        .iter()
        .filter(|param| param.name != "this" && param.passed != Passed::Zero)
        .map(|param| {
            let mark = if param.optional { "?" } else { "" };
            match &param.declared {
                Some(ty) => format!("{}{mark}: {ty}", param.name),
                None => format!("{}{mark}", param.name),
            }
        })
        .collect();
    let before = match member.kind {
        MemberKind::Getter => "get ",
        MemberKind::Setter => "set ",
        MemberKind::Static => "static ",
        _ => "",
    };
    let returns = member
        .returns
        .as_ref()
        .map_or_else(String::new, |ty| format!(": {ty}"));
    format!("{before}{}({}){returns}", member.name, params.join(", "))
}
