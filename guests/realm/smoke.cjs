// Calls every export of the guests under Node, with the glue that wasm-bindgen generated for them:
//
//     node smoke.cjs [FOLDER]
//
// The folder is guests/prebuilt unless another is given. Ends with an error where a guest misbehaves. What
// is asserted here is what a host without JavaScript has to match.
"use strict";

const assert = require("assert");
const path = require("path");

// Gives what `work` printed to one of the console's functions, without printing it.
function printed(method, work) {
  const original = console[method];
  const lines = [];
  console[method] = (...args) => lines.push(args);
  try {
    work();
  } finally {
    console[method] = original;
  }
  return lines;
}

function values(guest) {
  assert.strictEqual(guest.add(0xffffffff, 2), 1);
  assert.strictEqual(guest.scale(1.5, -4), -6);
  assert.strictEqual(guest.halve(3), 1.5);
  assert.strictEqual(guest.negate(-5n), 5n);
  assert.strictEqual(guest.double(1n << 62n), 1n << 63n);
  assert.strictEqual(guest.not(true), false);
  assert.strictEqual(guest.narrow(127), -128);
  assert.strictEqual(guest.next_char("🙂"), "🙃");
  assert.strictEqual(guest.greet("Zoë"), "Hello, Zoë!");
  assert.strictEqual(guest.shout("straße"), "STRASSE");
  assert.deepStrictEqual(guest.reverse_bytes(Uint8Array.of(1, 2, 3)), Uint8Array.of(3, 2, 1));
  assert.deepStrictEqual(guest.reverse_bytes(new Uint8Array()), new Uint8Array());
  const buffer = new Uint8Array(4);
  guest.fill(buffer, 7);
  assert.deepStrictEqual(buffer, Uint8Array.of(7, 7, 7, 7));
  assert.deepStrictEqual(guest.squares(Uint32Array.of(1, 2, 65536)), Uint32Array.of(1, 4, 0));
  assert.deepStrictEqual(guest.running_total(Float64Array.of(1, 0.5)), Float64Array.of(1, 1.5));
  assert.deepStrictEqual(guest.split("a,b,", ","), ["a", "b", ""]);
  assert.strictEqual(guest.join(["a", "ß"], "-"), "a-ß");
  assert.strictEqual(guest.maybe_increment(undefined), undefined);
  assert.strictEqual(guest.maybe_increment(0xffffffff), undefined);
  assert.strictEqual(guest.maybe_increment(0xfffffffe), 0xffffffff);
  assert.strictEqual(guest.maybe_greet(undefined), undefined);
  assert.strictEqual(guest.maybe_greet(""), undefined);
  assert.strictEqual(guest.maybe_greet("x"), "Hello, x!");
  assert.strictEqual(guest.maybe_ratio(4, true), 0.25);
  assert.strictEqual(guest.maybe_ratio(4, undefined), undefined);
  assert.strictEqual(guest.maybe_ratio(undefined, true), undefined);
  assert.strictEqual(guest.turn(guest.Direction.West), guest.Direction.North);
}

function objects(guest) {
  const counter = new guest.Counter(5);
  counter.step = 3;
  assert.strictEqual(counter.step, 3);
  assert.strictEqual(counter.increment(), 8);
  assert.strictEqual(counter.peek(), 8);
  const zero = guest.Counter.zero();
  zero.value = 2;
  counter.add(zero);
  assert.strictEqual(counter.value, 10);
  assert.strictEqual(counter.label, "counter at 10");
  const merged = counter.merge(zero);
  assert.strictEqual(merged.step, 3);
  assert.throws(() => counter.peek());
  assert.strictEqual(merged.finish(), 12);
  assert.strictEqual(guest.maybe_advance(undefined, 1), undefined);
  assert.strictEqual(guest.maybe_advance(new guest.Counter(0xffffffff), 1), undefined);
  assert.strictEqual(guest.maybe_advance(new guest.Counter(1), 1).value, 2);
  assert.strictEqual(guest.total([new guest.Counter(1), new guest.Counter(2)]), 3);
  assert.strictEqual(guest.total([]), 0);
  assert.strictEqual(guest.counter_as_value(9).value, 9);
}

function errors(guest) {
  assert.throws(() => new guest.Account(-1n), new Error("an account cannot open with -1"));
  const account = new guest.Account(10n);
  assert.strictEqual(account.withdraw(4n), 6n);
  assert.throws(() => account.withdraw(7n), new Error("the balance is too low"));
  assert.strictEqual(account.balance(), 6n);
  assert.throws(() => account.close(), new Error("the check failed"));
  new guest.Account(0n).close();
  assert.strictEqual(guest.parse(" 1.50 "), "1.5");
  assert.throws(
    () => guest.parse("x"),
    (thrown) => thrown === "invalid float literal",
  );
  guest.check(true);
  assert.throws(() => guest.check(false), new Error("the check failed"));
  const value = {};
  assert.throws(
    () => guest.throw_value(value),
    (thrown) => thrown === value,
  );
  assert.throws(() => guest.throw_text("thrown"), new Error("thrown"));
}

