//! Functions of the caller's that a guest calls.
//!
//! A caller names one in an argument, and the guest calls it while an export runs. The call leaves the
//! realm through two imports, so a proxy records what the function gave and answers a replay from the
//! journal: `callback` makes the call, and `callback_bytes` gives the result, 16 bytes at a time.
//! Arguments travel beside the call, as lines of the console do; their hash is among the numbers.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use engine_api::{ElementType, Error, FuncType, Imports, JsValue, Val, ValType};
use serde::{Deserialize, Serialize};

use crate::error::HostError;

type Callback = Arc<dyn Fn(&[JsValue]) -> Result<JsValue, String> + Send + Sync>;

/// The functions that the guests of these imports may call, by their names.
///
/// ```
/// use bindgen_host::Callbacks;
/// use engine_api::JsValue;
///
/// let mut imports = bindgen_host::system();
/// let mut callbacks = Callbacks::default();
/// callbacks.add("double", |args| match args {
///     [JsValue::Number(number), ..] => Ok(JsValue::Number(2.0 * number)),
///     _ => Err("a number is needed".to_owned()),
/// });
/// callbacks.serve(&mut imports);
/// ```
#[derive(Clone, Default)]
pub struct Callbacks {
    by_name: HashMap<String, Callback>,
}

impl fmt::Debug for Callbacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.by_name.keys()).finish()
    }
}

/// A call that is under way on this thread, and its outcome.
#[derive(Default)]
struct Passing {
    name: String,
    args: Vec<JsValue>,
    outcome: Vec<u8>,
}

thread_local! {
    static PASSING: RefCell<Passing> = RefCell::default();
}

/// The module name of the two imports. What a policy says of the system is not said of them: a
/// function of the caller's may do anything.
pub(crate) const CALLBACKS: &str = "wasm-proxy-callbacks";

/// The names of the two imports.
pub(crate) const CALLBACK: &str = "callback";
pub(crate) const CALLBACK_BYTES: &str = "callback_bytes";

/// The types of the two imports: a hash of the name and the arguments to the number of bytes of the
/// outcome; and a position to 16 bytes from there.
pub(crate) fn types() -> [FuncType; 2] {
    [
        FuncType::new(&[ValType::I64], &[ValType::I32]),
        FuncType::new(&[ValType::I32], &[ValType::I64, ValType::I64]),
    ]
}

impl Callbacks {
    /// Adds a function. Its error is an exception for the guest, of class `Error`. It must not call
    /// the proxy that its guest runs in.
    pub fn add(
        &mut self,
        name: impl Into<String>,
        function: impl Fn(&[JsValue]) -> Result<JsValue, String> + Send + Sync + 'static,
    ) {
        self.by_name.insert(name.into(), Arc::new(function));
    }

    /// Puts the functions into imports, instead of those that are there.
    pub fn serve(self, imports: &mut Imports) {
        let [call, bytes] = types();
        let by_name = self.by_name;
        imports.func(CALLBACKS, CALLBACK, call, move |_, _, results| {
            let (name, args) = PASSING.with_borrow_mut(|passing| {
                (passing.name.clone(), std::mem::take(&mut passing.args))
            });
            let function = by_name.get(&name).ok_or_else(|| {
                let message = format!(
                    "the guest calls `{name}`, and no such function is given: add it to \
                     `bindgen_host::Callbacks`; the program `wasm-proxy` has none"
                );
                HostError::Uncaught {
                    message,
                    thrown: None,
                }
                .ends(CALLBACK)
            })?;
            let outcome = encoded(&function(&args))?;
            let len = i32::try_from(outcome.len()).map_err(|_| too_large())?;
            PASSING.with_borrow_mut(|passing| passing.outcome = outcome);
            results[0] = Val::I32(len);
            Ok(())
        });
        imports.func(CALLBACKS, CALLBACK_BYTES, bytes, |_, args, results| {
            let at = args[0].i32().unwrap_or(0).cast_unsigned() as usize;
            let words = PASSING.with_borrow(|passing| {
                let mut words = [[0; 8]; 2];
                let left = passing.outcome.get(at..).unwrap_or_default();
                let bytes = words.as_flattened_mut();
                let count = left.len().min(bytes.len());
                bytes[..count].copy_from_slice(&left[..count]);
                words
            });
            results[0] = Val::I64(i64::from_le_bytes(words[0]));
            results[1] = Val::I64(i64::from_le_bytes(words[1]));
            Ok(())
        });
    }
}

/// Leaves a call for the import `callback`; the hash that it is called with.
pub(crate) fn pass(name: &str, args: Vec<JsValue>) -> Result<i64, Error> {
    let own: Vec<Tree> = args.iter().map(Tree::from).collect();
    let hashed = postcard::to_extend(&(name, own), Vec::new()).map_err(|_| too_large())?;
    let hash = blake3::hash(&hashed);
    PASSING.with_borrow_mut(|passing| {
        name.clone_into(&mut passing.name);
        passing.args = args;
    });
    let first = hash.as_bytes()[..8]
        .try_into()
        .expect("a hash has 32 bytes");
    Ok(i64::from_le_bytes(first))
}

