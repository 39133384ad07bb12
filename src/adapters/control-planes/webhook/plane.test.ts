import { createHmac } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Answer, type FaultySetup, httpAnswers } from '../../../../test/contract/answers.ts';
import { all, describeControlPlane, reach, takeStep } from '../../../../test/contract/control-plane.ts';
import { describePlaneFaults, timeout } from '../../../../test/contract/plane-faults.ts';
import { httpFault } from '../../../../test/support/http-answers.ts';
import { type GateFault, type GateRequest, type HttpGate, startHttpGate } from '../../../../test/support/http-gate.ts';
import { startOwnedProcess } from '../../../../test/support/owned-process.ts';
import { aPlaneDeps } from '../../../../test/support/plane-deps.ts';
import { until } from '../../../../test/support/until.ts';
import type { ControlPlane } from '../../../domain/ports.ts';
import type { Step } from '../../../domain/step.ts';
import { webhook } from './index.ts';
import { webhookConfig } from './schema.ts';

const ever = new AbortController().signal;
const secret = 'planted-webhook-secret';
const applyOptions = { inverse: false, opId: 'rb_1/switch', epoch: 1 };
const receiver = join(import.meta.dirname, '../../../../config/examples/webhook-receiver.mjs');

type World = FaultySetup & {
  readonly gate: HttpGate;
  readonly another: (changes?: Record<string, unknown>) => Promise<ControlPlane>;
  readonly state: () => Promise<unknown>;
};

/** The example receiver as a process of its own, for all tests of this file: each has a model of its own there. */
const shared = new AsyncDisposableStack();
let secretFile = '';
let stateFile = '';
let port = '';
let worlds = 0;

beforeAll(async () => {
  const folder = await mkdtemp(join(tmpdir(), 'webhook-plane-'));
  shared.defer(async () => rm(folder, { recursive: true, force: true }));
  secretFile = join(folder, 'secret');
  stateFile = join(folder, 'state.json');
  await writeFile(secretFile, `${secret}\n`);
  await writeFile(stateFile, '{}');
  const child = startOwnedProcess(process.execPath, [receiver], { env: { SIGNING_SECRET_FILE: secretFile, STATE_FILE: stateFile, PORT: '0' } });
  shared.defer(async () => {
    child.kill('SIGKILL');
    await child.ended;
  });
  port = await until('the receiver to listen', () => /listening on (\d+)/.exec(child.stdout())?.[1], { seen: () => child.stderr() });
});
afterAll(async () => shared.disposeAsync());

/** A gate in front of the receiver, and the plane. */
async function start(changes: Record<string, unknown> = {}): Promise<World> {
  await using owned = new AsyncDisposableStack();
  worlds += 1;
  const name = `fraud-${worlds}`;
  const target = { model: 'fraud-detector', plane: { model: name, labels: { region: 'eu' } } };
  await writeFile(stateFile, JSON.stringify({ [name]: { serving: '7', durable: '7', versions: { 6: 'unloaded', 7: 'available' } } }));
  const gate = owned.use(await startHttpGate(`http://127.0.0.1:${port}`));
  const deps = aPlaneDeps();
  const at = async (url: string, more: Record<string, unknown> = {}): Promise<ControlPlane> => {
    const action = (name: string) => ({ url: `${url}/models/{{ $model }}/${name}` });
    const config = {
      observe: { url: `${url}/models/{{ $model }}` },
      ...Object.fromEntries(['stage', 'unstage', 'switch', 'persist'].map((name) => [name, action(name)])),
      signing_secret_file: secretFile,
      timeout: '2s',
      ...more,
    };
    const plane = await webhook.create(webhookConfig.parse(config), deps);
    stack?.defer(async () => plane.close());
    return plane;
  };
  let stack: AsyncDisposableStack | null = null;
  const plane = await at(gate.url, changes);
  const silentGate = owned.use(await startHttpGate(null));
  silentGate.refuse(() => 'silence');
  stack = owned.move();
  stack.defer(async () => plane.close());
  return {
    plane,
    target,
    from: '7',
    to: '6',
    remember: deps.remember,
    mutations: async () => gate.seen.filter(({ method }) => method !== 'GET').length,
    unreachable: async () => at('http://127.0.0.1:1'),
    silent: async () => at(silentGate.url),
    secret,
    fault: httpFault(gate, deps.clock, { secret, more: oddAnswers }),
    wires: {
      deployer: {
        upstream: `127.0.0.1:${port}`,
        connect: async ({ url, caFile }) => at(url, { timeout, ...(caFile === null ? {} : { http_config: { tls_config: { ca_file: caFile } } }) }),
      },
    },
    said: deps.said,
    gate,
    another: async (more = {}) => at(gate.url, more),
    state: async () => (JSON.parse(await readFile(stateFile, 'utf8')) as Record<string, unknown>)[name],
    [Symbol.asyncDispose]: async () => stack.disposeAsync(),
  };
}

