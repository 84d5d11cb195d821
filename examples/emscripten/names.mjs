// Prints the names of a module's imports and exports for `--names`, as far as the JavaScript of
// Emscripten beside the module has them:
//   node names.mjs GLUE.js > NAMES.toml
//
// Exports are assigned as `Module["_name"]=Module["asm"]["x"]`, `Module["_name"]=exports["x"]` or
// `c._name=b.x`, minified or not, with quotes of either kind. Imports are an object
// `wasmImports={a:_name,..}`, `asmLibraryArg` in older releases. A closure compiler takes their names
// away: then there is nothing to read.
import { readFileSync } from "node:fs";

const glue = readFileSync(process.argv[2], "utf8");
const entry = (short, name) => console.log(`${JSON.stringify(short)} = ${JSON.stringify(name)}`);

// JavaScript's name of a C function has one underscore more.
const WASI = /^(args|environ|clock|fd|path|poll|proc|random|sched|sock)_/;
const path = (name) => {
  if (name === "wasmMemory") return "env.memory";
  if (name === "wasmTable") return "env.__indirect_function_table";
  const plain = name.startsWith("_") ? name.slice(1) : name;
  return WASI.test(plain) ? `wasi_snapshot_preview1.${plain}` : `env.${plain}`;
};
const imports = /(?:wasmImports|asmLibraryArg)\s*=\s*\{([^{}]*)\}/.exec(glue);
if (imports) {
  console.log("[imports]");
  const pair = /["']?([\w$]+)["']?\s*:\s*([\w$]+)/g;
  for (const [, short, name] of imports[1].matchAll(pair)) entry(`a.${short}`, path(name));
  console.log();
}

// What the host has to find has its usual name.
console.log("[exports]");
const memory = /wasmMemory\s*=\s*\w+(?:\[["']asm["']\])?\s*(?:\.\s*([\w$]+)|\[["']([\w$]+)["']\])/.exec(glue);
if (memory) entry(memory[1] ?? memory[2], "memory");

const assignment =
  /(?:\._|\[["']_)(\w+)(?:["']\])?\s*=\s*(?:\w+\._?\w+\s*=\s*)*\w+(?:\[["']asm["']\])?\s*(?:\.\s*([\w$]+)|\[["']([\w$]+)["']\])\s*[;,)\n]/g;
const seen = new Set();
for (const [, name, dotted, quoted] of glue.matchAll(assignment)) {
  const short = dotted ?? quoted;
  // Only what is short: the rest is the JavaScript's own.
  if (short.length > 3 || seen.has(short)) continue;
  seen.add(short);
  // The constructors run where a library of WASI has its own.
  entry(short, name === "__wasm_call_ctors" ? "_initialize" : name);
}
