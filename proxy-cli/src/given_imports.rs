//! What the program gives for a module's imports.

use std::borrow::Cow;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use bindgen_host::Coverage;
use emscripten::DataLayout;
use engine_api::{Extern, ExternType, Import, Imports, ModuleInfo, Val, ValType};
use serde::Deserialize;
use wasi::{Config, Wasi};

use crate::args::{ImportArgs, Stub};

/// How many imports a message names.
const NAMED_MAX: usize = 8;

/// Names for imports and exports, as a file has them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Names {
    /// From `module.name` to `module.name`.
    #[serde(default)]
    imports: std::collections::BTreeMap<String, String>,
    #[serde(default)]
    exports: std::collections::BTreeMap<String, String>,
}

/// A module with the names that a file gives its imports and exports.
pub(crate) fn renamed(wasm: Vec<u8>, names: Option<&Path>) -> Result<Vec<u8>> {
    let Some(path) = names else { return Ok(wasm) };
    let cannot = || format!("cannot use the names of `{}`", path.display());
    let text = std::fs::read_to_string(path).with_context(cannot)?;
    let names: Names = toml::from_str(&text).with_context(cannot)?;
    let info = module_bytes::parse(&wasm)?;
    check(&names, &info).with_context(cannot)?;
    let new_import = |module: &str, name: &str| {
        let new = names.imports.get(&format!("{module}.{name}"))?;
        new.split_once('.')
    };
    let new_export = |name: &str| names.exports.get(name).map(String::as_str);
    let renamed = module_bytes::rename(&wasm, new_import, new_export)?;
    // Two exports may have got one name.
    module_bytes::parse(&renamed).with_context(cannot)?;
    Ok(renamed)
}

/// A module with the exports through which Emscripten's `invoke_*` call functions of its table.
pub(crate) fn callable(wasm: Vec<u8>) -> Result<Vec<u8>> {
    Ok(match emscripten::dyn_calls(&wasm)? {
        Cow::Borrowed(_) => wasm,
        Cow::Owned(callable) => callable,
    })
}

/// Refuses names for what the module does not have.
fn check(names: &Names, info: &ModuleInfo) -> Result<()> {
    let has_import = |path: &String| {
        let is = |import: &Import| *path == format!("{}.{}", import.module, import.name);
        info.imports().iter().any(is)
    };
    for (old, new) in &names.imports {
        ensure!(has_import(old), "the module imports no `{old}`");
        ensure!(
            new.contains('.'),
            "`{new}` is no name for an import; write `module.name`, such as `env.abort`"
        );
    }
    for old in names.exports.keys() {
        ensure!(info.export(old).is_some(), "the module exports no `{old}`");
    }
    Ok(())
}

/// What the hosts of wasm-bindgen and of WASI give, as far as the module is theirs. `world` is what a
/// WASI guest sees.
pub(crate) fn of_hosts(info: &ModuleInfo, world: impl FnOnce() -> Config) -> Result<Imports> {
    let mut imports = if bindgen_host::is_bindgen(info) {
        bindgen_host::system()
    } else {
        Imports::new()
    };
    if is_wasi(info) {
        Wasi::new(world())?.add_to(&mut imports);
    }
    Ok(imports)
}

/// Whether a module imports something of WASI.
pub(crate) fn is_wasi(info: &ModuleInfo) -> bool {
    let is_wasi = |import: &Import| import.module == wasi::MODULE;
    info.imports().iter().any(is_wasi)
}

/// Adds what Emscripten's modules import.
pub(crate) fn add_emscripten(imports: &mut Imports, info: &ModuleInfo, wasm: &[u8]) {
    emscripten::add_to(imports, info, layout(wasm));
}

fn layout(wasm: &[u8]) -> Option<DataLayout> {
    module_bytes::dylink(wasm).map(|needed| DataLayout {
        memory_bytes: needed.memory_bytes,
        table_elements: needed.table_elements,
    })
}

