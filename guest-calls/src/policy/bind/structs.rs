//! Structs: their constructors, getters and setters against the types of their fields.

use std::sync::Arc;

use engine_api::{ModuleInfo, ValType};

use super::super::plan::{ExportPlan, FieldKind, FieldPlan, StructPlan, refuse, similar};
use crate::{ArgKind, PolicyError, ResultKind, Role, StructPolicy, Width};

/// Resolves the structs of a policy, and checks that no export names another.
pub(super) fn bind_structs(
    policies: &[StructPolicy],
    exports: &[Arc<ExportPlan>],
    info: &ModuleInfo,
) -> Result<Vec<StructPlan>, PolicyError> {
    let mut structs = Vec::with_capacity(policies.len());
    for policy in policies {
        let binding = Binding {
            policy,
            exports,
            info,
            before: &structs,
        };
        if !(policy.optional && binding.lacks_an_export()) {
            let plan = binding.bind()?;
            structs.push(plan);
        }
    }
    let all: Vec<&str> = policies.iter().map(|policy| &*policy.name).collect();
    let known: Vec<&str> = structs.iter().map(|plan| &*plan.name).collect();
    check_names(exports, &known, &all)?;
    Ok(structs)
}

/// Checks that exports deal in structs that are `known` alone. The policy describes `all`.
pub(super) fn check_names(
    exports: &[Arc<ExportPlan>],
    known: &[&str],
    all: &[&str],
) -> Result<(), PolicyError> {
    for export in exports {
        let args = export.args.iter().filter_map(|kind| match kind {
            ArgKind::Struct(name) | ArgKind::Structs(name) => Some(name),
            _ => None,
        });
        let results = export
            .results
            .iter()
            .filter_map(|result| match &result.kind {
                ResultKind::Struct(name) | ResultKind::Structs(name) => Some(name),
                _ => None,
            });
        if let Some(name) = args.chain(results).find(|name| !known.contains(&&***name)) {
            return Err(refuse(format!(
                "`{}` deals in structs of type `{name}`, which {}",
                export.name,
                unknown(name, all, "no [[struct]] describes")
            )));
        }
    }
    Ok(())
}

/// Why there is no struct of this name, and which there are.
fn unknown(name: &str, all: &[&str], why: &str) -> String {
    if all.contains(&name) {
        return format!("{why}, because it is optional and the module lacks one of its exports");
    }
    match all {
        [] => why.to_owned(),
        all => format!("{why}; there are `{}`", all.join("`, `")),
    }
}

/// One struct, being resolved.
struct Binding<'a> {
    policy: &'a StructPolicy,
    exports: &'a [Arc<ExportPlan>],
    info: &'a ModuleInfo,
    /// The structs that its fields may be.
    before: &'a [StructPlan],
}

