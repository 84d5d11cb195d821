'use strict';
// The options, from a caller and from the environment.

const { inspect } = require('node:util');
const { WasmProxyError } = require('./errors.cjs');

const number = (text) => (text.trim() === '' ? NaN : Number(text));
const text = (value) => value;

function flag(value) {
  if (['1', 'true', 'on'].includes(value.toLowerCase())) return true;
  if (['0', 'false', 'off'].includes(value.toLowerCase())) return false;
  return value;
}

/** Every option: its type, its variable in the environment, and how that is read. */
const OPTIONS = {
  enabled: { type: 'boolean', variable: 'WASM_PROXY_ENABLED', read: flag },
  engine: { type: 'string', variable: 'WASM_PROXY_ENGINE', read: text },
  memoryLimitMiB: { type: 'number', variable: 'WASM_PROXY_MEMORY_LIMIT_MIB', read: number },
  warn: { type: 'number', variable: 'WASM_PROXY_WARN', read: number },
  critical: { type: 'number', variable: 'WASM_PROXY_CRITICAL', read: number },
  swapCalls: { type: 'number', variable: 'WASM_PROXY_SWAP_CALLS', read: number },
  swapAge: { type: 'number', variable: 'WASM_PROXY_SWAP_AGE', read: number },
  policy: { type: 'string', variable: 'WASM_PROXY_POLICY', read: text },
  preset: { type: 'string', variable: 'WASM_PROXY_PRESET', read: text },
  compileCache: { type: 'string', variable: 'WASM_PROXY_COMPILE_CACHE', read: text },
  prepareTimeout: { type: 'number', variable: 'WASM_PROXY_PREPARE_TIMEOUT', read: number },
  history: { type: 'string', variable: 'WASM_PROXY_HISTORY', read: text },
  journal: { type: 'string', variable: 'WASM_PROXY_JOURNAL', read: text },
  journalMode: { type: 'string', variable: 'WASM_PROXY_JOURNAL_MODE', read: text },
  journalFlushMs: { type: 'number', variable: 'WASM_PROXY_JOURNAL_FLUSH_MS', read: number },
  name: { type: 'string' },
};

const wrong = (message) => new WasmProxyError('WASM_PROXY_OPTION', message);

/** `given` is what was read as the value. */
function check(name, value, source, given = value) {
  const { type } = OPTIONS[name];
  const isOne = typeof value === type && value !== '' && (type !== 'number' || Number.isFinite(value));
  if (isOne) return;
  const kind = { number: 'a finite number', string: 'a string that is not empty', boolean: 'a boolean' }[type];
  throw wrong(`${source} must be ${kind}, got ${inspect(given, { depth: 0, breakLength: Infinity })}`);
}

/** Variables that are none of the options'. `WASM_PROXY_LOG` is the program's. */
const OTHERS = ['WASM_PROXY_PACKAGES', 'WASM_PROXY_LOG'];
const warnedOf = new Set();

/** A misspelt variable would be no limit at all. It may be another program's too, so it is no error. */
function warnOfUnknown(environment) {
  const variables = Object.values(OPTIONS).flatMap(({ variable }) => variable ?? []);
  for (const name of Object.keys(environment)) {
    if (!name.startsWith('WASM_PROXY_') || [...variables, ...OTHERS].includes(name) || warnedOf.has(name)) continue;
    warnedOf.add(name);
    process.emitWarning(`${name} in the environment is none of wasm-proxy's variables: ${variables.join(', ')}`);
  }
}

/** Options with those of the environment for what they do not say. */
function complete(options = {}, environment = process.env) {
  warnOfUnknown(environment);
  if (options === null || typeof options !== 'object') throw wrong('the options must be an object');
  const all = {};
  for (const [name, value] of Object.entries(options)) {
    if (!(name in OPTIONS)) {
      throw wrong(`there is no option \`${name}\`; there are ${Object.keys(OPTIONS).join(', ')}`);
    }
    if (value === undefined) continue;
    check(name, value, `option \`${name}\``);
    all[name] = value;
  }
  const names = { ...all };
  for (const [name, { variable, read }] of Object.entries(OPTIONS)) {
    const given = variable && environment[variable];
    // A policy of the caller's replaces that of the environment, whichever of the two options it is.
    const replaced = name in names || (['policy', 'preset'].includes(name) && (names.policy || names.preset));
    if (given === undefined || replaced) continue;
    const value = read(given);
    check(name, value, `${variable} in the environment`, given);
    all[name] = value;
  }
  return { enabled: true, ...all };
}

/** The packages that this release has a policy for. */
const PRESETS = ['o1js'];

/** The options for a package: a policy that comes with the release is better than a draft. */
function withPolicyOf(name, options) {
  const isChosen = 'policy' in options || 'preset' in options;
  return isChosen || !PRESETS.includes(name) ? options : { ...options, preset: name };
}

/** The packages to wrap, by their names; `null` for all of them. */
function packagesOf(environment = process.env) {
  const given = environment.WASM_PROXY_PACKAGES;
  if (given === undefined) return null;
  const names = given.split(',').map((name) => name.trim()).filter((name) => name !== '');
  if (names.length === 0) {
    throw wrong('WASM_PROXY_PACKAGES in the environment names no package; write them with commas between');
  }
  return names;
}

module.exports = { complete, packagesOf, withPolicyOf, OPTIONS };
