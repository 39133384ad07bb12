import { type AddressInfo, createServer, type Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { type FaultySetup, httpAnswers } from '../../../../test/contract/answers.ts';
import { all, describeControlPlane, reach } from '../../../../test/contract/control-plane.ts';
import { describePlaneFaults, timeout } from '../../../../test/contract/plane-faults.ts';
import { httpFault } from '../../../../test/support/http-answers.ts';
import { startHttpGate } from '../../../../test/support/http-gate.ts';
import { MlflowServer } from '../../../../test/support/mlflow/server.ts';
import { aPlaneDeps } from '../../../../test/support/plane-deps.ts';
import type { Observation } from '../../../domain/observation.ts';
import type { PlaneDeps, PlaneTarget } from '../../../domain/ports.ts';
import type { ApplyOutcome, Step } from '../../../domain/step.ts';
import { MlflowPlane } from './plane.ts';
import { mlflowConfig, mlflowKeys } from './schema.ts';

const ever = new AbortController().signal;
const target: PlaneTarget = { model: 'fraud-detector', plane: mlflowKeys.parse({ registered_model: 'fraud' }) };
const secret = 's3cr3t-planted';

function planeAt(url: string, settings: Record<string, unknown> = {}, deps: PlaneDeps = aPlaneDeps()): MlflowPlane {
  return new MlflowPlane(mlflowConfig.parse({ url, alias_is_traffic: true, ...settings }), deps);
}

/** Seven versions, and the alias on the last. */
async function startRegistry(): Promise<MlflowServer> {
  const server = await MlflowServer.start();
  for (let version = 1; version <= 7; version += 1) server.state.register('fraud');
  server.state.model('fraud').aliases.set('champion', 7);
  return server;
}

async function silentServer(): Promise<{ url: string; close: () => Promise<void> }> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => void sockets.add(socket.on('error', () => undefined)));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function startContract(): Promise<FaultySetup> {
  const server = await startRegistry();
  const silent = await silentServer();
  const auth = { http_config: { authorization: { credentials: secret } } };
  const gate = await startHttpGate(server.url);
  const deps = aPlaneDeps();
  const plane = planeAt(gate.url, auth, deps);
  return {
    plane,
    target,
    from: '7',
    to: '6',
    remember: () => undefined,
    mutations: async () => gate.seen.filter(({ method }) => method !== 'GET').length,
    unreachable: async () => planeAt('http://127.0.0.1:1', auth),
    silent: async () => planeAt(silent.url, auth),
    secret,
    fault: httpFault(gate, deps.clock, { secret }),
    wires: {
      server: {
        upstream: new URL(server.url).host,
        connect: async ({ url, caFile }) =>
          planeAt(url, { timeout, http_config: { ...auth.http_config, ...(caFile === null ? {} : { tls_config: { ca_file: caFile } }) } }, deps),
      },
    },
    said: deps.said,
    [Symbol.asyncDispose]: async () => {
      await plane.close();
      await silent.close();
      await gate[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}
describeControlPlane('mlflow with alias_is_traffic', startContract, httpAnswers);
describePlaneFaults('mlflow', startContract, { to: 'server', protocol: 'http', tls: true });

async function observe(plane: MlflowPlane, thorough = true): Promise<Observation> {
  return await plane.observe(target, { thorough }, ever);
}

async function stepsTo(plane: MlflowPlane, version: string): Promise<readonly [Step, ...Step[]]> {
  const plan = plane.plan(target, await observe(plane), { ...all(version), kind: 'serve', reason: 'error ratio 10% > 5%' } as Parameters<
    MlflowPlane['plan']
  >[2]);
  if (plan.kind !== 'steps' || plan.steps[0] === undefined) throw new Error(JSON.stringify(plan));
  return plan.steps as [Step, ...Step[]];
}

async function apply(plane: MlflowPlane, step: Step, inverse = false): Promise<ApplyOutcome> {
  return await plane.apply(target, step, { inverse, opId: 'rb_1/some step', epoch: 1 }, ever);
}

describe('mlflow', () => {
  it('reads aliases where they are told, since search results have none', async () => {
    await using server = await startRegistry();
    const plane = planeAt(server.url);

    const observation = await observe(plane);

    expect(observation.serving).toEqual([{ version: '7', share: 1 }]);
    expect(observation.endpoints[0]?.routes).toEqual({ champion: '7' });
    expect(observation.versions.map(({ id }) => id)).toEqual(['7', '6', '5', '4', '3', '2', '1']);
  });

  it('reads every page of versions when it is asked thoroughly', async () => {
    await using server = await startRegistry();
    for (let version = 8; version <= 620; version += 1) server.state.register('fraud');

    const observation = await observe(planeAt(server.url));

    expect(observation.versions).toHaveLength(620);
    expect(observation.versions.at(-1)).toEqual({ id: '1', state: 'unloaded' });
  });

  it('shows what is registered but not ready', async () => {
    await using server = await startRegistry();
    const versions = server.state.model('fraud').versions;
    Object.assign(versions.get(6) ?? {}, { status: 'PENDING_REGISTRATION' });
    Object.assign(versions.get(5) ?? {}, { status: 'FAILED_REGISTRATION', statusMessage: 'no artifacts' });

    const plane = planeAt(server.url);
    const observation = await observe(plane);

    expect(observation.versions.slice(1, 3)).toEqual([
      { id: '6', state: 'pending' },
      { id: '5', state: 'failed', detail: 'no artifacts' },
    ]);
    expect(plane.plan(target, observation, all('5'))).toEqual({ kind: 'refused', reason: 'version 5 of fraud is failed: no artifacts' });
    expect(plane.plan(target, observation, all('99'))).toEqual({ kind: 'refused', reason: 'MLflow has no version 99 of registered model fraud' });
  });

  it('writes down on both versions what was done, with the reason', async () => {
    await using server = await startRegistry();
    const plane = planeAt(server.url);
    for (const step of await stepsTo(plane, '6')) expect((await apply(plane, step)).kind).toBe('applied');

    const { versions, aliases } = server.state.model('fraud');
    expect(aliases.get('champion')).toBe(6);
    expect(Object.fromEntries(versions.get(7)?.tags ?? [])).toEqual({
      'rollbackd.state': 'rolled_back',
      'rollbackd.rolled_back_to': '6',
      'rollbackd.reason': 'error ratio 10% > 5%',
      'rollbackd.op_id': 'rb_1',
      'rollbackd.at': expect.stringMatching(/^\d{4}-.*Z$/) as string,
    });
    expect(Object.fromEntries(versions.get(6)?.tags ?? [])).toMatchObject({
      'rollbackd.state': 'restored',
      'rollbackd.restored_from': '7',
      'rollbackd.op_id': 'rb_1',
    });
  });

  it('takes an alias back to nowhere', async () => {
    await using server = await startRegistry();
    const plane = planeAt(server.url);
    server.state.model('fraud').aliases.delete('champion');
    const [step] = await stepsTo(plane, '6');

    expect((await apply(plane, step)).kind).toBe('applied');
    expect((await apply(plane, step, true)).kind).toBe('applied');

    expect(server.state.model('fraud').aliases.size).toBe(0);
  });

  it('leaves an alias alone that somebody else has moved before, and tells', async () => {
    await using server = await startRegistry();
    const plane = planeAt(server.url);
    const [step] = await stepsTo(plane, '6');
    server.state.model('fraud').aliases.set('champion', 5);

    const outcome = await apply(plane, step);

    expect(outcome).toEqual({
      kind: 'conflict',
      class: 'permanent',
      detail: 'alias champion of fraud points to 5, not to 7: someone else moved it, and it is left alone',
    });
    expect(server.writes).toEqual([]);
  });

  it('tells when somebody else moves it at the same moment, and does not fight', async () => {
    await using server = await startRegistry();
    const plane = planeAt(server.url);
    const [step] = await stepsTo(plane, '6');
    server.fail({ route: /POST registered-models\/alias/, meanwhile: () => void server.state.model('fraud').aliases.set('champion', 3) });

    expect(await apply(plane, step)).toMatchObject({ kind: 'conflict', class: 'permanent', detail: expect.stringContaining('points to 3 now') as string });
    expect(server.writes).toHaveLength(1);
  });

  it('finds an alias in whatever letters the database has it', async () => {
    await using server = await startRegistry();
    const { aliases } = server.state.model('fraud');
    aliases.clear();
    aliases.set('Champion', 4);

    expect((await observe(planeAt(server.url))).serving).toEqual([{ version: '4', share: 1 }]);
  });

  it('rolls back from a version that was deleted under its alias', async () => {
    await using server = await startRegistry();
    const bad = server.state.model('fraud').versions.get(7);
    if (bad !== undefined) bad.deleted = true;
    const plane = planeAt(server.url);

    const observation = await observe(plane);
    expect(observation.versions[0]).toEqual({ id: '7', state: 'absent', detail: 'the alias dangles: MLflow has no such version (any more)' });
    const [step] = await stepsTo(plane, '6');
    expect((await apply(plane, step)).kind).toBe('applied');
  });

  it('does not put the alias on a version that is gone by then', async () => {
    await using server = await startRegistry();
    const plane = planeAt(server.url);
    const [step] = await stepsTo(plane, '6');
    const target6 = server.state.model('fraud').versions.get(6);
    if (target6 !== undefined) target6.deleted = true;

    expect(await apply(plane, step)).toEqual({ kind: 'rejected', class: 'permanent', detail: 'MLflow has no version 6 of registered model fraud' });
    expect(server.writes).toEqual([]);
  });

  it.each([
    {
      name: 'basic authentication',
      settings: { basic_auth: { username: 'rb', password: secret } },
      arrange: (server: MlflowServer): void => void (server.users = new Map([[`rb:${secret}`, 'EDIT']])),
    },
    { name: 'a bearer token', settings: { authorization: { credentials: secret } }, arrange: (server: MlflowServer): void => void (server.token = secret) },
  ])('signs in with $name', async ({ settings, arrange }) => {
    await using server = await startRegistry();
    arrange(server);

    await reach({ plane: planeAt(server.url, { http_config: settings }), target, remember: () => undefined }, all('6'));

    expect(server.state.model('fraud').aliases.get('champion')).toBe(6);
  });

  it('names the right that is missing', async () => {
    await using server = await startRegistry();
    server.users = new Map([['reader:pw', 'READ']]);
    const plane = planeAt(server.url, { http_config: { basic_auth: { username: 'reader', password: 'pw' } } });
    const [step] = await stepsTo(plane, '6');

    expect(await apply(plane, step)).toMatchObject({
      kind: 'rejected',
      class: 'auth',
      detail: expect.stringContaining('this user needs EDIT on registered model "fraud"') as string,
    });
    await expect(observe(planeAt(server.url))).rejects.toMatchObject({
      class: 'auth',
      message: expect.stringContaining('give http_config.basic_auth') as string,
    });
  });

  const json = (code: string, message = 'words'): string => JSON.stringify({ error_code: code, message });
  it.each([
    [404, json('RESOURCE_DOES_NOT_EXIST', 'Registered Model with name=fraud not found'), 'permanent', 'permanent', 'not found'],
    [404, '<html>nothing here</html>', 'permanent', 'permanent', 'is this the address of an MLflow server'],
    [400, json('INVALID_PARAMETER_VALUE'), 'permanent', 'permanent', 'words'],
    [500, json('INVALID_STATE'), 'permanent', 'permanent', 'INVALID_STATE'],
    [500, json('INTERNAL_ERROR'), 'transient', 'indeterminate', 'words'],
    [502, 'bad gateway', 'transient', 'transient', '502'],
    [200, '<html>log in</html>', 'permanent', 'indeterminate', 'without a login page'],
    [200, '{"registered_model": 3, "model_versions": 3', 'permanent', 'indeterminate', 'not as MLflow does'],
  ])('answer %i %s: reading is %s, writing %s', async (status, body, reading, writing, words) => {
    await using server = await startRegistry();
    const plane = planeAt(server.url);
    const [step] = await stepsTo(plane, '6');
    server.fail({ route: /GET registered-models\/get/, reply: { status, body } });
    const error: unknown = await observe(plane).catch((cause: unknown) => cause);
    server.fail({ route: /POST registered-models\/alias/, reply: { status, body } });

    const outcome = await apply(plane, step);

    expect(error).toMatchObject({ name: 'PlaneError', class: reading, message: expect.stringContaining(words) as string });
    expect(outcome).toMatchObject({ kind: writing === 'indeterminate' ? 'indeterminate' : 'rejected', class: writing });
  });

  it('shows no secret that the other side repeats', async () => {
    await using server = await startRegistry();
    server.fail({ route: /./, times: 2, reply: { status: 400, body: json('BAD_REQUEST', `token ${secret} is odd`) } });
    const plane = planeAt(server.url, { http_config: { authorization: { credentials: secret } } });

    await expect(observe(plane)).rejects.toMatchObject({ message: expect.stringContaining('token <secret> is odd') as string });
  });
});

describe('versions that MLflow keeps', () => {
  async function storeOf(server: MlflowServer, settings: Record<string, unknown> = {}) {
    const [store] = planeAt(server.url, settings).stores();
    if (store === undefined) throw new Error('no store');
    return store;
  }

  it('are wanted kept by aliases, a tag and stages', async () => {
    await using server = await startRegistry();
    const { aliases, versions } = server.state.model('fraud');
    aliases.set('shadow', 3);
    versions.get(2)?.tags.set('keep', 'for the audit');
    versions.get(1)?.tags.set('keep', 'false');
    Object.assign(versions.get(4) ?? {}, { stage: 'Production' });
    Object.assign(versions.get(5) ?? {}, { status: 'PENDING_REGISTRATION' });

    const found = await (await storeOf(server)).list(target, ever);

    expect(found.map(({ id, keep }) => `${id}: ${keep}`)).toEqual([
      '7: alias champion points to it',
      '6: null',
      '5: it is being registered',
      '4: it is in stage Production',
      '3: alias shadow points to it',
      '2: it is tagged keep',
      '1: null',
    ]);
    expect(found[0]?.createdMs).toBe(server.state.model('fraud').versions.get(7)?.createdMs);
  });

  it('are looked at again before one is deleted', async () => {
    await using server = await startRegistry();
    server.state.model('fraud').aliases.set('shadow', 1);

    expect(await (await storeOf(server)).delete(target, '1', ever)).toEqual({ kind: 'conflict', class: 'permanent', detail: 'alias shadow points to it' });
    expect(server.writes).toEqual([]);
  });

  it('leave no alias behind that leads nowhere', async () => {
    await using server = await startRegistry();
    server.behaviour.danglingAliases = true;
    server.fail({ route: /DELETE model-versions\/delete/, meanwhile: () => void server.state.model('fraud').aliases.set('late', 1) });

    const outcome = await (await storeOf(server)).delete(target, '1', ever);

    expect(outcome).toEqual({ kind: 'applied', detail: 'deleted from fraud; its artifacts stay; took away what pointed to it: alias late' });
    expect([...server.state.model('fraud').aliases.keys()]).toEqual(['champion']);
    expect(await (await storeOf(server)).delete(target, '1', ever)).toMatchObject({ kind: 'already' });
  });

  it('are deleted by who has MANAGE only', async () => {
    await using server = await startRegistry();
    server.users = new Map([['editor:pw', 'EDIT']]);
    const store = await storeOf(server, { http_config: { basic_auth: { username: 'editor', password: 'pw' } } });

    expect(await store.delete(target, '1', ever)).toMatchObject({
      kind: 'rejected',
      class: 'auth',
      detail: expect.stringContaining('this user needs MANAGE on registered model "fraud"') as string,
    });
  });

  it('may be gone although the answer was lost', async () => {
    await using server = await startRegistry();
    server.fail({ route: /DELETE model-versions\/delete/, loseAnswer: true });
    const store = await storeOf(server);

    expect(await store.delete(target, '1', ever)).toMatchObject({ kind: 'indeterminate' });
    expect(await store.delete(target, '1', ever)).toMatchObject({ kind: 'already' });
  });

  it('are named as registry_version says', async () => {
    await using server = await startRegistry();
    const mapped = { model: 'fraud', plane: mlflowKeys.parse({ registry_version: 'fraud-(\\d+)' }) };

    expect([(await storeOf(server)).idOf(mapped, 'fraud-7'), (await storeOf(server)).idOf(mapped, '7')]).toEqual(['7', null]);
  });
});

describe('settings of mlflow', () => {
  it.each([
    [{ url: 'http://m' }, 'needs actuator or alias_is_traffic'],
    [{ url: 'http://m', actuator: 'tfs', alias_is_traffic: true }, 'expected one of them'],
    [{ url: 'http://m', alias_is_traffic: false }, 'expected true'],
    [{ url: 'http://u:p@m', actuator: 'tfs' }, 'without user and password'],
  ])('%j are refused: %s', (settings, words) => {
    expect(JSON.stringify(mlflowConfig.safeParse(settings).error?.issues)).toContain(words);
  });

  it.each([
    [{ alias: 'v7' }, 'reserves'],
    [{ alias: 'Latest' }, 'reserves'],
    [{ alias: 'a b' }, 'expected an alias'],
    [{ registry_version: 'v\\d+' }, 'exactly one capture'],
    [{ registry_version: '(' }, 'compiles'],
  ])('keys of a model %j are refused: %s', (keys, words) => {
    expect(JSON.stringify(mlflowKeys.safeParse(keys).error?.issues)).toContain(words);
  });
});

describe('the page of a version', () => {
  it('is that of the registered one, by its name there, without the query of the address', async () => {
    const plane = planeAt('http://mlflow.example.org:5000/ml/?key=s3cr3t');
    const mapped = { model: 'fraud', plane: mlflowKeys.parse({ registered_model: 'a/b c', registry_version: 'r(\\d+)' }) };

    expect(plane.origin(mapped, 'r7')).toEqual({ mlflow: 'http://mlflow.example.org:5000/ml/#/models/a%2Fb%20c/versions/7' });
    expect(plane.origin(mapped, '7')).toEqual({});
    await plane.close();
  });
});

describe('where a version came from', () => {
  const commit = '3fa563f0c1d2e3f4a5b6c7d8e9f0a1b2c3d4e5f6';

  async function observedRuns(keys: Record<string, unknown>, tags: Readonly<Record<string, string>>) {
    await using server = await startRegistry();
    for (const [key, value] of Object.entries(tags)) server.state.runs.get('run-fraud-7')?.tags.set(key, value);
    const plane = planeAt(server.url);
    const own = { model: 'fraud-detector', plane: mlflowKeys.parse({ registered_model: 'fraud', ...keys }) };
    for (let look = 0; look < 2; look += 1) await plane.observe(own, { thorough: false }, ever);
    const origin = plane.origin(own, '7');
    await plane.close();
    return { url: server.url, origin };
  }

  it('is its run, and the commit of that where its repository is known', async () => {
    const known = await observedRuns({}, { 'mlflow.source.git.commit': commit, 'mlflow.source.git.repoURL': 'https://ci:s3cr3t@git.example.org/fraud.git' });
    const given = await observedRuns({ repository: 'https://git.example.org/ours' }, { 'mlflow.source.git.commit': commit });

    expect(known.origin).toEqual({
      mlflow: `${known.url}/#/models/fraud/versions/7`,
      mlflow_run: `${known.url}/#/experiments/1/runs/run-fraud-7`,
      commit: `https://git.example.org/fraud/commit/${commit}`,
    });
    expect(given.origin).toMatchObject({ commit: `https://git.example.org/ours/commit/${commit}` });
    expect(Object.keys((await observedRuns({}, { 'mlflow.source.git.commit': commit })).origin)).toEqual(['mlflow', 'mlflow_run']);
  });

  it('is read a few runs at a time, each once, and not while a decision waits', async () => {
    await using server = await startRegistry();
    const plane = planeAt(server.url);
    const asked = () => server.calls.filter((call) => call === 'GET runs/get').length;

    await plane.observe(target, { thorough: true }, ever);
    expect(asked()).toBe(0);
    for (const expected of [4, 7, 7]) {
      await plane.observe(target, { thorough: false }, ever);
      expect(asked()).toBe(expected);
    }
    await plane.close();
  });

  it('is left out where the run cannot be read, and the version is observed all the same', async () => {
    await using server = await startRegistry();
    server.fail({ route: /GET runs.get/, times: 4, reply: { status: 403, body: 'Permission denied' } });
    const plane = planeAt(server.url);

    const { serving } = await plane.observe(target, { thorough: false }, ever);

    expect(serving).toEqual([{ version: '7', share: 1 }]);
    expect(Object.keys(plane.origin(target, '7'))).toEqual(['mlflow']);
    await plane.close();
  });
});

describe('signatures in MLflow', () => {
  const columns = (...names: string[]) => `signature:\n  inputs: '${JSON.stringify(names.map((name) => ({ type: 'double', name, required: true })))}'\n`;

  it('are read once from the file MLmodel of a version, by its name in MLflow', async () => {
    await using server = await MlflowServer.start();
    server.state.register('fraud', { modelFile: columns('amount') });
    const plane = planeAt(server.url);
    const mapped = { model: 'fraud-detector', plane: mlflowKeys.parse({ registered_model: 'fraud', registry_version: 'fraud-(\\d+)' }) };

    const found = await plane.signatures(mapped, 'fraud-1', ever);
    await plane.signatures(mapped, 'fraud-1', ever);

    expect(found).toMatchObject([{ endpoint: new URL(server.url).host, signature: { signatures: { '': { inputs: { amount: { type: 'double' } } } } } }]);
    expect(server.calls).toEqual(['GET /model-versions/get-artifact']);
    expect(await plane.signatures(mapped, 'churn-1', ever)).toEqual([]);
    await plane.close();
  });

  it('are not known of a version without one, without MLmodel, that is gone, or whose MLmodel is not understood', async () => {
    await using server = await MlflowServer.start();
    for (const modelFile of ['flavors: {}\n', undefined, "signature:\n  inputs: 'no JSON'\n"])
      server.state.register('fraud', modelFile === undefined ? {} : { modelFile });
    const plane = planeAt(server.url);

    for (const version of ['1', '2', '3', '9'])
      expect(await plane.signatures(target, version, ever)).toEqual([{ endpoint: new URL(server.url).host, signature: null }]);
    await plane.close();
  });

  it('cannot be read without the right to, or while MLflow fails', async () => {
    await using server = await MlflowServer.start();
    server.state.register('fraud', { modelFile: columns('amount') });
    server.token = secret;
    const plane = planeAt(server.url);
    await expect(plane.signatures(target, '1', ever)).rejects.toMatchObject({ name: 'PlaneError', class: 'auth' });

    server.token = null;
    server.fail({ route: /get-artifact/, reply: { status: 503, body: '{"error_code": "TEMPORARILY_UNAVAILABLE", "message": "later"}' } });
    await expect(plane.signatures(target, '1', ever)).rejects.toMatchObject({ class: 'transient', message: expect.stringContaining('later') as string });
    expect(await plane.signatures(target, '1', ever)).toMatchObject([{ signature: { form: 'columns by name' } }]);
    await plane.close();
  });
});
