'use strict';
// Objects that outlive the process: those that the journal brought back, and the keys of objects.

const addon = require('./addon.cjs');
const { WasmProxyError, own } = require('./errors.cjs');

const wrong = (message) => new WasmProxyError('WASM_PROXY_VALUE', message);

/** The number by which the addon knows an object of the glue's; `undefined` if it is none. */
const nameOf = (object) => object?.__wbg_ptr ?? object?.ptr;

/** An object of a class of the glue's, by its number. */
function wrapAs(Class, name) {
  if (typeof Class.__wrap === 'function') return Class.__wrap(name);
  // Glue leaves `__wrap` out where no export gives such an object.
  const object = Object.create(Class.prototype);
  object[/\bthis\.__wbg_ptr\b/.test(Class.toString()) ? '__wbg_ptr' : 'ptr'] = name;
  return object;
}

class Objects {
  #session;
  #found;
  #lookUp;
  /**
   * What was taken of them, by number, and what has a key. They are held: a finalizer would free an object for good
   * because a program has looked at it.
   */
  #taken = new Map();
  #keyed = new Map();
  #classes = new Map();
  #owned = new WeakSet();

  /** `found` are the objects of earlier processes; `lookUp` gives a variable of the glue by its name. */
  constructor(session, found, lookUp) {
    this.#session = session;
    this.#found = found;
    this.#lookUp = lookUp;
  }

  #isAlive(name) {
    return own(() => addon.isAlive(this.#session, name)) === 1;
  }

  /** The class of the glue's with this name. */
  #classOf(name, given) {
    if (typeof given[name] === 'function') return given[name];
    if (!this.#classes.has(name)) this.#classes.set(name, this.#lookUp(name));
    const found = this.#classes.get(name);
    if (typeof found === 'function') return found;
    throw new WasmProxyError(
      'WASM_PROXY_GLUE',
      `class \`${name}\` is not found in the glue of this package; give it, as in \`restored({ ${name}: ITS_CLASS })\``,
    );
  }

  #take({ name, class: className }, given) {
    const taken = this.#taken.get(name) ?? wrapAs(this.#classOf(className, given), name);
    this.#taken.set(name, taken);
    return taken;
  }

  /** The objects of earlier processes that are alive, by class, in the order of their creation. */
  restored(given = {}) {
    this.#found = this.#found.filter(({ name }) => this.#isAlive(name) || (this.#taken.delete(name), false));
    const byClass = {};
    for (const found of this.#found) (byClass[found.class] ??= []).push(this.#take(found, given));
    return byClass;
  }

  /** Whether an object is of a class of this package's glue. Numbers of other packages mean something else. */
  #isOwn(object) {
    for (let of = Object.getPrototypeOf(object); of !== null; of = Object.getPrototypeOf(of)) {
      const Class = of.constructor;
      if (typeof Class !== 'function') continue;
      if (this.#owned.has(Class)) return true;
      if (Class !== Object && Class.name !== '' && this.#lookUp(Class.name) === Class) {
        this.#owned.add(Class);
        return true;
      }
    }
    return false;
  }

  keep(key, object) {
    if (typeof key !== 'string') throw wrong('a key must be a string');
    const name = nameOf(object);
    if (!Number.isInteger(name) || name <= 0 || !this.#isOwn(object)) {
      throw wrong('what is given a key must be a live object of one of the package\'s classes');
    }
    own(() => addon.setKey(this.#session, key, name));
    this.#rename(key, name);
    this.#keyed.set(key, object);
    return object;
  }

  forget(key) {
    if (typeof key !== 'string') throw wrong('a key must be a string');
    own(() => addon.setKey(this.#session, key, 0));
    this.#rename(key, 0);
    this.#keyed.delete(key);
  }

  /** An object of an earlier process that had the key has it no longer. */
  #rename(key, name) {
    for (const found of this.#found) if (found.key === key && found.name !== name) found.key = null;
  }

  kept(key, given = {}) {
    const object = this.#keyed.get(key);
    if (object !== undefined) {
      const name = nameOf(object);
      if (name > 0 && this.#isAlive(name)) return object;
      this.#keyed.delete(key);
      return undefined;
    }
    const found = this.#found.find((one) => one.key === key);
    return found && this.#isAlive(found.name) ? this.#take(found, given) : undefined;
  }
}

module.exports = { Objects };
