import { EventEmitter } from 'node:events';

/** What a package's proxy is told. The environment has a variable for each, which counts where an option is absent. */
export interface Options {
  /** Whether standbys are made and swapped to. Default: `true`. `WASM_PROXY_ENABLED` */
  enabled?: boolean;
  /** One of `engines()`. Default: the first. `WASM_PROXY_ENGINE` */
  engine?: string;
  /** The most memory that the module may have, in MiB, at most 4096. `WASM_PROXY_MEMORY_LIMIT_MIB` */
  memoryLimitMiB?: number;
  /** The share of the limit at which a standby is made. Default: 0.7. `WASM_PROXY_WARN` */
  warn?: number;
  /** The share of the limit at which it takes over. Default: 0.9. `WASM_PROXY_CRITICAL` */
  critical?: number;
  /**
   * Swap after so many calls on one instance, a whole number. A standby is made after three quarters of them. Default:
   * the number does not matter. `WASM_PROXY_SWAP_CALLS`
   */
  swapCalls?: number;
  /**
   * Swap at the first journaled call after an instance has served for so long, in seconds. Default: time does not
   * matter. `WASM_PROXY_SWAP_AGE`
   */
  swapAge?: number;
  /**
   * The file of a policy. Default: the preset of the package, for o1js; else one that is drafted from the package's
   * glue. `WASM_PROXY_POLICY`
   */
  policy?: string;
  /** The name of a policy that comes with this release, such as `o1js`. `WASM_PROXY_PRESET` */
  preset?: string;
  /** A folder, writable for its owner alone, in which compiled code is kept. `WASM_PROXY_COMPILE_CACHE` */
  compileCache?: string;
  /** How long the making of a standby may take, in seconds. `WASM_PROXY_PREPARE_TIMEOUT` */
  prepareTimeout?: number;
  /**
   * What the journal in memory keeps: every call that live objects need, or a checkpoint and the calls after it, for
   * packages whose journal would only grow. Default: `full`. `WASM_PROXY_HISTORY`
   */
  history?: 'full' | 'checkpoint';
  /**
   * A folder in which each package has the folder of its journal: a later process goes on with the state. Without it
   * the journal is in memory. `WASM_PROXY_JOURNAL`
   */
  journal?: string;
  /**
   * When a journaled call returns: after it is flushed to the disk, or at once. Default: `durable`.
   * `WASM_PROXY_JOURNAL_MODE`
   */
  journalMode?: 'durable' | 'relaxed';
  /** The longest time between two flushes of a relaxed journal. Default: 100. `WASM_PROXY_JOURNAL_FLUSH_MS` */
  journalFlushMs?: number;
  /** The name in events and metrics, and of the journal's folder. Default: the package's. */
  name?: string;
}

/** The `code` of an error of this package. */
export type ErrorCode =
  | 'WASM_PROXY_ADDON'
  | 'WASM_PROXY_GLUE'
  | 'WASM_PROXY_INSPECTOR'
  | 'WASM_PROXY_INTERNAL'
  | 'WASM_PROXY_JOURNAL'
  | 'WASM_PROXY_JOURNAL_IN_USE'
  | 'WASM_PROXY_JOURNAL_OTHER'
  | 'WASM_PROXY_MODULE'
  | 'WASM_PROXY_NOTHING_WRAPPED'
  | 'WASM_PROXY_OPTION'
  | 'WASM_PROXY_POLICY'
  | 'WASM_PROXY_REFUSED'
  | 'WASM_PROXY_VALUE';

export class WasmProxyError extends Error {
  private constructor();
  readonly name: 'WasmProxyError';
  readonly code: ErrorCode;
}

/** The state of a proxy. Sizes are in bytes. */
export interface DebugInfo {
  name: string;
  engine: string;
  enabled: boolean;
  state: string;
  generation: number;
  generationsAlive: number;
  memory: number;
  memoryLimit: number;
  standbyMemory: number | null;
  /** Bytes per second. */
  growthRate: number;
  seesGrowth: boolean;
  journalEntries: number;
  journalBytes: number;
  /** The journal's folder, if it has one; whether each call is flushed; the bytes that wait for a flush. */
  journal: { folder: string; durable: boolean; backlog: number } | null;
  objects: number;
  /** Objects that JavaScript has. */
  names: number;
  swaps: number;
  emergencies: number;
  entriesVerified: number;
  divergences: number;
  divergence: { entry: number; export: string; expected: string; got: string } | null;
  retries: number;
  failures: number;
  tainted: string | null;
  lastError: string | null;
  stateExceedsBudget: boolean;
  /** Milliseconds, bytes. */
  lastSwap: { reason: string; pause: number; memoryBefore: number; memoryAfter: number } | null;
  /** All of it in words. */
  text: string;
}

export interface Health {
  healthy: boolean;
  /** What is wrong, and the way out. */
  problems: string[];
  memory: number;
  memoryLimit: number;
  /** The share of the limit that is used. */
  usage: number;
  standby: boolean;
  swaps: number;
}

/** What every event says beside its own fields. */
export interface Told {
  package: string;
}

/** An event that says more in words. Later releases may have fields in their place. */
export interface ToldInWords extends Told {
  text: string;
}

