'use strict';
// The glue of an instance that is being made: its source, and how it names JavaScript values.

const fs = require('node:fs');
const path = require('node:path');
const { fileURLToPath } = require('node:url');
const { scopeOf } = require('./scope.cjs');

const OWN = __dirname + path.sep;
const PARTS = ['heap', 'addHeapObject', 'takeObject'];

/** The files on the stack, the nearest first, without those of Node and of this package. */
function callers() {
  const { prepareStackTrace, stackTraceLimit } = Error;
  try {
    Error.stackTraceLimit = 50;
    Error.prepareStackTrace = (_, sites) => sites;
    const files = new Error().stack.map((site) => site.getFileName() ?? '');
    const paths = files.map((file) => (file.startsWith('file:') ? fileURLToPath(file) : file));
    return [...new Set(paths)].filter((file) => path.isAbsolute(file) && !file.startsWith(OWN) && file !== MAIN);
  } finally {
    Object.assign(Error, { prepareStackTrace, stackTraceLimit });
  }
}

const MAIN = path.join(__dirname, '..', 'index.cjs');

/** The package that a file belongs to, or the file's name. */
function packageOf(file) {
  const parts = file.split(path.sep);
  const at = parts.lastIndexOf('node_modules');
  if (at < 0) return path.basename(file).replace(/\.[cm]?js$/, '');
  const name = parts[at + 1];
  return name.startsWith('@') ? `${name}/${parts[at + 2]}` : name;
}

/** The functions that glue gives to its module. */
function* functionsOf(imports) {
  for (const given of Object.values(imports ?? {})) {
    for (const name of Object.keys(given ?? {})) {
      if (/^__w(bg|bindgen)_/.test(name) && typeof given[name] === 'function') yield given[name];
    }
  }
}

/** Whether a text reads like glue; the addon decides. */
const looksLikeGlue = (source) => /__wbindgen_|__wbg_/.test(source);

/** What one of these files exports by a name. A class that no function of the glue mentions is in no scope. */
function exported(files, name) {
  return files.map((file) => require.cache[file]?.exports?.[name]).find((found) => found !== undefined);
}

/** The glue's source, the parts of its scope, and a function that gives others of its variables by their names. */
function glueOf(imports, files) {
  const lookUp = (name) => exported(files, name);
  for (const fn of functionsOf(imports)) {
    const found = scopeOf(fn, PARTS);
    if (found && looksLikeGlue(found.source)) {
      return { ...found, lookUp: (name) => scopeOf(fn, [name])?.variables[name] ?? exported(files, name) };
    }
  }
  for (const file of files) {
    const source = fs.readFileSync(file, 'utf8');
    if (looksLikeGlue(source)) return { source, variables: {}, lookUp };
  }
  return { source: '', variables: {}, lookUp };
}

module.exports = { callers, packageOf, glueOf };
