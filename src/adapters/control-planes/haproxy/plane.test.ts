import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Answer, FaultySetup } from '../../../../test/contract/answers.ts';
import { all, describeControlPlane, reach, takeStep } from '../../../../test/contract/control-plane.ts';
import { describePlaneFaults, timeout } from '../../../../test/contract/plane-faults.ts';
import { type DoubleState, type Interception, type RuntimeApiDouble, startRuntimeApi } from '../../../../test/support/haproxy/runtime-api.ts';
import { aPlaneDeps } from '../../../../test/support/plane-deps.ts';
import type { ControlPlane, PlaneTarget } from '../../../domain/ports.ts';
import type { Step } from '../../../domain/step.ts';
import { haproxy } from './index.ts';
import { haproxyConfig, haproxyKeys, parseAddress } from './schema.ts';

const ever = new AbortController().signal;
const applyOptions = { inverse: false, opId: 'rb_1/x', epoch: 1 };

const mapFile = '/etc/haproxy/fraud.map';
const weightsTarget: PlaneTarget = { model: 'fraud', plane: { weights: { backend: 'fraud', versions: { 6: ['s6a', 's6b'], 7: ['s7'] } } } };
const mapTarget = (file = mapFile): PlaneTarget => ({ model: 'fraud', plane: { map: { file, key: 'active', versions: { 6: 'be_6', 7: 'be_7' } } } });

function aState(file = mapFile, changes: Partial<DoubleState> = {}): DoubleState {
  const server = (weight: number, initial = 10) => ({ weight, initial, op: 2, admin: 0 });
  return {
    backends: { fraud: { s6a: server(0), s6b: server(0), s7: server(10) }, be_6: { a: server(1, 1) }, be_7: { a: server(1, 1) } },
    maps: { [file]: [['active', 'be_7']] },
    statics: new Set(),
    ...changes,
  };
}

type World = FaultySetup & { readonly nodes: readonly RuntimeApiDouble[]; readonly folder: string; readonly files: readonly string[] };
type Options = { form?: 'weights' | 'map'; nodes?: number; persist?: boolean; target?: PlaneTarget; prepare?: (state: DoubleState) => void; statics?: boolean };

async function start({ form = 'weights', nodes: count = 1, persist = true, target, prepare, statics = false }: Options = {}): Promise<World> {
  const folder = await mkdtemp(join(tmpdir(), 'haproxy-plane-'));
  const owned = new AsyncDisposableStack();
  owned.defer(async () => rm(folder, { recursive: true, force: true }));
  const nodes: RuntimeApiDouble[] = [];
  const files: string[] = [];
  const mapPath = persist ? join(folder, 'fraud.map') : mapFile;
  for (let index = 0; index < count; index += 1) {
    const state = aState(mapPath, statics ? { statics: new Set(['fraud']) } : {});
    prepare?.(state);
    // The first over a Unix socket, the others over TCP.
    const node = owned.use(await startRuntimeApi(state, index === 0 ? join(folder, `${index}.sock`) : undefined));
    nodes.push(node);
    files.push(join(folder, `state-${index}`));
  }
  await writeFile(join(folder, 'fraud.map'), '# ours\nactive be_7\nother be_x\n');
  const deps = aPlaneDeps();
  for (const file of files) await writeFile(file, '');
  const at = async (addresses: readonly string[], more: Record<string, unknown> = {}): Promise<ControlPlane> => {
    const endpoints = addresses.map((address, index) => ({
      address,
      ...(persist ? (form === 'map' ? { write_maps: true } : { server_state_file: files[index] ?? files[0] }) : {}),
    }));
    const plane = await haproxy.create(haproxyConfig.parse({ endpoints, timeout: '1s', ...more }), deps);
    owned.defer(async () => plane.close());
    return plane;
  };
  const plane = await at(nodes.map(({ address }) => address));
  const chosen = target ?? (form === 'map' ? mapTarget(mapPath) : weightsTarget);
  if (persist && form === 'weights') await fillStateFiles(nodes, files);
  const silentNode = owned.use(await startRuntimeApi(aState(mapPath)));
  silentNode.intercept(() => 'silence');
  return {
    plane,
    target: chosen,
    from: '7',
    to: '6',
    remember: deps.remember,
    mutations: async () => nodes.reduce((sum, node) => sum + node.mutations.length, 0),
    unreachable: async () => at([nodes[0]?.address ?? ''].map(() => 'unix:/nowhere/admin.sock')),
    silent: async () => at([silentNode.address], { timeout: '30s' }),
    secret: null,
    fault: haproxyFault(nodes, () => deps.clock.expire()),
    wires: {
      'runtime API': { upstream: (nodes[0]?.address ?? '').replace('unix:', ''), connect: async ({ address }) => at([address], { timeout }) },
    },
    said: deps.said,
    nodes,
    folder,
    files,
    [Symbol.asyncDispose]: async () => owned.disposeAsync(),
  };
}

