//! A guest that calls the host, made here: the others that the spike runs import nothing.

use engine_api::{FuncType, Imports, Val, ValType};
use std::sync::atomic::{AtomicI32, Ordering};
use wasm_encoder::{
    CodeSection, ConstExpr, EntityType, ExportKind, ExportSection, Function, FunctionSection,
    GlobalSection, GlobalType, ImportSection, MemorySection, MemoryType, Module, TypeSection,
};

/// `tick` adds what the host gives to a sum, and returns it; `total` returns it; `fill` grows the
/// memory by a page; `deep` calls itself without end.
pub(crate) fn wasm() -> Vec<u8> {
    let i32 = wasm_encoder::ValType::I32;
    let mut types = TypeSection::new();
    types.ty().function([], [i32]);
    let mut imports = ImportSection::new();
    imports.import("host", "next", EntityType::Function(0));
    let mut functions = FunctionSection::new();
    for _ in 0..4 {
        functions.function(0);
    }
    let mut memories = MemorySection::new();
    memories.memory(MemoryType {
        minimum: 1,
        maximum: None,
        memory64: false,
        shared: false,
        page_size_log2: None,
    });
    let mut globals = GlobalSection::new();
    let sum = GlobalType {
        val_type: i32,
        mutable: true,
        shared: false,
    };
    globals.global(sum, &ConstExpr::i32_const(0));
    let mut exports = ExportSection::new();
    for (name, function) in [("tick", 1), ("total", 2), ("fill", 3), ("deep", 4)] {
        exports.export(name, ExportKind::Func, function);
    }
    let mut code = CodeSection::new();
    let mut body = |write: &dyn Fn(&mut wasm_encoder::InstructionSink<'_>)| {
        let mut function = Function::new([]);
        write(&mut function.instructions());
        function.instructions().end();
        code.function(&function);
    };
    body(&|code| {
        code.global_get(0).call(0).i32_add();
        code.global_set(0).global_get(0);
    });
    body(&|code| {
        code.global_get(0);
    });
    body(&|code| {
        code.i32_const(1).memory_grow(0);
    });
    body(&|code| {
        code.call(4).i32_const(1).i32_add();
    });
    let mut module = Module::new();
    module.section(&types).section(&imports).section(&functions);
    module.section(&memories).section(&globals);
    module.section(&exports).section(&code);
    module.finish()
}

pub(crate) const POLICY: &str = r#"
strict = true
[[export]]
match = "tick"
role = "mutate"
results = ["value"]
[[export]]
match = "total"
role = "pure"
results = ["value"]
[[export]]
match = "{fill,deep}"
role = "pure"
results = ["value"]
"#;

/// The memory grows past each threshold of 8 MiB several times. The sum of 1 to 300 is 45,150.
pub(crate) const WORKLOAD: &str = r#"
{"repeat":300,"do":[{"call":"tick","args":[]},{"call":"fill","args":[]},{"call":"fill","args":[]}]}
{"call":"total","args":[],"expect":45150}
"#;

/// The guest dies in the second call, and the next instance too.
pub(crate) const DEEP: &str = r#"
{"call":"tick","args":[],"expect":1}
{"call":"deep","args":[]}
"#;

/// How often the host was asked.
pub(crate) static ASKED: AtomicI32 = AtomicI32::new(0);

/// The host gives 1, then 2, and so on, and would give other numbers in a replay.
pub(crate) fn imports() -> Imports {
    let mut imports = Imports::new();
    let ty = FuncType::new(&[], &[ValType::I32]);
    imports.func("host", "next", ty, |_, _, results| {
        results[0] = Val::I32(ASKED.fetch_add(1, Ordering::Relaxed) + 1);
        Ok(())
    });
    imports
}