/** The events, and what each says. Sizes are in bytes, durations in milliseconds. */
export interface Events {
  'memory-check': Told & { used: number; limit: number; standby: number | null; growthRate: number };
  'growth-unseen': Told & { memory: number };
  'state-exceeds-budget': Told & { state: number; threshold: number; objects: [type: string, count: number][] };
  'standby-prepare-start': Told & { reason: string; entries: number };
  'standby-prepare-complete': Told & {
    generation: number;
    duration: number;
    entries: number;
    memory: number;
    checkpoint: boolean;
  };
  'standby-prepare-error': Told & { error: string; failures: number; retryIn: number };
  'replay-divergence': Told & { entry: number; export: string; expected: string; got: string };
  'breaker-open': Told & { failures: number };
  'swap-start': Told & { reason: string; from: number; to: number };
  'swap-complete': Told & {
    reason: string;
    from: number;
    to: number;
    prepare: number;
    pause: number;
    tail: number;
    memoryBefore: number;
    memoryAfter: number;
  };
  'swap-error': Told & { error: string };
  'generation-tainted': Told & { generation: number; cause: string };
  'generation-freed': Told & { generation: number; memory: number; drained: number };
  'drain-killed': Told & { generation: number };
  'switched': Told & { enabled: boolean };
  'call-retried': Told & { export: string; reason: string };
  'call-held-back': Told & { export: string; waited: number; inTime: boolean };
  'unlisted-export': Told & { export: string };
  'checkpoint-taken': Told & { entry: number; bytes: number; entries: number; duration: number };
  'checkpoint-verified': Told & { entry: number; entries: number; duration: number };
  'checkpoints-refused': Told & { reasons: string };
  'checkpoint-error': Told & { error: string };
  'journal-compacted': Told & { removed: number; kept: number };
  'history-long': Told & { entries: number; bytes: number };
  'recovered': Told & { entry: number; entries: number; checkpoint: number | null; duration: number };
  'checkpoint-passed-over': Told & { file: string; reason: string };
  'checkpoint-damaged': Told & { file: string; reason: string };
  'calls-undone': Told & { entry: number; entries: number; error: string };
  'calls-lost': Told & { entries: number; error: string };
  'journal-error': Told & { error: string };
  'compile-cache-note': Told & { text: string };
  'checkpoint-rejected': ToldInWords;
  'checkpoint-durable': ToldInWords;
  'divergence-not-settled': ToldInWords;
  'divergence-accepted': ToldInWords;
  'divergence-skipped': ToldInWords;
  'state-differs': ToldInWords;
  'state-not-compared': ToldInWords;
  'turn-repeated': ToldInWords;
  'history-folded': ToldInWords;
  'artifact-kept': ToldInWords;
  'artifact-used': ToldInWords;
  'artifact-refused': ToldInWords;
  'artifact-unusable': ToldInWords;
  'tier-up-compiled': ToldInWords;
  'tier-up-error': ToldInWords;
}

/** Something that emits `Events`. */
export class Emitter extends EventEmitter {
  on<Name extends keyof Events>(event: Name, listener: (told: Events[Name]) => void): this;
  once<Name extends keyof Events>(event: Name, listener: (told: Events[Name]) => void): this;
  off<Name extends keyof Events>(event: Name, listener: (told: Events[Name]) => void): this;
}

/** Classes of a package by their names: the package itself, or some of it. */
export type Classes = object;

/** The proxy of one module. It emits `memory-check`, `swap-complete` and so on: docs/node.md has the list. */
export class WasmProxy extends Emitter {
  private constructor();
  readonly name: string;
  readonly engine: string;
  /** The policy as a file has it. */
  readonly policy: string;
  /** The exports that cannot be called, and why. */
  readonly refused: Readonly<Record<string, string>>;
  getDebugInfo(): DebugInfo;
  healthCheck(): Health;
  setEnabled(enabled: boolean): void;
  /** Makes a standby and swaps to it. It blocks this thread until that is done. */
  swap(): void;
  /**
   * The objects of earlier processes that are alive, by class, in the order of their creation. The same objects each
   * time; what is not freed stays in the journal. `classes` says where classes are that the glue does not show.
   */
  restored(classes?: Classes): Record<string, any[]>;
  /** Gives an object a key, by which later processes find it. It is on the disk when this returns. */
  keep<T extends object>(key: string, object: T): T;
  /** The object with a key, of this process or an earlier one. `undefined` if there is none that is alive. */
  kept(key: string, classes?: Classes): any;
  /** Takes a key away. The object stays until it is freed. */
  forget(key: string): void;
}

/** Loads a package as `require` does, with its WebAssembly behind a proxy. */
export function wrap(glue: string, options?: Options): any;
/** Calls a function that loads a package, and initialises it if it has to be. */
export function wrap<T>(glue: () => T, options?: Options): T;

/** The proxy of what `wrap` gave. */
export function proxyOf(wrapped: unknown): WasmProxy | undefined;

/** All proxies of this thread. */
export function proxies(): WasmProxy[];

/** The events of all proxies of this thread. */
export const events: Emitter;

/** The metrics of all proxies of this process, as Prometheus reads them. */
export function metrics(): string;

/** The engines that the addon has, the default first. */
export function engines(): string[];
