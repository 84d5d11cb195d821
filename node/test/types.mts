// Uses whatever `index.d.ts` declares. It is checked, and not run.

import {
  WasmProxy,
  WasmProxyError,
  engines,
  events,
  metrics,
  proxies,
  proxyOf,
  wrap,
  type DebugInfo,
  type Emitter,
  type ErrorCode,
  type Events,
  type Health,
  type Options,
} from 'wasm-proxy';

const options: Required<Options> = {
  enabled: true,
  engine: 'wasmtime.cranelift',
  memoryLimitMiB: 256,
  warn: 0.7,
  critical: 0.9,
  swapCalls: 10_000,
  swapAge: 86_400,
  policy: 'policy.toml',
  preset: 'o1js',
  compileCache: 'compiled',
  prepareTimeout: 60,
  journal: 'state',
  journalMode: 'relaxed',
  journalFlushMs: 100,
  history: 'checkpoint',
  name: 'brotli',
};

const byName = wrap('brotli-wasm', options);
const byFunction: { compress(bytes: Uint8Array): Uint8Array } = wrap(() => ({ compress: (bytes: Uint8Array) => bytes }));
const later: Promise<{ a: number }> = wrap(async () => ({ a: 1 }), { journalMode: 'durable' });
void [byName, byFunction, later];

const found: WasmProxy | undefined = proxyOf(byName);
const proxy: WasmProxy = found ?? proxies()[0]!;
const names: string[] = [proxy.name, proxy.engine, proxy.policy, ...engines(), metrics(), ...Object.keys(proxy.refused)];
const info: DebugInfo = proxy.getDebugInfo();
const sizes: number[] = [
  info.generation, info.generationsAlive, info.memory, info.memoryLimit, info.standbyMemory ?? 0, info.growthRate,
  info.journalEntries, info.journalBytes, info.objects, info.names, info.swaps, info.emergencies, info.entriesVerified,
  info.divergences, info.divergence?.entry ?? 0, info.retries, info.failures, info.lastSwap?.pause ?? 0,
  info.lastSwap?.memoryBefore ?? 0, info.lastSwap?.memoryAfter ?? 0, info.journal?.backlog ?? 0,
];
const words: (string | null | undefined)[] = [
  info.name, info.engine, info.state, info.tainted, info.lastError, info.text, info.divergence?.export,
  info.divergence?.expected, info.divergence?.got, info.lastSwap?.reason, info.journal?.folder, ...names,
];
const flags: (boolean | undefined)[] = [info.enabled, info.seesGrowth, info.stateExceedsBudget, info.journal?.durable];
const health: Health = proxy.healthCheck();
void [sizes, words, flags, health.healthy, health.problems.join(), health.memory, health.memoryLimit, health.usage];
void [health.standby, health.swaps];
proxy.setEnabled(false);
proxy.swap();

class Doc {
  text = '';
}
const doc: Doc = proxy.keep('doc', new Doc());
const again: Doc | undefined = proxy.kept('doc') ?? proxy.kept('doc', { Doc });
const all: Doc[] = proxy.restored().Doc ?? proxy.restored({ Doc }).Doc ?? [];
proxy.forget('doc');
void [doc.text, again, all];

