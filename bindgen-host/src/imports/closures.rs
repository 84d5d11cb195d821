//! Functions as objects: the guest's closures, and `new Function("return this")`. Also the
//! conversions, because some of them make closures.

use std::sync::atomic::{AtomicBool, Ordering};

use engine_api::{FuncIndex, FuncType, Val, ValType};

use super::objects;
use crate::call::{Call, ImportOutcome, Out, Serve, Throw, from_externref, to_externref};
use crate::casts::Cast;
use crate::surface::Abi;
use crate::value::{Closure, Global, Js, Object};

pub(super) fn find(base: &str, ty: &FuncType) -> Option<Serve> {
    Some(match base {
        "call" => |call| {
            let function = call.object(0)?;
            let args = call.objects(2)?;
            Ok(Out::Js(call.apply(&function, &args)?))
        },
        "cb_drop" => |call| Ok(Out::I32(call.take(0)?.drop_closure().into())),
        "_wbg_cb_unref" => |call| {
            let function = call.object(0)?;
            let destroy = call.thread.realm.surface.destroy_closure;
            if let (true, Some(Object::Closure(closure)), Some(destroy)) =
                (function.drop_closure(), function.as_object(), destroy)
            {
                let words = [closure.words.0, closure.words.1].map(Val::from);
                call.call(destroy, &words, &mut [])?;
            }
            Ok(Out::Nothing)
        },
        "forEach" if ty.params().len() == 3 => for_each,
        base if base.starts_with("cast_") || base.starts_with("generic_") => cast,
        base if base.starts_with("closure_wrapper") => |call| {
            Ok(Out::Js(Js::object(Object::Closure(
                call.closure(0, |_| true)?,
            ))))
        },
        _ => return None,
    })
}

fn cast(call: &mut Call<'_>) -> ImportOutcome {
    let casts = &call.thread.realm.surface.casts;
    let js = match casts.get(&call.served.name) {
        Some(Cast::Text) => Js::text(call.text(0)?),
        Some(Cast::Bytes) => {
            let bytes = call.bytes(call.u32(0), call.u32(1))?;
            Js::host_bytes(bytes)
        }
        Some(Cast::Number) => Js::Number(match call.args[0] {
            Val::I32(number) => number.into(),
            _ => call.f64(0),
        }),
        Some(Cast::Signed) => Js::BigInt(call.i64(0).into()),
        Some(Cast::Unsigned) => Js::BigInt(call.i64(0).cast_unsigned().into()),
        Some(Cast::Closure(ty)) => Js::object(Object::Closure(call.closure(0, |of| of == ty)?)),
        None => {
            return Err(call.odd(
                "the module does not say what this import converts; build it with its names \
                 (wasm-bindgen's `keep-debug`, or no `strip`)",
            ));
        }
    };
    Ok(Out::Js(js))
}

