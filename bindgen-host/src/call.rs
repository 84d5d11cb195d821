//! One call of an import: its arguments as objects of the realm, and its result.

use engine_api::{Caller, Error, ExternRef, FuncIndex, FuncType, Val, ValType};

use crate::error::HostError;
use crate::facade::Facade;
use crate::known::{self, Known};
use crate::realm::Thread;
use crate::surface::Abi;
use crate::system::{Level, System};
use crate::value::Js;

/// A call of an import while it is being served.
pub(crate) struct Call<'a> {
    pub(crate) thread: &'a Thread,
    pub(crate) served: &'a Served,
    pub(crate) args: &'a [Val],
    caller: &'a mut dyn Caller,
}

/// The result of an import.
#[derive(Debug)]
pub(crate) enum Out {
    Nothing,
    Js(Js),
    I32(i32),
    F64(f64),
    /// A number of another type.
    Val(Val),
}

/// The failure of an import.
#[derive(Debug)]
pub(crate) enum Throw {
    /// An exception, which the guest may catch.
    Js(Js),
    /// An error that ends the guest's call.
    Engine(Error),
}

impl From<Error> for Throw {
    fn from(error: Error) -> Self {
        Throw::Engine(error)
    }
}

impl Throw {
    pub(crate) fn type_error(message: impl Into<String>) -> Self {
        Throw::Js(Js::error("TypeError", message))
    }

    pub(crate) fn range_error(message: impl Into<String>) -> Self {
        Throw::Js(Js::error("RangeError", message))
    }
}

pub(crate) type ImportOutcome = Result<Out, Throw>;

