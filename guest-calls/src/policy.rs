//! The policy: what each export of a module does to its state.
//!
//! A policy is a TOML file, described in `docs/policy.md`. It is parsed here, and bound to a
//! module's real exports in [`plan`], where everything that does not fit is an error that names the
//! place.

mod bind;
mod kind;
pub mod plan;

use std::fmt;
use std::str::FromStr;

use engine_api::{FuncType, ValType};
use serde::{Deserialize, Deserializer, Serialize};

use crate::PolicyError;

pub use kind::{ArgKind, Coercion, JsPassing, Ownership, ResultKind, Width};

/// The effect of an export on the module's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Creates objects, which its results name by handles.
    Create,
    /// Changes objects, or the module's state as a whole.
    Mutate,
    /// Destroys the objects that its handle arguments name.
    Free,
    /// Leaves nothing behind that a later call could notice: it is not journaled.
    Pure,
}

impl Role {
    /// Whether calls of the role are recorded in the journal.
    #[must_use]
    #[inline]
    pub fn is_journaled(self) -> bool {
        self != Role::Pure
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Create => "create",
            Role::Mutate => "mutate",
            Role::Free => "free",
            Role::Pure => "pure",
        })
    }
}

/// The contents of a policy file.
///
/// ```
/// use guest_calls::{Policy, Role};
///
/// let policy: Policy = r#"
///     [[export]]
///     match = "srs_create"
///     role = "create"
///     results = ["handle:srs"]
///
///     [[export]]
///     match = "*_free"
///     role = "free"
///     args = ["handle"]
/// "#
/// .parse()?;
/// assert_eq!(policy.exports[1].role, Role::Free);
/// # Ok::<(), guest_calls::PolicyError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Refuse calls of exports that no entry matches. Otherwise they are `mutate` on the whole
    /// module: safe, since everything is replayed, and warned about once.
    #[serde(default)]
    pub strict: bool,
    /// A pure export without arguments that gives numbers, bytes or text: a digest of the whole
    /// state. It is compared before each swap, so a write by an export that is wrongly called pure
    /// is found before it is lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_digest: Option<String>,
    /// The module's own services.
    #[serde(default)]
    pub module: ModulePolicy,
    /// The exports: the first entry whose pattern matches a name decides.
    #[serde(default, rename = "export")]
    pub exports: Vec<ExportPolicy>,
    /// The structs: objects that cross by value. A struct may have fields of those before it.
    #[serde(default, rename = "struct", skip_serializing_if = "Vec::is_empty")]
    pub structs: Vec<StructPolicy>,
    /// The imports: which host functions have no effect outside.
    #[serde(default, rename = "import")]
    pub imports: Vec<ImportPolicy>,
    /// What imports of wasm-bindgen's convert, where the module does not say it. Only a host reads
    /// this.
    #[serde(default, rename = "cast", skip_serializing_if = "Vec::is_empty")]
    pub casts: Vec<CastPolicy>,
}

/// The module's own services.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ModulePolicy {
    /// The guest's allocator, for arguments and results of bytes and text. Without it the usual
    /// names are looked for: `guest_alloc`, `__wbindgen_malloc`, `malloc`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allocator: Option<AllocatorPolicy>,
    /// An export `() -> number` that says how much memory the module uses, in MiB. The proxy takes
    /// the larger of it and the real size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_usage_export: Option<String>,
    /// An export `() -> number` that gives the module's own memory limit, in MiB. The proxy takes
    /// the smallest of it, the configured limit and the module's maximum.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub critical_memory_export: Option<String>,
    /// An export `() -> number` that asks for a swap by any number above 0. It is asked after every
    /// 64th call and whenever the proxy looks at the memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swap_request_export: Option<String>,
    /// The mutable global with the guest's stack pointer: the name of an export, or its index among
    /// the module's globals. Without it the module's code tells, if it does.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "name_or_index"
    )]
    pub stack_pointer_global: Option<String>,
    /// An export `(i32) -> i32` that moves the guest's stack pointer, for results through a return
    /// pointer. Without it `__wbindgen_add_to_stack_pointer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stack_pointer_export: Option<String>,
    /// Where results at a return pointer are left, if no function gives room for them: the name of
    /// an exported global that is the stack pointer, or an address with 16 bytes that nobody uses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub return_place: Option<ReturnPlacePolicy>,
    /// An export `(i32) -> externref` that takes the [`engine_api::GuestError`] of an error object,
    /// for results of kind `error`. Without it `bindgen_host_take_error`, which `bindgen-host`
    /// adds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub take_error_export: Option<String>,
}

