//! Finds the functions that a reference can be to.

use engine_api::Error;
use wasmparser::{
    ConstExpr, ElementItems, ElementSectionReader, ExportSectionReader, ExternalKind,
    GlobalSectionReader, Operator, TableInit, TableSectionReader,
};

use crate::format::invalid;

/// The functions that a module declares for references, by their indexes in the function index
/// space: those in element segments, in constant expressions, and its exports. No other function
/// can be in a table or in a global, because `ref.func` in code needs such a declaration (core
/// specification, section 3.4.13).
pub(super) struct Referable(Vec<bool>);

impl Referable {
    /// None yet, of a module with so many functions.
    pub(super) fn new(functions: usize) -> Self {
        Self(vec![false; functions])
    }

    pub(super) fn indexes(&self) -> impl Iterator<Item = u32> + '_ {
        let all = (0..).zip(&self.0);
        all.filter(|(_, referable)| **referable)
            .map(|(index, _)| index)
    }

    pub(super) fn add(&mut self, function: u32) {
        if let Some(referable) = self.0.get_mut(function as usize) {
            *referable = true;
        }
    }

    fn expression(&mut self, expression: &ConstExpr<'_>) -> wasmparser::Result<()> {
        for operator in expression.get_operators_reader() {
            if let Operator::RefFunc { function_index } = operator? {
                self.add(function_index);
            }
        }
        Ok(())
    }

    pub(super) fn globals(&mut self, section: GlobalSectionReader<'_>) -> Result<(), Error> {
        for global in section {
            let added = global.and_then(|global| self.expression(&global.init_expr));
            added.map_err(|error| invalid(&error))?;
        }
        Ok(())
    }

    pub(super) fn tables(&mut self, section: TableSectionReader<'_>) -> Result<(), Error> {
        for table in section {
            let added = table.and_then(|table| match &table.init {
                TableInit::RefNull => Ok(()),
                TableInit::Expr(expression) => self.expression(expression),
            });
            added.map_err(|error| invalid(&error))?;
        }
        Ok(())
    }

    pub(super) fn elements(&mut self, section: ElementSectionReader<'_>) -> Result<(), Error> {
        for segment in section {
            let added = segment.and_then(|segment| self.items(segment.items));
            added.map_err(|error| invalid(&error))?;
        }
        Ok(())
    }

    fn items(&mut self, items: ElementItems<'_>) -> wasmparser::Result<()> {
        match items {
            ElementItems::Functions(functions) => {
                for function in functions {
                    self.add(function?);
                }
            }
            ElementItems::Expressions(_, expressions) => {
                for expression in expressions {
                    self.expression(&expression?)?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn exports(&mut self, section: ExportSectionReader<'_>) -> Result<(), Error> {
        for export in section {
            let export = export.map_err(|error| invalid(&error))?;
            if is_function(export.kind) {
                self.add(export.index);
            }
        }
        Ok(())
    }
}

pub(super) fn is_function(kind: ExternalKind) -> bool {
    matches!(kind, ExternalKind::Func | ExternalKind::FuncExact)
}
