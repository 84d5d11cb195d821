'use strict';
// JavaScript values as text, and back: JSON, and a tag for what JSON has no words for. docs/policy.md has the table.

const { WasmProxyError } = require('./errors.cjs');

const TYPED = [
  Int8Array, Uint8Array, Uint8ClampedArray, Int16Array, Uint16Array, Int32Array, Uint32Array, Float32Array,
  Float64Array, BigInt64Array, BigUint64Array,
];
const DEPTH_MAX = 100;
const base64 = (bytes) => Buffer.from(bytes).toString('base64');
const bytesOf = (view) => new Uint8Array(view.buffer, view.byteOffset, view.byteLength);

/** Of a longer path, the message has the beginning. */
const PATH_MAX = 60;

function refused(what, where) {
  const at = where.length > PATH_MAX ? `${where.slice(0, PATH_MAX)}...` : where;
  return new WasmProxyError('WASM_PROXY_VALUE', `${what} cannot cross to the guest (at \`${at}\`); pass data alone`);
}

/** A text as a guest's memory has it: half of a surrogate pair is U+FFFD there. */
const wellFormed = (text) => (/[\ud800-\udfff]/.test(text) ? Buffer.from(text).toString() : text);

/** The tree that the text of a value is made from. */
function tree(value, where, depth) {
  if (depth > DEPTH_MAX) throw refused(`a value that is nested deeper than ${DEPTH_MAX}, or contains itself,`, where);
  switch (typeof value) {
    case 'undefined':
      return { $undefined: true };
    case 'boolean':
      return value;
    case 'string':
      return wellFormed(value);
    case 'number':
      if (Number.isFinite(value) && !Object.is(value, -0)) return value;
      return { $number: Object.is(value, -0) ? '-0' : String(value) };
    case 'bigint':
      return { $bigint: String(value) };
    case 'object':
      return value === null ? null : object(value, where, depth);
    default:
      throw refused(`a ${typeof value}`, where);
  }
}

function object(value, where, depth) {
  const inner = (item, key) => tree(item, `${where}.${key}`, depth + 1);
  // A hole is read as `undefined`, which `map` would leave out.
  if (Array.isArray(value)) return Array.from(value, inner);
  if (ArrayBuffer.isView(value)) {
    const typed = TYPED.find((type) => value instanceof type);
    if (!typed) throw refused(`a ${value.constructor?.name}`, where);
    if (typed === Uint8Array) return { $bytes: base64(bytesOf(value)) };
    return { $typed: [typed.name, Array.from(value, inner)] };
  }
  if (value instanceof ArrayBuffer) return { $buffer: base64(new Uint8Array(value)) };
  if (value instanceof Date) return { $date: inner(value.getTime(), 'time') };
  if (value instanceof Error) return { $error: [value.name, value.message].map((text) => wellFormed(String(text))) };
  if (value instanceof Map) {
    return { $map: [...value].map(([key, item], at) => [inner(key, at), inner(item, at)]) };
  }
  if (value instanceof Set) return { $set: [...value].map(inner) };
  if ('__wbg_ptr' in value) throw refused('an object of one of its own classes', where);
  if (value instanceof Promise || value instanceof WeakMap || value instanceof WeakSet) {
    throw refused(`a ${value.constructor.name}`, where);
  }
  const fields = Object.entries(value).map(([key, item]) => [wellFormed(key), inner(item, key)]);
  // An object that could be taken for a tag says that it is none.
  if (fields.length === 1 && fields[0][0].startsWith('$')) return { $object: fields };
  return Object.fromEntries(fields);
}

/** The text of a value. */
function encode(value, where = 'argument') {
  return JSON.stringify(tree(value, where, 0));
}

const ERRORS = { Error, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError };
const fromBase64 = (text) => Uint8Array.from(Buffer.from(text, 'base64'));

function errorOf([name, message]) {
  const error = new (ERRORS[name] ?? Error)(message);
  if (!(name in ERRORS)) error.name = name;
  return error;
}

const TAGS = {
  $undefined: () => undefined,
  $number: Number,
  $bigint: BigInt,
  $date: (time) => new Date(valueOf(time)),
  $bytes: fromBase64,
  $typed: ([name, elements]) => TYPED.find((type) => type.name === name).from(elements.map(valueOf)),
  $buffer: (text) => fromBase64(text).buffer,
  $error: errorOf,
  $map: (pairs) => new Map(pairs.map(([key, item]) => [valueOf(key), valueOf(item)])),
  $set: (items) => new Set(items.map(valueOf)),
  $object: (fields) => plain(fields),
  $opaque(what) {
    throw refused(`${what}, which only the guest has,`, 'result');
  },
  $callback(what) {
    throw refused(`the function ${what}`, 'result');
  },
};

function plain(fields) {
  const made = {};
  for (const [key, item] of fields) {
    // `__proto__` is a key like others in what a guest gives.
    Object.defineProperty(made, key, { value: valueOf(item), writable: true, enumerable: true, configurable: true });
  }
  return made;
}

/** The value that a tree stands for. */
function valueOf(tree) {
  if (tree === null || typeof tree !== 'object') return tree;
  if (Array.isArray(tree)) return tree.map(valueOf);
  const fields = Object.entries(tree);
  if (fields.length === 1 && Object.hasOwn(TAGS, fields[0][0])) return TAGS[fields[0][0]](fields[0][1]);
  return plain(fields);
}

/** The value of a text. */
function decode(text) {
  return valueOf(JSON.parse(text));
}

module.exports = { encode, decode };