/** What a reload's hook writes: `show servers state > file`. */
async function fillStateFiles(nodes: readonly RuntimeApiDouble[], files: readonly string[]): Promise<void> {
  const { ask } = await import('./runtime-api.ts');
  for (const [index, node] of nodes.entries()) await writeFile(files[index] ?? '', await ask(node.address, 'show servers state', 1_000, aPlaneDeps(), ever));
}

const interceptions: Readonly<Record<string, Interception>> = {
  'Permission denied': { text: 'Permission denied\n' },
  'Unknown command': { text: "Unknown command: 'x', but maybe one of the following ones is a better match:\n" },
  'cut off': 'hang up',
  'no answer in time': 'silence',
  'cut off after it was done': 'reset',
  'no answer in time after it was done': 'keep',
};

/** What is done without an answer is read back at once. @param commands of a whole switch */
const answersFor = (commands: number): readonly Answer[] => [
  { name: 'Permission denied', written: 'auth', read: 'auth' },
  { name: 'Unknown command', written: 'permanent', read: 'permanent' },
  { name: 'cut off', written: 'indeterminate', read: 'transient' },
  { name: 'no answer in time', written: 'indeterminate', read: 'transient' },
  { name: 'cut off after it was done', written: 'applied', read: null, isDone: true, requests: commands },
  { name: 'no answer in time after it was done', written: 'applied', read: null, isDone: true, requests: commands },
];

/** Answers that come after it was done come to the last command, the others to the first. */
function haproxyFault(nodes: readonly RuntimeApiDouble[], expire: () => void): FaultySetup['fault'] {
  return async (on, answer) => {
    const isHit = (command: string): boolean => {
      if (/^(set|add|del) /.test(command) !== (on === 'write')) return false;
      return !answer.endsWith('done') || / weight 0%$| map /.test(command);
    };
    for (const node of nodes) node.intercept((command) => (isHit(command) ? (interceptions[answer] ?? null) : null), expire);
    return { [Symbol.asyncDispose]: async () => nodes.forEach((node) => node.intercept(() => null)) };
  };
}

describeControlPlane('haproxy (weights, two nodes)', async () => start({ nodes: 2 }), answersFor(3));
describeControlPlane('haproxy (map)', async () => start({ form: 'map' }), answersFor(1));
describePlaneFaults('haproxy', async () => start(), { to: 'runtime API', protocol: 'tcp' });

async function steps(world: World): Promise<readonly Step[]> {
  const plan = world.plane.plan(world.target, await world.plane.observe(world.target, { thorough: true }, ever), all('6'));
  if (plan.kind !== 'steps') throw new Error(JSON.stringify(plan));
  return plan.steps;
}
const ofPhase = async (world: World, phase: Step['phase']): Promise<Step> => (await steps(world)).find((step) => step.phase === phase) as Step;

