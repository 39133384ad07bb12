import { setTimeout as sleep } from 'node:timers/promises';
import v8 from 'node:v8';
import { numberFlag } from './machine.ts';

/**
 * The process whose memory `bench/memory.ts` watches.
 *
 *     node memory-child.ts idle                          the daemon's modules loaded, nothing done
 *     node memory-child.ts turns CONFIG [--turns=300]    turns of the application, one behind the other
 *
 * `--v8=FLAGS`: given to V8 at run time, before anything else is loaded.
 */
for (const argument of process.argv) if (argument.startsWith('--v8=')) v8.setFlagsFromString(argument.slice(5).replaceAll(',', ' '));
const [, , mode, configFile = ''] = process.argv;
// As in src/main.ts; what the daemon imports only at need is named by hand.
await import('../../src/cli/program.ts');
await import('../../src/cli/run.ts');
const { createApp } = await import('../../src/app/create.ts');
const { loadSettings } = await import('../../src/cli/settings.ts');
const { Metrics } = await import('../../src/telemetry/metrics.ts');
const { silentLog } = await import('../../test/support/stage.ts');
await import('../../src/adapters/sources/prometheus/index.ts');
await import('../../src/adapters/control-planes/tensorflow-serving/plane.ts');

if (mode === 'idle') {
  console.log('idle');
  await sleep(numberFlag('seconds', 600) * 1000);
} else {
  const created = await createApp(await loadSettings(configFile), { log: silentLog, metrics: new Metrics({ version: 'bench' }) });
  const turns = numberFlag('turns', 300);
  const pauseMs = numberFlag('pause', 0);
  for (let turn = 1; turn <= turns; turn += 1) {
    const verdicts = await created.app.turn();
    const judged = verdicts.filter(({ kind }) => kind !== 'no_data' && kind !== 'error').length;
    console.log(`turn ${turn} ${judged} ${JSON.stringify(process.memoryUsage())}`);
    if (pauseMs > 0) await sleep(pauseMs);
  }
  await created.close(0);
}
