//! The expected results of a call.

use anyhow::{Result, bail, ensure};
use guest_calls::{Shape, Value};

use crate::{Expected, width_name};

pub(super) fn expectations(expect: &[Expected], shapes: &[Shape]) -> Result<Vec<Value>> {
    if shapes.is_empty() && expect == [Expected::Null] {
        return Ok(Vec::new());
    }
    ensure!(
        expect.len() == shapes.len(),
        "it returns {} results, and {} are expected",
        shapes.len(),
        expect.len()
    );
    let bind = |(expected, shape): (&Expected, &Shape)| {
        let value = match (expected, shape) {
            (Expected::Literal(literal), _) => literal.fit(shape)?,
            (
                Expected::Null,
                Shape::Handle(_)
                | Shape::Bytes(_)
                | Shape::Text
                | Shape::Numbers(_)
                | Shape::Val(_),
            ) => Some(Value::Null),
            (Expected::Null, Shape::Js) => Some(Value::Js("null".to_owned())),
            _ => None,
        };
        if let Some(value) = value {
            return Ok(value);
        }
        match shape {
            Shape::Val(ty) => bail!("the result is a number of type {ty}"),
            Shape::Handle(_) => {
                bail!("the result is a handle, which only null can be compared with")
            }
            Shape::Bytes(_) => {
                bail!("the result is bytes: write a text, {{\"bytes\":..}} or null")
            }
            Shape::Numbers(width) => bail!(
                "the result is an array of numbers: write {{\"{}\":[..]}}, {{\"bytes\":..}} or null",
                width_name(*width)
            ),
            Shape::Text => bail!("the result is text: write a text or null"),
            Shape::Pointer | Shape::Pointers => {
                bail!("the result is a raw pointer, which differs between generations")
            }
            Shape::Js => bail!("the result is a JavaScript value: write {{\"js\":..}} or null"),
            Shape::Handles => unreachable!("no result is a list of handles"),
        }
    };
    expect.iter().zip(shapes).map(bind).collect()
}
