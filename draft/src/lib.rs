//! A policy drafted from what the glue says of an export, or from its name and type.
//!
//! Glue says what arguments and results are. What a call does to the state only names tell, and
//! they promise nothing: a draft is a starting point for a person who knows the module, and says how
//! sure it is of each entry. An export of which nothing is known is `mutate` on the whole module,
//! which is safe: all its calls are replayed.

mod by_glue;
mod casts;
mod emit;
mod kinds;
mod rules;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use engine_api::{FunctionInfo, ModuleInfo, ValType};
use glue::{Glue, StackPointer};
use guest_calls::{
    AllocatorPolicy, ArgKind, CastPolicy, ExportPolicy, ModulePolicy, Ownership, Policy,
    ResultKind, ReturnPlacePolicy, Role,
};

pub use casts::host_options;

use by_glue::ByGlue;
use rules::{Buffer, Rule};

/// How sure a draft is of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Certainty {
    /// The glue says it.
    Sure,
    /// The glue says what is passed, and a name what the call does.
    Likely,
    /// A name and a type say it.
    Guess,
    /// Nothing says what the call does, so it is taken for one that changes everything.
    Safe,
}

impl std::fmt::Display for Certainty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Certainty::Sure => "sure",
            Certainty::Likely => "likely",
            Certainty::Guess => "guess",
            Certainty::Safe => "safe",
        })
    }
}

/// The draft of one export.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Drafted {
    /// The export.
    pub name: String,
    /// Its role.
    pub role: Role,
    /// The kinds of its arguments, if not all are plain values.
    pub args: Option<Vec<ArgKind>>,
    /// The kinds of its results, if not all are plain values.
    pub results: Option<Vec<ResultKind>>,
    /// The positions of the objects that it changes, if it changes no others.
    pub mutates: Option<Vec<usize>>,
    /// The positions of the objects that it uses up.
    pub consumes: Vec<usize>,
    /// Why it has this role, for the file's comments.
    pub reason: String,
    /// How sure that is.
    pub certainty: Certainty,
    /// The class that it belongs to.
    pub class: Option<String>,
    /// What it is in JavaScript.
    pub signature: Option<String>,
    /// Whether a policy can list it.
    pub listed: bool,
    /// Whether only the host needs to call it.
    pub is_service: bool,
}

/// The glue belongs to another module.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the glue is another module's: the module lacks {lacking} of the {called} exports that it calls, such as \
     {some}; a package can have several modules, each with glue of its own"
)]
pub struct ForeignGlue {
    /// How many exports the module lacks.
    pub lacking: usize,
    /// How many exports the glue calls.
    pub called: usize,
    /// A few of the lacking ones.
    pub some: String,
}

/// A drafted policy.
#[derive(Debug)]
pub struct Draft {
    /// The exported functions in the module's order.
    pub exports: Vec<Drafted>,
    module: ModulePolicy,
    /// What imports convert, where only the glue says it.
    casts: Vec<CastPolicy>,
    /// Whether glue said what the arguments are.
    has_glue: bool,
}

impl Draft {
    /// Drafts a policy for a module, by its glue if there is any.
    ///
    /// # Errors
    ///
    /// [`ForeignGlue`].
    pub fn with_glue(info: &ModuleInfo, glue: Option<&Glue>) -> Result<Self, ForeignGlue> {
        let mut draft = Self::of(info);
        let Some(glue) = glue else { return Ok(draft) };
        let by_glue = ByGlue::new(glue, info)?;
        for (export, function) in draft.exports.iter_mut().zip(info.functions()) {
            if let Some(drafted) = by_glue.draft(function) {
                *export = drafted;
            }
        }
        draft.module.allocator = unusual_allocator(glue, info);
        draft.module.stack_pointer_export = match &glue.services.stack_pointer {
            Some(StackPointer::Function(name)) if name != STACK_POINTER => Some(name.clone()),
            _ => None,
        };
        draft.module.return_place = match &glue.services.stack_pointer {
            Some(StackPointer::Global(name)) => Some(ReturnPlacePolicy::Global(name.clone())),
            Some(StackPointer::Address(at)) => Some(ReturnPlacePolicy::Address(*at)),
            _ => None,
        };
        draft.has_glue = true;
        Ok(draft)
    }