impl Call<'_> {
    /// The closure of two words, the first of them at this argument. Just one export of a type that
    /// fits may be able to call it.
    fn closure(&self, first: usize, fits: impl Fn(&FuncType) -> bool) -> Result<Closure, Throw> {
        let surface = &self.thread.realm.surface;
        let functions = surface.inner.functions();
        let calls_it = |func: &&FuncIndex| fits(&functions[func.0 as usize].ty);
        let candidates: Vec<_> = surface.invokers.iter().filter(calls_it).collect();
        let [invoke] = candidates[..] else {
            let message = format!(
                "{} of the module's exports could be what calls this closure; one is needed",
                candidates.len()
            );
            return Err(self.odd(&message));
        };
        Ok(Closure {
            words: (self.u32(first), self.u32(first + 1)),
            invoke: *invoke,
            dropped: AtomicBool::new(false),
        })
    }

    /// JavaScript's `function(...args)`.
    pub(super) fn apply(&mut self, function: &Js, args: &[Js]) -> Result<Js, Throw> {
        match function.as_object() {
            Some(Object::GlobalGetter) => Ok(Js::object(Object::Global(Global::This))),
            Some(Object::Closure(closure)) => self.invoke(closure, args),
            _ => Err(Throw::type_error("call: not a function")),
        }
    }

    fn invoke(&mut self, closure: &Closure, args: &[Js]) -> Result<Js, Throw> {
        if closure.dropped.load(Ordering::Acquire) {
            return Err(Throw::type_error("closure invoked after being dropped"));
        }
        let surface = &self.thread.realm.surface;
        let ty = surface.inner.functions()[closure.invoke.0 as usize]
            .ty
            .clone();
        // Text and fallible results are two or more words; in the older ABI they come through a
        // pointer.
        let mut given = vec![Val::from(closure.words.0), Val::from(closure.words.1)];
        for (position, param) in ty.params().iter().skip(2).enumerate() {
            let js = args.get(position).cloned().unwrap_or_default();
            given.push(self.lower(js, *param)?);
        }
        let mut results: Vec<Val> = ty.results().iter().map(|ty| Val::zero(*ty)).collect();
        self.call(closure.invoke, &given, &mut results)?;
        match results.as_slice() {
            [] => Ok(Js::Undefined),
            [result] => self.lift(result),
            [Val::I32(pointer), Val::I32(len)] => {
                let (pointer, len) = (pointer.cast_unsigned(), len.cast_unsigned());
                let bytes = self.bytes(pointer, len)?;
                self.free(pointer, len)?;
                Ok(Js::text(String::from_utf8_lossy(&bytes)))
            }
            _ => Err(self.odd("a closure with results of a kind that this host does not know")),
        }
    }

    /// Converts an argument of a closure to the type of the export that calls the closure.
    fn lower(&mut self, js: Js, ty: ValType) -> Result<Val, Throw> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "as JavaScript converts a number to 32 bits"
        )]
        let number = |number: f64| number as i64 as u32;
        Ok(match (ty, js) {
            (ValType::ExternRef, js) => to_externref(js),
            (ValType::I32, Js::Number(value)) => Val::from(number(value)),
            (ValType::I32, Js::Bool(value)) => Val::I32(value.into()),
            (ValType::F64, Js::Number(value)) => Val::from(value),
            (ValType::I32, js) if self.thread.realm.surface.abi == Abi::Slots => {
                Val::from(self.name_object(js)?)
            }
            (ty, _) => Val::zero(ty),
        })
    }

    /// Converts the result of a closure to a value of the realm.
    fn lift(&self, result: &Val) -> Result<Js, Throw> {
        Ok(match result {
            Val::I32(number) => Js::Number(number.cast_unsigned().into()),
            Val::F64(bits) => Js::Number(f64::from_bits(*bits)),
            Val::I64(number) => Js::BigInt((*number).into()),
            Val::ExternRef(reference) => from_externref(reference.as_ref())?,
            _ => return Err(self.odd("a closure with a result of an unknown kind")),
        })
    }
}

impl Js {
    /// Marks a closure as taken back. True if this is the first time, false also for any other
    /// value.
    fn drop_closure(&self) -> bool {
        match self.as_object() {
            Some(Object::Closure(closure)) => !closure.dropped.swap(true, Ordering::AcqRel),
            _ => false,
        }
    }
}

/// `array.forEach(closure)`. The closure comes as two words, lent for the call.
fn for_each(call: &mut Call<'_>) -> ImportOutcome {
    let array = call.object(0)?;
    // Two words, and the closure's arguments: an element, its index and the array.
    let closure = call.closure(1, |ty| ty.params().len() == 5)?;
    let elements = objects::with_bag(&array, |bag| bag.elements.clone());
    let elements = elements.ok_or_else(|| Throw::type_error("forEach: not an array"))?;
    for (index, element) in (0_u32..).zip(elements) {
        call.invoke(
            &closure,
            &[element, Js::Number(index.into()), array.clone()],
        )?;
    }
    Ok(Out::Nothing)
}
