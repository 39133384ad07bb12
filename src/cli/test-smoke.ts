import { realClock } from '../adapters/clock/real-clock.ts';
import { createSmokeRunner } from '../adapters/smoke/index.ts';
import { buildPlanes } from '../app/create.ts';
import { planeTarget } from '../app/observer.ts';
import { commandEnvironment } from '../config/env.ts';
import type { Model } from '../domain/model.ts';
import { mainVersion } from '../domain/observation.ts';
import type { ControlPlane } from '../domain/ports.ts';
import { createLog } from '../telemetry/log.ts';
import { CommandFailed, exitCodes } from './exit.ts';
import { loadSettings } from './settings.ts';
import { type Column, type OutputFormat, renderOutput } from './table.ts';

type Row = { readonly name: string; readonly outcome: string; readonly duration_ms: number; readonly detail: string };

const columns: readonly Column<Row>[] = [
  { header: 'TEST', value: (row) => row.name },
  { header: 'OUTCOME', value: (row) => (row.outcome === 'passed' ? '✔ passed' : '✖ failed'), style: (row) => (row.outcome === 'passed' ? 'green' : 'red') },
  { header: 'TOOK', value: (row) => `${row.duration_ms}ms` },
  { header: 'DETAIL', value: (row) => row.detail },
];

/** `test smoke MODEL`: runs the smoke test now; against what serves unless a version is named. @returns 0 passed, 2 failed */
export async function testSmoke(options: { model: string; configFile: string; version: string | null; output: OutputFormat }): Promise<number> {
  const config = await loadSettings(options.configFile);
  const model = config.models.find((candidate) => candidate.name === options.model);
  if (model === undefined)
    throw new CommandFailed(
      `rollbackd: no model "${options.model}" in ${options.configFile}; there are: ${config.models.map((candidate) => candidate.name).join(', ') || 'none'}`,
    );
  if (model.smokeTest === null) throw new CommandFailed(`rollbackd: model "${model.name}" has no smoke_test in ${options.configFile}`);
  const log = createLog({ level: 'error', format: process.stderr.isTTY ? 'pretty' : 'ecs' });
  const signal = AbortSignal.timeout(model.smokeTest.timeoutMs + 30_000);
  await using planes = await buildPlanes(config, { clock: realClock, log });
  const serving = options.version ?? (await serves(planes.byName.get(model.controlPlane), model, signal));
  const smoke = createSmokeRunner({ clock: realClock, log, baseEnv: commandEnvironment() });
  try {
    const results = await smoke.run(
      model.smokeTest,
      { model: model.name, to: serving, from: serving, labels: { model: model.name, version: serving } },
      signal,
    );
    const rows: Row[] = results.map((result) => ({ name: result.name, outcome: result.outcome, duration_ms: result.durationMs, detail: result.detail }));
    process.stdout.write(
      renderOutput(
        options.output,
        { data: { model: model.name, version: serving, smoke_tests: rows }, rows, columns, none: 'The smoke test has no requests.' },
        process.stdout,
      ),
    );
    return results.every((result) => result.outcome === 'passed') ? exitCodes.ok : exitCodes.pending;
  } finally {
    smoke.close();
  }
}

async function serves(plane: ControlPlane | undefined, model: Model, signal: AbortSignal): Promise<string> {
  const observation = await plane?.observe(planeTarget(model), { thorough: false }, signal);
  const version = observation === undefined ? null : mainVersion(observation);
  if (version === null) throw new CommandFailed(`rollbackd: nothing serves model "${model.name}"; name a version: --version-id 6`);
  return version;
}
