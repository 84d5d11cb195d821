//! wasm-bindgen's `debugString`: how a guest shows a value of JavaScript with `{:?}`.

use super::objects::with_bag;
use crate::call::{Call, Throw};
use crate::value::{BagKind, Builtin, Global, Js, Object};

/// How deep arrays are shown in arrays. JavaScript gives up too, at a depth that differs.
const DEPTH_MAX: u32 = 100;

/// How many bytes are shown. An array that is shared counts each time, so a guest could ask for much
/// more than it has.
const LEN_MAX: usize = 16 << 20;

impl Call<'_> {
    /// The value as the glue of wasm-bindgen shows it. An error has no stack here.
    pub(super) fn debug(&self, js: &Js) -> Result<String, Throw> {
        let mut shown = String::new();
        self.show(js, &mut shown, 0)?;
        Ok(shown)
    }

    fn show(&self, js: &Js, shown: &mut String, depth: u32) -> Result<(), Throw> {
        if depth > DEPTH_MAX || shown.len() > LEN_MAX {
            return Err(Throw::range_error("Maximum call stack size exceeded"));
        }
        let Some(elements) = elements_of(js) else {
            shown.push_str(&self.shown_alone(js));
            return Ok(());
        };
        shown.push('[');
        for (position, element) in elements.iter().enumerate() {
            if position > 0 {
                shown.push_str(", ");
            }
            self.show(element, shown, depth + 1)?;
        }
        shown.push(']');
        Ok(())
    }

    /// Anything but an array.
    fn shown_alone(&self, js: &Js) -> String {
        let is_literal = self.thread.realm.surface.debugs_as_literals;
        let object = match js {
            Js::Text(text) => {
                let escaped = is_literal.then(|| self.json(js).ok().flatten()).flatten();
                return escaped.unwrap_or_else(|| format!("\"{text}\""));
            }
            Js::BigInt(number) if is_literal => return format!("{number}n"),
            Js::BigInt(_) => return "BigInt".to_owned(),
            Js::Object(object) => &**object,
            other => return other.to_string(),
        };
        match object {
            Object::Bag(_) => match self.json(js) {
                Ok(json) => format!("Object({})", json.as_deref().unwrap_or("undefined")),
                Err(_) => "Object".to_owned(),
            },
            Object::Instance(_, address) => format!("Object({{\"__wbg_ptr\":{address}}})"),
            Object::Error(error) => format!("{}: {}", error.name, error.message),
            Object::Bytes(bytes) => bytes.element.class().to_owned(),
            Object::Collection(own) => {
                let is_set = super::properties::locked(own).is_set();
                if is_set { "Set" } else { "Map" }.to_owned()
            }
            other => class_of(other).to_owned(),
        }
    }
}

/// The names of classes, and of functions.
fn class_of(object: &Object) -> &'static str {
    match object {
        Object::Date(_) => "Date",
        Object::Buffer(_) => "ArrayBuffer",
        Object::Memory => "WebAssembly.Memory",
        Object::Promise => "Promise",
        Object::Iterator(_) => "Array Iterator",
        Object::Global(Global::This) => "global",
        Object::Global(Global::Crypto) => "Crypto",
        Object::Global(Global::Performance) => "Performance",
        // The glue calls the function that it makes of a closure so.
        Object::Closure(_) => "Function(real)",
        Object::GlobalGetter => "Function(anonymous)",
        Object::Builtin(Builtin::Next) => "Function(next)",
        Object::Builtin(Builtin::Iterate) | Object::Callback(_) => "Function",
        _ => "Object",
    }
}

/// The elements of an array. What `new X()` made is none before anything is in it.
fn elements_of(js: &Js) -> Option<Vec<Js>> {
    with_bag(js, |bag| {
        let is_untouched = bag.kind == BagKind::Unknown && bag.elements.is_empty();
        (bag.is_array() && !is_untouched).then(|| bag.elements.clone())
    })
    .flatten()
}
