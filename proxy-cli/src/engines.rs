//! The one place that names engines.

use std::fmt::Write;
use std::sync::Arc;

use anyhow::{Result, bail};
use bindgen_host::{BindgenHost, Options};
use engine_api::{Engine, EngineConfig, ModuleInfo};

/// Every engine there is, in the order of preference, and the cargo feature that compiles it in.
const ENGINES: [(&str, &str, bool); 5] = [
    ("wasmtime.cranelift", "wasmtime", cfg!(feature = "wasmtime")),
    ("wasmtime.winch", "wasmtime", cfg!(feature = "wasmtime")),
    ("wasmer.cranelift", "wasmer", cfg!(feature = "wasmer")),
    ("wasmer.singlepass", "wasmer", cfg!(feature = "wasmer")),
    ("wasmer.llvm", "llvm", cfg!(feature = "llvm")),
];

#[cfg(not(any(feature = "wasmtime", feature = "wasmer")))]
compile_error!("choose at least one runtime: `--features wasmtime` or `--features wasmer`");

/// The names of the engines that are compiled in.
pub(crate) fn names() -> Vec<&'static str> {
    ENGINES
        .iter()
        .filter(|(_, _, compiled)| *compiled)
        .map(|(name, ..)| *name)
        .collect()
}

/// The engine that `run` takes unless told otherwise.
pub(crate) fn default_name() -> &'static str {
    names().first().copied().unwrap_or("none")
}

/// Bytes of stack for guests that wasm-bindgen made. Provers written in Rust for JavaScript, whose engines
/// give about as much, overflow the usual 1 MiB.
const BINDGEN_STACK_BYTES_MAX: usize = 4 << 20;

/// Makes the engine of a name for a module, with a host if the module is wasm-bindgen's.
pub(crate) fn make_for(name: &str, info: &ModuleInfo, options: Options) -> Result<Arc<dyn Engine>> {
    if !bindgen_host::is_bindgen(info) {
        return make(name);
    }
    let config = EngineConfig {
        stack_bytes_max: BINDGEN_STACK_BYTES_MAX,
        ..EngineConfig::default()
    };
    let engine = make_with(name, &config)?;
    Ok(Arc::new(BindgenHost::new(engine, options)))
}

/// Makes the engine of a name.
pub(crate) fn make(name: &str) -> Result<Arc<dyn Engine>> {
    make_with(name, &EngineConfig::default())
}

fn make_with(name: &str, config: &EngineConfig) -> Result<Arc<dyn Engine>> {
    #[cfg(feature = "wasmer")]
    use engine_wasmer::{Compiler as WasmerCompiler, Wasmer};
    #[cfg(feature = "wasmtime")]
    use engine_wasmtime::{Compiler as WasmtimeCompiler, Wasmtime};
    let engine: Arc<dyn Engine> = match name {
        #[cfg(feature = "wasmtime")]
        "wasmtime.cranelift" => {
            Arc::new(Wasmtime::with_config(WasmtimeCompiler::Cranelift, config)?)
        }
        #[cfg(feature = "wasmtime")]
        "wasmtime.winch" => Arc::new(Wasmtime::with_config(WasmtimeCompiler::Winch, config)?),
        #[cfg(feature = "wasmer")]
        "wasmer.cranelift" => Arc::new(Wasmer::with_config(WasmerCompiler::Cranelift, config)?),
        #[cfg(feature = "wasmer")]
        "wasmer.singlepass" => Arc::new(Wasmer::with_config(WasmerCompiler::Singlepass, config)?),
        #[cfg(feature = "llvm")]
        "wasmer.llvm" => Arc::new(Wasmer::with_config(WasmerCompiler::Llvm, config)?),
        other => {
            if let Some((_, feature, _)) = ENGINES.iter().find(|(name, ..)| *name == other) {
                bail!(
                    "the engine `{other}` is not compiled in; build with `--features {feature}`, or \
                     choose one of: {}",
                    names().join(", ")
                );
            }
            bail!("no engine `{other}`; choose one of: {}", names().join(", "));
        }
    };
    Ok(engine)
}

/// What is compiled in, and what each can do.
pub(crate) fn table() -> String {
    let mut columns = Vec::new();
    let mut text = String::new();
    for (name, feature, compiled) in ENGINES {
        if !compiled {
            let _ = writeln!(text, "{name}: not compiled in (--features {feature})");
            continue;
        }
        // With the accounting for fuel, which is compiled in only where it is asked for.
        let config = EngineConfig {
            fuel: true,
            ..EngineConfig::default()
        };
        match make_with(name, &config) {
            Ok(engine) => columns.push((name, engine.capabilities())),
            Err(error) => {
                let _ = writeln!(text, "{name}: not usable here ({error:#})");
            }
        }
    }
    let mut table = format!("{:22}", "");
    for (name, _) in &columns {
        let _ = write!(table, "{name:>20}");
    }
    table.push('\n');
    let rows = columns.first().map_or(0, |(_, c)| c.list().len());
    for row in 0..rows {
        let _ = write!(table, "{:22}", columns[0].1.list()[row].0);
        for (_, capabilities) in &columns {
            let mark = if capabilities.list()[row].1 {
                "yes"
            } else {
                "-"
            };
            let _ = write!(table, "{mark:>20}");
        }
        table.push('\n');
    }
    if !text.is_empty() {
        table.push('\n');
        table.push_str(&text);
    }
    let _ = writeln!(
        table,
        "\n`run` takes {} unless told otherwise.",
        default_name()
    );
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_compiled_engine_can_be_made_and_bears_its_name() {
        assert!(!names().is_empty(), "build with at least one engine");
        for name in names() {
            assert_eq!(make(name).unwrap().id().to_string(), name);
        }
    }

    #[test]
    fn an_unknown_engine_is_answered_with_those_there_are() {
        let error = make("v8.turbofan").unwrap_err().to_string();
        assert!(error.contains(default_name()), "{error}");
    }
}