/// Where results at a return pointer are left.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(
    untagged,
    expecting = "an address of 32 bits, or the name of an exported global"
)]
pub enum ReturnPlacePolicy {
    /// Always at this address.
    Address(u32),
    /// Below the stack pointer, which is the exported global with this name.
    Global(String),
}

/// The guest's allocator.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AllocatorPolicy {
    /// `(len) -> ptr`, or `(len, align) -> ptr`.
    pub alloc: String,
    /// `(ptr)`, `(ptr, len)` or `(ptr, len, align)`.
    pub free: String,
}

/// An entry for the exports that match a pattern.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ExportPolicy {
    /// An export's name, or a glob pattern over names: `*_free`, `caml_f[pq]_srs_*`.
    #[serde(rename = "match")]
    pub pattern: String,
    /// Match only functions with this many parameters, a return pointer not counted: for names
    /// whose type differs between builds of a module.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub params: Option<usize>,
    /// Their role.
    pub role: Role,
    /// The meaning of the arguments. Without it each parameter is a plain value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub args: Option<Vec<ArgKind>>,
    /// The meaning of the results. Without it each is a plain value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub results: Option<Vec<ResultKind>>,
    /// Positions, from 0, of the handle arguments that a call uses up, or of the pointers where it is
    /// pure. A call of role `free` uses up all handles.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub consumes: Vec<usize>,
    /// For the roles `mutate` and `create`: positions of the handle arguments whose objects a call
    /// changes. Without it a call of role `mutate` changes the module as a whole and stays in the
    /// journal forever; a call of role `create` changes none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mutates: Option<Vec<usize>>,
    /// The type of an object that must be alive for the call, though it is not passed, such as a
    /// thread pool. The newest one counts, and replay has it alive at that point too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needs: Option<String>,
    /// Numbers that mean that the guest had no memory left, if the call returns one of them as its
    /// result of kind `value`. Such a call is treated as one that ran out of memory: it is repeated
    /// on a clean generation, and what it returns there is the result.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exhausted: Vec<i64>,
    /// A pure export `(handle) -> numbers, bytes or text`, called with each object after its
    /// creation; replay must give the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// For the role `create`: how a created object becomes bytes, and is made again from them.
    /// Replay then imports the bytes instead of computing the object again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<ArtifactPolicy>,
}

/// The two exports through which an object becomes bytes and comes back.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ArtifactPolicy {
    /// A pure export `(handle) -> bytes`.
    pub export: String,
    /// A create export of `bytes`, and of handles whose types the creating call was given too.
    pub import: String,
    /// Do without the artifact if the module lacks one of the two.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
    /// Answer calls from the store too, and not replays alone. It promises that the object depends
    /// on the module and the call's arguments, and on nothing that was called before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub live: bool,
}

/// A type of objects that cross by value: made from their fields, read field by field, and freed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct StructPolicy {
    /// Its name, for the kinds `struct:NAME` and `structs:NAME`.
    pub name: String,
    /// A pure export that makes one and gives it as a `pointer`. Its arguments are the fields
    /// without `set`, in order.
    pub new: String,
    /// A pure export of a `pointer` that ends one.
    pub free: String,
    /// Its fields, in the order of its bytes.
    pub fields: Vec<FieldPolicy>,
    /// Do without the struct if the module lacks one of these exports. Nothing that the module has
    /// may name it then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
}

/// A field of a struct.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct FieldPolicy {
    /// A pure export of a `pointer` that gives the field: a number, a buffer, a struct or structs.
    pub get: String,
    /// A pure export of a `pointer` and the field. Without it the struct's `new` takes the field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<String>,
}

/// An entry for the imports that match a pattern.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ImportPolicy {
    /// Glob pattern over `module.name`.
    #[serde(rename = "match")]
    pub pattern: String,
    /// Their effect outside the guest.
    pub effect: Effect,
}

/// What an import of wasm-bindgen's converts into an object of JavaScript.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CastPolicy {
    /// The import's name, without its module's.
    pub import: String,
    /// What it converts, in the glue's words: `Ref(String)`, `Closure`.
    pub from: String,
    /// The export that calls the closure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invoke: Option<String>,
    /// What the closure takes, after its two words, in a module that passes objects as numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub takes: Option<Vec<ClosureArgument>>,
}