function script(guest) {
  const described = [
    [undefined, "undefined"],
    [null, "null"],
    [true, "boolean true"],
    [1.5, "number 1.5"],
    ["é", 'string "é"'],
    [1n, "bigint"],
    [Symbol("s"), "symbol"],
    [() => 1, "function"],
    [new Error("e"), 'error "e"'],
    [new Uint8Array(3), "bytes of length 3"],
    [[1, 2], "array of length 2"],
    [{}, "object"],
  ];
  for (const [value, expected] of described) {
    assert.strictEqual(guest.describe(value), expected);
    assert.strictEqual(guest.echo(value), value);
    assert.ok(guest.same(value, value));
    assert.strictEqual(typeof guest.debug(value), "string");
  }
  assert.ok(!guest.same(1, 2));
  assert.strictEqual(guest.debug("a"), 'JsValue("a")');
  const made = [
    ["null", "null"],
    ["true", "boolean true"],
    ["false", "boolean false"],
    ["number", "number 1.5"],
    ["integer", "number 7"],
    ["string", 'string "text"'],
    ["bigint", "bigint"],
    ["symbol", "symbol"],
    ["bytes", "bytes of length 3"],
    ["array", "array of length 2"],
    ["object", "object"],
    ["error", 'error "made to order"'],
    ["function", "function"],
    ["", "undefined"],
  ];
  for (const [kind, expected] of made) {
    assert.strictEqual(guest.describe(guest.make(kind)), expected);
  }
  assert.strictEqual(guest.make("bigint"), 0xffffffffffffffffn);
  assert.strictEqual(guest.make("function")(), 42);
  assert.strictEqual(guest.byte_sum(300, 255, 258), 256);
  assert.deepStrictEqual(guest.bytes_as_value(Uint8Array.of(1, 2)), Uint8Array.of(1, 2));
  assert.deepStrictEqual(guest.value_as_bytes(Uint8Array.of(3, 4)), Uint8Array.of(3, 4));
  assert.deepStrictEqual(guest.range(3), [0, 1, 2]);
  assert.strictEqual(guest.array_sum([1, "x", 2.5]), 3.5);
  assert.strictEqual(guest.make_error("m").message, "m");
  assert.strictEqual(guest.property({ a: 1 }, "a"), 1);
  assert.strictEqual(guest.property({}, "a"), undefined);
  assert.throws(() => guest.property(1, "a"), TypeError);
  assert.deepStrictEqual(guest.object_with("k", null), { k: null });
  assert.strictEqual(
    guest.apply((value) => value + 1, 41),
    42,
  );
  const thrower = () => {
    throw "t";
  };
  assert.throws(
    () => guest.apply(thrower, 1),
    (thrown) => thrown === "t",
  );
}

function closures(guest) {
  assert.strictEqual(guest.call_back(4), 10);
  assert.strictEqual(guest.each_sum([5, 6, 7]), 20);
  const kept = guest.keep_closure(100);
  assert.strictEqual(kept(1), 101);
  assert.strictEqual(kept(2), 103);
  assert.strictEqual(guest.apply(kept, 7), 110);
  assert.strictEqual(guest.drop_closure(), true);
  assert.strictEqual(guest.drop_closure(), false);
  assert.throws(() => kept(1), /closure invoked recursively or after being dropped/);
  const once = guest.once("a");
  assert.strictEqual(once("b"), "ab");
  assert.throws(() => once("b"), /closure invoked recursively or after being dropped/);
}

function host(guest) {
  assert.deepStrictEqual(
    printed("log", () => guest.print("line")),
    [["line"]],
  );
  assert.deepStrictEqual(
    printed("warn", () => guest.print_warning(1)),
    [[1]],
  );
  assert.deepStrictEqual(
    printed("error", () => guest.print_error("bad")),
    [["bad"]],
  );
  assert.deepStrictEqual(
    printed("debug", () => guest.print_detail("a", [])),
    [["a", []]],
  );
  assert.throws(() => guest.alert("x"), ReferenceError);
  assert.ok(Math.abs(guest.now_ms() - Date.now()) < 1000);
  for (const draw of [guest.random_hex, guest.random_hex_direct ?? guest.random_hex]) {
    assert.match(draw(), /^[0-9a-f]{64}$/);
    assert.notStrictEqual(draw(), draw());
  }
}

function state(guest) {
  const empty = guest.chain_value();
  assert.strictEqual(empty, 0xcbf29ce484222325n);
  const step = guest.chain_step("a");
  assert.notStrictEqual(step, empty);
  assert.strictEqual(guest.chain_value(), step);
  const registry = new guest.Registry();
  assert.strictEqual(registry.put("k", Uint8Array.of(1)), true);
  const before = registry.digest();
  const copy = registry.copy();
  assert.strictEqual(registry.put("k", Uint8Array.of(2)), false);
  assert.deepStrictEqual(registry.get("k"), Uint8Array.of(2));
  assert.strictEqual(registry.get("none"), undefined);
  assert.notStrictEqual(registry.digest(), before);
  registry.absorb(copy);
  assert.strictEqual(registry.digest(), before);
  assert.strictEqual(registry.size, 1);
  assert.strictEqual(registry.remove("k"), true);
  assert.strictEqual(registry.remove("k"), false);
  registry.free();
}

// These leave the module in a state in which it may not be called again: last.
function ends(guest) {
  const before = guest.memory_usage_mb();
  guest.leak(8 << 20);
  assert.ok(guest.memory_usage_mb() >= before + 7);
  const lines = printed("error", () => {
    assert.throws(() => guest.panic_with("on purpose"), WebAssembly.RuntimeError);
  });
  assert.match(lines[0][0], /^panicked at .*\non purpose\n/);
  assert.throws(() => guest.trap());
}

const folder = path.resolve(process.argv[2] ?? path.join(__dirname, "..", "prebuilt"));
for (const name of ["realm_new", "realm_old"]) {
  const guest = require(path.join(folder, `${name}.js`));
  for (const check of [values, objects, errors, script, closures, host, state, ends]) {
    check(guest);
  }
  console.log(`${name}: as expected`);
}