impl Binding<'_> {
    fn lacks_an_export(&self) -> bool {
        let fields = self.policy.fields.iter();
        let services = fields.flat_map(|field| [Some(&field.get), field.set.as_ref()]);
        [Some(&self.policy.new), Some(&self.policy.free)]
            .into_iter()
            .chain(services)
            .flatten()
            .any(|name| self.info.function(name).is_err())
    }

    fn bind(&self) -> Result<StructPlan, PolicyError> {
        let policy = self.policy;
        if self.before.iter().any(|plan| plan.name == policy.name) {
            return Err(self.refuse("is described twice"));
        }
        if policy.fields.is_empty() {
            return Err(self.refuse("has no fields"));
        }
        let fields = policy.fields.iter();
        let by_new = fields.take_while(|field| field.set.is_none()).count();
        let mut fields = Vec::with_capacity(policy.fields.len());
        for field in &policy.fields {
            let get = self.service(&field.get)?;
            let kind = self.kind(get)?;
            let set = field.set.as_ref().map(|set| self.service(set));
            let set = set.transpose()?;
            if let Some(set) = set {
                let takes = matches!(set.args.as_slice(), [ArgKind::Pointer, field]
                    if self.takes(field, set.ty.params()[1], kind));
                if !takes || !set.results.is_empty() {
                    return Err(self.refuse(&format!(
                        "needs a setter that takes a pointer and what `{}` gives, and returns \
                         nothing; `{}` {}",
                        get.name,
                        set.name,
                        set.described()
                    )));
                }
            } else if fields.len() >= by_new {
                return Err(self.refuse(&format!(
                    "has a field `{}` without `set`, which its constructor takes, after one with \
                     `set`; the constructor's fields come first",
                    get.name
                )));
            }
            fields.push(FieldPlan {
                get: get.func,
                set: set.map(|set| set.func),
                kind,
            });
        }
        let new = self.service(&policy.new)?;
        let free = self.service(&policy.free)?;
        if !self.makes(new, &fields[..by_new]) {
            return Err(self.refuse(&format!(
                "needs a constructor that takes the fields without `set` in order and gives a \
                 pointer; `{}` {}",
                new.name,
                new.described()
            )));
        }
        if !matches!(free.args.as_slice(), [ArgKind::Pointer]) || !free.results.is_empty() {
            return Err(self.refuse(&format!(
                "needs an export that frees it, which takes a pointer and returns nothing; `{}` {}",
                free.name,
                free.described()
            )));
        }
        Ok(StructPlan {
            name: policy.name.clone(),
            new: new.func,
            free: free.func,
            fields,
        })
    }

    /// An export that deals in the struct.
    fn service(&self, name: &str) -> Result<&ExportPlan, PolicyError> {
        let Ok((func, _)) = self.info.function(name) else {
            let similar = similar(self.info, name);
            return Err(self.refuse(&format!(
                "names `{name}`, which the module does not export{}",
                similar.map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
            )));
        };
        let plan = &self.exports[func.0 as usize];
        if !plan.listed {
            return Err(self.refuse(&format!(
                "names `{name}`, which no [[export]] lists; list it as `pure`, with its kinds"
            )));
        }
        if plan.role != Role::Pure || plan.needs.is_some() {
            return Err(self.refuse(&format!(
                "names `{name}`, which is not `pure` or needs another object"
            )));
        }
        Ok(plan)
    }

    /// What a getter gives.
    fn kind(&self, get: &ExportPlan) -> Result<FieldKind, PolicyError> {
        let misfit = || {
            self.refuse(&format!(
                "needs a getter that takes a pointer and gives one number, buffer, struct that is \
                 described before, or list of these; `{}` {}",
                get.name,
                get.described()
            ))
        };
        let ([ArgKind::Pointer], [result]) = (get.args.as_slice(), get.results.as_slice()) else {
            return Err(misfit());
        };
        let position = |name: &String| self.before.iter().position(|plan| plan.name == *name);
        if let ResultKind::Struct(name) | ResultKind::Structs(name) = &result.kind
            && position(name).is_none()
        {
            let before: Vec<&str> = self.before.iter().map(|plan| &*plan.name).collect();
            return Err(self.refuse(&format!(
                "has a field `{}` of kind `{}`, and {}",
                get.name,
                result.kind,
                unknown(name, &before, "no [[struct]] before it describes that")
            )));
        }
        let is_number = |ty| {
            matches!(
                ty,
                ValType::I32 | ValType::I64 | ValType::F32 | ValType::F64
            )
        };
        match &result.kind {
            ResultKind::Value => Some(get.ty.results()[0])
                .filter(|ty| is_number(*ty))
                .map(FieldKind::Val),
            ResultKind::Bytes(ownership) => Some(FieldKind::Buffer(1, *ownership)),
            ResultKind::Text(ownership) => Some(FieldKind::Text(*ownership)),
            ResultKind::Numbers(width, ownership) => {
                Some(FieldKind::Buffer(width.bytes(), *ownership))
            }
            ResultKind::Struct(name) => position(name).map(FieldKind::Struct),
            ResultKind::Structs(name) => position(name).map(FieldKind::Structs),
            ResultKind::Handle(_)
            | ResultKind::Pointer
            | ResultKind::Pointers
            | ResultKind::Error
            | ResultKind::Js
            | ResultKind::JsList
            | ResultKind::Number(_)
            | ResultKind::OrNull(..)
            | ResultKind::Optional(_)
            | ResultKind::CString(_)
            | ResultKind::Measured(..) => None,
        }
        .ok_or_else(misfit)
    }

    /// Whether a constructor takes these fields, and nothing else.
    fn makes(&self, new: &ExportPlan, fields: &[FieldPlan]) -> bool {
        let fits = new.args.len() == fields.len()
            && new
                .params()
                .zip(fields)
                .all(|(param, field)| self.takes(param.kind, param.ty, field.kind));
        fits && matches!(new.results.as_slice(), [result] if result.kind == ResultKind::Pointer)
    }

    /// Whether an argument of this kind and type is the field.
    fn takes(&self, arg: &ArgKind, ty: ValType, field: FieldKind) -> bool {
        match (arg, field) {
            (ArgKind::Value, FieldKind::Val(own)) => own == ty,
            (ArgKind::Bytes(_), FieldKind::Buffer(1, _))
            | (ArgKind::Text(_), FieldKind::Text(_)) => true,
            (ArgKind::Numbers(width, _), FieldKind::Buffer(own, _)) => Width::bytes(*width) == own,
            (ArgKind::Struct(name), FieldKind::Struct(of))
            | (ArgKind::Structs(name), FieldKind::Structs(of)) => self.before[of].name == *name,
            _ => false,
        }
    }

    fn refuse(&self, reason: &str) -> PolicyError {
        refuse(format!("[[struct]] `{}` {reason}", self.policy.name))
    }
}

#[cfg(test)]
mod tests {
    use crate::Policy;
    use crate::policy::plan::Plan;

