//! Literals of the file as values for parameters and results.

use anyhow::Result;
use guest_calls::{Shape, Value};

use super::number::to_val;
use crate::Literal;

impl Literal {
    /// Its value where this shape is needed, or `None` if it has none.
    ///
    /// # Errors
    ///
    /// A number that the type cannot hold.
    pub(super) fn fit(&self, needed: &Shape) -> Result<Option<Value>> {
        Ok(Some(match (self, needed) {
            (Literal::Number(number), Shape::Val(ty)) => Value::Val(to_val(number, *ty)?),
            (Literal::Text(text), Shape::Text) => Value::Text(text.clone()),
            (Literal::Text(text), Shape::Bytes(_)) => Value::Bytes(text.clone().into_bytes()),
            (Literal::Numbers(width, _), Shape::Numbers(needed)) if width != needed => {
                return Ok(None);
            }
            // A buffer is a buffer.
            (
                Literal::Bytes(bytes) | Literal::Numbers(_, bytes),
                Shape::Bytes(_) | Shape::Numbers(_),
            ) => Value::Bytes(bytes.clone()),
            (Literal::Js(text), Shape::Js) => Value::Js(text.clone()),
            _ => return Ok(None),
        }))
    }
}
