import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { fillPrometheus } from './support/filled-prometheus.ts';
import { windowMs, writeFleetFiles } from './support/fleet.ts';
import { startFleetServers } from './support/fleet-servers.ts';
import { describeMachine, median, numberFlag, residentMb, tableText } from './support/machine.ts';

/**
 * Memory of the daemon above an idle process with the same imports: a fleet on a real Prometheus, a model server beside it.
 *
 *     npm run -s bench:memory [-- --models=500 --seconds=300 --turns=300 --flags=--max-semi-space-size=2]
 */
const fleetSize = { models: numberFlag('models', 500), versions: 2, rules: 4, seed: 7 };
const seconds = numberFlag('seconds', 300);
const turns = numberFlag('turns', 300);
const modelsPerServer = numberFlag('models-per-server', 50);
const main = fileURLToPath(new URL('../src/main.ts', import.meta.url));
const child = fileURLToPath(new URL('support/memory-child.ts', import.meta.url));

console.log(describeMachine());
const folder = await mkdtemp(join(tmpdir(), 'rollbackd-bench-memory-'));
await using _folder = { [Symbol.asyncDispose]: async () => await rm(folder, { recursive: true, maxRetries: 3 }) };
await using prometheus = await fillPrometheus({ ...fleetSize, minutes: windowMs / 60_000 + 1, goOn: true });
await using servers = await startFleetServers(join(folder, 'models'), { models: fleetSize.models, modelsPerServer });
const configFile = await writeFleetFiles(folder, fleetSize, { prometheusUrl: prometheus.url, planes: servers.planes, interval: '5s' });

const variants = [{ name: "Node's defaults", flags: [] as string[] }, ...wantedFlags().map((flags) => ({ name: flags.join(' '), flags }))];
const rows: string[][] = [];
for (const { name, flags } of variants) {
  const idle = await watch([...flags, child, 'idle', '--seconds=10'], { forMs: 6_000 });
  const paced = await watch([...flags, main, 'run', '--config.file', configFile, '--web.listen-address', '127.0.0.1:0', '--log.level', 'error'], {
    forMs: seconds * 1000,
  });
  const hurried = await watch([...flags, child, 'turns', configFile, `--turns=${turns}`], { forMs: 600_000 });
  const above = (mb: number): string => `+${(mb - median(idle.late)).toFixed(0)}`;
  rows.push([
    name,
    median(idle.late).toFixed(0),
    above(median(paced.late)),
    above(paced.peak),
    above(median(hurried.late)),
    above(hurried.peak),
    drift(hurried.late),
  ]);
}
console.log(`\n${fleetSize.models} models × ${fleetSize.versions} versions × ${fleetSize.rules} rules; MB resident (10^6 bytes): idle, and above it`);
console.log(`the daemon as it runs: a turn every 5 s for ${seconds} s; back to back: ${turns} turns without a pause; medians of the second half, and peaks`);
console.log(tableText([['', 'idle', 'every 5 s', 'peak', 'back to back', 'peak', 'last quarter to third'], ...rows]));
console.log('(target: at most +60)');
console.log(describeMachine());

/** `--flags=A,B` of the command line, a variant each. */
function wantedFlags(): string[][] {
  return process.argv.filter((argument) => argument.startsWith('--flags=')).map((argument) => argument.slice('--flags='.length).split(','));
}

/** Runs a process for a while, or to its end, and looks at its memory four times a second. */
async function watch(args: readonly string[], { forMs }: { forMs: number }): Promise<{ readonly late: readonly number[]; readonly peak: number }> {
  const watched = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = once(watched, 'exit');
  let judged = 0;
  createInterface(watched.stdout).on('line', (line) => (judged = Number(line.split(' ')[2] ?? judged)));
  const seen = await sample(watched, forMs);
  watched.kill('SIGKILL');
  await ended;
  if (args.includes('turns') && judged === 0) throw new Error('the turns judged nothing: no data?');
  return { late: seen.slice(Math.floor(seen.length / 2)), peak: Math.max(...seen) };
}

async function sample({ pid }: ChildProcess, forMs: number): Promise<number[]> {
  const seen: number[] = [];
  const untilMs = performance.now() + forMs;
  while (performance.now() < untilMs) {
    await sleep(250);
    try {
      const mb = residentMb(pid ?? 0);
      if (!Number.isNaN(mb)) seen.push(mb);
      else break;
    } catch {
      break;
    }
  }
  return seen;
}

/** Whether it still grows: the last quarter of all samples against the one before. */
function drift(late: readonly number[]): string {
  const half = Math.floor(late.length / 2);
  const change = median(late.slice(half)) - median(late.slice(0, half));
  return `${change < 0 ? '' : '+'}${change.toFixed(0)}`;
}