describe('weights on HAProxy', () => {
  it('gives the target its configured weight before it takes the other’s, by percents, and writes the state file', async () => {
    await using world = await start();

    await reach(world, all('6'));

    expect(world.nodes[0]?.mutations).toEqual(['set server fraud/s6a weight 100%', 'set server fraud/s6b weight 100%', 'set server fraud/s7 weight 0%']);
    expect(world.nodes[0]?.state.backends['fraud']).toMatchObject({ s6a: { weight: 10 }, s6b: { weight: 10 }, s7: { weight: 0 } });
    const saved = await readFile(world.files[0] ?? '', 'utf8');
    expect(saved).toMatch(/ s6a 127\.0\.0\.1 2 0 10 10 /);
    expect(saved).toMatch(/ s7 127\.0\.0\.1 2 0 0 10 /);
  });

  it('gives an absolute weight where the configured one is 0, since every percentage of it is 0', async () => {
    await using world = await start({
      prepare: (state) =>
        Object.assign(state.backends['fraud'] ?? {}, { s6a: { weight: 0, initial: 0, op: 2, admin: 0 }, s6b: { weight: 0, initial: 0, op: 2, admin: 0 } }),
    });

    await reach(world, all('6'));

    expect(world.nodes[0]?.mutations.slice(0, 2)).toEqual(['set server fraud/s6a weight 10', 'set server fraud/s6b weight 10']);
  });

  it('works with a static balance by 0% and 100%, and is told what to do where that is not enough', async () => {
    await using works = await start({ statics: true });
    await reach(works, all('6'));
    await using refused = await start({
      statics: true,
      prepare: (state) => Object.assign(state.backends['fraud'] ?? {}, { s6a: { weight: 0, initial: 0, op: 2, admin: 0 } }),
    });

    const outcome = await refused.plane.apply(refused.target, await ofPhase(refused, 'switch'), applyOptions, ever);

    expect(outcome).toMatchObject({
      kind: 'rejected',
      class: 'permanent',
      detail: expect.stringMatching(/static LB algorithm.*Give the backend a dynamic balance/),
    });
  });

  it('moves nothing to servers that their health check finds down', async () => {
    await using world = await start({
      prepare: (state) => {
        for (const name of ['s6a', 's6b']) Object.assign(state.backends['fraud']?.[name] ?? {}, { op: 0 });
      },
    });

    const outcome = await world.plane.apply(world.target, await ofPhase(world, 'stage'), applyOptions, ever);

    expect(outcome).toMatchObject({ kind: 'rejected', class: 'target_will_not_load', detail: expect.stringContaining('fraud/s6a, fraud/s6b not running') });
    expect(await world.mutations()).toBe(0);
  });

  it('wakes the target from maint with weight 0, and puts the other to maint where cookies would hold clients', async () => {
    const target: PlaneTarget = { model: 'fraud', plane: { weights: { backend: 'fraud', retire: 'maint', versions: { 6: ['s6a', 's6b'], 7: ['s7'] } } } };
    await using world = await start({
      target,
      prepare: (state) => {
        for (const name of ['s6a', 's6b']) Object.assign(state.backends['fraud']?.[name] ?? {}, { op: 0, admin: 1, weight: 10 });
      },
    });

    await takeStep(world, await ofPhase(world, 'stage'));
    expect((await world.plane.observe(target, { thorough: false }, ever)).serving).toEqual([{ version: '7', share: 1 }]);
    await reach(world, all('6'));

    expect(world.nodes[0]?.state.backends['fraud']).toMatchObject({ s6a: { admin: 0, weight: 10 }, s7: { admin: 1 } });
  });

  it('says of several nodes which one did not take', async () => {
    await using world = await start({ nodes: 2 });
    const second = (await steps(world)).filter((step) => step.phase === 'switch')[1] as Step;
    world.nodes[1]?.intercept((command) => (command === 'set server fraud/s7 weight 0%' ? { text: 'No such server.\n' } : null));

    const outcome = await world.plane.apply(world.target, second, applyOptions, ever);

    expect(outcome).toMatchObject({
      kind: 'rejected',
      detail: expect.stringMatching(/127\.0\.0\.1:\d+: .*No such server.*partly applied: s6a weight 10, s6b weight 10 took, the rest did not/),
    });
  });

  it('leaves alone what somebody else has set meanwhile, and sees a reload take it back', async () => {
    await using world = await start({ persist: false });
    const step = await ofPhase(world, 'switch');
    const fraud = world.nodes[0]?.state.backends['fraud'] as Record<string, { weight: number }>;
    (fraud['s7'] as { weight: number }).weight = 3;
    expect(await world.plane.apply(world.target, step, applyOptions, ever)).toMatchObject({
      kind: 'conflict',
      detail: expect.stringContaining('fraud/s7 weight 3'),
    });
    (fraud['s7'] as { weight: number }).weight = 10;
    await takeStep(world, step);
    const taken = await world.plane.observe(world.target, { thorough: false }, ever);
    for (const [name, weight] of [
      ['s6a', 0],
      ['s6b', 0],
      ['s7', 10],
    ] as const)
      (fraud[name] as { weight: number }).weight = weight;

    expect(world.plane.check(step, taken, await world.plane.observe(world.target, { thorough: false }, ever), 100)).toMatchObject({ kind: 'reverted' });
  });

  it('plans nothing while one node cannot be read', async () => {
    await using world = await start({ nodes: 2 });
    world.nodes[1]?.intercept(() => ({ text: 'Permission denied\n' }));

    const observation = await world.plane.observe(world.target, { thorough: true }, ever);

    expect(observation.refusals.join()).toContain('cannot be read');
    expect(world.plane.plan(world.target, observation, all('6'))).toMatchObject({ kind: 'refused' });
  });
});

