import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { stringify } from 'yaml';
import { realClock } from '../src/adapters/clock/real-clock.ts';
import { openConfiguredJournal } from '../src/adapters/journal/index.ts';
import { AppActions } from '../src/app/actions.ts';
import { createApp } from '../src/app/create.ts';
import { registries } from '../src/cli/registries.ts';
import { loadConfig } from '../src/config/load.ts';
import type { Journal } from '../src/domain/ports.ts';
import { Metrics } from '../src/telemetry/metrics.ts';
import { silentLog } from '../test/support/stage.ts';
import { makeModelRepository, startTensorFlowServing } from '../test/support/tensorflow-serving/start.ts';
import { describeMachine, numberFlag, quantile, tableText } from './support/machine.ts';

/**
 * Time from the moment a decision is durable in the journal to the moment its first write leaves for the plane, over loopback: the application
 * as it runs, SQLite on disk, a model server in a process of its own. Beside it, in the same run, the bare calls that nothing can do without:
 * a look at every model of the list, one call after another.
 *
 *     node bench/decision-to-write.ts [--models=4 --rollbacks=100]
 */
const models = numberFlag('models', 4);
const rollbacks = numberFlag('rollbacks', 100);

console.log(describeMachine());
const folder = await mkdtemp(join(tmpdir(), 'rollbackd-bench-decision-'));
await using _folder = { [Symbol.asyncDispose]: async () => await rm(folder, { recursive: true, maxRetries: 3 }) };
const names = Array.from({ length: models }, (_, index) => `model-${index}`);
const repository = await makeModelRepository(join(folder, 'models'), Object.fromEntries(names.map((name) => [name, { 1: {}, 2: {} }])));
const listFile = join(folder, 'models.config');
await writeFile(listFile, repository.configText(names.map((name) => ({ name }))));
await using server = await startTensorFlowServing({
  flags: { model_config_file: listFile, file_system_poll_wait_seconds: 0.05, manage_state_interval_micros: 10_000 },
});

await mkdir(join(folder, 'config'));
const configFile = join(folder, 'config', 'rollbackd.yaml');
const settings = {
  journal: { sqlite: { path: '../data/rollbackd.db' } },
  sources: [{ name: 'direct', scrape: { scrape_interval: '60s', static_configs: [{ targets: [server.rest.replace('http://', '')] }] } }],
  control_planes: [{ name: 'tfs', tensorflow_serving: { endpoints: [server.grpc], model_config_file: listFile, file_system_poll_wait: '50ms' } }],
  models: names.map((name) => ({
    name,
    source: 'direct',
    control_plane: 'tfs',
    plane: { model: name },
    preset: 'tensorflow-serving',
    rollback: { stick: '0s', quarantine: '1s', converge_timeout: '20s' },
  })),
};
await writeFile(configFile, stringify(settings));
const { config, diagnostics } = await loadConfig(configFile, registries);
if (config === null) throw new Error(diagnostics.map((each) => `${each.line}: ${each.message}`).join('\n'));

/** When the newest decision became durable, ms of `performance.now()`. */
let decidedMs = Number.NaN;
const spans: number[] = [];
const journal = watched(await openConfiguredJournal(config.journal, { clock: realClock, log: silentLog }));
const metrics = new Metrics({ version: 'bench' }, { processMetrics: false });
const asked = metrics.controlPlaneAsked.bind(metrics);
metrics.controlPlaneAsked = (plane, method, code, durationMs) => {
  asked(plane, method, code, durationMs);
  if (method !== 'HandleReloadConfigRequest' || Number.isNaN(decidedMs)) return;
  spans.push(performance.now() - durationMs - decidedMs);
  decidedMs = Number.NaN;
};
const created = await createApp(config, { log: silentLog, metrics, journal, clock: realClock });
const actions = new AppActions(created.app, { clock: realClock, teller: created.teller, metrics, log: silentLog });
created.start();
for (let index = 0; index < rollbacks; index += 1) {
  const name = names[index % names.length] as string;
  const to = Math.floor(index / names.length) % 2 === 0 ? '1' : '2';
  const { id } = await actions.rollback(name, { to, by: 'bench', reason: 'measured' });
  for (;;) {
    const episode = await journal.episode(id);
    if (episode?.finishedAtMs != null) {
      if (episode.state !== 'succeeded') throw new Error(`${id} ended ${episode.state}: ${episode.detail}`);
      break;
    }
    await sleep(20);
  }
  if (to === '2') await sleep(1_100);
}
await created.close(0);

console.log(`\n${rollbacks} rollbacks, ${models} models on the server; ms from the durable decision to the first write`);
console.log(tableText([['median', 'p90', 'p99', 'worst'], [0.5, 0.9, 0.99, 1].map((q) => quantile(spans, q).toFixed(1))]));
console.log('(target: p99 at most 50)');
console.log(describeMachine());

function watched(inner: Journal): Journal {
  return new Proxy(inner, {
    get(target, key) {
      const value: unknown = Reflect.get(target, key, target);
      if (key !== 'append') return typeof value === 'function' ? (value.bind(target) as unknown) : value;
      return async (...args: Parameters<Journal['append']>) => {
        const stored = await target.append(...args);
        if (args[0].some((event) => event.type === 'decision')) decidedMs = performance.now();
        return stored;
      };
    },
  });
}