    /// Drafts a policy for a module from the names and types of its exports.
    #[must_use]
    pub fn of(info: &ModuleInfo) -> Self {
        let known = Known {
            types: types_of(info),
            has_allocator: rules::ALLOCATORS.iter().any(|(alloc, free)| {
                is_function(info, alloc, 1..=2, &[ValType::I32])
                    && is_function(info, free, 1..=3, &[])
            }),
            is_bindgen: bindgen_host::is_bindgen(info),
            has_stack_pointer: is_function(info, STACK_POINTER, 1..=1, &[ValType::I32]),
        };
        let initializer = info.initializer().map(|index| index.0 as usize);
        let exports = info.functions().iter().enumerate();
        let exports = exports.map(|(at, function)| match initializer {
            Some(initializer) if initializer == at => Drafted::initializer(function),
            _ => drafted(function, &known),
        });
        let exports = exports.collect();
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
            casts: Vec::new(),
            has_glue: false,
        }
    }

    /// Adds what the glue says of the conversions that the module does not tell. `info` is the module
    /// as its bytes have it.
    #[must_use]
    pub fn with_casts(mut self, info: &ModuleInfo, wasm: &[u8], glue: &Glue) -> Self {
        self.casts = casts::casts(info, wasm, glue);
        self
    }

    /// Whether glue said what arguments and results are.
    #[must_use]
    pub fn has_glue(&self) -> bool {
        self.has_glue
    }

    /// The policy itself, one entry per export.
    #[must_use]
    pub fn policy(&self) -> Policy {
        Policy {
            module: self.module.clone(),
            exports: self
                .exports
                .iter()
                .filter(|export| export.listed)
                .map(Drafted::entry)
                .collect(),
            casts: self.casts.clone(),
            ..Policy::default()
        }
    }

    /// The policy as a file, with a reason for each group of exports.
    #[must_use]
    pub fn to_toml(&self, module: &str) -> String {
        emit::to_toml(self, module)
    }
}

impl Buffer {
    /// As a result that the host frees.
    fn result(self) -> ResultKind {
        match self {
            Buffer::Bytes => ResultKind::Bytes(Ownership::Host),
            Buffer::Text => ResultKind::Text(Ownership::Host),
        }
    }

    /// As an argument that the guest takes over.
    fn moved(self) -> ArgKind {
        match self {
            Buffer::Bytes => ArgKind::Bytes(Ownership::Guest),
            Buffer::Text => ArgKind::Text(Ownership::Guest),
        }
    }
}

impl Drafted {
    /// A draft by a name and a type.
    fn guess(function: &FunctionInfo, role: Role, reason: &str) -> Self {
        Self {
            name: function.name.clone(),
            role,
            args: None,
            results: None,
            mutates: None,
            consumes: Vec::new(),
            reason: reason.to_owned(),
            certainty: Certainty::Guess,
            class: None,
            signature: None,
            listed: true,
            is_service: false,
        }
    }

    /// The engine calls it in each fresh instance. Called by anybody else, it would run twice.
    fn initializer(function: &FunctionInfo) -> Self {
        Self {
            listed: false,
            is_service: true,
            ..Self::guess(
                function,
                Role::Mutate,
                "the engine runs it in each fresh instance",
            )
        }
    }

    fn entry(&self) -> ExportPolicy {
        ExportPolicy {
            exhausted: Vec::new(),
            pattern: emit::pattern_of(&self.name),
            role: self.role,
            args: self.args.clone(),
            results: self.results.clone(),
            consumes: self.consumes.clone(),
            mutates: self.mutates.clone(),
            params: None,
            needs: None,
            fingerprint: None,
            artifact: None,
        }
    }
}

/// What is known of a module as a whole.
#[derive(Debug)]
struct Known {
    /// The types of its objects.
    types: BTreeSet<String>,
    has_allocator: bool,
    is_bindgen: bool,
    has_stack_pointer: bool,
}

/// The export that moves the stack pointer in most modules.
const STACK_POINTER: &str = "__wbindgen_add_to_stack_pointer";

