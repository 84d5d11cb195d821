'use strict';
// JavaScript values by the numbers that the glue has for them.

const { WasmProxyError } = require('./errors.cjs');

/** The first places are the glue's: constants, and room for what it borrows. */
const TABLE_BEGIN = 1028;

/** The table of references that newer modules export. The guest never sees it. */
class Table {
  #values = new Array(TABLE_BEGIN).fill(undefined);
  #free = [];

  get length() { return this.#values.length; }

  get(index) { return this.#values[index]; }

  set(index, value) { this.#values[index] = value; }

  grow(count) {
    const before = this.#values.length;
    for (let at = 0; at < count; at++) this.#values.push(undefined);
    return before;
  }

  alloc() { return this.#free.pop() ?? this.#values.push(undefined) - 1; }

  dealloc(index) {
    this.#values[index] = undefined;
    this.#free.push(index);
  }

  add(value) {
    const index = this.alloc();
    this.#values[index] = value;
    return index;
  }

  addAll(values) { return values.map((value) => this.add(value)); }

  take(index) {
    const value = this.#values[index];
    this.dealloc(index);
    return value;
  }
}

/** The heap of values inside of older glue, reached by what the inspector found in its scope. */
class Heap {
  #heap;
  #add;
  #take;
  #own = [];

  constructor({ heap, addHeapObject, takeObject }) {
    this.#heap = heap;
    this.#add = addHeapObject;
    this.#take = takeObject;
  }

  #there() {
    if (this.#heap) return this.#heap;
    throw new WasmProxyError(
      'WASM_PROXY_GLUE',
      'the glue of this package keeps JavaScript values where Node\'s inspector does not find them, as minified ' +
        'glue does; this call cannot pass any',
    );
  }

  get(index) { return this.#there()[index]; }

  take(index) {
    const value = this.get(index);
    // Without it nobody gives slots back in plain Node either.
    this.#take?.(index);
    return value;
  }

  add(value) { return this.addAll([value])[0]; }

  addAll(values) {
    if (this.#add) return values.map((value) => this.#add(value));
    // Glue that adds nothing itself has no free slots: it takes values out at once, and the slots serve again.
    const heap = this.#there();
    return values.map((value, at) => {
      const index = this.#own[at] ?? heap.push(undefined) - 1;
      this.#own[at] = index;
      heap[index] = value;
      return index;
    });
  }
}

module.exports = { Table, Heap };
