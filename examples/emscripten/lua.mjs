// Prints a workload for wasmoon's module, which is Lua. What it expects are the answers of the module
// in Node, with the JavaScript of the package:
//   node lua.mjs FOLDER_OF_THE_PACKAGE ROUNDS
import { createRequire } from "node:module";

const [folder, rounds] = process.argv.slice(2);
const { LuaFactory } = createRequire(import.meta.url)(`${folder}/dist/index.js`);
const lua = await new LuaFactory().getLuaModule();
const state = lua.luaL_newstate();
lua.luaL_openlibs(state);

const line = (step) => console.log(JSON.stringify(step));
const of = { handle: "state" };
// Runs a chunk that returns one value, or ends with an error.
const run = (code) => {
  let status = lua.luaL_loadstring(state, code);
  line({ call: "luaL_loadstring", args: [of, { text: code }], expect: status });
  if (status === 0) {
    status = lua.lua_pcallk(state, 0, 1, 0, 0, null);
    line({ call: "lua_pcallk", args: [of, 0, 1, 0, 0, 0], expect: status });
  }
  const text = lua.luaL_tolstring(state, -1, null);
  line({ call: "luaL_tolstring", args: [of, -1, 0], expect: text });
  lua.lua_settop(state, 0);
  line({ call: "lua_settop", args: [of, 0] });
};

line({ call: "luaL_newstate", as: "state" });
line({ call: "luaL_openlibs", args: [of] });
run("seen, deep = {}, nil; function fib(n) return n < 2 and n or fib(n - 1) + fib(n - 2) end return fib(15)");
run("function deep(n) if n == 0 then error('at the bottom') end return 1 + deep(n - 1) end return 'ready'");
for (let round = 0; round < Number(rounds); round++) {
  run(`seen[#seen + 1] = ('ß'):rep(${round % 9}) return fib(${round % 12}) + 0.25`);
  // Errors that are caught in Lua, in C, and by the compiler.
  run(`local ok, what = pcall(deep, ${round % 40}) return tostring(ok) .. what .. #seen`);
  run(`return select(2, pcall(function() return pcall(deep, 3), nothing.field end))`);
  run(round % 3 === 0 ? "return seen[1] + {}" : round % 3 === 1 ? "error('thrown out')" : "return ) (");
  run(`return select(2, coroutine.resume(coroutine.create(function() error('inside') end)))`);
  line({ call: "malloc", args: [65536] });
}
