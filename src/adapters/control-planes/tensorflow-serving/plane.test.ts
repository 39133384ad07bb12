import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { type FaultySetup, grpcAnswers, withAnswers } from '../../../../test/contract/answers.ts';
import { all, describeControlPlane, reach, takeStep } from '../../../../test/contract/control-plane.ts';
import { describePlaneFaults, timeout } from '../../../../test/contract/plane-faults.ts';
import { refuseWith } from '../../../../test/support/grpc-answers.ts';
import { startGrpcGate } from '../../../../test/support/grpc-gate.ts';
import { recordingLog } from '../../../../test/support/recording-log.ts';
import { createServingClient } from '../../../../test/support/serving-client.ts';
import { type ModelRepository, type ModelVersions, makeModelRepository, startTensorFlowServing } from '../../../../test/support/tensorflow-serving/start.ts';
import { serveHere } from '../../../../test/support/tensorflow-serving/start-here.ts';
import type { Observation } from '../../../domain/observation.ts';
import type { Log, PlaneDeps, PlaneTarget } from '../../../domain/ports.ts';
import type { Step } from '../../../domain/step.ts';
import { realClock } from '../../clock/real-clock.ts';
import { TensorFlowServingPlane } from './plane.ts';
import { tensorflowServingConfig } from './schema.ts';

const ever = new AbortController().signal;
const quiet: Log = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined, child: () => quiet };
const poll = '100ms';
/** A server that is quick about everything. */
const quickFlags = { file_system_poll_wait_seconds: 0.1, manage_state_interval_micros: 20_000, num_load_threads: 4, num_unload_threads: 4 } as const;

type Flags = NonNullable<NonNullable<Parameters<typeof startTensorFlowServing>[0]>['flags']>;
type WorldOptions = {
  models?: ModelVersions;
  /** Text behind `name`, `base_path` and `model_platform`, per model. */
  extra?: Record<string, string>;
  servers?: number;
  /** Each server is a process of its own, which can be stopped in the middle; slow to start. */
  processes?: boolean;
  flags?: Flags;
  config?: Record<string, unknown>;
};

type Server = { readonly grpc: string; readonly rest: string; readonly pid?: number; readonly end: () => Promise<void> };

async function startProcess(flags: Flags): Promise<Server> {
  const server = await startTensorFlowServing({ flags });
  return { grpc: server.grpc, rest: server.rest, pid: server.pid, end: () => server.kill('SIGKILL') };
}

/** Servers, their file, and a plane in front of them. */
class World {
  readonly #owned: (() => Promise<unknown>)[] = [];
  readonly dir: string;
  readonly file: string;
  readonly repository: ModelRepository;
  servers: Server[] = [];
  memory: Record<string, unknown> = {};
  requests: string[] = [];
  plane!: TensorFlowServingPlane;
  readonly target: PlaneTarget = { model: 'fraud-detector', plane: { model: 'fraud' } };
  readonly #processes: boolean;
  #config: Record<string, unknown> = {};

  constructor(dir: string, repository: ModelRepository, processes: boolean) {
    this.#processes = processes;
    this.dir = dir;
    this.file = join(dir, 'models.config');
    this.repository = repository;
  }

  static async start({
    models = { fraud: { 1: {}, 2: {} } },
    extra = {},
    servers = 1,
    processes = false,
    flags = {},
    config = {},
  }: WorldOptions = {}): Promise<World> {
    const dir = await mkdtemp(join(tmpdir(), 'tfs-plane-'));
    const world = new World(dir, await makeModelRepository(join(dir, 'models'), models), processes);
    await writeFile(world.file, configText(world.repository, Object.keys(models), extra));
    for (let index = 0; index < servers; index += 1)
      await world.serve({ ...quickFlags, model_config_file: world.file, reload_journal_file: join(dir, `reloads-${index}`), ...flags });
    world.configure({ endpoints: world.servers.map((server) => server.grpc), model_config_file: world.file, ...config });
    return world;
  }

  async serve(flags: Flags): Promise<Server> {
    const server = this.#processes ? await startProcess(flags) : await serveHere(flags);
    this.servers.push(server);
    this.#owned.push(server.end);
    return server;
  }

  configure(config: Record<string, unknown>, deps: Partial<PlaneDeps> = {}): void {
    this.#config = { file_system_poll_wait: poll, ...config };
    this.plane = this.another({}, deps);
  }