/// The imports that `run` gives nothing for, unless the command line does.
pub(crate) fn unserved(
    coverage: Option<&Coverage>,
    info: &ModuleInfo,
    wasm: &[u8],
) -> Result<Vec<Import>> {
    let mut unserved = match coverage {
        Some(coverage) => coverage.stubs.clone(),
        None => info.imports().to_vec(),
    };
    let mut world = Imports::new();
    Wasi::new(Config::default())?.add_to(&mut world);
    let data = layout(wasm);
    let is_served = |import: &Import| {
        let of_wasi = match (world.get(&import.module, &import.name), &import.ty) {
            (Some(Extern::Func(given)), ExternType::Func(ty)) => given.ty() == ty,
            _ => false,
        };
        of_wasi || emscripten::serves(import, info, data)
    };
    unserved.retain(|import| !is_served(import));
    Ok(unserved)
}

/// Adds the constants that the command line gives for imports that nobody serves. The first pattern
/// that matches decides.
pub(crate) fn add_constants(
    imports: &mut Imports,
    info: &ModuleInfo,
    wasm: &[u8],
    args: &ImportArgs,
) -> Result<()> {
    let data = layout(wasm);
    for stub in &args.stub_imports {
        let Stub::Constant(constant) = stub else {
            continue;
        };
        let is_meant = |import: &&Import| {
            let path = format!("{}.{}", import.module, import.name);
            constant.pattern.is_match(path)
        };
        let mut matched = info.imports().iter().filter(is_meant).peekable();
        if matched.peek().is_none() {
            bail!(
                "--stub-imports: the module imports nothing like `{}`; it imports {}",
                constant.pattern.glob(),
                named(info.imports())
            );
        }
        let mut is_given = false;
        for import in matched {
            let is_served = emscripten::serves(import, info, data);
            if !is_served && imports.get(&import.module, &import.name).is_none() {
                give(imports, import, &constant.number)?;
                is_given = true;
            }
        }
        if !is_given {
            bail!(
                "--stub-imports: the program gives what `{}` matches, or an earlier pattern does; leave it out",
                constant.pattern.glob()
            );
        }
    }
    Ok(())
}

/// The first imports, for a message.
pub(crate) fn named(imports: &[Import]) -> String {
    let shown = imports.iter().take(NAMED_MAX);
    let shown = shown.map(|import| format!("`{}.{}`", import.module, import.name));
    let shown: Vec<String> = shown.collect();
    match imports.len() {
        0 => "nothing".to_owned(),
        count if count > NAMED_MAX => format!("{} and more", shown.join(", ")),
        _ => shown.join(", "),
    }
}

/// Gives a number for an import.
fn give(imports: &mut Imports, import: &Import, number: &str) -> Result<()> {
    let (module, name) = (&import.module, &import.name);
    let value = |ty: ValType| {
        val(number, ty)
            .with_context(|| format!("--stub-imports: {number} is no {ty} for `{module}.{name}`"))
    };
    match &import.ty {
        ExternType::Func(ty) => {
            let given = ty.results().iter().map(|ty| value(*ty));
            let given = given.collect::<Result<Vec<Val>>>()?;
            imports.local_func(module, name, ty.clone(), move |_, _, results| {
                results.clone_from_slice(&given);
                Ok(())
            });
        }
        ExternType::Global(ty) => {
            let given = value(ty.value)?;
            imports.define(module, name, Extern::Global(*ty, given));
        }
        other => bail!("--stub-imports: `{module}.{name}` is {other}, and no number"),
    }
    Ok(())
}

/// A number of this type. Whole numbers may be written with or without a sign.
fn val(number: &str, ty: ValType) -> Option<Val> {
    match ty {
        ValType::I32 => number
            .parse::<i32>()
            .or_else(|_| number.parse::<u32>().map(u32::cast_signed))
            .ok()
            .map(Val::I32),
        ValType::I64 => number
            .parse::<i64>()
            .or_else(|_| number.parse::<u64>().map(u64::cast_signed))
            .ok()
            .map(Val::I64),
        ValType::F32 => number.parse::<f32>().ok().map(Val::from),
        ValType::F64 => number.parse::<f64>().ok().map(Val::from),
        _ => None,
    }
}
