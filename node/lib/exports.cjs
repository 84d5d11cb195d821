'use strict';
// The `exports` that glue sees in place of an instance's. Arguments and results lie in a memory of JavaScript's own;
// the guest's memory is out of reach, so a swap leaves no view of it behind.

const addon = require('./addon.cjs');
const { WasmProxyError, own } = require('./errors.cjs');
const { poolOf } = require('./pool.cjs');
const { Heap, Table } = require('./slots.cjs');
const { decode, encode } = require('./values.cjs');

const PAGE = 65536;
const CALLS_PER_LOOK = 8;
/** As in the addon: below it is the room for return pointers. */
const BEGIN = 1024;
/** What the addon answers to a call; larger numbers are sizes. */
const DONE = 0, GUEST = 1, THROWN = 2, TRAPPED = 3, REFUSED = 4, JOURNAL = 5;
const NO_TEXTS = Object.freeze([]);
const SIZE_OF = { i: 4, f: 4, j: 4, l: 8, d: 8 };

class Staging {
  constructor(Memory) {
    this.memory = new Memory({ initial: 16, maximum: PAGE });
    this.top = BEGIN;
    this.stack = BEGIN;
    this.view();
  }

  view() {
    this.bytes = new Uint8Array(this.memory.buffer);
    this.data = new DataView(this.memory.buffer);
  }

  /** Makes room up to an address. */
  reach(end) {
    if (end <= this.bytes.length) return;
    try {
      this.memory.grow(Math.ceil((end - this.bytes.length) / PAGE) + 16);
    } catch {
      throw new WebAssembly.RuntimeError(`wasm-proxy: no room for ${end} bytes of arguments or results`);
    }
    this.view();
  }

  /** The size is an i32, as for the guest's own: what is no number is 0. */
  alloc(size, align = 1) {
    const at = Math.ceil(this.top / align) * align;
    const end = at + (size >>> 0);
    this.reach(end);
    this.top = end;
    return at;
  }

  realloc(at, before, size, align = 1) {
    // The last one grows where it is.
    if (at + before === this.top) {
      const end = at + (size >>> 0);
      this.reach(end);
      this.top = end;
      return at;
    }
    const to = this.alloc(size, align);
    this.bytes.copyWithin(to, at, at + Math.min(before, size));
    return to;
  }

  /** A text, as start and length. */
  text(text) {
    const bytes = Buffer.from(text);
    const at = this.alloc(bytes.length);
    this.bytes.set(bytes, at);
    return [at, bytes.length];
  }
}

/** One call's numbers, as the addon has them: 8 bytes each. */
class Cells {
  constructor(count) {
    const buffer = new ArrayBuffer(8 * count);
    this.bytes = new Uint8Array(buffer);
    this.i32 = new Int32Array(buffer);
    this.f32 = new Float32Array(buffer);
    this.f64 = new Float64Array(buffer);
    this.i64 = new BigInt64Array(buffer);
  }

  set(at, letter, value) {
    if (letter === 'i') this.i32[2 * at] = value;
    else if (letter === 'd') this.f64[at] = value;
    else if (letter === 'l') this.i64[at] = value;
    else this.f32[2 * at] = value;
  }

  get(at, letter) {
    if (letter === 'i') return this.i32[2 * at];
    if (letter === 'd') return this.f64[at];
    return letter === 'l' ? this.i64[at] : this.f32[2 * at];
  }
}

class Surface {
  #session;
  #staging;
  #cells;
  #slots;
  #inTurn = false;
  #look;
  #calls = 0;
  #hasTurns;
  /** The call whose values are being read: where what the glue has staged for it ends, and a copy of that. */
  #reading = null;

