//! What a module's code does to tables and segments.

use engine_api::Segment;
use wasmparser::{Operator, RefType};

/// A change that an instruction makes to a table or a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// It changes elements or the size of a table.
    Table {
        instruction: &'static str,
        table: u32,
    },
    Drop(Segment),
}

impl Change {
    pub(crate) fn of(operator: &Operator<'_>) -> Option<Self> {
        let (instruction, table) = match *operator {
            Operator::TableSet { table } => ("table.set", table),
            Operator::TableGrow { table } => ("table.grow", table),
            Operator::TableFill { table } => ("table.fill", table),
            Operator::TableCopy { dst_table, .. } => ("table.copy", dst_table),
            Operator::TableInit { table, .. } => ("table.init", table),
            Operator::TableAtomicSet { table_index, .. } => ("table.atomic.set", table_index),
            Operator::TableAtomicRmwXchg { table_index, .. } => {
                ("table.atomic.rmw.xchg", table_index)
            }
            Operator::TableAtomicRmwCmpxchg { table_index, .. } => {
                ("table.atomic.rmw.cmpxchg", table_index)
            }
            Operator::DataDrop { data_index } => {
                return Some(Change::Drop(Segment::Data(data_index)));
            }
            Operator::ElemDrop { elem_index } => {
                return Some(Change::Drop(Segment::Element(elem_index)));
            }
            _ => return None,
        };
        Some(Change::Table { instruction, table })
    }
}

/// Whether a checkpoint holds references of this type: those that cross the contract.
pub(crate) fn is_held(ty: RefType) -> bool {
    ty == RefType::FUNCREF || ty == RefType::EXTERNREF
}