describe('a map on HAProxy', () => {
  it('is set in memory and in its file, where comments and other keys stay', async () => {
    await using world = await start({ form: 'map' });

    await reach(world, all('6'));

    expect(world.nodes[0]?.mutations).toEqual([`set map ${join(world.folder, 'fraud.map')} active be_6`]);
    expect(await readFile(join(world.folder, 'fraud.map'), 'utf8')).toBe('# ours\nactive be_6\nother be_x\n');
  });

  it('refuses a value that names no backend before anything is sent', async () => {
    await using world = await start({ form: 'map', persist: false });
    const step = await ofPhase(world, 'switch');
    delete (world.nodes[0] as RuntimeApiDouble).state.backends['be_6'];

    expect(world.plane.plan(world.target, await world.plane.observe(world.target, { thorough: true }, ever), all('6'))).toMatchObject({
      kind: 'refused',
      reason: expect.stringContaining('503'),
    });
    expect(await world.plane.apply(world.target, step, applyOptions, ever)).toMatchObject({
      kind: 'rejected',
      detail: expect.stringContaining('no backend be_6'),
    });
    expect(await world.mutations()).toBe(0);
  });

  it('adds the key where it is not there, and takes it out again', async () => {
    const target: PlaneTarget = { model: 'fraud', plane: { map: { file: mapFile, key: 'active', versions: { 6: 'be_6', 7: 'be_7' }, default_version: '7' } } };
    await using world = await start({ form: 'map', persist: false, target, prepare: (state) => state.maps[mapFile]?.splice(0) });
    const step = await ofPhase(world, 'switch');

    await takeStep(world, step);
    await takeStep(world, step, { inverse: true });

    expect(world.nodes[0]?.mutations).toEqual([`add map ${mapFile} active be_6`, `del map ${mapFile} active`]);
  });
});

describe('the settings of haproxy', () => {
  it.each(['/run/haproxy.sock', 'unix:run/x', 'host', 'host:99999', 'http://h:1'])('refuse the address %s', (address) => {
    expect(parseAddress(address)).toBeNull();
  });

  it.each(['a b', 'a;b', 'a\nb', 'a\\b'])('refuse the name %j, which could be another command', (name) => {
    expect(haproxyKeys.safeParse({ weights: { backend: name, versions: { 6: ['a'] } } }).success).toBe(false);
    expect(haproxyKeys.safeParse({ map: { file: '/x', key: name, versions: { 6: 'a' } } }).success).toBe(false);
  });
});