const oddAnswers: Readonly<Record<string, GateFault>> = {
  'a redirect': { status: 302, headers: { Location: '/elsewhere' } },
  '202 with a Location elsewhere': { status: 202, headers: { Location: 'http://127.0.0.2:9/x' } },
};
const answers: readonly Answer[] = [
  ...httpAnswers,
  { name: 'a redirect', written: 'permanent', read: 'permanent' },
  { name: '202 with a Location elsewhere', written: 'indeterminate', read: 'permanent' },
];
describeControlPlane('webhook', start, answers);
describePlaneFaults('webhook', start, { to: 'deployer', protocol: 'http', tls: true });

async function plannedSteps(world: World): Promise<readonly Step[]> {
  const plan = world.plane.plan(world.target, await world.plane.observe(world.target, { thorough: true }, ever), all('6'));
  if (plan.kind !== 'steps') throw new Error(JSON.stringify(plan));
  return plan.steps;
}

async function switchStep(world: World): Promise<Step> {
  const steps = await plannedSteps(world);
  const [stage] = steps;
  await takeStep(world, stage as Step);
  return steps.find((step) => step.phase === 'switch') as Step;
}

const isAction = (name: string) => (seen: GateRequest) => seen.method === 'POST' && seen.path.endsWith(`/${name}`);