  /** A further plane over the same memory, as after a restart. */
  another(config: Record<string, unknown> = {}, deps: Partial<PlaneDeps> = {}): TensorFlowServingPlane {
    const plane = new TensorFlowServingPlane(tensorflowServingConfig.parse({ ...this.#config, ...config }), {
      clock: realClock,
      log: quiet,
      memory: () => this.memory,
      onRequest: (method, code) => this.requests.push(`${method} ${code}`),
      ...deps,
    });
    this.#owned.push(async () => plane.close());
    return plane;
  }

  /** The server takes requests once one version of each model is loaded; this waits for more. */
  async loaded(...ids: string[]): Promise<void> {
    await until(async () => {
      const observation = await this.observe();
      return ids.every((id) => state(observation, id) === 'available');
    });
  }

  own(release: () => Promise<unknown>): void {
    this.#owned.push(release);
  }

  readonly remember = (values: Readonly<Record<string, unknown>>): void => {
    for (const [key, value] of Object.entries(values)) {
      if (value === null) delete this.memory[key];
      else this.memory[key] = structuredClone(value);
    }
  };

  async observe(thorough = false, target = this.target): Promise<Observation> {
    return this.plane.observe(target, { thorough }, ever);
  }

  async apply(step: Step, inverse = false, plane = this.plane) {
    return plane.apply(this.target, step, { inverse, opId: 'rb_1', epoch: 1 }, ever);
  }

  async steps(version: string, target = this.target): Promise<readonly Step[]> {
    const plan = this.plane.plan(target, await this.observe(true, target), all(version));
    if (plan.kind !== 'steps') throw new Error(JSON.stringify(plan));
    return plan.steps;
  }

  async reloads(): Promise<number> {
    const texts = await Promise.all(this.servers.map(async (_server, index) => readFile(join(this.dir, `reloads-${index}`), 'utf8').catch(() => '')));
    return texts
      .join('')
      .split('\n')
      .filter((line) => line.includes('"source":"rpc","event":"begin"')).length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const release of this.#owned.toReversed()) await release();
    await rm(this.dir, { recursive: true, force: true });
  }
}

function configText(repository: ModelRepository, models: readonly string[], extra: Record<string, string>): string {
  const blocks = models.map(
    (model) =>
      `  config {\n    name: "${model}"\n    base_path: "${repository.basePath(model)}"\n    model_platform: "tensorflow"\n${extra[model] === undefined ? '' : `    ${extra[model]}\n`}  }\n`,
  );
  return `# the models of this server\nmodel_config_list {\n${blocks.join('')}}\n`;
}

const state = (observation: Observation, id: string): string => observation.versions.find((version) => version.id === id)?.state ?? 'absent';
const served = (observation: Observation): string => observation.serving.map((share) => share.version).join();

async function until(condition: () => Promise<boolean>, withinMs = 8_000): Promise<void> {
  const startedMs = Date.now();
  while (!(await condition())) {
    if (Date.now() - startedMs > withinMs) throw new Error(`not within ${withinMs} ms: ${condition.toString()}`);
    await sleep(20);
  }
}

/** Takes connections and never says a word. */
async function silentPort(world: World): Promise<string> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  world.own(async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const quick = '300ms';
const reload = 'HandleReloadConfigRequest';

async function startContract(): Promise<FaultySetup> {
  const world = await World.start({ models: { fraud: { 1: {}, 2: {} }, other: { 5: {} } } });
  const gate = await startGrpcGate(world.servers[0]?.grpc ?? '');
  world.own(async () => gate[Symbol.asyncDispose]());
  const log = recordingLog();
  world.configure({ endpoints: [gate.address], model_config_file: world.file }, { log });
  return {
    plane: world.plane,
    target: world.target,
    from: '2',
    to: '1',
    remember: world.remember,
    mutations: async () => gate.seen.filter((method) => method === reload).length,
    unreachable: async () => world.another({ endpoints: ['127.0.0.1:1'], tls_config: { ca: 'planted-secret' } }),
    silent: async () => world.another({ endpoints: [await silentPort(world)] }),
    secret: 'planted-secret',
    fault: async (on, answer) => {
      const fault = refuseWith(gate, answer, (method) => (method === reload) === (on === 'write'));
      if (answer !== 'timeout after send') return fault;
      return { ...fault, plane: world.another(on === 'write' ? { apply_timeout: quick } : { timeout: quick }, { log }) };
    },
    wires: {
      server: {
        upstream: world.servers[0]?.grpc ?? '',
        connect: async ({ address, caFile }) =>
          world.another({ endpoints: [address], timeout, ...(caFile === null ? {} : { tls_config: { ca_file: caFile } }) }, { log }),
      },
    },
    said: () => [log.text(), ...world.requests].join('\n'),
    [Symbol.asyncDispose]: async () => world[Symbol.asyncDispose](),
  };
}
describeControlPlane(
  'tensorflow_serving',
  startContract,
  // A server that does not know the model is seen to serve nothing of it.
  withAnswers(grpcAnswers, { NOT_FOUND: { read: null } }),
);
describePlaneFaults('tensorflow_serving', startContract, { to: 'server', protocol: 'grpc', tls: true });

const withLabels: WorldOptions = {
  extra: {
    fraud: 'model_version_policy { specific { versions: 1 versions: 2 } } version_labels { key: "stable" value: 1 } version_labels { key: "canary" value: 2 }',
  },
  flags: { allow_version_labels_for_unavailable_models: true },
};

describe('a rollback on TensorFlow Serving', () => {
  it('goes one endpoint first, then the rest, then the file', async () => {
    await using world = await World.start({ servers: 3 });
    const [a, b, c] = world.servers.map((server) => server.grpc);

    const steps = await world.steps('1');

    expect(steps.map((step) => [step.phase, step.barrier, step.name])).toEqual([
      ['stage', 1, `stage 1 on ${a}`],
      ['stage', 3, `stage 1 on ${b}`],
      ['stage', 3, `stage 1 on ${c}`],
      ['switch', 0, `unload 2 on ${a}`],
      ['switch', 1, `unload 2 on ${b}`],
      ['switch', 1, `unload 2 on ${c}`],
      ['persist', 0, `write specific 1 to ${world.file}`],
    ]);
    expect(steps[0]).toMatchObject({ expect: { available: '1' }, mutation: { after: { policy: { specific: { versions: ['1', '2'] } } } } });
    expect(steps[3]).toMatchObject({ expect: { serving: '1', gone: '2' }, mutation: { after: { policy: { specific: { versions: ['1'] } } } } });
  });

  it('keeps the version in service until the target serves, and writes the file so that a restart keeps it', async () => {
    await using world = await World.start({ servers: 2, models: { fraud: { 1: {}, 2: {} }, other: { 5: {}, 6: {} } } });

    await reach(world, all('1'));

    const observation = await world.observe(true);
    expect(observation).toMatchObject({ pinned: true, refusals: [], serving: [{ version: '1', share: 1 }] });
    expect(state(observation, '2')).toBe('unloaded');
    expect(await readFile(world.file, 'utf8')).toMatch(
      /# the models[^]*name: "fraud"[^]*model_version_policy \{ specific \{ versions: 1 \} \}\n {2}\}\n {2}config \{\n {4}name: "other"/,
    );
    expect(Object.keys(world.memory)).toEqual(['original/fraud']);
    const restarted = await world.serve({ ...quickFlags, model_config_file: world.file });
    const plane = world.another({ endpoints: [restarted.grpc] });
    expect(served(await plane.observe(world.target, { thorough: false }, ever))).toBe('1');
  });

  it('moves labels between staging and unloading, and leaves a label on an older version alone', async () => {
    await using world = await World.start({
      models: { fraud: { 1: {}, 2: {}, 3: {} } },
      extra: {
        fraud: 'model_version_policy { specific { versions: 1 versions: 3 } } version_labels { key: "old" value: 1 } version_labels { key: "live" value: 3 }',
      },
      flags: { allow_version_labels_for_unavailable_models: true },
    });
    const [server] = world.servers;
    await world.loaded('1', '3');

    const steps = await reach(world, all('2'));

    expect(steps.map((step) => step.name.replace(server?.grpc ?? '', 'S'))).toEqual([
      'stage 2 on S',
      'move label live to 2 on S',
      'unload 3 on S',
      `write specific 1, 2 to ${world.file}`,
    ]);
    const observation = await world.observe(true);
    expect(observation.endpoints[0]?.routes).toEqual({ old: '1', live: '2' });
    expect(observation).toMatchObject({ serving: [{ version: '2', share: 1 }], refusals: [] });
  });

  it('sends its list once more when a late write took it back, and says no more that the server differs from it', async () => {
    await using world = await World.start();
    await reach(world, all('1'));
    const [server] = world.servers;
    const client = createServingClient(server as Server);
    world.own(async () => client.close());

    // The staging of a process that was stopped, as it arrives.
    await client.reload(world.repository.configText([{ name: 'fraud', versions: ['1', '2'] }]));
    await until(async () => served(await world.observe()) === '2');

    expect((await world.observe(true)).refusals.join()).toMatch(/model fraud: policy specific 1, but 2 is served too/);
    const reverted = await world.plane.observe(world.target, { thorough: true, isReverted: true }, ever);
    expect(reverted.refusals).toEqual([]);
    const plan = world.plane.plan(world.target, reverted, all('1'));
    expect(plan).toMatchObject({ kind: 'steps', steps: [{ name: `unload 2 on ${server?.grpc}` }] });
    await reach(world, all('1'));
    expect(await world.observe(true)).toMatchObject({ serving: [{ version: '1', share: 1 }], refusals: [] });
  });

  it('plans nothing when the version already serves alone', async () => {
    await using world = await World.start();

    expect(world.plane.plan(world.target, await world.observe(true), all('2'))).toEqual({ kind: 'nothing' });
  });

  it('finishes what a crash left undone: only the steps that are missing', async () => {
    await using world = await World.start({ servers: 2 });
    const steps = await world.steps('1');
    for (const step of steps.slice(0, 3)) await takeStep(world, step);

    const rest = world.another().plan(world.target, await world.observe(true), all('1'));

    expect(rest.kind === 'steps' ? rest.steps.map((step) => step.name) : rest).toEqual([
      `unload 2 on ${world.servers[1]?.grpc}`,
      `write specific 1 to ${world.file}`,
    ]);
  });

  it('says why it has no plan', async () => {
    await using world = await World.start({ servers: 2, models: { fraud: { 1: {}, 2: {} } } });
    const observation = await world.observe(true);
    const plan = (desired: Parameters<typeof world.plane.plan>[2], on = observation) => {
      const result = world.plane.plan(world.target, on, desired);
      return result.kind === 'refused' ? result.reason : result.kind;
    };
    const half = {
      kind: 'serve',
      shares: [
        { version: '1', share: 0.5 },
        { version: '2', share: 0.5 },
      ],
    } as const;
    const down = { ...observation, endpoints: observation.endpoints.map((endpoint, index) => (index === 1 ? { ...endpoint, error: 'gone' } : endpoint)) };

    expect(
      [plan(half), plan(all('v7')), plan(all('9223372036854775808')), plan(all('01')), plan(all('7')), plan(all('1'), down)].map((reason) =>
        reason.replaceAll(/127\.0\.0\.1:\d+/g, 'S'),
      ),
    ).toMatchInlineSnapshot(`
      [
        "TensorFlow Serving cannot split traffic: expected one version with 100 %",
        "version "v7": TensorFlow Serving numbers versions 1, 2, 3 …",
        "version "9223372036854775808": TensorFlow Serving numbers versions 1, 2, 3 …",
        "version "01": TensorFlow Serving numbers versions 1, 2, 3 …",
        "version 7 has no folder under base_path (found 1, 2); a list with it alone would take the model down",
        "S cannot be read (gone); every replica must be told, or clients would get either version",
      ]
    `);
  });

  it('reads a list from the configuration and then writes no file', async () => {
    await using world = await World.start({ models: { fraud: { 1: {}, 2: {} } } });
    world.configure({
      endpoints: world.servers.map((server) => server.grpc),
      model_config_list: [{ name: 'fraud', base_path: world.repository.basePath('fraud') }],
    });

    const steps = await reach(world, all('1'));

    expect(steps.map((step) => step.phase)).toEqual(['stage', 'switch']);
    expect(await world.observe(true)).toMatchObject({ pinned: true, refusals: [], serving: [{ version: '1', share: 1 }] });
    expect(Object.keys(world.memory).toSorted()).toEqual(['original/fraud', `policy/fraud/${world.servers[0]?.grpc}`]);
  });

  it('reads through a change of the list that other people made in the file: our change of that model is void then', async () => {
    await using world = await World.start({ config: { write_back: false } });
    await reach(world, all('1'));
    expect(await world.observe(true)).toMatchObject({ pinned: true, refusals: [] });

    await writeFile(world.file, (await readFile(world.file, 'utf8')).replace('"tensorflow"', '"tensorflow" model_version_policy { all {} }'));

    const observation = await world.observe(true);
    expect(observation.pinned).toBe(false);
    expect(observation.refusals.join()).toMatch(/the list is not what the server serves: model fraud: policy all, but 2 was unloaded while 1 is served/);
  });
});

describe('signatures', () => {
  const tensor = (dtype: string, ...sizes: number[]) => ({ dtype, tensorShape: { dim: sizes.map((size) => ({ size: String(size) })) } });
  const signatures = {
    serving_default: {
      inputs: { rows: tensor('DT_FLOAT', -1, 14), threshold: tensor('DT_FLOAT'), anything: { dtype: 'DT_STRING', tensorShape: { unknownRank: true } } },
      outputs: { scores: tensor('DT_FLOAT', -1, 2) },
      methodName: 'tensorflow/serving/predict',
      defaults: { threshold: {} },
    },
    __saved_model_init_op: { outputs: { __saved_model_init_op: { dtype: 'DT_INVALID', tensorShape: { unknownRank: true } } } },
  };

  it('are told by every endpoint that has the version loaded, without those that nobody calls', async () => {
    await using world = await World.start({ models: { fraud: { 1: { signatures }, 2: {} } }, servers: 2, config: { write_back: false } });
    const [first, second] = world.servers.map(({ grpc }) => grpc);
    const stage = (await world.steps('1'))[0] as Step;
    await takeStep({ plane: world.plane, target: world.target, remember: world.remember }, stage);

    const found = await world.plane.signatures(world.target, '1', ever);

    expect(found).toEqual([
      {
        endpoint: first,
        signature: {
          signatures: {
            serving_default: {
              inputs: {
                rows: { type: 'DT_FLOAT', shape: [-1, 14] },
                threshold: { type: 'DT_FLOAT', shape: [], isOptional: true },
                anything: { type: 'DT_STRING', shape: null },
              },
              outputs: { scores: { type: 'DT_FLOAT', shape: [-1, 2] } },
            },
          },
          ignoresUnknownInputs: false,
        },
      },
      { endpoint: second, signature: null },
    ]);
    expect((await world.plane.signatures(world.target, '2', ever)).every(({ signature }) => signature !== null)).toBe(true);
    expect(await world.plane.signatures(world.target, 'not-a-number', ever)).toEqual([]);
  });

  it('cannot be told while no endpoint answers', async () => {
    await using world = await World.start();

    await expect(world.another({ endpoints: ['127.0.0.1:1'] }).signatures(world.target, '1', ever)).rejects.toMatchObject({
      name: 'PlaneError',
      class: 'transient',
    });
  });
});

describe('unpin', () => {
  it('gives the policy from before the first of two rollbacks back, in the file too, and forgets', async () => {
    await using world = await World.start({ models: { fraud: { 1: {}, 2: {}, 3: {} } } });
    const before = await readFile(world.file, 'utf8');
    await reach(world, all('2'));
    await reach(world, all('1'));

    const steps = await reach(world, { kind: 'unpin' });

    expect(steps.map((step) => step.name.replace(world.servers[0]?.grpc ?? '', 'S'))).toEqual([
      'give policy latest 1 (not set) back on S',
      `write latest 1 (not set) to ${world.file}`,
    ]);
    expect(await world.observe(true)).toMatchObject({ pinned: false, refusals: [], serving: [{ version: '3', share: 1 }] });
    expect(await readFile(world.file, 'utf8')).toBe(before);
    expect(world.memory).toEqual({});
    expect(world.plane.plan(world.target, await world.observe(), { kind: 'unpin' })).toEqual({ kind: 'nothing' });
  });

  it('gives labels back before the versions they left', async () => {
    await using world = await World.start(withLabels);
    await world.loaded('1', '2');
    await reach(world, all('1'));
    expect((await world.observe()).endpoints[0]?.routes).toEqual({ stable: '1', canary: '1' });

    const steps = await reach(world, { kind: 'unpin' });

    expect(steps.map((step) => step.phase)).toEqual(['stage', 'switch', 'persist']);
    expect((await world.observe(true)).endpoints[0]).toMatchObject({ serving: [{ version: '2' }], routes: { stable: '1', canary: '2' } });
    expect(world.memory).toEqual({});
  });
});

describe('two episodes on one server', () => {
  it('never undo each other, also when both act at once', async () => {
    await using world = await World.start({ models: { fraud: { 1: {}, 2: {} }, other: { 5: {}, 6: {} } }, config: { write_back: false } });
    const other = { target: { model: 'other', plane: {} }, plane: world.plane, remember: world.remember };

    await Promise.all([reach(world, all('1')), reach(other, all('5'))]);

    expect(served(await world.observe(true))).toBe('1');
    expect(await world.observe(true, other.target)).toMatchObject({ serving: [{ version: '5', share: 1 }], refusals: [] });
  });

  it('see a change before the journal shows it', async () => {
    await using world = await World.start({ models: { fraud: { 1: {}, 2: {} }, other: { 5: {}, 6: {} } }, config: { write_back: false } });
    const [stage] = await world.steps('1');
    await takeStep({ plane: world.plane, target: world.target, remember: () => undefined }, stage as Step);
    expect(world.memory).toEqual({});

    await takeStep(
      { plane: world.plane, target: { model: 'other', plane: {} }, remember: () => undefined },
      (await world.steps('5', { model: 'other', plane: { model: 'other' } }))[0] as Step,
    );

    await sleep(300);
    expect(state(await world.observe(), '1')).toBe('available');
  });

  it('are refused where the list is not what the server serves of the other model', async () => {
    await using world = await World.start({ models: { fraud: { 1: {}, 2: {} }, other: { 5: {}, 6: {} } }, config: { write_back: false } });
    const foreign = world.another({}, { memory: () => ({}) });
    const steps = await world.steps('1');
    // Somebody else pinned `other`, and nobody told us.
    const pin = foreign.plan({ model: 'other', plane: {} }, await foreign.observe({ model: 'other', plane: {} }, { thorough: true }, ever), all('5'));
    for (const step of pin.kind === 'steps' ? pin.steps : [])
      await takeStep({ plane: foreign, target: { model: 'other', plane: {} }, remember: () => undefined }, step);
    const sent = await world.reloads();

    const outcome = await world.apply(steps[0] as Step);

    expect(outcome).toMatchObject({
      kind: 'conflict',
      detail: expect.stringMatching(/model other: policy latest 1 \(not set\), but 6 was unloaded while 5 is served/),
    });
    expect(await world.reloads()).toBe(sent);
    expect((await world.observe(true)).refusals.join()).toMatch(/model other/);
  });
});

describe('the traps of TensorFlow Serving', () => {
  it('a target whose folder is missing: staging never unloads what serves, and is given up', async () => {
    await using world = await World.start();
    const [stage] = await world.steps('1');
    await world.repository.removeVersion('fraud', 1);
    const before = await world.observe();

    expect(await world.apply(stage as Step)).toMatchObject({ kind: 'applied' });

    await sleep(400);
    const now = await world.observe();
    expect(served(now)).toBe('2');
    expect(world.plane.check(stage as Step, before, now, 400)).toMatchObject({ kind: 'progressing' });
    expect(world.plane.check(stage as Step, before, now, 16_000)).toMatchObject({
      kind: 'failed',
      detail: expect.stringMatching(/did not appear: does its folder exist/),
    });
    expect(await world.apply(stage as Step, true)).toMatchObject({ kind: 'applied' });
    expect(world.memory).toEqual({});
  });

  it('a list with only a version that is not loaded is not sent', async () => {
    await using world = await World.start();
    const unload = (await world.steps('1')).find((step) => step.phase === 'switch') as Step;
    const early = { ...unload, mutation: { ...unload.mutation, before: { policy: null, labels: {} } } };

    expect(await world.apply(early)).toMatchObject({ kind: 'rejected', class: 'staging_needed', detail: expect.stringMatching(/would take model fraud down/) });
    expect(await world.reloads()).toBe(0);
  });

  it('a missing base_path of another model stops every change: refused', async () => {
    await using world = await World.start({ models: { fraud: { 1: {}, 2: {} }, other: { 5: {} } } });
    await world.repository.removeModel('other');

    expect((await world.observe(true)).refusals.join('\n')).toMatch(/base_path .*other of model other does not exist: the server then polls no model at all/);
  });

  it('a server that polls its own file takes the staging back, and that is seen', async () => {
    await using world = await World.start({ flags: { model_config_file_poll_wait_seconds: 1 } });
    const [stage] = await world.steps('1');
    const before = await world.observe();
    await world.apply(stage as Step);
    await until(async () => ['available', 'draining', 'unloaded'].includes(state(await world.observe(), '1')));

    await until(async () => state(await world.observe(), '1') === 'unloaded');

    expect(world.plane.check(stage as Step, before, await world.observe(), 1_500)).toMatchObject({
      kind: 'reverted',
      detail: expect.stringMatching(/polls its own config file/),
    });
  });

  it('a label cannot move to a version that is not loaded: not sent', async () => {
    await using world = await World.start(withLabels);
    await world.loaded('1', '2');
    const steps = await world.steps('1');
    const label = steps.find((step) => step.name.startsWith('move label')) as Step;
    const tooEarly = {
      ...label,
      mutation: { ...label.mutation, after: { policy: { specific: { versions: ['1', '2', '7'] } }, labels: { stable: '1', canary: '7' } } },
    };

    expect(await world.apply(tooEarly)).toMatchObject({
      kind: 'rejected',
      class: 'staging_needed',
      detail: expect.stringMatching(/label canary cannot lead to version 7/),
    });
  });

  it('a target that fails to load: told apart from a failure of an earlier life, and the bad version serves on', async () => {
    await using world = await World.start({ models: { fraud: { 1: { load_error: 'out of memory' }, 2: {} } }, flags: { max_num_load_retries: 0 } });
    const [stage] = await world.steps('1');
    const before = await world.observe();
    await world.apply(stage as Step);
    await until(async () => state(await world.observe(), '1') === 'failed');
    const failed = await world.observe();

    expect(world.plane.check(stage as Step, before, failed, 100)).toMatchObject({
      kind: 'failed',
      detail: expect.stringMatching(/failed to load: .*out of memory/),
    });
    expect(world.plane.check(stage as Step, failed, failed, 100)).toMatchObject({ kind: 'stale' });
    expect(world.plane.check(stage as Step, failed, failed, 1_000)).toMatchObject({ kind: 'failed' });
    expect(served(failed)).toBe('2');
  });

  it('a failed version that stays listed is taken off first, and then loads', async () => {
    await using world = await World.start({ models: { fraud: { 1: { load_error: 'out of memory' }, 2: {} } }, flags: { max_num_load_retries: 0 } });
    const [stage] = await world.steps('1');
    const outcome = await world.apply(stage as Step);
    world.remember('remember' in outcome ? (outcome.remember ?? {}) : {});
    await until(async () => state(await world.observe(), '1') === 'failed');
    await world.repository.setBehaviour('fraud', 1, {});

    const steps = await reach(world, all('1'));

    expect(steps.map((step) => [step.barrier, step.name.split(' on ')[0]])).toEqual([
      [0, 'take failed 1 off the list'],
      [1, 'stage 1'],
      [0, 'unload 2'],
      [0, expect.stringMatching(/^write/)],
    ]);
    expect(served(await world.observe())).toBe('1');
  });

  it('END from an earlier life of the target is not taken as its failure to come', async () => {
    await using world = await World.start();
    await reach(world, all('1'));
    await reach(world, { kind: 'unpin' });
    await world.repository.setBehaviour('fraud', 1, { load_ms: 300 });
    const [stage] = await world.steps('1');
    const before = await world.observe();
    expect(state(before, '1')).toBe('unloaded');

    await world.apply(stage as Step);

    expect(world.plane.check(stage as Step, before, before, 10).kind).toBe('stale');
    await until(async () => world.plane.check(stage as Step, before, await world.observe(), 1_000).kind === 'converged');
  });

  it('a version that appears after the plan is not unloaded by an old list', async () => {
    await using world = await World.start();
    const [stage] = await world.steps('1');
    await world.repository.setBehaviour('fraud', 3, {});
    await until(async () => served(await world.observe()) === '3');

    expect(await world.apply(stage as Step)).toMatchObject({ kind: 'conflict', detail: expect.stringMatching(/version 3 appeared since the plan was made/) });
    expect(await world.reloads()).toBe(0);
  });

  it('a name that the server does not know is never sent: it could hold up every later change', async () => {
    await using world = await World.start();
    const [stage] = await world.steps('1');
    const text = await readFile(world.file, 'utf8');
    await writeFile(
      world.file,
      text.replace(/}\n$/, `  config { name: "new" base_path: "${world.repository.basePath('new')}" model_platform: "tensorflow" }\n}\n`),
    );

    expect(await world.apply(stage as Step)).toMatchObject({ kind: 'conflict', detail: expect.stringMatching(/model new: the server does not know it/) });
    expect(await world.reloads()).toBe(0);
  });

  it('every field of every model is sent along, also those it does not use', async () => {
    await using world = await World.start({
      models: { fraud: { 1: {}, 2: {} }, other: { 5: {} } },
      extra: {
        other:
          'model_version_policy { all {} } logging_config { log_collector_config { type: "t" filename_prefix: "p" } sampling_config { sampling_rate: 0.25 attributes: 2 } }',
      },
      flags: { accept_logging_config: true },
    });
    const [stage] = await world.steps('1');

    expect(await world.apply(stage as Step)).toMatchObject({ kind: 'applied' });

    const lines = (await readFile(join(world.dir, 'reloads-0'), 'utf8'))
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    const sent = lines.find((line) => line.source === 'rpc' && line.event === 'begin');
    const boot = lines.find((line) => line.source === 'boot' && line.event === 'begin');
    expect(sent.config.model_config_list.config[1]).toEqual(boot.config.model_config_list.config[1]);
    expect(JSON.stringify(sent)).toMatch(/filename_prefix.*p.*sampling_rate.*0\.25/);
  });

  it('a server that is stopped in the middle: no answer is not a no', async () => {
    await using world = await World.start({ processes: true });
    const [stage] = await world.steps('1');
    const impatient = world.another({ apply_timeout: '300ms', timeout: '300ms' });
    process.kill(world.servers[0]?.pid ?? 0, 'SIGSTOP');

    const outcome = await world.apply(stage as Step, false, impatient);
    process.kill(world.servers[0]?.pid ?? 0, 'SIGCONT');

    expect(outcome).toMatchObject({ kind: 'rejected', class: 'transient', detail: expect.stringMatching(/GetModelStatus answered DEADLINE_EXCEEDED/) });
    await until(async () => served(await world.observe().catch(() => ({ serving: [] }) as unknown as Observation)) === '2');
    expect(await world.apply(stage as Step)).toMatchObject({ kind: 'applied' });
  });

  it('a server that was replaced is talked to again without a fuss', async () => {
    await using world = await World.start({ config: { timeout: '1s' } });
    await world.observe();
    const port = Number(world.servers[0]?.grpc.split(':')[1]);
    await world.servers[0]?.end();

    await expect(world.observe()).rejects.toMatchObject({
      class: 'transient',
      message: expect.stringMatching(/no endpoint can be read: 127\.0\.0\.1:\d+: GetModel(Status|Metadata) answered UNAVAILABLE: connect ECONNREFUSED/),
    });
    await world.serve({ ...quickFlags, port, model_config_file: world.file });

    expect(served(await world.observe())).toBe('2');
  });

  it('one endpoint that is away is named, and refused to act on', async () => {
    await using world = await World.start({ servers: 2 });
    await world.servers[1]?.end();

    const observation = await world.observe(true);

    expect(observation.endpoints.map((endpoint) => endpoint.error === undefined)).toEqual([true, false]);
    expect(observation.refusals.join()).toMatch(/cannot be read/);
    expect(world.plane.plan(world.target, observation, all('1'))).toMatchObject({
      kind: 'refused',
      reason: expect.stringMatching(/every replica must be told/),
    });
  });

  it('replicas that serve different versions by the same list are refused', async () => {
    await using world = await World.start({ servers: 2, config: { write_back: false } });
    const first = world.another({ endpoints: [world.servers[0]?.grpc] }, { memory: () => ({}) });
    const plan = first.plan(world.target, await first.observe(world.target, { thorough: true }, ever), all('1'));
    for (const step of plan.kind === 'steps' ? plan.steps : []) await takeStep({ plane: first, target: world.target, remember: () => undefined }, step);

    const observation = await world.observe(true);

    expect(observation.serving).toEqual([
      { version: '1', share: 0.5 },
      { version: '2', share: 0.5 },
    ]);
    expect(observation.refusals.join('\n')).toMatch(/the endpoints disagree on model fraud/);
  });

  it('a list that cannot be owned is told with its place, and nothing is planned', async () => {
    await using world = await World.start();
    await writeFile(world.file, 'model_config_list {\n  config { name: "fraud" shiny: 1 }\n}\n');

    const observation = await world.observe(true);

    expect(served(observation)).toBe('2');
    expect(observation.refusals).toEqual([expect.stringMatching(/models\.config:2:26: shiny: unknown field/)]);
    expect(world.plane.plan(world.target, observation, all('1'))).toMatchObject({ kind: 'refused', reason: expect.stringMatching(/models\.config:2:26/) });
  });

  it('a model that is not in the list is told, with those that are', async () => {
    await using world = await World.start();

    const observation = await world.observe(true, { model: 'fruad', plane: {} });

    expect(observation.refusals[0]).toMatch(/model fruad is not in file .*models\.config \(found fraud\)/);
  });
});

/** Stands between plane and server; after the next request that holds `needle` nothing comes back, and the connection breaks. */
async function losingAnswers(world: World, needle: string): Promise<{ readonly address: string; loseNext(): void }> {
  const [host = '', port = ''] = (world.servers[0]?.grpc ?? '').split(':');
  let isArmed = false;
  const server = createServer((client) => {
    const upstream = connect(Number(port), host);
    let isMute = false;
    const end = (): void => {
      client.destroy();
      upstream.destroy();
    };
    client.on('data', (bytes) => {
      if (isArmed && bytes.includes(needle)) {
        isArmed = false;
        isMute = true;
        setTimeout(end, 200);
      }
      upstream.write(bytes);
    });
    upstream.on('data', (bytes) => {
      if (!isMute) client.write(bytes);
    });
    for (const socket of [client, upstream]) socket.on('error', end).on('close', end);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  world.own(async () => server.close());
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    loseNext: () => {
      isArmed = true;
    },
  };
}

describe('an answer that got lost', () => {
  const models = { fraud: { 1: {}, 2: {} }, other: { 5: {}, 6: {} } };

  it('leaves the outcome open, and the next try looks before it sends', async () => {
    await using world = await World.start({ models });
    // Only a list holds a base_path.
    const proxy = await losingAnswers(world, world.dir);
    world.configure({ endpoints: [proxy.address], model_config_file: world.file });
    const [stage] = await world.steps('1');
    proxy.loseNext();

    expect(await world.apply(stage as Step)).toMatchObject({
      kind: 'indeterminate',
      class: 'indeterminate',
      detail: expect.stringMatching(/got no answer .*whether it took is not known/),
    });

    await until(async () => state(await world.observe(), '1') === 'available');
    const sent = await world.reloads();
    expect(await world.apply(stage as Step)).toMatchObject({
      kind: 'already',
      remember: { [`policy/fraud/${proxy.address}`]: { state: { policy: { specific: { versions: ['1', '2'] } } } } },
    });
    expect(await world.reloads()).toBe(sent);
  });

  it('of one model does not let the list of another undo it', async () => {
    await using world = await World.start({ models });
    const proxy = await losingAnswers(world, world.dir);
    world.configure({ endpoints: [proxy.address], model_config_file: world.file });
    const [stage] = await world.steps('1');
    const otherTarget = { model: 'other', plane: {} };
    const [otherStage] = await world.steps('5', otherTarget);
    proxy.loseNext();
    await world.apply(stage as Step);

    expect(await world.plane.apply(otherTarget, otherStage as Step, { inverse: false, opId: 'x', epoch: 1 }, ever)).toMatchObject({ kind: 'applied' });

    await until(async () => state(await world.observe(false, otherTarget), '5') === 'available');
    await sleep(300);
    expect(state(await world.observe(), '1')).toBe('available');
  });
});

describe('many addresses behind one name', () => {
  it('are each a replica, and one that is gone is a conflict', async () => {
    await using world = await World.start();
    const port = Number(world.servers[0]?.grpc.split(':')[1]);
    let addresses = ['127.0.0.1'];
    const plane = new TensorFlowServingPlane(
      tensorflowServingConfig.parse({ endpoints: [`dns:///tfs:${port}`], model_config_file: world.file, file_system_poll_wait: poll }),
      { clock: realClock, log: quiet, memory: () => ({}), onRequest: () => undefined },
      { resolve: async () => addresses },
    );
    world.own(async () => plane.close());
    const observation = await plane.observe(world.target, { thorough: false }, ever);
    const plan = plane.plan(world.target, observation, all('1'));
    addresses = ['127.0.0.2'];

    expect(observation.endpoints.map((endpoint) => endpoint.endpoint)).toEqual([`127.0.0.1:${port}`]);
    expect(
      await plane.apply(world.target, (plan.kind === 'steps' ? plan.steps[0] : null) as Step, { inverse: false, opId: 'x', epoch: 1 }, ever),
    ).toMatchObject({ kind: 'conflict', detail: expect.stringMatching(/is not an endpoint any more/) });
  });
});