/// What an argument of a closure is to the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ClosureArgument {
    /// Any value, as an object that the guest has to drop.
    Object,
    /// Any value, as an object that is lent for the call.
    Borrowed,
    /// A number or a truth value.
    Number,
}

/// A name, or an index, which may stand without quotes.
fn name_or_index<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a name or an index")]
    enum Written {
        Name(String),
        Index(u32),
    }
    Ok(Some(match Written::deserialize(deserializer)? {
        Written::Name(name) => name,
        Written::Index(index) => index.to_string(),
    }))
}

/// The effect of a host function outside the guest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// Nothing: clocks, randomness, logs. A call that used only these can be repeated.
    None,
    /// Something that must not happen twice: the default.
    #[default]
    External,
}

impl ExportPolicy {
    /// Whether a function of this type leaves its results where its first parameter says: it
    /// returns nothing, and the entry names results and no other place for them.
    #[must_use]
    pub fn returns_through_pointer(&self, ty: &FuncType) -> bool {
        let is_some = |kinds: &Vec<ResultKind>| !kinds.is_empty();
        let is_out = |kind: &ArgKind| matches!(kind, ArgKind::Out(_));
        let has_outs = self.args.iter().flatten().any(is_out);
        self.results.as_ref().is_some_and(is_some)
            && !has_outs
            && ty.results().is_empty()
            && ty.params().first() == Some(&ValType::I32)
    }
}

impl FromStr for Policy {
    type Err = PolicyError;

    /// Parses a policy file.
    ///
    /// # Errors
    ///
    /// [`PolicyError::Syntax`] with the line and what is allowed there.
    fn from_str(text: &str) -> Result<Self, PolicyError> {
        toml::from_str(text).map_err(|error| PolicyError::Syntax(Box::new(error)))
    }
}

/// The policies that are built in, by name.
pub const PRESETS: [&str; 1] = ["o1js"];

impl Policy {
    /// A built-in policy: `o1js` for the prover modules of o1js 2.2 to 2.15, run with
    /// `bindgen-host`.
    ///
    /// # Errors
    ///
    /// [`PolicyError::UnknownPreset`] with the names of all presets.
    pub fn preset(name: &str) -> Result<Self, PolicyError> {
        match name {
            "o1js" => include_str!("policy/presets/o1js.toml").parse(),
            _ => Err(PolicyError::UnknownPreset {
                name: name.to_owned(),
            }),
        }
    }

    /// The policy as a file.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("every policy has a TOML form")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_field_is_refused_with_its_line() {
        let error = "[[export]]\nmatch = \"a\"\nrole = \"pure\"\nrole2 = 1\n"
            .parse::<Policy>()
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("role2") && error.contains("line 4"),
            "{error}"
        );
    }

    #[test]
    fn an_unknown_kind_is_refused_with_those_there_are() {
        let text = "[[export]]\nmatch = \"a\"\nrole = \"pure\"\nargs = [\"number\"]\n";
        let error = text.parse::<Policy>().unwrap_err().to_string();
        assert!(
            error.contains("`number`") && error.contains("handle:TYPE"),
            "{error}"
        );
    }

    #[test]
    fn a_policy_survives_its_file() {
        let text = r#"
            strict = true
            state_digest = "hash_of_all"
            [module]
            allocator = { alloc = "a", free = "f" }
            [[export]]
            match = "x_*"
            role = "create"
            args = ["handle:srs", "bytes:moved", "value"]
            results = ["handle:index"]
            consumes = [0]
            exhausted = [-1, 7]
            fingerprint = "digest"
            [[import]]
            match = "env.*"
            effect = "none"
        "#;
        let policy: Policy = text.parse().unwrap();
        assert_eq!(policy.to_toml().parse::<Policy>().unwrap(), policy);
    }

    #[test]
    fn an_index_stands_with_and_without_quotes() {
        for written in ["7", "\"7\""] {
            let text = format!("[module]\nstack_pointer_global = {written}");
            let policy: Policy = text.parse().unwrap();
            assert_eq!(policy.module.stack_pointer_global.as_deref(), Some("7"));
        }
        let error = "[module]\nstack_pointer_global = true".parse::<Policy>();
        let error = error.unwrap_err().to_string();
        assert!(error.contains("a name or an index"), "{error}");
    }
}
