//! Functions as objects: the guest's closures, and `new Function("return this")`. Also the
//! conversions, because some of them make closures.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use engine_api::{ElementType, FuncIndex, FuncType, Val, ValType};

use super::{collections, objects};
use crate::call::{Call, ImportOutcome, Out, Serve, Throw, from_externref, to_externref};
use crate::casts::{Cast, Takes};
use crate::surface::Abi;
use crate::value::{Builtin, Closure, Global, Js, Object};

pub(super) fn find(base: &str, ty: &FuncType) -> Option<Serve> {
    Some(match base {
        "call" if ty.params().len() >= 2 => |call| {
            let (function, this) = (call.object(0)?, call.object(1)?);
            let args = call.objects(2)?;
            Ok(Out::Js(call.apply(&function, &this, &args)?))
        },
        "apply" if ty.params().len() == 3 => |call| {
            let (function, this, args) = (call.object(0)?, call.object(1)?, call.object(2)?);
            let args = call.iterate(&args)?;
            Ok(Out::Js(call.apply(&function, &this, &args)?))
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
    let js = match casts.of.get(&call.served.name) {
        Some(Cast::Text { is_owned }) => {
            let text = Js::text(call.text(0)?);
            if *is_owned {
                call.free(call.u32(0), call.u32(1), 1)?;
            }
            text
        }
        Some(Cast::Elements { of, is_owned }) => {
            let bytes = call.elements(*of, 0)?;
            if *is_owned {
                let len = u32::try_from(bytes.len()).expect("it was in a guest's memory");
                call.free(call.u32(0), len, of.bytes())?;
            }
            Js::host_array(*of, bytes)
        }
        Some(Cast::Objects { is_owned }) => {
            let is_owned = *is_owned;
            Js::array(call.array_of_objects(is_owned)?)
        }
        Some(Cast::Word) => Js::Number(call.u32(0).into()),
        Some(Cast::Number) => Js::Number(match call.args.first() {
            Some(Val::I32(number)) => f64::from(*number),
            Some(Val::F32(bits)) => f32::from_bits(*bits).into(),
            _ => call.f64(0),
        }),
        Some(Cast::Signed) => Js::BigInt(call.i64(0).into()),
        Some(Cast::Unsigned) => Js::BigInt(call.i64(0).cast_unsigned().into()),
        Some(Cast::Closure(ty)) => {
            let fits = |of: &FuncType| ty.as_ref().is_none_or(|ty| of == ty);
            Js::object(Object::Closure(call.closure(0, fits)?))
        }
        None => {
            return Err(call.odd(
                "the module does not say what this import converts; its glue does: let \
                 `wasm-proxy inspect MODULE --glue FILE --emit-policy` write it into the policy, or \
                 build the module with its names (wasm-bindgen's `keep-debug`, or no `strip`)",
            ));
        }
    };
    Ok(Out::Js(js))
}

impl Call<'_> {
    /// The objects of an array that the guest passes as numbers.
    fn array_of_objects(&mut self, is_owned: bool) -> Result<Vec<Js>, Throw> {
        let bytes = self.elements(ElementType::U32, 0)?;
        let numbers = bytes.as_chunks::<4>().0.iter();
        let mut objects = Vec::with_capacity(numbers.len());
        for number in numbers.map(|number| u32::from_le_bytes(*number)) {
            objects.push(self.numbered(number, is_owned)?);
        }
        if is_owned {
            let len = u32::try_from(bytes.len()).expect("it was in a guest's memory");
            self.free(self.u32(0), len, 4)?;
        }
        Ok(objects)
    }

    /// The closure whose two words are the arguments at `first` and after it, and the export that was
    /// said to call it. Where nothing was said it is an error unless exactly one export that calls
    /// closures has a type that fits.
    fn closure(&self, first: usize, fits: impl Fn(&FuncType) -> bool) -> Result<Closure, Throw> {
        let surface = &self.thread.realm.surface;
        let functions = surface.inner.functions();
        let calls_it = |func: &&FuncIndex| fits(&functions[func.0 as usize].ty);
        let candidates: Vec<_> = surface.invokers.iter().filter(calls_it).collect();
        let said = surface.casts.invokes.get(&self.served.name);
        let invoke = match (said, &candidates[..]) {
            (Some(invoke), _) => *invoke,
            (None, [invoke]) => **invoke,
            (None, _) => {
                let message = format!(
                    "{} of the module's exports could be what calls this closure, and one is needed; \
                     the glue says which: let `wasm-proxy inspect MODULE --glue FILE --emit-policy` \
                     write it into the policy",
                    candidates.len()
                );
                return Err(self.odd(&message));
            }
        };
        Ok(Closure {
            words: (self.u32(first), self.u32(first + 1)),
            invoke,
            dropped: AtomicBool::new(false),
        })
    }

    /// JavaScript's `function(...args)`.
    pub(super) fn apply(&mut self, function: &Js, this: &Js, args: &[Js]) -> Result<Js, Throw> {
        match function.as_object() {
            Some(Object::GlobalGetter) => Ok(Js::object(Object::Global(Global::This))),
            Some(Object::Closure(closure)) => {
                let realm = Arc::clone(&self.thread.realm);
                let takes = realm.surface.casts.takes.get(&closure.invoke);
                let takes = takes.and_then(Option::as_deref);
                self.invoke(closure, takes, args)
            }
            Some(Object::Builtin(Builtin::Iterate)) => {
                if matches!(this.as_object(), Some(Object::Iterator(_))) {
                    return Ok(this.clone());
                }
                Ok(Js::iterator(self.iterate(this)?))
            }
            Some(Object::Builtin(Builtin::Next)) => self.next(this),
            Some(Object::Callback(name)) => {
                let trees = args.iter().map(|arg| self.tree(arg));
                let trees = trees
                    .collect::<Result<Vec<_>, _>>()
                    .map_err(Throw::type_error)?;
                let (system, mut facade) = self.outside()?;
                match system.callback(&mut facade, name, trees)? {
                    Ok(value) => Ok(crate::convert::realm_value(value)),
                    Err(message) => Err(Throw::Js(Js::error("Error", message))),
                }
            }
            _ => Err(Throw::type_error("call: not a function")),
        }
    }

    fn invoke(
        &mut self,
        closure: &Closure,
        takes: Option<&[Takes]>,
        args: &[Js],
    ) -> Result<Js, Throw> {
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
            let takes = takes.and_then(|takes| takes.get(position));
            given.push(self.lower(js, *param, takes.copied())?);
        }
        let mut results: Vec<Val> = ty.results().iter().map(|ty| Val::zero(*ty)).collect();
        let called = self.call(closure.invoke, &given, &mut results);
        for (val, takes) in given[2..].iter().zip(takes.unwrap_or_default()) {
            // An export that gets a reference leaves the object where it is.
            if let (Val::I32(slot), Takes::Borrowed) = (val, takes) {
                self.thread.heap().take(slot.cast_unsigned());
            }
        }
        called?;
        match results.as_slice() {
            [] => Ok(Js::Undefined),
            [result] => self.lift(result),
            [Val::I32(pointer), Val::I32(len)] => {
                let (pointer, len) = (pointer.cast_unsigned(), len.cast_unsigned());
                let bytes = self.bytes(pointer, len)?;
                self.free(pointer, len, 1)?;
                Ok(Js::text(String::from_utf8_lossy(&bytes)))
            }
            _ => Err(self.odd("a closure with results of a kind that this host does not know")),
        }
    }

    /// Converts an argument of a closure to the type of the export that calls the closure. An i32 may
    /// be a number, the number of an object, or part of a text: it is an error to guess.
    fn lower(&mut self, js: Js, ty: ValType, takes: Option<Takes>) -> Result<Val, Throw> {
        let is_slots = self.thread.realm.surface.abi == Abi::Slots;
        if is_slots && ty == ValType::I32 {
            match takes {
                Some(Takes::Object | Takes::Borrowed) => {
                    return Ok(Val::from(self.name_object(js)?));
                }
                Some(Takes::Number) => {}
                None => {
                    return Err(self.odd(
                        "the module does not say whether a closure takes a number or an object; its \
                         glue does: let `wasm-proxy inspect MODULE --glue FILE --emit-policy` write it \
                         into the policy",
                    ));
                }
            }
        }
        if ty == ValType::ExternRef {
            return Ok(to_externref(js));
        }
        // As JavaScript converts to the type of a parameter.
        let number = match (&js, ty) {
            (Js::BigInt(number), ValType::I64) => {
                #[expect(clippy::cast_possible_truncation, reason = "JavaScript wraps it")]
                return Ok(Val::I64(*number as i64));
            }
            (_, ValType::I64) => None,
            (Js::Number(number), _) => Some(*number),
            (Js::Bool(value), _) => Some(f64::from(u8::from(*value))),
            (Js::Undefined, _) => Some(f64::NAN),
            (Js::Null, _) => Some(0.0),
            _ => None,
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "as JavaScript converts a number to 32 bits"
        )]
        match (ty, number) {
            (ValType::I32, Some(number)) => Ok(Val::from(number as i64 as u32)),
            (ValType::F32, Some(number)) => Ok(Val::from(number as f32)),
            (ValType::F64, Some(number)) => Ok(Val::from(number)),
            _ => Err(self.odd(&format!(
                "a closure whose argument of type {ty} is given {}: this host knows no such conversion",
                js.type_name()
            ))),
        }
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

/// `array.forEach(closure)`, and that of a map or a set. The closure comes as two words, lent for the
/// call. What js-sys lets it take is an element, its index and the array; a value and its key; or a
/// value twice and the set.
fn for_each(call: &mut Call<'_>) -> ImportOutcome {
    use Takes::{Number, Object as Any};
    let receiver = call.object(0)?;
    let pairs = collections::pairs(&receiver);
    let (takes, calls): (&[Takes], Vec<Vec<Js>>) = match pairs {
        Some((true, pairs)) => {
            let calls = pairs
                .into_iter()
                .map(|(_, value)| vec![value.clone(), value, receiver.clone()]);
            (&[Any, Any, Any], calls.collect())
        }
        Some((false, pairs)) => {
            let calls = pairs.into_iter().map(|(key, value)| vec![value, key]);
            (&[Any, Any], calls.collect())
        }
        None => {
            let elements = objects::with_bag(&receiver, |bag| bag.elements.clone());
            let elements = elements.ok_or_else(|| {
                call.odd("forEach of something else than an array, a map or a set")
            })?;
            let calls = (0_u32..)
                .zip(elements)
                .map(|(index, element)| vec![element, Js::Number(index.into()), receiver.clone()]);
            (&[Any, Number, Any], calls.collect())
        }
    };
    let object = match call.thread.realm.surface.abi {
        Abi::Slots => ValType::I32,
        Abi::Externrefs => ValType::ExternRef,
    };
    let params = takes.iter().map(|takes| match takes {
        Any | Takes::Borrowed => object,
        Number => ValType::I32,
    });
    let params: Vec<ValType> = [ValType::I32; 2].into_iter().chain(params).collect();
    let closure = call.closure(1, |ty| ty.params() == params)?;
    for args in calls {
        call.invoke(&closure, Some(takes), &args)?;
    }
    Ok(Out::Nothing)
}
