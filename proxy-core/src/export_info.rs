//! What the policy and the module say of an export.

use engine_api::FuncType;

use crate::policy::plan::ExportPlan;
use crate::{ArgKind, ResultKind, Role};

/// What the policy and the module say of an export.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ExportInfo {
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: FuncType,
    /// What it does to the state.
    pub role: Role,
    /// The meaning of its arguments.
    pub args: Vec<ArgKind>,
    /// The meaning of its results.
    pub results: Vec<ResultKind>,
    /// Whether an entry of the policy matched it.
    pub listed: bool,
    /// Whether the policy says how what it creates becomes bytes and comes back.
    pub artifact: bool,
}

impl ExportInfo {
    pub(crate) fn of(plan: &ExportPlan) -> Self {
        Self {
            name: plan.name.to_string(),
            ty: plan.ty.clone(),
            role: plan.role,
            args: plan.args.clone(),
            results: plan
                .results
                .iter()
                .map(|result| result.kind.clone())
                .collect(),
            listed: plan.listed,
            artifact: plan.artifact.is_some(),
        }
    }
}