// Every event, with all that it says.
type Fields<Name extends keyof Events> = (keyof Events[Name])[];
const fields: { [Name in keyof Events]: Fields<Name> } = {
  'memory-check': ['package', 'used', 'limit', 'standby', 'growthRate'],
  'growth-unseen': ['package', 'memory'],
  'state-exceeds-budget': ['package', 'state', 'threshold', 'objects'],
  'standby-prepare-start': ['package', 'reason', 'entries'],
  'standby-prepare-complete': ['package', 'generation', 'duration', 'entries', 'memory', 'checkpoint'],
  'standby-prepare-error': ['package', 'error', 'failures', 'retryIn'],
  'replay-divergence': ['package', 'entry', 'export', 'expected', 'got'],
  'breaker-open': ['package', 'failures'],
  'swap-start': ['package', 'reason', 'from', 'to'],
  'swap-complete': ['package', 'reason', 'from', 'to', 'prepare', 'pause', 'tail', 'memoryBefore', 'memoryAfter'],
  'swap-error': ['package', 'error'],
  'generation-tainted': ['package', 'generation', 'cause'],
  'generation-freed': ['package', 'generation', 'memory', 'drained'],
  'drain-killed': ['package', 'generation'],
  switched: ['package', 'enabled'],
  'call-retried': ['package', 'export', 'reason'],
  'call-held-back': ['package', 'export', 'waited', 'inTime'],
  'unlisted-export': ['package', 'export'],
  'checkpoint-taken': ['package', 'entry', 'bytes', 'entries', 'duration'],
  'checkpoint-verified': ['package', 'entry', 'entries', 'duration'],
  'checkpoints-refused': ['package', 'reasons'],
  'checkpoint-error': ['package', 'error'],
  'journal-compacted': ['package', 'removed', 'kept'],
  'history-long': ['package', 'entries', 'bytes'],
  recovered: ['package', 'entry', 'entries', 'checkpoint', 'duration'],
  'checkpoint-passed-over': ['package', 'file', 'reason'],
  'checkpoint-damaged': ['package', 'file', 'reason'],
  'calls-undone': ['package', 'entry', 'entries', 'error'],
  'calls-lost': ['package', 'entries', 'error'],
  'journal-error': ['package', 'error'],
  'compile-cache-note': ['package', 'text'],
  'checkpoint-rejected': ['package', 'text'],
  'checkpoint-durable': ['package', 'text'],
  'divergence-not-settled': ['package', 'text'],
  'divergence-accepted': ['package', 'text'],
  'divergence-skipped': ['package', 'text'],
  'state-differs': ['package', 'text'],
  'state-not-compared': ['package', 'text'],
  'turn-repeated': ['package', 'text'],
  'history-folded': ['package', 'text'],
  'artifact-kept': ['package', 'text'],
  'artifact-used': ['package', 'text'],
  'artifact-refused': ['package', 'text'],
  'artifact-unusable': ['package', 'text'],
  'tier-up-compiled': ['package', 'text'],
  'tier-up-error': ['package', 'text'],
};
const of: Emitter = events;
for (const name of Object.keys(fields) as (keyof Events)[]) of.on(name, ({ package: of }) => console.log(of));
const told = ({ pause, memoryAfter }: Events['swap-complete']) => console.log(pause + memoryAfter);
proxy.on('swap-complete', told).once('recovered', ({ entries }) => console.log(entries + 1)).off('swap-complete', told);

const error: unknown = null;
if (error instanceof WasmProxyError) {
  const codes: Record<ErrorCode, true> = {
    WASM_PROXY_ADDON: true,
    WASM_PROXY_GLUE: true,
    WASM_PROXY_INSPECTOR: true,
    WASM_PROXY_INTERNAL: true,
    WASM_PROXY_JOURNAL: true,
    WASM_PROXY_JOURNAL_IN_USE: true,
    WASM_PROXY_JOURNAL_OTHER: true,
    WASM_PROXY_MODULE: true,
    WASM_PROXY_NOTHING_WRAPPED: true,
    WASM_PROXY_OPTION: true,
    WASM_PROXY_POLICY: true,
    WASM_PROXY_REFUSED: true,
    WASM_PROXY_VALUE: true,
  };
  void [codes[error.code], error.name === 'WasmProxyError', error.message];
}

// What is wrong must fail.
// @ts-expect-error there is no such option
wrap('brotli-wasm', { memoryLimit: 256 });
// @ts-expect-error it is a number
wrap('brotli-wasm', { memoryLimitMiB: '256' });
// @ts-expect-error it is one of two words
wrap('brotli-wasm', { journalMode: 'fast' });
// @ts-expect-error a package is named, or loaded by a function
wrap(5);
// @ts-expect-error `wrap` makes proxies
new WasmProxy();
// @ts-expect-error the addon makes errors
new WasmProxyError('WASM_PROXY_OPTION');
// @ts-expect-error there is no such event
proxy.on('swapped', () => {});
// @ts-expect-error the event does not say this
proxy.on('swap-complete', ({ after }) => after);
// @ts-expect-error a figure is no text
proxy.on('swap-complete', ({ pause }) => pause.length);
// @ts-expect-error the proxy may be absent
proxyOf(byName).swap();
// @ts-expect-error a key is a text
proxy.keep(1, doc);
// @ts-expect-error a number is no object of a package
proxy.keep('number', 1);
// @ts-expect-error it cannot be set
proxy.name = 'other';
// @ts-expect-error there is no such figure
void info.memoryBytes;
