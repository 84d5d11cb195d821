//! The imports of Emscripten's modules, without the JavaScript that Emscripten writes beside them.
//!
//! [`add_to`] looks at what a module imports and adds what it knows. It knows an import by its name
//! and its type, so it needs the names that the compiler gave: a build with `-O2` or more and
//! without `-sSTANDALONE_WASM` has `a`, `b` and so on, which only its JavaScript could explain. The
//! program's option `--names` gives such a module its names back.
//!
//! | file | what it serves |
//! |---|---|
//! | `heap.rs` | growth, and copies inside of the memory |
//! | `ends.rs` | `abort`, `exit`, failed assertions, exceptions: the call ends with an [`EmscriptenError`] |
//! | `invoke.rs` | calls of functions in the table that `longjmp` may end |
//! | `syscalls.rs` | system calls: there is no system, and they say so |
//! | `clock.rs` | clocks, and the calendar in UTC |
//! | `layout.rs` | memory, table, and the addresses of a main module that was built for dynamic linking |
//!
//! Only clocks reach outside. They are host functions, which a proxy records. Everything else
//! touches the calling instance alone ([`engine_api::Imports::local_func`]), and runs in a replay as
//! it did before. WASI's functions, which Emscripten's modules import too, belong to others.

mod arguments;
mod clock;
mod ends;
mod error;
mod heap;
mod invoke;
mod layout;
mod syscalls;

use engine_api::{
    Caller, Error, Extern, ExternType, FuncType, HostFunc, Import, Imports, ModuleInfo, Val,
};

pub use error::EmscriptenError;
pub use layout::DataLayout;
pub use module_bytes::dyn_calls;

use invoke::Invoke;

/// The module name of Emscripten's imports.
pub const MODULE: &str = "env";

/// Names that only Emscripten's modules import.
const SIGNS: [&str; 5] = [
    "emscripten_",
    "_emscripten_",
    "__syscall",
    "invoke_",
    "_abort_js",
];

/// A host function as this crate writes it.
type Body = fn(&mut dyn Caller, &[Val], &mut [Val]) -> Result<(), Error>;

/// A function for an import.
#[derive(Clone, Copy)]
enum Served {
    /// It touches the calling instance alone.
    Local(Body),
    /// It reaches outside.
    Outside(Body),
}

/// Whether a module's imports look like Emscripten's.
#[must_use]
pub fn is_emscripten(info: &ModuleInfo) -> bool {
    let is_sign = |import: &Import| {
        let begins = SIGNS.iter().any(|sign| import.name.starts_with(sign));
        (import.module == MODULE && begins) || import.module == layout::GOT
    };
    info.imports().iter().any(is_sign)
}

/// Adds what the module imports, what is known here, and what `imports` lacks. A module that was
/// built for dynamic linking says in `data` how much memory and table it needs.
///
/// Calls through `invoke_*` need exports that newer releases of Emscripten leave out: let
/// [`dyn_calls`] add them to the bytes first, before anything else looks at the module.
pub fn add_to(imports: &mut Imports, info: &ModuleInfo, data: Option<DataLayout>) {
    let is_emscripten = is_emscripten(info);
    for import in info.imports() {
        let (module, name) = (&import.module, &import.name);
        if imports.get(module, name).is_some() {
            continue;
        }
        match &import.ty {
            ExternType::Func(ty) if module == MODULE => match served(name, ty) {
                Some(Served::Local(body)) => {
                    imports.local_func(module, name, ty.clone(), body);
                }
                // Clocks may be asked twice.
                Some(Served::Outside(body)) => {
                    let function = HostFunc::new(module, name, ty.clone(), body).repeatable();
                    imports.define(module, name, Extern::Func(function));
                }
                None => jump_or_refuse(imports, import, ty, info),
            },
            ExternType::Func(_) => {}
            // Anybody may import a memory or a table. Addresses mean something to Emscripten alone.
            other if is_emscripten || layout::is_room(import) => {
                if let Some(item) = layout::made(import, other, data) {
                    imports.define(module, name, item);
                }
            }
            _ => {}
        }
    }
}

/// Whether [`add_to`] gives something for an import that does what the module expects of it, and not
/// only an error that says why there is nothing.
#[must_use]
pub fn serves(import: &Import, info: &ModuleInfo, data: Option<DataLayout>) -> bool {
    match &import.ty {
        ExternType::Func(ty) => {
            import.module == MODULE
                && (served(&import.name, ty).is_some()
                    || Invoke::of(import, info).is_some()
                    || invoke::jump(import, ty, info).is_some())
        }
        other => {
            (is_emscripten(info) || layout::is_room(import))
                && layout::made(import, other, data).is_some()
        }
    }
}

/// The function for an import, if its name and its type are known.
fn served(name: &str, ty: &FuncType) -> Option<Served> {
    heap::served(name, ty)
        .or_else(|| ends::served(name, ty))
        .or_else(|| clock::served(name, ty))
        .or_else(|| syscalls::served(name, ty))
}

/// Calls that `longjmp` may end, if the module has the exports for them.
fn jump_or_refuse(imports: &mut Imports, import: &Import, ty: &FuncType, info: &ModuleInfo) {
    let (module, name) = (&import.module, &import.name);
    if let Some(invoke) = Invoke::of(import, info) {
        let body = move |caller: &mut dyn Caller, args: &[Val], results: &mut [Val]| {
            invoke.run(caller, args, results)
        };
        imports.local_func(module, name, ty.clone(), body);
    } else if let Some(jump) = invoke::jump(import, ty, info) {
        let own = name.clone();
        imports.local_func(module, name, ty.clone(), move |caller, args, _| {
            Err(jump.run(&own, caller, args))
        });
    } else {
        refuse(imports, import, ty);
    }
}

/// A function that ends the call with its name, for what Emscripten's JavaScript has and this crate
/// has not. What is not Emscripten's stays missing.
fn refuse(imports: &mut Imports, import: &Import, ty: &FuncType) {
    let Some(what) = ends::unsupported(&import.name) else {
        return;
    };
    let error = EmscriptenError::Unsupported {
        import: import.name.clone(),
        what,
    };
    let name = import.name.clone();
    imports.local_func(&import.module, &import.name, ty.clone(), move |_, _, _| {
        Err(error.clone().ends(&name))
    });
}
