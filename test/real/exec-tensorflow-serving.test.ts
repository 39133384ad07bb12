import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Code, ConnectError } from '@connectrpc/connect';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parse, stringify } from 'yaml';
import { realClock } from '../../src/adapters/clock/real-clock.ts';
import { exec } from '../../src/adapters/control-planes/exec/index.ts';
import { execConfig } from '../../src/adapters/control-planes/exec/schema.ts';
import { OutputTail, runProcess } from '../../src/adapters/process/run-process.ts';
import type { ControlPlane } from '../../src/domain/ports.ts';
import { all, reach } from '../contract/control-plane.ts';
import { type ExecSettings, makeToolsPod, settingsOfReadme, type ToolsPod } from '../support/action-planes/tools-pod.ts';
import { startOwnedProcess } from '../support/owned-process.ts';
import { aPlaneDeps } from '../support/plane-deps.ts';
import { describeDaemon, errorRatioRule, served, setStageFromFiles, untilFinished } from '../support/stage-files.ts';
import { Code as TensorFlowCode } from '../support/tensorflow-serving/gen/tensorflow/core/protobuf/error_codes_pb.ts';
import { ModelService } from '../support/tensorflow-serving/gen/tensorflow_serving/apis/model_service_pb.ts';
import { PredictionService } from '../support/tensorflow-serving/gen/tensorflow_serving/apis/prediction_service_pb.ts';
import { eventually, startTestServer, type TestServer } from '../support/tensorflow-serving/test-server.ts';
import { until } from '../support/until.ts';

const ever = new AbortController().signal;
const target = { model: 'fraud-detector', plane: { model: 'fraud' } };
const applyOptions = { inverse: false, opId: 'rb_1/switch', epoch: 1 };
const readme = await readFile(path.join(import.meta.dirname, '../../src/adapters/control-planes/exec/README.md'), 'utf8');
/** A Python that starts on a busy machine. */
const patient = { observe_timeout: '60s', timeout: '2m' };

type Ran = { readonly code: number | null; readonly stdout: string; readonly stderr: string };

let owned: AsyncDisposableStack;
let folder: string;
let pod: ToolsPod;
beforeEach(async () => {
  owned = new AsyncDisposableStack();
  folder = await mkdtemp(path.join(tmpdir(), 'rollbackd-exec-'));
  owned.defer(async () => await rm(folder, { recursive: true, force: true, maxRetries: 3 }));
});
afterEach(async () => await owned.disposeAsync());

/** `models.config` as the pod sees it. */
const list = (): string => path.join(folder, 'models.config');

async function makePod(text: string): Promise<void> {
  await writeFile(list(), text);
  pod = await makeToolsPod(folder, folder);
}

/** A server with these versions of `fraud`, 7 listed and served, and the newest of `risk`. */
async function start(
  fraud: Parameters<typeof startTestServer>[0][string] = { 6: {}, 7: {} },
  flags: Parameters<typeof startTestServer>[1] = {},
): Promise<TestServer> {
  const server = owned.use(
    await startTestServer({ fraud, risk: { 1: {}, 2: {} } }, { reload_journal_file: path.join(folder, 'reloads'), ...flags }, [
      { name: 'fraud', versions: [7] },
      { name: 'risk' },
    ]),
  );
  await eventually(
    () => server.states('risk'),
    (states) => states.startsWith('v2 AVAILABLE'),
  );
  await makePod(server.repository.configText([{ name: 'fraud', versions: [7] }, { name: 'risk' }]));
  return server;
}

const hostOf = (url: string): string => new URL(url).host;

function settings(server: Pick<TestServer, 'grpcUrl'>): ExecSettings {
  return { ...settingsOfReadme(readme, pod, [hostOf(server.grpcUrl)], ['--poll', '0.03']), ...patient };
}

async function planeOf(given: ExecSettings): Promise<ControlPlane> {
  const plane = await exec.create(execConfig.parse(given), aPlaneDeps());
  owned.defer(async () => await plane.close());
  return plane;
}

