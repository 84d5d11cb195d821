//! An export, as its module and the policy describe it.

use engine_api::FuncType;

use crate::param::{Param, Shape, params};
use crate::policy::plan::ExportPlan;
use crate::{ArgKind, ResultKind, Role};

/// The description of an export.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ExportInfo {
    /// Its name.
    pub name: String,
    /// Its type as callers see it: without a return pointer and without parameters that are always
    /// zero.
    pub ty: FuncType,
    /// Whether the function itself takes one parameter more, the first: the address where it leaves
    /// its results.
    pub return_pointer: bool,
    /// Its effect on the state.
    pub role: Role,
    /// The meaning of its arguments.
    pub args: Vec<ArgKind>,
    /// The positions of the arguments that a call uses up, objects and raw pointers alike.
    pub consumes: Vec<usize>,
    /// The meaning of its results.
    pub results: Vec<ResultKind>,
    /// Whether an entry of the policy matched it.
    pub listed: bool,
    /// Whether the policy says how created objects become bytes and come back.
    pub artifact: bool,
}

impl ExportInfo {
    /// The description that a plan holds.
    #[must_use]
    pub fn of(plan: &ExportPlan) -> Self {
        let results = plan.results.iter().map(|result| result.kind.clone());
        Self {
            name: plan.name.to_string(),
            ty: plan.ty.clone(),
            return_pointer: plan.return_pointer,
            role: plan.role,
            args: plan.args.clone(),
            consumes: plan.consumes.clone(),
            results: results.collect(),
            listed: plan.listed,
            artifact: plan.artifact.is_some(),
        }
    }

    /// Its arguments in order.
    pub fn params(&self) -> impl Iterator<Item = Param<'_>> {
        params(&self.args, &self.ty, self.role)
    }

    /// The results of a call that succeeds, in order.
    pub fn gives(&self) -> impl Iterator<Item = Shape> {
        let mut types = self.ty.results();
        self.results.iter().filter_map(move |kind| {
            let (own, rest) = types.split_at(kind.width(types[0]));
            types = rest;
            let ty = match kind {
                ResultKind::Optional(_) => own[1],
                _ => own[0],
            };
            Shape::of_result(kind, ty)
        })
    }
}