/// A function that serves an import.
pub(crate) type Serve = fn(&mut Call<'_>) -> ImportOutcome;

/// An import that the host serves.
#[derive(Debug)]
pub(crate) struct Served {
    /// The import's whole name, hash included.
    pub(crate) name: String,
    pub(crate) serve: Serve,
    /// Whether wasm-bindgen catches its exceptions for the guest, and hands them over.
    pub(crate) catches: bool,
    /// Whether the result 0 means that there is no object.
    pub(crate) is_optional: bool,
    /// The type of its result, if it has one.
    pub(crate) result: Option<ValType>,
    /// Its name without prefix and hash.
    pub(crate) base: String,
    /// What it is, if its hash says so.
    pub(crate) known: Option<Known>,
}

impl Served {
    pub(crate) fn new(name: &str, base: &str, ty: &FuncType, serve: Serve) -> Self {
        Self {
            name: name.to_owned(),
            serve,
            // js-sys, web-sys and getrandom declare these with `catch`.
            catches: matches!(
                base,
                "call"
                    | "apply"
                    | "construct"
                    | "get"
                    | "has"
                    | "set"
                    | "getRandomValues"
                    | "randomFillSync"
                    | "require"
                    | "self"
                    | "window"
                    | "global"
                    | "globalThis"
                    | "parse"
                    | "stringify"
                    | "next"
                    | "ownKeys"
                    | "deleteProperty"
                    | "defineProperty"
                    | "fromCodePoint"
                    | "measure"
            ),
            result: ty.results().first().copied(),
            is_optional: base.starts_with("static_accessor_"),
            base: base.to_owned(),
            known: known::identify(name),
        }
    }
}

/// Serves a call, and writes its result. An exception goes to the guest where the guest catches it.
pub(crate) fn serve(
    thread: &Thread,
    served: &Served,
    caller: &mut dyn Caller,
    args: &[Val],
    results: &mut [Val],
) -> Result<(), Error> {
    let mut call = Call {
        thread,
        served,
        args,
        caller,
    };
    let out = match (served.serve)(&mut call) {
        Ok(out) => out,
        Err(Throw::Engine(error)) => return Err(error),
        Err(Throw::Js(exception)) => {
            let catches = thread.realm.surface.exn_store.filter(|_| served.catches);
            let Some(store) = catches else {
                return Err(HostError::uncaught(&exception).ends(&served.name));
            };
            let index = call.name_object(exception)?;
            return call.caller.call(store, &[Val::from(index)], &mut []);
        }
    };
    if let [result] = results {
        *result = call.give(out, result.ty())?;
    }
    Ok(())
}

impl Call<'_> {
    /// The object that an argument names. The guest keeps it.
    pub(crate) fn object(&self, position: usize) -> Result<Js, Throw> {
        match self.args.get(position) {
            Some(Val::ExternRef(reference)) => Ok(from_externref(reference.as_ref())?),
            Some(Val::I32(slot)) => {
                let slot = slot.cast_unsigned();
                let held = self.thread.heap().get(slot).cloned();
                held.ok_or_else(|| self.no_object(slot))
            }
            Some(other) => Err(self.odd(&format!("argument {position} is {other:?}"))),
            None => Err(self.odd(&format!("there is no argument {position}"))),
        }
    }

    /// The objects that the arguments from a position on name.
    pub(crate) fn objects(&self, from: usize) -> Result<Vec<Js>, Throw> {
        (from..self.args.len())
            .map(|position| self.object(position))
            .collect()
    }

    /// As [`Call::object`], and the guest gives the object up.
    pub(crate) fn take(&self, position: usize) -> Result<Js, Throw> {
        match self.args.get(position) {
            Some(Val::I32(slot)) => {
                let slot = slot.cast_unsigned();
                let held = self.thread.heap().take(slot);
                held.ok_or_else(|| self.no_object(slot))
            }
            _ => self.object(position),
        }
    }

    /// The object of a number, which the guest gives up if `is_taken`.
    pub(crate) fn numbered(&mut self, number: u32, is_taken: bool) -> Result<Js, Throw> {
        let held = numbered(self.thread, self.caller, number, is_taken)?;
        held.ok_or_else(|| self.no_object(number))
    }

    fn no_object(&self, slot: u32) -> Throw {
        self.odd(&format!(
            "the guest names object {slot}, and holds none there"
        ))
    }

    pub(crate) fn odd(&self, what: &str) -> Throw {
        Throw::Engine(HostError::Abi(what.to_owned()).ends(&self.served.name))
    }

    /// The end of a call by an exception for which the guest has no handler.
    pub(crate) fn uncaught(&self, exception: &Js) -> Throw {
        Throw::Engine(HostError::uncaught(exception).ends(&self.served.name))
    }

    pub(crate) fn u32(&self, position: usize) -> u32 {
        match self.args.get(position) {
            Some(Val::I32(value)) => value.cast_unsigned(),
            _ => 0,
        }
    }

    pub(crate) fn f64(&self, position: usize) -> f64 {
        let number = self.args.get(position).and_then(Val::f64);
        number.unwrap_or(f64::NAN)
    }

    pub(crate) fn i64(&self, position: usize) -> i64 {
        self.args.get(position).and_then(Val::i64).unwrap_or(0)
    }

    /// Text, if two arguments look like a pointer and a length rather than like two objects. In the
    /// older ABI both are numbers. Numbers of slots are small, and guests put no text at the
    /// beginning of memory, where they have their stack or keep a page free. Two numbers of slots
    /// that hold something are objects.
    pub(crate) fn text_if(&self, position: usize) -> Option<String> {
        let (pointer, len) = (self.u32(position), self.u32(position + 1));
        let are_objects = {
            let heap = self.thread.heap();
            heap.get(pointer).is_some() && heap.get(len).is_some()
        };
        let may_be_text = (pointer >= 1024 && !are_objects) || len == 0;
        may_be_text.then(|| self.text(position).ok()).flatten()
    }

    /// Text in the guest's memory, by pointer and length at two arguments.
    pub(crate) fn text(&self, position: usize) -> Result<String, Throw> {
        let bytes = self.bytes(self.u32(position), self.u32(position + 1))?;
        String::from_utf8(bytes)
            .map_err(|_| Throw::type_error("the encoded data was not valid UTF-8"))
    }

    /// Bytes in the guest's memory. The range is checked before the buffer is made: a guest may
    /// claim 4 GiB.
    pub(crate) fn bytes(&self, pointer: u32, len: u32) -> Result<Vec<u8>, Throw> {
        let memory = self.thread.realm.surface.memory;
        let (offset, len) = (u64::from(pointer), u64::from(len));
        let size = self.caller.memory_size(memory)?;
        if offset + len > size {
            return Err(Throw::Engine(Error::OutOfBounds { offset, len, size }));
        }
        let mut bytes = vec![0; usize::try_from(len).expect("it is less than 4 GiB")];
        self.caller.memory_read(memory, offset, &mut bytes)?;
        Ok(bytes)
    }

    pub(crate) fn write(&mut self, pointer: u64, bytes: &[u8]) -> Result<(), Throw> {
        let memory = self.thread.realm.surface.memory;
        Ok(self.caller.memory_write(memory, pointer, bytes)?)
    }

    pub(crate) fn memory_size(&self) -> Result<u64, Throw> {
        Ok(self.caller.memory_size(self.thread.realm.surface.memory)?)
    }

    /// Leaves text in a buffer that the guest takes over, and writes its address and length to a
    /// return pointer. Without text the address is 0.
    pub(crate) fn return_text(&mut self, at: u32, text: Option<&str>) -> ImportOutcome {
        let (pointer, len) = match text {
            None => (0, 0),
            Some(text) => self.copy_in(text.as_bytes())?,
        };
        let mut slots = [0; 8];
        slots[..4].copy_from_slice(&pointer.to_le_bytes());
        slots[4..].copy_from_slice(&len.to_le_bytes());
        self.write(u64::from(at), &slots)?;
        Ok(Out::Nothing)
    }

    /// Writes an optional number of eight bytes to a return pointer.
    pub(crate) fn return_option(&mut self, at: u32, value: Option<[u8; 8]>) -> ImportOutcome {
        let mut slots = [0; 16];
        slots[0] = u8::from(value.is_some());
        slots[8..].copy_from_slice(&value.unwrap_or_default());
        self.write(u64::from(at), &slots)?;
        Ok(Out::Nothing)
    }

    /// Copies bytes into a new buffer of the guest's allocator; its address and length.
    fn copy_in(&mut self, bytes: &[u8]) -> Result<(u32, u32), Throw> {
        let allocator = self.thread.realm.surface.allocator.as_ref();
        let Some((malloc, params)) = allocator.map(|own| own.malloc) else {
            return Err(self.odd(
                "the module exports no `__wbindgen_malloc` to return text through, nor any export \
                 that can only be it",
            ));
        };
        let len = u32::try_from(bytes.len())
            .map_err(|_| self.odd("text of 4 GiB does not fit in the guest"))?;
        let args = [Val::from(len), Val::I32(1)];
        let mut pointer = [Val::I32(0)];
        self.caller
            .call(malloc, &args[..params.min(2)], &mut pointer)?;
        let pointer = pointer[0].i32().unwrap_or(0).cast_unsigned();
        self.write(u64::from(pointer), bytes)?;
        Ok((pointer, len))
    }

    /// Gives a buffer back to the guest's allocator.
    pub(crate) fn free(&mut self, pointer: u32, len: u32, align: u32) -> Result<(), Throw> {
        let free = self.thread.realm.surface.allocator.and_then(|own| own.free);
        let (Some((free, params)), true) = (free, len > 0) else {
            return Ok(());
        };
        let args = [pointer, len, align].map(Val::from);
        self.call(free, &args[..params.min(3)], &mut [])
    }

    pub(crate) fn call(
        &mut self,
        func: FuncIndex,
        args: &[Val],
        results: &mut [Val],
    ) -> Result<(), Throw> {
        Ok(self.caller.call(func, args, results)?)
    }

    /// The imports of the outer module, and the guest as they see it.
    pub(crate) fn outside(&mut self) -> Result<(&System, Facade<'_>), Error> {
        let realm = &self.thread.realm;
        realm.call_outside(&self.served.name)?;
        Ok((&realm.system, Facade::new(&realm.surface, self.caller)))
    }

    pub(crate) fn console(&mut self, level: Level, line: &str) -> ImportOutcome {
        let (system, mut facade) = self.outside()?;
        system.console(&mut facade, level, line)?;
        Ok(Out::Nothing)
    }

    /// Grows the table of externrefs by the four constants. Every instance asks for it once.
    pub(crate) fn init_externrefs(&mut self) -> ImportOutcome {
        let Some(table) = self.thread.realm.surface.externrefs.map(|refs| refs.table) else {
            return Err(self.odd("the module exports no table of externrefs"));
        };
        let undefined = to_externref(Js::Undefined);
        let starts_with = self.thread.realm.surface.inner.tables()[table.0 as usize].elements_min;
        // Releases since 0.2.106 reserve the room for them, after 1,024 elements.
        let offset = match starts_with {
            1028 => 1024,
            _ => self.caller.table_grow(table, 4, &Val::ExternRef(None))?,
        };
        self.caller.table_set(table, 0, &undefined)?;
        let constants = [Js::Undefined, Js::Null, Js::Bool(true), Js::Bool(false)];
        for (element, constant) in (offset..).zip(constants) {
            self.caller
                .table_set(table, element, &to_externref(constant))?;
        }
        Ok(Out::Nothing)
    }

    /// Gives the guest an object: the slot, or the element of the table, that names it from now on.
    pub(crate) fn name_object(&mut self, js: Js) -> Result<u32, Error> {
        name_object(self.thread, self.caller, js)
    }

    /// The result as a value of the type that the import returns.
    fn give(&mut self, out: Out, ty: ValType) -> Result<Val, Error> {
        let out = match (out, ty) {
            (Out::Js(js), ValType::ExternRef) => to_externref(js),
            // 0 is the slot of no object, and says that there is none.
            (Out::Js(js), ValType::I32) if self.served.is_optional && js.is_like_none() => {
                Val::I32(0)
            }
            (Out::Js(js), ValType::I32) => Val::from(self.name_object(js)?),
            (Out::I32(value), ValType::I32) => Val::I32(value),
            (Out::F64(value), ValType::F64) => Val::from(value),
            (Out::Val(value), _) => value,
            (_, ty) => Val::zero(ty),
        };
        if out.ty() == ty {
            Ok(out)
        } else {
            let message = format!("returns {}, not {ty}", out.ty());
            Err(HostError::Abi(message).ends(&self.served.name))
        }
    }
}