/** Runs the command as the plane would, and shows all of it. */
async function run(given: ExecSettings, input: object | string): Promise<Ran> {
  const stdout = new OutputTail(100_000);
  const stderr = new OutputTail(100_000);
  const env = { ...aPlaneDeps().commandEnv, ...(given['env'] as Record<string, string>) };
  const argv = given.switch.argv as [string, ...string[]];
  const command = { argv, cwd: '/', env, input: typeof input === 'string' ? input : `${JSON.stringify(input)}\n` };
  const { code } = await runProcess(realClock, command, { stdout, stderr }, ever);
  return { code, stdout: stdout.text(), stderr: stderr.text() };
}

const anObserve = { action: 'observe', model: 'fraud', labels: {} };
const aSwitch = { action: 'switch', action_id: 'rb_1:switch:6', model: 'fraud', labels: {}, from: '7', to: '6', expect: null };

/** Versions of `fraud` and of `risk` in each list that the server was sent. */
async function listsSent(): Promise<readonly string[]> {
  type Sent = { readonly name: string; readonly model_version_policy?: { readonly specific?: { readonly versions: readonly string[] } } };
  type Line = { readonly event: string; readonly source: string; readonly config: { readonly model_config_list: { readonly config: readonly Sent[] } } };
  const lines = (await readFile(path.join(folder, 'reloads'), 'utf8').catch(() => '')).split('\n').filter((line) => line !== '');
  return lines
    .map((line) => JSON.parse(line) as Line)
    .filter(({ event, source }) => event === 'begin' && source === 'rpc')
    .map(({ config }) =>
      config.model_config_list.config.map(({ name, model_version_policy: policy }) => `${name} ${policy?.specific?.versions.join('+') ?? 'latest'}`).join(', '),
    );
}