fn too_large() -> Error {
    HostError::Value("the result of a callback is too large".to_owned()).ends(CALLBACK)
}

fn encoded(outcome: &Result<JsValue, String>) -> Result<Vec<u8>, Error> {
    let outcome = outcome.as_ref().map(Tree::from);
    postcard::to_extend(&outcome, Vec::new()).map_err(|_| too_large())
}

/// The outcome that these bytes are. A journal gives them in a replay, so they may be anything.
pub(crate) fn decoded(bytes: &[u8]) -> Option<Result<JsValue, String>> {
    let outcome: Result<Tree, String> = postcard::from_bytes(bytes).ok()?;
    Some(outcome.map(JsValue::from))
}

/// A value as bytes. The order of the variants is the format, which journals have.
#[derive(Serialize, Deserialize)]
enum Tree {
    Undefined,
    Null,
    Bool(bool),
    Number(f64),
    BigInt(i128),
    Text(String),
    Date(f64),
    Typed(u8, Vec<u8>),
    Buffer(Vec<u8>),
    Error(String, String),
    Array(Vec<Tree>),
    Object(Vec<(String, Tree)>),
    Map(Vec<(Tree, Tree)>),
    Set(Vec<Tree>),
    Callback(String),
    Opaque(String),
}

impl From<&JsValue> for Tree {
    fn from(value: &JsValue) -> Self {
        let all = |values: &[JsValue]| values.iter().map(Self::from).collect();
        match value {
            JsValue::Null => Tree::Null,
            JsValue::Bool(value) => Tree::Bool(*value),
            JsValue::Number(number) => Tree::Number(*number),
            JsValue::BigInt(number) => Tree::BigInt(*number),
            JsValue::Text(text) => Tree::Text(text.clone()),
            JsValue::Date(ms) => Tree::Date(*ms),
            JsValue::Typed(element, bytes) => {
                let number = ElementType::ALL.iter().position(|one| one == element);
                let number = u8::try_from(number.unwrap_or_default()).unwrap_or_default();
                Tree::Typed(number, bytes.clone())
            }
            JsValue::Buffer(bytes) => Tree::Buffer(bytes.clone()),
            JsValue::Error { name, message } => Tree::Error(name.clone(), message.clone()),
            JsValue::Array(values) => Tree::Array(all(values)),
            JsValue::Object(fields) => {
                let fields = fields.iter();
                Tree::Object(
                    fields
                        .map(|(key, value)| (key.clone(), value.into()))
                        .collect(),
                )
            }
            JsValue::Map(pairs) => {
                let pairs = pairs.iter();
                Tree::Map(
                    pairs
                        .map(|(key, value)| (key.into(), value.into()))
                        .collect(),
                )
            }
            JsValue::Set(values) => Tree::Set(all(values)),
            JsValue::Callback(name) => Tree::Callback(name.clone()),
            JsValue::Opaque(what) => Tree::Opaque(what.clone()),
            _ => Tree::Undefined,
        }
    }
}

impl From<Tree> for JsValue {
    fn from(tree: Tree) -> Self {
        let all = |values: Vec<Tree>| values.into_iter().map(Self::from).collect();
        match tree {
            Tree::Undefined => JsValue::Undefined,
            Tree::Null => JsValue::Null,
            Tree::Bool(value) => JsValue::Bool(value),
            Tree::Number(number) => JsValue::Number(number),
            Tree::BigInt(number) => JsValue::BigInt(number),
            Tree::Text(text) => JsValue::Text(text),
            Tree::Date(ms) => JsValue::Date(ms),
            Tree::Typed(element, bytes) => {
                let element = ElementType::ALL.get(usize::from(element)).copied();
                JsValue::Typed(element.unwrap_or(ElementType::U8), bytes)
            }
            Tree::Buffer(bytes) => JsValue::Buffer(bytes),
            Tree::Error(name, message) => JsValue::Error { name, message },
            Tree::Array(values) => JsValue::Array(all(values)),
            Tree::Object(fields) => {
                let fields = fields.into_iter();
                JsValue::Object(fields.map(|(key, value)| (key, value.into())).collect())
            }
            Tree::Map(pairs) => {
                let pairs = pairs.into_iter();
                JsValue::Map(
                    pairs
                        .map(|(key, value)| (key.into(), value.into()))
                        .collect(),
                )
            }
            Tree::Set(values) => JsValue::Set(all(values)),
            Tree::Callback(name) => JsValue::Callback(name),
            Tree::Opaque(what) => JsValue::Opaque(what),
        }
    }
}