    const MODULE: &str = include_str!("../../../../guests/wat/points.wat");
    const POLICY: &str = include_str!("../../../../guests/policies/points.toml");

    fn bind(policy: &str) -> Result<Plan, String> {
        let policy: Policy = policy.parse().expect("it is a policy");
        let wasm = wat::parse_str(MODULE).expect("it is a module");
        let info = module_bytes::parse(&wasm).expect("it is a module");
        Plan::bind(&policy, &info).map_err(|error| error.to_string())
    }

    #[test]
    fn structs_are_bound_in_order_and_may_be_fields_of_later_ones() {
        let plan = bind(POLICY).unwrap();
        let names: Vec<_> = plan.structs.iter().map(|plan| &*plan.name).collect();
        assert_eq!(names, ["point", "commitment"]);
    }

    #[test]
    fn a_struct_that_its_exports_do_not_fit_is_refused_with_the_reason() {
        let point_set_y = "{ get = \"point_y\", set = \"point_set_y\" }";
        for (from, to, needle) in [
            (
                "point_one\"\nfree",
                "point_ones\"\nfree",
                "did you mean `point_one`",
            ),
            (
                point_set_y,
                "{ get = \"point_y\" }",
                "constructor's fields come first",
            ),
            (point_set_y, "{ get = \"live\" }", "needs a getter"),
            (
                "set = \"point_set_y\"",
                "set = \"point_set_infinity\"",
                "needs a setter",
            ),
            (
                "{ get = \"commitment_points\" }, ",
                "",
                "needs a constructor",
            ),
            (
                "free = \"commitment_free\"",
                "free = \"live\"",
                "export that frees it",
            ),
            (
                "new = \"commitment_new\"",
                "new = \"srs_create\"",
                "is not `pure`",
            ),
            (
                "[[struct]]\nname = \"commitment\"",
                "[[struct]]\nname = \"point\"\nnew = \"point_one\"\nfree = \"point_free\"\n\
                 fields = [{ get = \"point_x\", set = \"point_set_x\" }]\n\
                 [[struct]]\nname = \"commitment\"",
                "described twice",
            ),
            (
                "name = \"commitment\"",
                "name = \"other\"",
                "no [[struct]] describes",
            ),
            (
                "name = \"point\"",
                "name = \"dot\"",
                "no [[struct]] describes; there are `dot`, `commitment`",
            ),
            (
                "match = \"commitment_shifted\"",
                "match = \"nothing*\"",
                "which no [[export]] lists",
            ),
            (
                "fingerprint = \"srs_digest\"",
                "fingerprint = \"srs_first\"",
                "(handle:srs) -> (struct:point), needed is (handle) -> numbers",
            ),
            (
                "fingerprint = \"srs_digest\"",
                "fingerprint = \"point_x\"",
                "needed is (handle) -> numbers",
            ),
            (
                "args = [\"handle:srs\"]\nresults = [\"structs:point\"]",
                "args = [\"handle:srs\"]\nresults = [\"structs:pont\"]",
                "no [[struct]] describes; there are `point`, `commitment`",
            ),
            (
                "artifact = { export = \"srs_get\"",
                "artifact = { export = \"srs_get_basis\"",
                "structs that artifact.export gives",
            ),
        ] {
            let policy = POLICY.replacen(from, to, 1);
            assert_ne!(policy, POLICY, "{from}");
            let complaint = bind(&policy).unwrap_err();
            assert!(complaint.contains(needle), "{to}: {complaint}");
        }
    }

    #[test]
    fn a_struct_is_described_before_those_that_have_it_as_a_field() {
        let parts: Vec<&str> = POLICY.split("[[struct]]").collect();
        let (second, rest) = parts[2].split_once("[[export]]").expect("exports follow");
        let (first, head) = (parts[1], parts[0]);
        let policy = format!("{head}[[struct]]{second}[[struct]]{first}[[export]]{rest}");
        let complaint = bind(&policy).unwrap_err();
        assert!(
            complaint
                .contains("`commitment` has a field `commitment_points` of kind `structs:point`"),
            "{complaint}"
        );
        assert!(complaint.contains("no [[struct]] before it"), "{complaint}");
    }

    #[test]
    fn a_module_may_lack_an_optional_struct_that_nothing_else_names() {
        let optional = "\n[[struct]]\nname = \"more\"\nnew = \"more_new\"\nfree = \"more_free\"\n\
                        fields = [{ get = \"more_x\" }]\noptional = true\n";
        let plan = bind(&format!("{POLICY}{optional}")).unwrap();
        assert_eq!(plan.structs.len(), 2);
        let needed = optional.replace("optional = true\n", "");
        let complaint = bind(&format!("{POLICY}{needed}")).unwrap_err();
        assert!(complaint.contains("`more_x`"), "{complaint}");
    }
}