/// The allocator that the glue calls, if the proxy would not find it by its name.
fn unusual_allocator(glue: &Glue, info: &ModuleInfo) -> Option<AllocatorPolicy> {
    let (alloc, free) = (glue.services.alloc.as_ref()?, glue.services.free.as_ref()?);
    let has_usual = rules::ALLOCATORS
        .iter()
        .any(|(alloc, free)| info.function(alloc).is_ok() && info.function(free).is_ok());
    let fits =
        is_function(info, alloc, 1..=2, &[ValType::I32]) && is_function(info, free, 1..=3, &[]);
    (!has_usual && fits).then(|| AllocatorPolicy {
        alloc: alloc.clone(),
        free: free.clone(),
    })
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

fn drafted(function: &FunctionInfo, known: &Known) -> Drafted {
    if let Some(drafted) = through_return_pointer(function, known) {
        return drafted;
    }
    let rule = rules::rule_for(function, &known.types);
    let references = function
        .ty
        .params()
        .iter()
        .chain(function.ty.results())
        .any(|ty| ty.is_reference());
    let mut drafted = Drafted::guess(function, rule.role, rule.reason);
    if references && rule.role.is_journaled() {
        "passes references, which cannot be journaled: not listed".clone_into(&mut drafted.reason);
        drafted.role = Role::Mutate;
        drafted.listed = false;
        return drafted;
    }
    drafted.args = args_of(function, &rule, known);
    drafted.results = results_of(function, &rule, known.has_allocator);
    drafted.mutates = (rule.changes_first && drafted.args.is_some()).then(|| vec![0]);
    if rule.reason == rules::UNKNOWN_NAME {
        drafted.certainty = Certainty::Safe;
    }
    drafted
}

/// The draft of an export of wasm-bindgen's that returns nothing and by its name gives something:
/// its first parameter can only be a return pointer.
fn through_return_pointer(function: &FunctionInfo, known: &Known) -> Option<Drafted> {
    let (params, name) = (function.ty.params(), function.name.as_str());
    let is_i32 = params.iter().all(|ty| *ty == ValType::I32);
    let can_be = known.is_bindgen && known.has_stack_pointer && known.has_allocator && is_i32;
    if !can_be || !function.ty.results().is_empty() {
        return None;
    }
    if let (Some((object, buffer)), 2) = (rules::gives_buffer(name), params.len())
        && known.types.contains(object)
    {
        let reason = "returns nothing, so its first parameter is a return pointer; by its name it only looks";
        let mut drafted = Drafted::guess(function, Role::Pure, reason);
        drafted.args = Some(vec![ArgKind::Handle(Some(object.to_owned()))]);
        drafted.results = Some(vec![buffer.result()]);
        return Some(drafted);
    }
    if let (Some((object, buffer)), 3) = (rules::made_of_buffer(name), params.len())
        && known.types.contains(object)
    {
        let reason = "returns nothing, so its first parameter is a return pointer; by its name it creates or fails";
        let mut drafted = Drafted::guess(function, Role::Create, reason);
        drafted.args = Some(vec![buffer.moved()]);
        drafted.results = Some(vec![
            ResultKind::Handle(Some(object.to_owned())),
            ResultKind::Error,
        ]);
        return Some(drafted);
    }
    None
}

/// Takes the first argument for the object that the name mentions. A name says nothing about the
/// others.
fn args_of(function: &FunctionInfo, rule: &Rule, known: &Known) -> Option<Vec<ArgKind>> {
    let params = function.ty.params();
    if !params.first().is_some_and(|ty| is_address(*ty)) {
        return None;
    }
    let first = match (rule.role, &rule.object) {
        _ if rule.raw_pointers && params.len() <= 3 && function.ty.results().is_empty() => {
            ArgKind::Pointer
        }
        (Role::Create, _) => return created_of(function, known),
        (Role::Free, Some(object)) => ArgKind::Handle(Some(object.clone())),
        (Role::Free, None) => ArgKind::Handle(None),
        _ if rule.raw_pointers => return None,
        _ => ArgKind::Handle(Some(
            rules::object_of(&function.name, &known.types)?.to_owned(),
        )),
    };
    let mut args = vec![ArgKind::Value; params.len()];
    args[0] = first;
    // `__wbg_x_free(pointer, flag)`: the flag says whether a finalizer calls it.
    if rule.role == Role::Free && function.name.starts_with("__wbg_") && args.len() == 2 {
        args[1] = ArgKind::Zero;
    }
    Some(args)
}

/// The arguments of an export of wasm-bindgen's that makes an object: two numbers are most often a
/// buffer, which the guest takes over.
fn created_of(function: &FunctionInfo, known: &Known) -> Option<Vec<ArgKind>> {
    let is_buffer = function.ty.params() == [ValType::I32, ValType::I32];
    if !is_buffer || !known.is_bindgen || !known.has_allocator {
        return None;
    }
    let named = rules::made_of_buffer(&function.name).map(|(_, buffer)| buffer);
    // Text can be given for bytes, too.
    Some(vec![named.unwrap_or(Buffer::Bytes).moved()])
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
        Some(buffer) if is_buffer && has_allocator => Some(vec![buffer.result()]),
        _ => None,
    }
}