describe('TensorFlow Serving behind `kubectl exec` and switch.py', () => {
  it('is observed, switched back and confirmed: staged beside what serves, then alone, and no other model touched', async () => {
    const server = await start();
    const plane = await planeOf(settings(server));

    const before = await plane.observe(target, { thorough: true }, ever);
    const steps = await reach({ plane, target, remember: () => undefined }, all('6'));

    expect(before).toMatchObject({ serving: [{ version: '7', share: 1 }], versions: [{ id: '7', state: 'available' }], refusals: [] });
    expect(steps.map(({ phase }) => phase)).toEqual(['switch']);
    expect(await listsSent()).toEqual(['fraud 6+7, risk latest', 'fraud 6, risk latest']);
    expect(await server.states('fraud')).toMatch(/^v7 (UNLOADING|END), v6 AVAILABLE$/);
    expect(await server.serving('fraud')).toBe(6);
    expect(await server.serving('risk')).toBe(2);
    expect(await run(settings(server), aSwitch)).toMatchObject({ code: 10, stderr: expect.stringContaining('6 serves alone') as string });
  });

  it('goes on where the connection was lost in the middle: kubectl ends with 1, its script does not', async () => {
    const server = await start();
    const plane = await planeOf(settings(server));
    const plan = plane.plan(target, await plane.observe(target, { thorough: true }, ever), all('6'));
    const [step] = plan.kind === 'steps' ? plan.steps : [];
    if (step === undefined) throw new Error('nothing planned');
    await pod.loseSwitch();

    const lost = await plane.apply(target, step, applyOptions, ever);
    const again = await until('the script that was left alone to end', async () => {
      const outcome = await plane.apply(target, step, applyOptions, ever);
      // Meanwhile the list is locked, or what serves is another than was just seen.
      if (outcome.kind !== 'already') expect(outcome).toMatchObject({ class: expect.stringMatching(/^(transient|conflict)$/) as string });
      return outcome.kind === 'already' && outcome;
    });

    expect(lost).toMatchObject({ kind: 'indeterminate', detail: expect.stringContaining('websocket: close 1006') as string });
    // Found by our own look, or by the script's, which may come in between.
    expect(again).toMatchObject({ kind: 'already', detail: expect.stringContaining('6 serves alone') as string });
    expect(await listsSent()).toEqual(['fraud 6+7, risk latest', 'fraud 6, risk latest']);
  });

  it('leaves what serves serving when the target does not load, takes the staging back, and says why', async () => {
    const server = await start({ 6: { load_error: 'saved_model.pb is corrupt' }, 7: {} });
    const plane = await planeOf(settings(server));

    await expect(reach({ plane, target, remember: () => undefined }, all('6'))).rejects.toThrow(
      /rejected: .*exit code 69: .*saved_model\.pb is corrupt.* keeps 7/,
    );

    expect(await listsSent()).toEqual(['fraud 6+7, risk latest', 'fraud 7, risk latest']);
    expect(await server.serving('fraud')).toBe(7);
  });

  it('never asks for a version alone that is not on disk: that would take the model down', async () => {
    const server = await start({ 7: {} });

    const { code, stderr } = await run(settings(server), aSwitch);

    expect([code, stderr]).toEqual([69, expect.stringMatching(/version 6 does not appear on .*: is its folder under base_path.* keeps 7/)]);
    expect(await server.serving('fraud')).toBe(7);
  });

  it('loads a version again that failed before, and stays as it was listed', async () => {
    const server = await start({ 6: { load_error: 'the disk was full' }, 7: {} });
    await server.reload([{ name: 'fraud', versions: [6, 7] }, { name: 'risk' }]);
    await eventually(
      () => server.states('fraud'),
      (states) => states.includes('v6 END'),
    );
    await server.repository.setBehaviour('fraud', 6, {});

    expect(await run(settings(server), aSwitch)).toMatchObject({ code: 0 });

    expect((await listsSent()).slice(1)).toEqual(['fraud 7, risk latest', 'fraud 6+7, risk latest', 'fraud 6, risk latest']);
    expect(await server.serving('fraud')).toBe(6);
  });

  it('does not touch another model that the list does not tell the truth of', async () => {
    const server = await start();
    await server.reload([
      { name: 'fraud', versions: [7] },
      { name: 'risk', versions: [1] },
    ]);
    await eventually(
      () => server.states('risk'),
      (states) => states === 'v2 END, v1 AVAILABLE',
    );
    const plane = await planeOf(settings(server));

    const { refusals } = await plane.observe(target, { thorough: true }, ever);
    const { code, stderr } = await run(settings(server), aSwitch);

    expect(refusals).toEqual([
      expect.stringMatching(/^model risk on .*: the list says the latest 1, but 2 was unloaded while 1 is served .*bring the list up to date$/),
    ]);
    expect([code, stderr]).toEqual([78, expect.stringMatching(/the list would change more than fraud: model risk .*; nothing was sent/)]);
    expect(await listsSent()).toHaveLength(1);
  });

  const inputs: readonly (readonly [string, object | string, number, RegExp])[] = [
    ['no input', '', 64, /no JSON.*kubectl exec needs -i/],
    ['an action that is not configured', { ...aSwitch, action: 'stage' }, 64, /action "stage" is not known here/],
    ['an unknown key', { ...aSwitch, force: true }, 64, /force is unknown/],
    ['a missing key', { ...anObserve, model: undefined }, 64, /model is missing/],
    ['labels', { ...aSwitch, labels: { region: 'eu' } }, 64, /labels: found region/],
    ['a version that is none', { ...aSwitch, to: 'v6' }, 64, /to: found "v6", expected a version/],
    ['a model that the list lacks', { ...aSwitch, model: 'churn' }, 78, /model churn is not in the list, which has fraud, risk/],
    ['another generation', { ...aSwitch, expect: '127.0.0.1:1 5 of 5' }, 11, /expected 127\.0\.0\.1:1 5 of 5, found 127\.0\.0\.1:\d+ 7 of 7/],
    ['a version that does not serve any more', { ...aSwitch, from: '5' }, 11, /serves 7, expected 5/],
  ];
  it('refuses what it does not know, and what has changed, before anything is sent', async () => {
    const server = await start();
    const results: (readonly [string, Ran])[] = [];
    for (const [name, input] of inputs) results.push([name, await run(settings(server), input)]);

    expect(results.map(([name, { code, stderr }]) => [name, code, stderr])).toEqual(
      inputs.map(([name, , code, words]) => [name, code, expect.stringMatching(words)]),
    );
    for (const [, { stderr, code }] of results) expect(stderr).toMatch(new RegExp(`^switch\\.py: [^\\n]+\\ncommand terminated with exit code ${code}\\n$`));
    expect(await listsSent()).toEqual([]);
  });

  it('waits its turn where another switch is under way in the pod', async () => {
    const server = await start();
    const other = startOwnedProcess('flock', ['--no-fork', list(), 'sleep', '60']);
    owned.defer(() => other.kill('SIGKILL'));

    // Until the lock is there it is the conflict that is told.
    const refused = await until('the list to be locked', async () => {
      const ran = await run(settings(server), { ...aSwitch, from: '5' });
      return ran.code !== 11 && ran;
    });

    expect(refused).toMatchObject({ code: 75, stderr: expect.stringContaining('another switch is under way here') as string });
    expect(await run(settings(server), anObserve)).toMatchObject({ code: 0 });
  });

  const entry = 'name: "fraud" base_path: "/models/fraud" model_platform: "tensorflow"';
  const listFaults: readonly (readonly [string, string, RegExp])[] = [
    ['an unknown field', `config { ${entry} logging_config { } }`, /models\.config:1:\d+ : .*no field named "logging_config"/],
    ['labels', `config { ${entry} version_labels { key: "stable" value: 7 } }`, /has version_labels, which this script does not move/],
    ['a model twice', `config { ${entry} } config { ${entry} }`, /model fraud stands there twice/],
    ['no platform', 'config { name: "fraud" base_path: "/models/fraud" }', /expected name, base_path and model_platform/],
    ['two policies', `config { ${entry} model_version_policy { all {} latest {} } }`, /models\.config:1:\d+ : .*policy_choice/],
    ['no model', '', /names no model/],
    [
      'a model that the server does not know',
      `config { ${entry} } config { name: "new" base_path: "/models/new" model_platform: "tensorflow" }`,
      /never heard of it/,
    ],
  ];
  it('takes no list that it could not send back whole', async () => {
    const server = await start();
    const results: unknown[] = [];
    for (const [name, text] of listFaults) {
      await writeFile(list(), `model_config_list { ${text} }`);
      const { code, stderr } = await run(settings(server), aSwitch);
      results.push([name, code, stderr]);
    }

    expect(results).toEqual(listFaults.map(([name, , words]) => [name, 78, expect.stringMatching(words)]));
    expect(await listsSent()).toEqual([]);
  });

  it('ends with what the contract has for the server’s own answers', async () => {
    const answers = { status: null as Code | null, reload: null as Code | null, inStatus: TensorFlowCode.OK as TensorFlowCode };
    const server = await startRefusing(answers);
    await makePod('model_config_list { config { name: "fraud" base_path: "/models/fraud" model_platform: "tensorflow" } }');
    const codes = async (where: 'status' | 'reload', wanted: readonly Code[]): Promise<unknown> => {
      const found: unknown[] = [];
      for (const code of wanted) {
        answers[where] = code;
        const { code: exitCode, stderr } = await run(settings(server), aSwitch);
        found.push([Code[code], exitCode]);
        expect(stderr).toContain('refused for the test');
      }
      answers[where] = null;
      return found;
    };

    expect(await codes('reload', [Code.Unknown, Code.DeadlineExceeded, Code.ResourceExhausted, Code.Aborted, Code.Unavailable])).toEqual(
      ['Unknown', 'DeadlineExceeded', 'ResourceExhausted', 'Aborted', 'Unavailable'].map((name) => [name, 75]),
    );
    expect(await codes('reload', [Code.PermissionDenied, Code.InvalidArgument])).toEqual([
      ['PermissionDenied', 77],
      ['InvalidArgument', 70],
    ]);
    expect(await codes('status', [Code.Unauthenticated, Code.Internal])).toEqual([
      ['Unauthenticated', 77],
      ['Internal', 70],
    ]);
    // OK over gRPC, and the refusal in the answer.
    answers.inStatus = TensorFlowCode.FAILED_PRECONDITION;
    expect(await run(settings(server), aSwitch)).toMatchObject({
      code: 70,
      stderr: expect.stringMatching(/the new list on .*: FAILED_PRECONDITION: refused in the answer/) as string,
    });
    expect(await run(settings({ grpcUrl: 'http://127.0.0.1:1' }), aSwitch)).toMatchObject({
      code: 75,
      stderr: expect.stringContaining('UNAVAILABLE') as string,
    });
  });

  it('under the whole daemon: a rule finds the bad version, both replicas are told by kubectl, and the rollback is proven', async () => {
    const stage = owned.use(await setStageFromFiles({ servers: 2, otherModels: ['churn'] }));
    const modelsFolder = path.dirname(stage.modelsConfig);
    const tools = await makeToolsPod(folder, modelsFolder);
    const endpoints = stage.servers.map(({ server }) => server.grpc);
    const config = parse(await readFile(stage.configFile, 'utf8')) as Record<string, unknown>;
    config['control_planes'] = [{ name: 'tfs', exec: { ...settingsOfReadme(readme, tools, endpoints, ['--poll', '0.1']), ...patient } }];
    await writeFile(stage.configFile, stringify(config));
    const daemon = await stage.startDaemon();

    const episode = await untilFinished(daemon, 150_000);

    expect(episode, await describeDaemon(daemon)).toMatchObject({ state: 'succeeded', outcome: 'success', from: '2', to: '1', rule: errorRatioRule.alert });
    expect(episode.steps.map(({ name, state }) => [name, state])).toEqual([['switch to 1 on kubectl', 'done']]);
    expect(episode.smoke_tests.map(({ outcome }) => outcome)).toEqual(['passed']);
    expect(daemon.logRecords().filter((line) => String(line['message']).startsWith('rollback success'))).toHaveLength(1);
    for (const { client, orders } of stage.servers) {
      expect(await orders()).toEqual(['1+2', '1']);
      expect(await client.metadataVersion(served)).toBe('1');
      expect(await client.metadataVersion('churn')).toBe('1');
    }
  });
});

/** A server that has 6 and 7 loaded, serves 7, and refuses as it is told. */
async function startRefusing(answers: { status: Code | null; reload: Code | null; inStatus: TensorFlowCode }): Promise<{ grpcUrl: string }> {
  const refuse = (code: Code | null): void => {
    if (code !== null) throw new ConnectError('refused for the test', code);
  };
  const handler = connectNodeAdapter({
    routes: (router) => {
      router.service(ModelService, {
        getModelStatus: () => {
          refuse(answers.status);
          return { modelVersionStatus: [7n, 6n].map((version) => ({ version, state: 30 })) };
        },
        handleReloadConfigRequest: () => {
          refuse(answers.reload);
          return { status: { errorCode: answers.inStatus, errorMessage: 'refused in the answer' } };
        },
      });
      router.service(PredictionService, {
        getModelMetadata: () => ({ modelSpec: { name: 'fraud', versionChoice: { case: 'version', value: { value: 7n } } } }),
      });
    },
  });
  const server = createServer(handler);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  owned.defer(() => void server.close());
  return { grpcUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}