  /** `look` is called every so many calls. */
  constructor(session, description, variables, { Memory, look }) {
    this.#session = session;
    this.#look = look;
    this.#hasTurns = description.hasTurns;
    this.#staging = new Staging(Memory);
    const lengths = description.exports.map(({ params, results }) => Math.max(params.length, results.length + 1));
    this.#cells = new Cells(Math.max(16, ...lengths));
    const table = description.exports.some(({ name }) => name === '__externref_table_alloc') && new Table();
    this.#slots = table || new Heap(variables);
    this.exports = Object.create(null);
    description.exports.forEach((shape, at) => { this.exports[shape.name] = this.#export(shape, at); });
    this.#serve(description);
    for (const name of description.tables) this.exports[name] = table || new Table();
    if ('thread_pool_start' in this.exports) {
      const parts = { exports: this.exports, memory: this.#staging.memory, isHeap: !table, slots: this.#slots };
      Object.assign(this.exports, poolOf(parts));
    }
  }

  /** What the glue calls for itself. */
  #serve({ memories, services, leftOut }) {
    const staging = this.#staging;
    const { exports } = this;
    for (const [name, reason] of Object.entries(leftOut)) {
      exports[name] ??= () => {
        throw new WasmProxyError('WASM_PROXY_REFUSED', `\`${name}\` cannot be called: ${reason}`);
      };
    }
    const nothing = () => {};
    // The host has run these, or does not need them.
    for (const name of ['__wbindgen_start', '__wbindgen_thread_destroy', services.free, services.exception]) {
      exports[name] = nothing;
    }
    exports[services.alloc] = (size, align) => staging.alloc(size, align);
    exports[services.realloc] = (at, before, size, align) => staging.realloc(at, before, size, align);
    if (services.stackPointer) exports[services.stackPointer] = (by) => (staging.stack += by);
    if (services.stackGlobal) exports[services.stackGlobal] = { value: BEGIN };
    exports.__externref_table_alloc = () => this.#slots.alloc();
    exports.__externref_table_dealloc = (index) => this.#slots.dealloc(index);
    exports.__externref_drop_slice = (start, count) => {
      for (let at = 0; at < count; at++) this.#slots.dealloc(staging.data.getUint32(start + 4 * at, true));
    };
    for (const name of memories.length ? memories : ['memory']) {
      Object.defineProperty(exports, name, { value: staging.memory, enumerable: true });
    }
  }

  #export(shape, at) {
    const surface = this;
    const first = shape.returnPointer ? 1 : 0;
    const hasValues = /[jboa]/.test(shape.params);
    return function () {
      surface.#beginTurn();
      surface.#stepAside();
      const texts = hasValues ? surface.#texts(shape, arguments, first) : NO_TEXTS;
      surface.#write(shape, arguments, first, texts);
      const answer = surface.#run(at);
      surface.#staging.top = BEGIN;
      if (answer !== DONE) return surface.#failed(answer, shape, arguments[0]);
      return surface.#read(shape, arguments[0]);
    };
  }

  /** A turn of the event loop is one of the proxy's, where objects last no longer than it. */
  #beginTurn() {
    if (!this.#hasTurns || this.#inTurn) return;
    this.#inTurn = true;
    setImmediate(() => {
      this.#inTurn = false;
      own(() => addon.endTurn(this.#session));
    });
  }

  /** A call from a getter, in the middle of another call's values, takes the staging memory. */
  #stepAside() {
    const reading = this.#reading;
    if (reading) reading.kept ??= this.#staging.bytes.slice(BEGIN, reading.end);
  }

  /**
   * The values among the arguments, as texts. A getter of a value's may call the package: that call is over before
   * this one begins, and then the staging memory is as the glue has filled it for this one.
   */
  #texts({ name, params, references }, given, first) {
    const values = [];
    for (let at = 0; at < params.length; at++) {
      const letter = params[at];
      if (letter === 'a') values.push(this.#list(given[first + at], given[first + at + 1]));
      else if ('jbo'.includes(letter)) values.push({ value: this.#value(letter, references[at], given[first + at]) });
    }
    const staging = this.#staging;
    const outer = this.#reading;
    const reading = { end: staging.top, kept: null };
    this.#reading = reading;
    try {
      return values.map((one) => one && encode(one.value, name));
    } finally {
      this.#reading = outer;
      if (reading.kept) staging.bytes.set(reading.kept, BEGIN);
      staging.top = reading.end;
    }
  }

  #value(letter, isReference, given) {
    if (isReference) return given;
    if (letter === 'o' && given === 0) return undefined;
    return letter === 'b' ? this.#slots.get(given) : this.#slots.take(given);
  }

  /** An array of values, which the glue has left as an array of slots. It is the guest's, and so are these. */
  #list(start, count) {
    if (start === 0) return null;
    const { data } = this.#staging;
    const slots = Array.from({ length: count }, (_, element) => data.getUint32(start + 4 * element, true));
    return { value: slots.map((slot) => this.#slots.take(slot)) };
  }

  #write({ params }, given, first, texts) {
    const cells = this.#cells;
    let next = 0;
    for (let at = 0; at < params.length; at++) {
      const letter = params[at];
      if (letter === 'z') continue;
      if (!'jboa'.includes(letter)) {
        cells.set(at, letter, given[first + at]);
        continue;
      }
      const text = texts[next++];
      // Where there is no list, both words are 0.
      if (text === null) cells.set(at, 'l', 0n);
      else this.#writeText(at, text);
    }
  }

  #writeText(at, text) {
    const [start, length] = this.#staging.text(text);
    this.#cells.i32[2 * at] = start;
    this.#cells.i32[2 * at + 1] = length;
  }

  #run(at) {
    this.#calls += 1;
    if (this.#calls % CALLS_PER_LOOK === 0) this.#look();
    const { bytes } = this.#cells;
    const staging = this.#staging;
    let answer = own(() => addon.call(this.#session, at, bytes, staging.bytes));
    if (answer > JOURNAL) {
      staging.reach(answer);
      answer = own(() => addon.finish(this.#session, 0, bytes, staging.bytes));
    }
    return answer;
  }

  #failed(answer, shape, returnPointer) {
    const said = addon.said(this.#session);
    if (answer === GUEST) return this.#give(shape, returnPointer, this.#errorWords(shape, decode(said)));
    if (answer === THROWN) throw decode(said);
    if (answer === TRAPPED) throw new WebAssembly.RuntimeError(said);
    throw new WasmProxyError(answer === JOURNAL ? 'WASM_PROXY_JOURNAL' : 'WASM_PROXY_REFUSED', said);
  }

  #errorWords({ results }, error) {
    const words = [];
    for (const letter of results) {
      if (letter === 'e') words.push(['i', this.#slots.add(error)], ['i', 1]);
      else if (letter === 'a') words.push(['i', 0], ['i', 0]);
      else words.push([letter === 'j' ? 'i' : letter, letter === 'l' ? 0n : 0]);
    }
    return words;
  }

  #read(shape, returnPointer) {
    const words = [];
    let at = 0;
    for (let position = 0; position < shape.results.length; position++) {
      const letter = shape.results[position];
      if (letter === 'e') {
        words.push(['i', 0], ['i', 0]);
        at += 2;
        continue;
      }
      if (letter === 'j') words.push(this.#readValue(at, shape.resultReferences[position]));
      else if (letter === 'a') words.push(...this.#readList(at));
      else words.push([letter, this.#cells.get(at, letter)]);
      at += 1;
    }
    return this.#give(shape, returnPointer, words);
  }

  /** The text in a cell, and where it ends. */
  #readText(at) {
    const start = this.#cells.i32[2 * at] >>> 0;
    const end = start + (this.#cells.i32[2 * at + 1] >>> 0);
    return [Buffer.from(this.#staging.bytes.subarray(start, end)).toString(), end];
  }

  #readValue(at, isReference) {
    const value = decode(this.#readText(at)[0]);
    return isReference ? ['r', value] : ['i', this.#slots.add(value)];
  }

  /** An array of values, as an array of slots. Where there is none, both words are 0. */
  #readList(at) {
    const [text, end] = this.#readText(at);
    if (text === '') return [['i', 0], ['i', 0]];
    const slots = this.#slots.addAll(decode(text));
    const staging = this.#staging;
    // Behind the text, which is the only buffer among the results.
    staging.top = end;
    const start = staging.alloc(4 * slots.length, 4);
    staging.top = BEGIN;
    slots.forEach((slot, element) => staging.data.setUint32(start + 4 * element, slot, true));
    return [['i', start], ['i', slots.length]];
  }

  /** Gives results as the function does: at the return pointer, alone, or in an array. */
  #give({ returnPointer: byPointer }, pointer, words) {
    if (!byPointer) {
      if (words.length === 0) return undefined;
      return words.length === 1 ? words[0][1] : words.map(([, value]) => value);
    }
    const { data } = this.#staging;
    let at = pointer;
    for (const [letter, value] of words) {
      const size = SIZE_OF[letter];
      at = Math.ceil(at / size) * size;
      if (letter === 'l') data.setBigInt64(at, value, true);
      else if (letter === 'd') data.setFloat64(at, value, true);
      else if (letter === 'f') data.setFloat32(at, value, true);
      else data.setInt32(at, value, true);
      at += size;
    }
    return undefined;
  }
}

module.exports = { Surface };