/// Gives the guest an object: the slot, or the element of the table, that names it from now on.
pub(crate) fn name_object<C: Caller + ?Sized>(
    thread: &Thread,
    caller: &mut C,
    js: Js,
) -> Result<u32, Error> {
    let surface = &thread.realm.surface;
    if surface.abi == Abi::Slots {
        return Ok(thread.heap().add(js));
    }
    let numbered = surface
        .externrefs
        .and_then(|refs| Some((refs.table, refs.alloc?)));
    let Some((table, alloc)) = numbered else {
        let message = "an object needs a number in the guest's table, and the module exports no \
                       `__externref_table_alloc`";
        return Err(HostError::Abi(message.to_owned()).ends("__externref_table_alloc"));
    };
    let mut index = [Val::I32(0)];
    caller.call(alloc, &[], &mut index)?;
    let index = index[0].i32().unwrap_or(0).cast_unsigned();
    caller.table_set(table, u64::from(index), &to_externref(js))?;
    Ok(index)
}

/// The object that the guest names by a number, and gives up if `is_taken`. `None` if it holds none
/// there.
pub(crate) fn numbered<C: Caller + ?Sized>(
    thread: &Thread,
    caller: &mut C,
    number: u32,
    is_taken: bool,
) -> Result<Option<Js>, Error> {
    let surface = &thread.realm.surface;
    match (surface.abi, surface.externrefs) {
        (Abi::Externrefs, Some(refs)) => {
            let reference = caller.table_get(refs.table, number.into())?;
            if let (true, Some(dealloc)) = (is_taken, refs.dealloc) {
                caller.call(dealloc, &[Val::from(number)], &mut [])?;
            }
            match reference {
                Val::ExternRef(reference) => from_externref(reference.as_ref()).map(Some),
                _ => Ok(Some(Js::Undefined)),
            }
        }
        _ if is_taken => Ok(thread.heap().take(number)),
        _ => Ok(thread.heap().get(number).cloned()),
    }
}

/// An object as an externref; null is the null reference.
pub(crate) fn to_externref(js: Js) -> Val {
    Val::ExternRef(match js {
        Js::Null => None,
        js => Some(ExternRef::new(js)),
    })
}

/// The object of an externref. Only this host makes such externrefs.
pub(crate) fn from_externref(reference: Option<&ExternRef>) -> Result<Js, Error> {
    match reference {
        None => Ok(Js::Null),
        Some(reference) => reference.get::<Js>().cloned().ok_or_else(|| {
            let message = "a reference that this host did not make was passed to the guest";
            HostError::Abi(message.to_owned()).ends("externref")
        }),
    }
}
