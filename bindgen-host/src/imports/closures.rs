//! Functions as objects: the guest's closures, and `new Function("return this")`. Also the
//! conversions, because some of them make closures.

use std::sync::atomic::{AtomicBool, Ordering};

use engine_api::{ElementType, FuncIndex, FuncType, Val, ValType};

use super::objects;
use crate::call::{Call, ImportOutcome, Out, Serve, Throw, from_externref, to_externref};
use crate::casts::Cast;
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
            Some(Object::Closure(closure)) => self.invoke(closure, args),
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
                self.free(pointer, len, 1)?;
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
