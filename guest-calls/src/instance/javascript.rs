//! JavaScript values as objects of a host, and back.

use engine_api::{ExternRef, JsValue, Val, ValType};

use super::marshal::Buffer;
use super::scalars::val_to_raw;
use super::{BoundInstance, CallFailure};
use crate::param::Param;
use crate::policy::plan::ExportPlan;
use crate::{ArgKind, CallError, JsPassing, Value, js};

/// How long the text of an array of JavaScript values may get.
const LIST_BYTES_MAX: usize = 256 << 20;

impl BoundInstance {
    /// Makes an object of the host of a JavaScript value, for a parameter of this type.
    pub(super) fn give_js(
        &mut self,
        plan: &ExportPlan,
        position: usize,
        text: &str,
        ty: ValType,
        passing: JsPassing,
    ) -> Result<Val, CallFailure> {
        let value = js::decode(text).map_err(|reason| not_js(plan, position, &reason))?;
        let is_none = matches!(value, JsValue::Undefined | JsValue::Null);
        if passing == JsPassing::Optional && is_none && ty == ValType::I32 {
            return Ok(Val::I32(0));
        }
        self.give_value(value, ty)
    }

    /// Makes an object of the host, for a place of this type.
    fn give_value(&mut self, value: JsValue, ty: ValType) -> Result<Val, CallFailure> {
        let services = self.plan.js();
        let func = match ty {
            ValType::ExternRef => services.give_ref,
            _ => services.give,
        };
        let mut object = [Val::zero(ty)];
        let value = Val::ExternRef(Some(ExternRef::new(value)));
        self.call_plain(func, &[value], &mut object)?;
        let [object] = object;
        Ok(object)
    }

    /// Makes an object of each element of an array, and gives their numbers.
    pub(super) fn give_list(
        &mut self,
        plan: &ExportPlan,
        position: usize,
        text: &str,
    ) -> Result<Vec<u64>, CallFailure> {
        let value = js::decode(text).map_err(|reason| not_js(plan, position, &reason))?;
        let JsValue::Array(values) = value else {
            return Err(no_list(plan, position));
        };
        let values = values.into_iter();
        values
            .map(|value| Ok(val_to_raw(&self.give_value(value, ValType::I32)?)))
            .collect()
    }

    /// Reads an array of JavaScript values, which the guest gives up.
    pub(super) fn take_list(
        &mut self,
        plan: &ExportPlan,
        (pointer, count): (u64, u64),
    ) -> Result<Value, CallFailure> {
        if pointer == 0 {
            return Ok(Value::Null);
        }
        let mut bytes = Vec::new();
        self.copy_out(plan, pointer, count.saturating_mul(4), &mut bytes)?;
        let mut text = String::from("[");
        for number in bytes.as_chunks::<4>().0 {
            if text.len() > 1 {
                text.push(',');
            }
            text.push_str(&self.take_js(plan, &Val::from(u32::from_le_bytes(*number)))?);
            // A guest can name one object again and again.
            if text.len() > LIST_BYTES_MAX {
                return Err(self.garbled(plan.func, "an array of more than 256 MiB as text"));
            }
        }
        text.push(']');
        self.free(Buffer::returned(pointer, bytes.len(), 4))?;
        Ok(Value::Js(text))
    }

    /// Reads a JavaScript value from an object of the host, which the guest gives up, as text.
    pub(super) fn take_js(&mut self, plan: &ExportPlan, raw: &Val) -> Result<String, CallFailure> {
        let services = self.plan.js();
        let func = match raw {
            Val::ExternRef(_) => services.take_ref,
            _ => services.take,
        };
        let mut value = [Val::ExternRef(None)];
        self.call_plain(func, std::slice::from_ref(raw), &mut value)?;
        let value = match &value[0] {
            Val::ExternRef(Some(value)) => value.get::<JsValue>().map(js::encode),
            _ => None,
        };
        let nothing = || self.garbled(plan.func, "no JavaScript value, but another object");
        value.ok_or_else(nothing)
    }
}

/// Refuses text that is no value, and a value that is no array where there must be one.
pub(super) fn check_js(plan: &ExportPlan, param: Param<'_>, text: &str) -> Result<(), CallFailure> {
    let value = js::decode(text).map_err(|reason| not_js(plan, param.position, &reason))?;
    let needs_list = *param.kind == ArgKind::Js(JsPassing::List);
    if needs_list && !matches!(value, JsValue::Array(_)) {
        return Err(no_list(plan, param.position));
    }
    Ok(())
}

#[cold]
fn no_list(plan: &ExportPlan, position: usize) -> CallFailure {
    CallFailure::Refused(CallError::Argument {
        export: plan.name.to_string(),
        position,
        expected: "a JavaScript value that is an array, for kind js:list".to_owned(),
        got: "another one".to_owned(),
    })
}

#[cold]
fn not_js(plan: &ExportPlan, position: usize, reason: &str) -> CallFailure {
    CallFailure::Refused(CallError::Argument {
        export: plan.name.to_string(),
        position,
        expected: "a JavaScript value as text".to_owned(),
        got: format!("a text that is none: {reason}"),
    })
}