describe('a webhook', () => {
  it('stages, switches and makes it last, each action signed over its raw body and with a key of its own', async () => {
    await using world = await start();

    const steps = await reach(world, all('6'));

    expect(steps.map(({ name, phase }) => [phase, name.replace(/ on .*/, '')])).toEqual([
      ['stage', 'stage 6'],
      ['switch', 'switch to 6'],
      ['persist', 'make 6 last'],
    ]);
    expect(await world.state()).toEqual({ serving: '6', durable: '6', versions: { 6: 'available', 7: 'available' } });
    const sent = world.gate.seen.filter(({ method }) => method === 'POST');
    for (const { headers, body } of world.gate.seen) {
      const wanted = createHmac('sha256', secret).update(`${headers['x-rollbackd-timestamp']}.${body}`).digest('hex');
      expect(headers['x-rollbackd-signature']).toBe(`sha256=${wanted}`);
      expect(Math.abs(Number(headers['x-rollbackd-timestamp']) - Date.now() / 1000)).toBeLessThan(30);
    }
    expect(new Set(sent.map(({ headers }) => headers['idempotency-key'])).size).toBe(3);
    expect(JSON.parse(sent[1]?.body ?? '')).toMatchObject({
      action: 'switch',
      model: world.target.plane['model'],
      from: '7',
      to: '6',
      labels: { region: 'eu' },
      expect: expect.any(String),
    });
  });

  it('sends values inside JSON strings and URL parts, where they cannot become anything else', async () => {
    await using world = await start();
    const plane = await world.another({
      stage: undefined,
      persist: undefined,
      switch: { url: `${world.gate.url}/models/{{ $model }}/v/{{ $to }}?region={{ $labels.region }}`, body: '{"version": "{{ $to }}", "was": "{{ $from }}"}' },
    });
    world.gate.refuse((seen) => (seen.method === 'GET' ? { status: 200, body: JSON.stringify({ serving: [{ version: '7', share: 1 }] }) } : { status: 204 }));
    const to = '6", "x": "/../?a=ü';
    const plan = plane.plan(world.target, await plane.observe(world.target, { thorough: false }, ever), all(to));
    const [step] = plan.kind === 'steps' ? plan.steps : [];

    expect(await plane.apply(world.target, step as Step, applyOptions, ever)).toMatchObject({ kind: 'applied' });

    const sent = world.gate.seen.at(-1);
    expect(sent?.path).toBe(`/models/${String(world.target.plane['model'])}/v/${encodeURIComponent(to)}?region=eu`);
    expect(JSON.parse(sent?.body ?? '')).toEqual({ version: to, was: '7' });
  });

  it('repeats with the same key what has not taken', async () => {
    await using world = await start();
    const step = await switchStep(world);
    world.gate.refuse((seen) => (isAction('switch')(seen) ? { status: 503 } : null));
    await world.plane.apply(world.target, step, applyOptions, ever);
    world.gate.refuse(() => null);

    expect(await world.plane.apply(world.target, step, applyOptions, ever)).toMatchObject({ kind: 'applied' });

    const keys = world.gate.seen.filter(isAction('switch')).map(({ headers }) => headers['idempotency-key']);
    expect(keys).toHaveLength(2);
    expect(keys[0]).toBe(keys[1]);
  });

  it('follows 202 to its end, over errors on the way', async () => {
    await using world = await start();
    const step = await switchStep(world);
    const answers: GateFault[] = [{ status: 202 }, { status: 500 }, 'reset', { status: 200 }];
    world.gate.refuse((seen) => {
      if (isAction('switch')(seen)) return { status: 202, headers: { Location: '/jobs/1' } };
      return seen.path === '/jobs/1' ? (answers.shift() ?? null) : null;
    });

    const outcome = await world.plane.apply(world.target, step, applyOptions, ever);

    expect(outcome).toMatchObject({ kind: 'applied', detail: expect.stringContaining('its Location answered 200') });
    expect(answers).toEqual([]);
  });

  it('takes a 202 that never ends for unknown', async () => {
    await using world = await start();
    const plane = await world.another({ poll_timeout: '400ms' });
    const step = await switchStep(world);
    world.gate.refuse((seen) => (isAction('switch')(seen) || seen.path === '/jobs/1' ? { status: 202, headers: { Location: '/jobs/1' } } : null));

    expect(await plane.apply(world.target, step, applyOptions, ever)).toMatchObject({ kind: 'indeterminate' });
  });

  it('leaves alone what somebody else has moved meanwhile', async () => {
    await using world = await start();
    const step = await switchStep(world);
    world.gate.refuse((seen) => (seen.method === 'GET' ? { status: 200, body: '{"serving": [{"version": "8", "share": 1}]}' } : null));
    const sent = await world.mutations();

    const outcome = await world.plane.apply(world.target, step, applyOptions, ever);

    expect(outcome).toMatchObject({ kind: 'conflict', detail: expect.stringContaining('serves 8, expected 7') });
    expect(await world.mutations()).toBe(sent);
  });

  it('moves no traffic to a version that failed to load', async () => {
    await using world = await start();
    const step = await switchStep(world);
    const failed = { serving: [{ version: '7', share: 1 }], versions: [{ version: '6', state: 'failed', detail: 'no such file' }] };
    world.gate.refuse((seen) => (seen.method === 'GET' ? { status: 200, body: JSON.stringify(failed) } : null));

    expect(await world.plane.apply(world.target, step, applyOptions, ever)).toMatchObject({
      kind: 'rejected',
      class: 'target_will_not_load',
      detail: expect.stringContaining('no such file'),
    });
  });

  it.each([
    ['no JSON', 'hello'],
    ['no serving', '{}'],
    ['a share above 1', '{"serving": [{"version": "7", "share": 100}]}'],
    ['one version twice', '{"serving": [{"version": "7", "share": 0.5}, {"version": "7", "share": 0.5}]}'],
  ])('refuses an observation with %s, and says what it expected', async (_name, body) => {
    await using world = await start();
    world.gate.refuse(() => ({ status: 200, body }));

    await expect(world.plane.observe(world.target, { thorough: false }, ever)).rejects.toMatchObject({
      class: 'permanent',
      message: expect.stringContaining('expected {"serving"'),
    });
  });

  it('is refused by the receiver when the secret is another', async () => {
    await using world = await start();
    const plane = await world.another({ signing_secret_file: undefined, signing_secret: 'guessed-secret' });

    await expect(plane.observe(world.target, { thorough: false }, ever)).rejects.toMatchObject({ class: 'auth' });
  });
});

describe('the settings of a webhook', () => {
  const good = { observe: { url: 'http://h/{{ $model }}' }, switch: { url: 'http://h/' }, signing_secret: 'x' };

  it.each([
    ['a host from a template', { switch: { url: 'http://{{ $to }}/' } }, /scheme, host and port must be written out/],
    ['a template behind the port', { observe: { url: 'http://h:80{{ $model }}/' } }, /scheme, host and port must be written out/],
    ['$to in observe', { observe: { url: 'http://h/{{ $to }}' } }, /template: /],
    ['user and password in a URL', { switch: { url: 'http://u:p@h/' } }, /without user and password/],
    ['a body that is no JSON', { switch: { url: 'http://h/', body: 'v={{ $to }}' } }, /expected a JSON text/],
    ['a template outside a string', { switch: { url: 'http://h/', body: '{"v": {{ $to }}}' } }, /expected a JSON text/],
    ['no secret', { signing_secret: undefined }, /expected signing_secret_file/],
  ])('refuse %s', (_name, changes, words) => {
    const result = webhookConfig.safeParse({ ...good, ...changes });

    expect(result.error?.issues.map((issue) => issue.message).join()).toMatch(words);
  });

  it('take the rest', () => {
    expect(webhookConfig.parse(good)).toMatchObject({ timeout: 10_000, poll_timeout: 60_000, smoke_before_switch: false });
  });
});
