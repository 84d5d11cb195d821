//! Tests of what only this engine does. `conformance` tests the behaviour that all engines share.

#![allow(
    clippy::unwrap_used,
    reason = "in a test, a failed expectation is a failed test"
)]

mod interruption;
mod limits;
mod modules;
mod shared_memory;
mod traps;
mod values;

use std::sync::Arc;

use engine_api::{
    Engine, EngineConfig, Error, Imports, Instance, InstanceExt, Limits, Module, Val,
};
use engine_wasmer::{Compiler, Wasmer};

fn compilers() -> Vec<Compiler> {
    vec![
        Compiler::Cranelift,
        Compiler::Singlepass,
        #[cfg(feature = "llvm")]
        Compiler::Llvm,
    ]
}

fn engines() -> Vec<Wasmer> {
    let config = EngineConfig::default();
    compilers()
        .into_iter()
        .map(|compiler| Wasmer::with_config(compiler, &config).unwrap())
        .collect()
}

fn compile(engine: &Wasmer, wat: &str) -> Arc<dyn Module> {
    engine.compile(&wat::parse_str(wat).unwrap()).unwrap()
}

fn instantiate(engine: &Wasmer, wat: &str) -> Box<dyn Instance> {
    compile(engine, wat)
        .instantiate(&Imports::new(), &Limits::default())
        .unwrap()
}

fn invoke(instance: &mut dyn Instance, name: &str, args: &[Val]) -> Result<Vec<Val>, Error> {
    instance.invoke(name, args)
}
