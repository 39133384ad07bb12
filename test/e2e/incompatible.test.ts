import { expect, it } from 'vitest';
import { watchServing } from '../support/serving-watch.ts';
import { type Stage, served, setStageFromFiles, untilFinished } from '../support/stage-files.ts';
import { until } from '../support/until.ts';

it('rollbackd does not roll back to a target that takes other requests: the staging is taken back', { timeout: 100_000 }, async () => {
  const rows = (columns: number) => ({ dtype: 'DT_FLOAT', tensorShape: { dim: [{ size: '-1' }, { size: String(columns) }] } });
  const taking = (columns: number) => ({ serving_default: { inputs: { rows: rows(columns) }, outputs: { scores: rows(2) } } });
  await using stage = await setStageFromFiles({ versions: { 1: { signatures: taking(12) }, 2: { signatures: taking(14), fail_ratio: 0.2 } } });
  const [{ client, orders }] = stage.servers as [Stage['servers'][number]];
  const watch = watchServing([client], served);
  stage.defer(watch.stop);
  const daemon = await stage.startDaemon();

  const episode = await untilFinished(daemon);

  expect(episode).toMatchObject({ state: 'failed', outcome: 'failure', switched_at: null, smoke_tests: [] });
  expect(episode.detail).toMatch(
    /^incompatible_target: version 1 cannot take the requests that 2 takes: serving_default: input rows is DT_FLOAT \[\?, 14\] in 2, DT_FLOAT \[\?, 12\] in 1\. Nothing moved: 2 still serves/,
  );
  await until('the staging to be gone', async () => (await client.states(served)) === '1 END, 2 AVAILABLE');
  expect(await orders()).toEqual(['1+2', 'latest']);
  expect(watch.history()).toEqual([['2']]);
});
