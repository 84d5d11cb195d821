// Prints a workload for quickjs-emscripten's module. What it expects are the answers of the module in
// Node, with the JavaScript of the package:
//   node quickjs.mjs FOLDER_OF_THE_PACKAGE ROUNDS
import { createRequire } from "node:module";

const [folder, rounds] = process.argv.slice(2);
const raw = createRequire(import.meta.url)(`${folder}/dist/emscripten-module.cjs`);
const module = await raw();
const evaluate = (code) => {
  const encoded = new TextEncoder().encode(`${code}\0`);
  const [at, name] = [module._malloc(encoded.length), module._malloc(5)];
  module.HEAPU8.set(encoded, at);
  module.stringToUTF8("a.js", name, 5);
  const value = module._QTS_Eval(context, at, encoded.length - 1, name, 0, 0);
  module._free(at);
  module._free(name);
  return value;
};
const runtime = module._QTS_NewRuntime();
const context = module._QTS_NewContext(runtime, 0);

const line = (step) => console.log(JSON.stringify(step));
const [ctx, value] = [{ handle: "context" }, { handle: "value" }];
// Evaluates an expression that gives a text or a number.
const run = (code) => {
  const at = evaluate(code);
  const length = new TextEncoder().encode(code).length;
  const args = [ctx, { text: code }, length, { text: "a.js" }, 0, 0];
  line({ call: "QTS_Eval", args, as: "value" });
  const type = module.UTF8ToString(module._QTS_Typeof(context, at));
  line({ call: "QTS_Typeof", args: [ctx, value], expect: type });
  const call = type === "number" ? "QTS_GetFloat64" : "QTS_GetString";
  let expect = module[`_${call}`](context, at);
  if (type !== "number") expect = module.UTF8ToString(expect);
  line({ call, args: [ctx, value], expect });
  line({ call: "QTS_FreeValuePointer", args: [ctx, value] });
  module._QTS_FreeValuePointer(context, at);
};

line({ call: "QTS_NewRuntime", as: "runtime" });
line({ call: "QTS_NewContext", args: [{ handle: "runtime" }, 0], as: "context" });
run("globalThis.seen = []; globalThis.fib = (n) => n < 2 ? n : fib(n - 1) + fib(n - 2); fib(15)");
for (let round = 0; round < Number(rounds); round++) {
  run(`seen.push({ round: ${round}, text: 'ß'.repeat(${round % 9}) }); fib(${round % 12}) + 0.25`);
  run(`JSON.stringify(seen.filter((one) => one.round % 10 === ${round % 10}).at(-1))`);
  run(`seen.map((one) => one.text).join('') + 'x'.repeat(30000)`);
}
