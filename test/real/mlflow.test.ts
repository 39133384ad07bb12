import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { homedir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { realClock } from '../../src/adapters/clock/real-clock.ts';
import { MlflowPlane } from '../../src/adapters/control-planes/mlflow/plane.ts';
import { mlflowConfig, mlflowKeys } from '../../src/adapters/control-planes/mlflow/schema.ts';
import { createMlflowSource } from '../../src/adapters/sources/mlflow/index.ts';
import { mlflowSchema } from '../../src/adapters/sources/mlflow/schema.ts';
import { compareSignatures, type ModelSignature } from '../../src/domain/signature.ts';
import type { RetentionView } from '../../src/web/api.ts';
import { all, reach } from '../contract/control-plane.ts';
import { type RealMlflow, startMlflow } from '../support/mlflow/real-mlflow.ts';
import { MlflowServer } from '../support/mlflow/server.ts';
import { silentLog } from '../support/stage.ts';
import { describeDaemon, modelName, type Places, served, setStageFromFiles, untilFinished } from '../support/stage-files.ts';
import { until } from '../support/until.ts';

type Registered = { readonly version: string; readonly run_id: string; readonly model_id: string };
type Described = { readonly aliases: Readonly<Record<string, string>>; readonly versions: Readonly<Record<string, Readonly<Record<string, string>>>> };

const ever = new AbortController().signal;
const deps = { clock: realClock, log: silentLog, memory: () => ({}), onRequest: () => undefined };
const pytest = path.join(process.env['XDG_CACHE_HOME'] ?? path.join(homedir(), '.cache'), 'rollbackd', 'pytest', 'bin', 'pytest');

function planeOn(url: string, settings: Record<string, unknown> = {}): MlflowPlane {
  return new MlflowPlane(mlflowConfig.parse({ url, alias_is_traffic: true, ...settings }), deps);
}

describe('with a real MLflow', () => {
  let mlflow: RealMlflow;
  const registered: Registered[] = [];

  beforeAll(async () => {
    if (!existsSync(pytest)) throw new Error(`${pytest} is missing; run: npm run real-parts`);
    mlflow = await startMlflow();
    for (let version = 1; version <= 12; version += 1)
      registered.push(await mlflow.ask<Registered>({ do: 'register', model: served, metrics: { accuracy: 0.95, loss: 0.1 } }));
  }, 300_000);
  afterAll(async () => await mlflow?.[Symbol.asyncDispose]());

  const describeModel = async (model = served): Promise<Described> => await mlflow.ask<Described>({ do: 'describe', model });

  it('a version whose accuracy fell is rolled back on TensorFlow Serving, MLflow is told, and old versions go', async () => {
    const ask = mlflow.ask;
    await ask({ do: 'set_alias', model: served, alias: 'champion', version: '12' });
    await ask({ do: 'set_tag', model: served, version: '3', key: 'keep', value: 'for the audit' });
    const smokeTest = ({ rest }: Places) => ({
      timeout: '60s',
      retries: 0,
      requests: [
        {
          name: "the team's own tests",
          command: {
            argv: [pytest, '-q', '-p', 'no:cacheprovider', path.resolve(import.meta.dirname, '../support/pytest/test_served_version.py')],
            env: { MODEL_VERSION: '{{ $to }}', MODEL_URL: `http://${rest[0]}/v1/models/${served}`, PYTHONDONTWRITEBYTECODE: '1' },
          },
        },
      ],
    });
    await using stage = await setStageFromFiles({
      versions: Object.fromEntries(Array.from({ length: 12 }, (_, index) => [index + 1, {}])),
      smokeTest,
      rollback: { known_good: { versions: ['11'], backfill: '0s' } },
      model: {
        control_plane: 'registry',
        plane: { registered_model: served, alias: 'champion', model: served },
        quality: { source: 'quality' },
        retention: { mode: 'dry_run', keep: 2, min_age: '0s', max_deletions: 100 },
      },
      rules: [{ alert: 'ModelAccuracyLow', condition: { quality: { metric: 'accuracy', below: 0.9 } }, for: '2s', labels: { severity: 'page' }, rollback: {} }],
      more: {
        sources: [{ name: 'quality', mlflow: { url: mlflow.url, refresh: '1s' } }],
        controlPlanes: [{ name: 'registry', mlflow: { url: mlflow.url, actuator: 'tfs' } }],
      },
    });
    const daemon = await stage.startDaemon(['--web.enable-admin-api']);
    await until(
      'version 12 to be judged good',
      async () => (await daemon.model()).verdicts.some(({ version, verdict }) => version === '12' && verdict === 'ok'),
      {
        seen: async () => await describeDaemon(daemon),
      },
    );

    const { run_id: evaluation } = await ask<{ run_id: string }>({ do: 'evaluate', metrics: { accuracy: 0.71 }, model_id: registered[11]?.model_id });
    const episode = await untilFinished(daemon, 90_000);

    expect(episode).toMatchObject({
      from: '12',
      to: '11',
      state: 'succeeded',
      outcome: 'success',
      reason: expect.stringContaining(`accuracy 0.71 (run ${evaluation}) < 0.9`) as string,
      evidence: { signal: 'quality', value: 0.71, threshold: 0.9 },
    });
    expect(episode.smoke_tests.map(({ name, outcome }) => [name, outcome])).toEqual([
      ["the team's own tests", 'passed'],
      ["the team's own tests", 'passed'],
    ]);
    expect(await stage.servers[0]?.client.predictVersion(served)).toBe('11');
    const told = await describeModel();
    expect(told.aliases).toEqual({ champion: '11' });
    expect(told.versions['12']).toMatchObject({
      'rollbackd.state': 'rolled_back',
      'rollbackd.rolled_back_to': '11',
      'rollbackd.op_id': episode.id,
      'rollbackd.reason': episode.reason,
    });
    expect(told.versions['11']).toMatchObject({ 'rollbackd.state': 'restored', 'rollbackd.restored_from': '12' });

    const folders = async (): Promise<readonly string[]> =>
      (await readdir(path.join(stage.folder, 'models', served))).filter((name) => /^\d+$/.test(name)).toSorted((a, b) => Number(a) - Number(b));
    const plan = await stage.cli('retention', 'plan', modelName, '--url', daemon.url, '-o', 'json');
    expect(plan.code).toBe(2);
    const planned = JSON.parse(plan.stdout) as RetentionView;
    const doomed = ['10', '9', '8', '7', '6', '5', '4', '2', '1'];
    expect(planned.stores.map(({ error, versions }) => [error, versions.filter(({ keep }) => keep === null).map(({ version }) => version)])).toEqual([
      [null, doomed],
      [null, doomed],
    ]);
    expect((await folders()).length).toBe(12);

    const run = await stage.cli('retention', 'run', modelName, '--url', daemon.url, '--reason', 'a test');
    expect(run).toMatchObject({ code: 0 });
    expect(Object.keys((await describeModel()).versions).toSorted((a, b) => Number(a) - Number(b))).toEqual(['3', '11', '12']);
    expect((await describeModel()).aliases).toEqual({ champion: '11' });
    expect(await folders()).toEqual(['3', '11', '12']);
    expect(await stage.servers[0]?.client.predictVersion(served)).toBe('11');
    await daemon.stop();
    await stage.readJournal(async (journal) => {
      const events = (await journal.events(0, 10_000)).flatMap(({ event }) => (event.type === 'version_retention' ? [event] : []));
      expect(events.filter(({ state }) => state === 'begun')).toHaveLength(18);
      expect(events.filter(({ state }) => state === 'deleted')).toHaveLength(18);
      expect(await journal.verify()).toMatchObject({ ok: true });
    });
  });

  it('moves an alias that is the traffic, there and back', async () => {
    for (let version = 1; version <= 2; version += 1) await mlflow.ask({ do: 'register', model: 'churn', metrics: {} });
    await mlflow.ask({ do: 'set_alias', model: 'churn', alias: 'live', version: '2' });
    const plane = planeOn(mlflow.url);
    const target = { model: 'churn', plane: mlflowKeys.parse({ alias: 'live' }) };

    const steps = await reach({ plane, target, remember: () => undefined }, all('1'));
    const moved = await describeModel('churn');
    for (const step of steps.toReversed()) await plane.apply(target, step, { inverse: true, opId: 'rb_real', epoch: 1 }, ever);

    expect(moved.aliases).toEqual({ live: '1' });
    expect(moved.versions['2']).toMatchObject({ 'rollbackd.state': 'rolled_back', 'rollbackd.op_id': 'rb_contract' });
    expect((await describeModel('churn')).aliases).toEqual({ live: '2' });
    await plane.close();
  });

  it('links the run of a version, and its commit', async () => {
    const commit = '3fa563f0c1d2e3f4a5b6c7d8e9f0a1b2c3d4e5f6';
    const { run_id: run } = await mlflow.ask<Registered>({ do: 'register', model: 'linked', metrics: {}, tags: { 'mlflow.source.git.commit': commit } });
    await mlflow.ask({ do: 'set_alias', model: 'linked', alias: 'champion', version: '1' });
    const plane = planeOn(mlflow.url);
    const target = { model: 'linked', plane: mlflowKeys.parse({ repository: 'https://git.example.org/fraud.git' }) };

    await plane.observe(target, { thorough: false }, ever);

    expect(plane.origin(target, '1')).toEqual({
      mlflow: `${mlflow.url}/#/models/linked/versions/1`,
      mlflow_run: expect.stringMatching(new RegExp(`^${mlflow.url}/#/experiments/\\d+/runs/${run}$`)) as string,
      commit: `https://git.example.org/fraud/commit/${commit}`,
    });
    await plane.close();
  });

  it('reads metrics as they were logged, NaN for what it is, and evaluations by tags', async () => {
    const { model_id: modelId } = await mlflow.ask<Registered>({ do: 'register', model: 'ranker', metrics: { ndcg: 0.8, auc: 'nan', drift: 'inf' } });
    await mlflow.ask({ do: 'evaluate', metrics: { f1: 0.4 }, model_id: modelId });
    await mlflow.ask({ do: 'evaluate', metrics: { recall: 0.6 }, tags: { 'rollbackd.model': 'ranker', 'rollbackd.version': '1' }, experiment: 'training' });
    const source = createMlflowSource(mlflowSchema.parse({ url: mlflow.url }), { clock: realClock, log: silentLog });
    const read = async (metric: string) => {
      const answer = (await source.askQuality?.([{ id: 'q', model: 'ranker', metric, versions: ['1'] }], Date.now(), ever))?.get('q');
      return answer?.kind === 'quality' ? answer.values.get('1')?.value : answer;
    };

    expect([await read('ndcg'), await read('auc'), await read('drift'), await read('f1'), await read('recall'), await read('none')]).toEqual([
      0.8,
      Number.NaN,
      Number.POSITIVE_INFINITY,
      0.4,
      0.6,
      null,
    ]);
    await source.close();
  });

  it('a target whose logged signature cannot take the requests of today is refused, and nothing is touched', async () => {
    const model = 'guarded-by-signature';
    const amount = { type: 'double', name: 'amount', required: true };
    await mlflow.ask({ do: 'register', model, metrics: {}, inputs: [amount, { type: 'string', name: 'currency', required: true }] });
    await mlflow.ask({ do: 'register', model, metrics: {}, inputs: [amount] });
    await mlflow.ask({ do: 'set_alias', model, alias: 'champion', version: '2' });
    await using stage = await setStageFromFiles({
      model: { control_plane: 'registry', plane: { registered_model: model, alias: 'champion', model: served } },
      more: { controlPlanes: [{ name: 'registry', mlflow: { url: mlflow.url, actuator: 'tfs' } }] },
    });
    const daemon = await stage.startDaemon();

    await until('the decision', async () => (await daemon.decisions()).some(({ reason }) => reason === 'incompatible_target'), {
      seen: async () => await describeDaemon(daemon),
    });

    expect((await daemon.decisions()).find(({ reason }) => reason === 'incompatible_target')).toMatchObject({
      decision: 'hold',
      target: '1',
      detail: 'version 1 cannot take the requests that 2 takes: input currency (string), which 1 needs, is unknown to 2',
    });
    expect(await daemon.rollbacks()).toEqual([]);
    expect(await stage.servers[0]?.orders()).toEqual([]);
    expect((await describeModel(model)).aliases).toEqual({ champion: '2' });
  });

  it('reads of logged models what MLflow itself enforces: it refuses what that refuses, and lets pass what that takes', async () => {
    const column = (name: string, type: string, more: object = {}) => ({ name, type, required: true, ...more });
    const tensor = (name: string, dtype: string, shape: readonly number[]) => ({ name, type: 'tensor', 'tensor-spec': { dtype, shape } });
    const long = { type: 'long', required: true };
    const schemas: readonly (readonly object[])[] = [
      ...['integer', 'long', 'float', 'double', 'string', 'boolean', 'any'].map((type) => [column('a', type)]),
      [column('a', 'double'), column('b', 'long')],
      [column('a', 'double'), column('b', 'long', { required: false })],
      [column('a', 'array', { items: { type: 'long' } })],
      [column('a', 'array', { items: { type: 'double' } })],
      [column('a', 'map', { values: { type: 'long' } })],
      [column('a', 'object', { properties: { id: long } })],
      [column('a', 'object', { properties: { id: long, nick: { type: 'string', required: false } } })],
      [column('a', 'object', { properties: { id: long, nick: { type: 'string', required: true } } })],
      [tensor('a', 'float64', [-1, 3])],
      [tensor('a', 'float64', [-1, 4])],
      [tensor('a', 'float64', [-1])],
      [tensor('a', 'int64', [-1, 3])],
      [tensor('a', 'float64', [-1, 3]), tensor('b', 'int64', [-1])],
    ];
    const model = 'enforced';
    const plane = planeOn(mlflow.url);
    const target = { model, plane: mlflowKeys.parse({}) };
    const signatures: ModelSignature[] = [];
    for (const [index, inputs] of schemas.entries()) {
      await mlflow.ask({ do: 'register', model, metrics: {}, inputs });
      const [found] = await plane.signatures(target, String(index + 1), ever);
      signatures.push(found?.signature as ModelSignature);
    }
    const refused: string[] = [];
    const wrong: string[] = [];
    const typeOf = (inputs: readonly object[]): string => (inputs[0] as { type: string }).type;
    // MLflow looks into neither texts nor booleans: the model would get a list or an object in their place. An object it takes for a map, if its values fit.
    const isUnread = (current: readonly object[], wanted: readonly object[]): boolean =>
      ['array', 'map', 'object'].includes(typeOf(current)) && ['string', 'boolean', 'map'].includes(typeOf(wanted)) && typeOf(current) !== typeOf(wanted);
    for (const [from, current] of schemas.entries()) {
      for (const [to, wanted] of schemas.entries()) {
        const [today, then] = [signatures[from], signatures[to]] as [ModelSignature, ModelSignature];
        if (today.form !== then.form) continue;
        const { requests } = compareSignatures({ version: 'today', signature: today }, { version: 'then', signature: then });
        const { taken } = await mlflow.ask<{ taken: readonly (readonly [json: boolean, typed: boolean])[] }>({ do: 'enforce', current, target: wanted });
        const pair = `${JSON.stringify(current)} on ${JSON.stringify(wanted)}: ${requests.join('; ')} ${JSON.stringify(taken)}`;
        if (requests.length > 0) refused.push(pair);
        const fails = taken.some((answers) => answers.includes(false));
        if (requests.length > 0 && !fails && !isUnread(current, wanted)) wrong.push(`refused, and MLflow takes all of it: ${pair}`);
        // Nearly all requests come as JSON.
        if (requests.length === 0 && !taken.every(([json]) => json) && typeOf(current) !== 'any') wrong.push(`let pass, and MLflow refuses it: ${pair}`);
      }
    }

    expect(wrong).toEqual([]);
    expect(refused.length).toBeGreaterThan(100);
    await plane.close();
  }, 300_000);

  it('answers odd calls as the double does', async () => {
    await mlflow.ask({ do: 'register', model: 'odd', metrics: {} });
    await using double = await MlflowServer.start();
    double.state.register('odd');
    const calls: readonly (readonly [method: string, path: string, body?: object])[] = [
      ['GET', 'registered-models/get?name=none'],
      ['GET', 'registered-models/get?name=odd'],
      ['GET', 'registered-models/alias?name=odd&alias=none'],
      ['GET', 'model-versions/get?name=odd&version=9'],
      ['GET', 'model-versions/get?name=odd&version=abc'],
      ['POST', 'registered-models/alias', { name: 'odd', alias: 'a', version: 1 }],
      ['POST', 'registered-models/alias', { name: 'odd', alias: 'a', version: '9' }],
      ['POST', 'registered-models/alias', { name: 'odd', alias: 'v1', version: '1' }],
      ['POST', 'registered-models/alias', { name: 'odd', alias: 'latest', version: '1' }],
      ['POST', 'registered-models/alias', { name: 'odd', alias: 'a', version: '1' }],
      ['GET', 'registered-models/alias?name=odd&alias=a'],
      ['GET', "model-versions/search?filter=name%3D'odd'&max_results=1&order_by=version_number%20DESC"],
      ['POST', 'model-versions/set-tag', { name: 'odd', version: '1', key: 'a b/c.d-e', value: 'x' }],
      ['POST', 'model-versions/set-tag', { name: 'odd', version: '9', key: 'a', value: 'x' }],
      ['DELETE', 'registered-models/alias', { name: 'odd', alias: 'none' }],
      ['GET', 'runs/get?run_id=none'],
      ['GET', 'logged-models/m-none'],
      ['POST', 'runs/search', { experiment_ids: ['0'], filter: "tags.`a` = 'b' and tags.`c` = 'd'" }],
      ['DELETE', 'model-versions/delete', { name: 'odd', version: '1' }],
      ['GET', 'model-versions/get?name=odd&version=1'],
      ['DELETE', 'model-versions/delete', { name: 'odd', version: '1' }],
    ];
    const shape = async (url: string, [method, call, body]: (typeof calls)[number]) => {
      const answer = await fetch(`${url}/api/2.0/mlflow/${call}`, {
        method,
        ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { 'Content-Type': 'application/json' } }),
      });
      const json = (await answer.json()) as Record<string, unknown>;
      const first = (json['model_version'] ?? (json['model_versions'] as unknown[] | undefined)?.[0]) as Record<string, unknown> | undefined;
      return {
        call: `${method} ${call} ${JSON.stringify(body)}`,
        status: answer.status,
        code: json['error_code'],
        has: Object.keys(json).filter((key) => !['sqlstate', 'error_class', 'message'].includes(key)),
        aliases: first?.['aliases'],
      };
    };

    for (const call of calls) expect(await shape(double.url, call)).toEqual(await shape(mlflow.url, call));
  });

  it('names the right that a user lacks', async () => {
    await using guarded = await startMlflow({ basicAuth: true });
    await guarded.ask({ do: 'create_versions', model: 'guarded', count: 2 });
    await guarded.ask({ do: 'set_alias', model: 'guarded', alias: 'champion', version: '2' });
    await guarded.ask({ do: 'create_user', name: 'reader', password: 'a-readers-password', model: 'guarded', permission: 'READ' });
    await guarded.ask({ do: 'create_user', name: 'editor', password: 'an-editors-password', model: 'guarded', permission: 'EDIT' });
    const as = (username: string, password: string) => planeOn(guarded.url, { http_config: { basic_auth: { username, password } } });
    const target = { model: 'guarded', plane: mlflowKeys.parse({}) };
    const [reader, editor, stranger] = [as('reader', 'a-readers-password'), as('editor', 'an-editors-password'), as('nobody', 'no-password-at-all')];

    const plan = reader.plan(target, await reader.observe(target, { thorough: true }, ever), all('1'));
    const [step] = plan.kind === 'steps' ? plan.steps : [];
    if (step === undefined) throw new Error(JSON.stringify(plan));
    const refused = await reader.apply(target, step, { inverse: false, opId: 'rb_1', epoch: 1 }, ever);
    const allowed = await editor.apply(target, step, { inverse: false, opId: 'rb_1', epoch: 1 }, ever);
    const deletion = await editor.stores()[0]?.delete(target, '2', ever);

    expect(refused).toMatchObject({
      kind: 'rejected',
      class: 'auth',
      detail: expect.stringContaining('answered 403; this user needs EDIT on registered model "guarded"') as string,
    });
    expect(allowed).toMatchObject({ kind: 'applied' });
    expect(deletion).toMatchObject({
      kind: 'rejected',
      class: 'auth',
      detail: expect.stringContaining('this user needs MANAGE on registered model "guarded"') as string,
    });
    await expect(stranger.observe(target, { thorough: true }, ever)).rejects.toMatchObject({
      class: 'auth',
      message: expect.stringContaining('answered 401') as string,
    });
    for (const plane of [reader, editor, stranger]) await plane.close();
    // Its server hashes a password at every call: slow on a small machine.
  }, 300_000);
});
