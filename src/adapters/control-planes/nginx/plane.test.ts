import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Answer, FaultySetup } from '../../../../test/contract/answers.ts';
import { all, describeControlPlane, reach, takeStep } from '../../../../test/contract/control-plane.ts';
import { describePlaneFaults, timeout } from '../../../../test/contract/plane-faults.ts';
import { type NginxStandIn, startNginxStandIn } from '../../../../test/support/nginx/stand-in.ts';
import { startOwnedProcess } from '../../../../test/support/owned-process.ts';
import { aPlaneDeps } from '../../../../test/support/plane-deps.ts';
import { until } from '../../../../test/support/until.ts';
import type { ControlPlane, PlaneTarget } from '../../../domain/ports.ts';
import type { Step } from '../../../domain/step.ts';
import { nginx } from './index.ts';
import { nginxConfig } from './schema.ts';

const ever = new AbortController().signal;
const applyOptions = { inverse: false, opId: 'rb_1/x', epoch: 1 };
const marker = 'map $host $rollbackd_fraud { default "deploy-17"; }\n';

type Node = { readonly folder: string; readonly file: string; readonly standIn: NginxStandIn };
type World = FaultySetup & {
  readonly nodes: readonly Node[];
  readonly another: (more: Record<string, unknown>, nodeMore?: Record<string, unknown>) => Promise<ControlPlane>;
};
type Form = 'upstream' | 'split_clients' | 'map';

/** Addresses of 6 and 7; `text` of the file. */
function keysFor(form: Form, six: string, seven: string): Record<string, unknown> {
  const valued = { variable: '$fraud_pool', versions: { 6: { value: 'fraud_6', servers: [six] }, 7: { value: 'fraud_7' } } };
  return { file: 'fraud.conf', marker: 'rollbackd_fraud', [form]: form === 'upstream' ? { name: 'fraud', versions: { 6: [six], 7: [seven] } } : valued };
}

function textFor(form: Form, six: string, seven: string): string {
  if (form === 'upstream')
    return `# the deploy wrote this\nupstream fraud {\n  zone fraud 64k;\n  server ${six} max_fails=3 down; # old\n  server ${seven} weight=5;\n}\n${marker}`;
  if (form === 'split_clients') return `split_clients "$request_id" $fraud_pool {\n  10% fraud_7;\n  * fraud_7;\n}\n${marker}`;
  return `map $host $fraud_pool {\n  default fraud_7;\n  beta.example.org fraud_7;\n}\n${marker}`;
}

async function start({
  form = 'upstream',
  nodes: count = 1,
  six = '',
  text,
}: {
  form?: Form;
  nodes?: number;
  six?: string;
  text?: string;
} = {}): Promise<World> {
  const owned = new AsyncDisposableStack();
  const backend = createServer((socket) => socket.destroy()).listen(0, '127.0.0.1');
  await new Promise((resolve) => backend.once('listening', resolve));
  owned.defer(() => void backend.close());
  const address = six === '' ? `127.0.0.1:${(backend.address() as AddressInfo).port}` : six;
  const seven = '127.0.0.1:9';
  const nodes: Node[] = [];
  for (let index = 0; index < count; index += 1) {
    const folder = await mkdtemp(join(tmpdir(), 'nginx-plane-'));
    owned.defer(async () => rm(folder, { recursive: true, force: true }));
    const file = join(folder, 'fraud.conf');
    await writeFile(file, text ?? textFor(form, address, seven), { mode: 0o640 });
    nodes.push({ folder, file, standIn: owned.use(await startNginxStandIn(folder, 'fraud.conf', 'rollbackd_fraud')) });
  }
  const deps = aPlaneDeps();
  const another = async (more: Record<string, unknown> = {}, nodeMore: Record<string, unknown> = {}): Promise<ControlPlane> => {
    const plane = await nginx.create(
      nginxConfig.parse({
        nodes: nodes.map(({ folder, standIn }) => ({
          folder,
          url: standIn.url,
          test_command: standIn.testCommand,
          reload_command: standIn.reloadCommand,
          ...nodeMore,
        })),
        timeout: '1s',
        ...more,
      }),
      deps,
    );
    owned.defer(async () => plane.close());
    return plane;
  };
  const silent = owned.use(await startNginxStandIn(nodes[0]?.folder ?? '', 'fraud.conf', 'rollbackd_fraud'));
  silent.answer('silence');
  return {
    plane: await another(),
    target: { model: 'fraud', plane: keysFor(form, address, seven) },
    from: '7',
    to: '6',
    remember: deps.remember,
    mutations: async () => nodes.reduce((sum, { standIn }) => sum + standIn.reloads(), 0),
    unreachable: async () => another({}, { url: 'http://127.0.0.1:1' }),
    silent: async () => another({ timeout: '30s' }, { url: silent.url }),
    secret: null,
    fault: nginxFault(nodes, () => deps.clock.expire()),
    wires: { server: { upstream: new URL(nodes[0]?.standIn.url ?? '').host, connect: async ({ url }) => another({ timeout }, { url }) } },
    said: deps.said,
    nodes,
    another,
    [Symbol.asyncDispose]: async () => owned.disposeAsync(),
  };
}

const reading = (name: string, read: Answer['read']): Answer => ({ name, written: null, read });
const answers: readonly Answer[] = [
  reading('401', 'auth'),
  reading('403', 'auth'),
  reading('404', 'permanent'),
  reading('429', 'transient'),
  reading('500', 'transient'),
  reading('503', 'transient'),
  reading('reset', 'transient'),
  reading('silence', 'transient'),
  { name: 'a test that fails', written: 'permanent', read: null, requests: 0 },
  { name: 'a test that does not end', written: 'transient', read: null, requests: 0 },
  { name: 'a reload that fails', written: 'permanent', read: null, requests: 0 },
  { name: 'a reload that is told and does not end', written: 'indeterminate', read: null, isDone: true },
  { name: 'a reload that does not end', written: 'indeterminate', read: null, requests: 0 },
];

/** What the marker's location answers; of the commands, what they do instead. */
function nginxFault(nodes: readonly Node[], expire: () => void): FaultySetup['fault'] {
  return async (on, answer) => {
    const instead = answer === 'silence' || answer === 'reset' ? answer : { status: Number(answer), body: 'no' };
    if (on === 'read') {
      for (const { standIn } of nodes) standIn.answer(instead, expire);
      return { [Symbol.asyncDispose]: async () => nodes.forEach(({ standIn }) => standIn.answer(null)) };
    }
    const { folder, standIn } = nodes[0] as Node;
    const [path] = answer.startsWith('a test') ? standIn.testCommand : standIn.reloadCommand;
    const before = await readFile(path, 'utf8');
    const mark = join(folder, 'reached');
    const first = answer.includes('is told') ? before : '#!/bin/sh\n';
    await writeFile(path, `${first}${answer.endsWith('fails') ? 'exit 1' : `touch ${mark}; exec sleep 60`}\n`);
    const waiting = answer.endsWith('does not end') ? until('the command to hang', () => existsSync(mark), { everyMs: 5 }).then(expire) : null;
    return {
      [Symbol.asyncDispose]: async () => {
        await waiting;
        await rm(mark, { force: true });
        await writeFile(path, before);
      },
    };
  };
}

describeControlPlane('nginx (upstream, two nodes)', async () => start({ nodes: 2 }), answers);
describePlaneFaults('nginx', async () => start(), { to: 'server', protocol: 'http' });
describeControlPlane('nginx (split_clients)', async () => start({ form: 'split_clients' }), null);
describeControlPlane('nginx (map)', async () => start({ form: 'map' }), null);

const observe = async ({ plane, target }: { plane: ControlPlane; target: PlaneTarget }) => plane.observe(target, { thorough: true }, ever);
async function ofPhase(world: World, phase: Step['phase']): Promise<Step> {
  const plan = world.plane.plan(world.target, await observe(world), all('6'));
  if (plan.kind !== 'steps') throw new Error(JSON.stringify(plan));
  return plan.steps.find((step) => step.phase === phase) as Step;
}
const first = (world: World): Node => world.nodes[0] as Node;

describe('nginx', () => {
  it('turns servers of other versions down, keeps comments, parameters and mode, and keeps the file from before', async () => {
    await using world = await start();
    const { file } = first(world);
    const before = await readFile(file, 'utf8');

    await reach(world, all('6'));

    const after = await readFile(file, 'utf8');
    expect(after).toMatch(
      /^# the deploy wrote this\nupstream fraud \{\n {2}zone fraud 64k;\n {2}server 127\.0\.0\.1:\d+ max_fails=3; # old\n {2}server 127\.0\.0\.1:9 weight=5 down;\n\}\n/,
    );
    expect(after).toMatch(/default rb-[0-9a-f]{16};/);
    expect(after).not.toMatch(/weight=0/);
    expect(first(world).standIn.loaded()).toBe(after);
    expect(await readFile(`${file}.prev`, 'utf8')).toBe(before);
  });

  it('leaves no line with 0% in split_clients', async () => {
    await using world = await start({ form: 'split_clients' });

    await reach(world, all('6'));

    expect(await readFile(first(world).file, 'utf8')).toMatch(/^split_clients "\$request_id" \$fraud_pool \{\n {2}\* fraud_6;\n\}\n/);
  });

  it('moves the other keys of a map that lead to the bad version too', async () => {
    await using world = await start({ form: 'map' });
    expect((await observe(world)).endpoints[0]?.routes).toEqual({ 'beta.example.org': '7' });

    await reach(world, all('6'));

    expect((await observe(world)).endpoints[0]?.routes).toEqual({ 'beta.example.org': '6' });
  });

  it('puts the former file back when the test of the configuration fails, and nothing is reloaded', async () => {
    await using world = await start();
    const { file, standIn } = first(world);
    const before = await readFile(file, 'utf8');
    const step = await ofPhase(world, 'switch');
    await writeFile(`${file}.refuse`, '');

    const outcome = await world.plane.apply(world.target, step, applyOptions, ever);

    expect(outcome).toMatchObject({ kind: 'rejected', class: 'permanent', detail: expect.stringMatching(/former file was put back.*unexpected "}"/s) });
    expect(await readFile(file, 'utf8')).toBe(before);
    expect(standIn.reloads()).toBe(0);
    expect((await observe(world)).serving).toEqual([{ version: '7', share: 1 }]);
  });

  it('says of a host that does not resolve what to do', async () => {
    await using world = await start({
      six: 'nowhere.invalid:80',
      text: textFor('upstream', '127.0.0.1:8', '127.0.0.1:9').replace('server 127.0.0.1:8 max_fails=3 down;', ''),
    });
    const outcome = await world.plane.apply(world.target, await ofPhase(world, 'switch'), applyOptions, ever);

    expect(outcome).toMatchObject({ kind: 'rejected', detail: expect.stringContaining('Name servers by address, or through a resolver') });
  });

  it('believes the marker alone: the test passed, the reload failed, and what it had before still serves', async () => {
    await using world = await start();
    const plane = await world.another({ reload_timeout: '150ms' });
    const step = await ofPhase(world, 'switch');
    first(world).standIn.failReloads();
    const before = await observe(world);

    expect(await plane.apply(world.target, step, applyOptions, ever)).toMatchObject({ kind: 'applied' });
    const now = await observe(world);

    expect(now.serving).toEqual([{ version: '7', share: 1 }]);
    expect(plane.check(step, before, now, 100)).toMatchObject({ kind: 'progressing' });
    expect(plane.check(step, before, now, 200)).toMatchObject({
      kind: 'failed',
      detail: expect.stringMatching(/test of the configuration passed, but .*\[emerg\] in its error_log/),
    });
    expect(now.refusals.join()).toContain('still answers with what it had before');
    expect(await plane.apply(world.target, step, { ...applyOptions, inverse: true }, ever)).toMatchObject({ kind: 'applied' });
    expect((await observe(world)).refusals).toEqual([]);
  });

  it('goes on where it was killed between writing and reloading', async () => {
    await using world = await start();
    const step = await ofPhase(world, 'switch');
    const { file } = first(world);
    const mutation = step.mutation as { before: string; after: string };
    await writeFile(`${file}.prev`, mutation.before);
    await writeFile(file, mutation.after);

    expect((await observe(world)).serving).toEqual([{ version: '7', share: 1 }]);
    await takeStep(world, step);

    expect((await observe(world)).serving).toEqual([{ version: '6', share: 1 }]);
  });

  it('leaves somebody else’s edit alone', async () => {
    await using world = await start();
    const step = await ofPhase(world, 'switch');
    const { file, standIn } = first(world);
    const theirs = `${await readFile(file, 'utf8')}# theirs\n`;
    await writeFile(file, theirs);

    expect(await world.plane.apply(world.target, step, applyOptions, ever)).toMatchObject({
      kind: 'conflict',
      detail: expect.stringContaining('somebody edited it'),
    });
    expect(await readFile(file, 'utf8')).toBe(theirs);
    expect(standIn.reloads()).toBe(0);
  });

  it('does not know what serves once its own file was edited under the same marker', async () => {
    await using world = await start();
    await reach(world, all('6'));
    const { file } = first(world);
    await writeFile(file, (await readFile(file, 'utf8')).replace(' down', ''));

    await expect(observe(world)).rejects.toThrow(/edited by somebody else and kept rollbackd’s marker/);
  });

  it('does not know what serves while the wire answers another marker than any file', async () => {
    await using world = await start();
    const { file } = first(world);
    await writeFile(file, (await readFile(file, 'utf8')).replace('deploy-17', 'deploy-18'));

    await expect(observe(world)).rejects.toThrow(/answers "deploy-17", but .* has "deploy-18"/);
  });

  it('sees that nothing serves when all servers are down, which the test of nginx lets pass', async () => {
    await using world = await start({
      text: textFor('upstream', '127.0.0.1:1', '127.0.0.1:9')
        .replace(/server 127\.0\.0\.1:1 .*\n/, '')
        .replace('weight=5', 'down'),
    });

    expect((await observe(world)).serving).toEqual([]);
  });

  it('moves nothing to servers that take no connection', async () => {
    await using world = await start({ six: '127.0.0.1:1' });

    expect(await world.plane.apply(world.target, await ofPhase(world, 'stage'), applyOptions, ever)).toMatchObject({
      kind: 'rejected',
      class: 'target_will_not_load',
      detail: expect.stringContaining('127.0.0.1:1: ECONNREFUSED: nothing was written'),
    });
  });

  it.each([
    ['another directive', 'server { listen 80; }\n', /this file is rollbackd’s/],
    ['a server of no version', textFor('upstream', '127.0.0.1:77', '127.0.0.1:9'), /belongs to no version/],
    ['weight=0', textFor('upstream', '127.0.0.1:9', '127.0.0.1:9').replace('weight=5', 'weight=0'), /nginx refuses weight=0/],
    ['no marker', 'upstream fraud { server 127.0.0.1:9; }\n', /found 0 markers/],
    ['a block that is not closed', 'upstream fraud { server 127.0.0.1:9;\n', /line 2: expected }/],
  ])('refuses a file with %s', async (_name, text, words) => {
    await using world = await start({ text });

    await expect(observe(world)).rejects.toThrow(words);
  });

  it.each(['0% fraud_6', '0.001% fraud_6', '70% fraud_6; 40% fraud_7'])('refuses split_clients with %s, as nginx does', async (lines) => {
    await using world = await start({ form: 'split_clients', text: `split_clients $request_id $fraud_pool { ${lines}; * fraud_7; }\n${marker}` });

    await expect(observe(world)).rejects.toThrow(/split_clients: /);
  });

  it('refuses to act on a link, which cannot be replaced', async () => {
    await using world = await start();
    const { file, folder } = first(world);
    await writeFile(join(folder, 'real'), await readFile(file, 'utf8'));
    await rm(file);
    await symlink(join(folder, 'real'), file);

    expect((await observe(world)).refusals.join()).toContain('symbolic link');
  });

  it('reloads by HUP to the master of the pid file', async () => {
    await using world = await start();
    const { folder } = first(world);
    const script = `trap 'touch ${folder}/got-hup' HUP; echo ready; while :; do sleep 0.05; done`;
    const master = startOwnedProcess('/bin/sh', ['-c', script], { env: { PATH: '/usr/bin:/bin' } });
    await until('the master', () => master.stdout().includes('ready'));
    await writeFile(join(folder, 'nginx.pid'), `${master.pid}\n`);
    const plane = await world.another({}, { reload_command: undefined, pid_file: join(folder, 'nginx.pid') });

    const outcome = await plane.apply(world.target, await ofPhase(world, 'switch'), applyOptions, ever);

    expect(outcome).toMatchObject({ kind: 'applied' });
    await until('the signal', () => existsSync(join(folder, 'got-hup')));
    master.kill('SIGKILL');
    await master.ended;
  });

  it('puts the former file back when the master is gone', async () => {
    await using world = await start();
    const { file, folder } = first(world);
    const before = await readFile(file, 'utf8');
    await writeFile(join(folder, 'nginx.pid'), '4194303\n');
    const plane = await world.another({}, { reload_command: undefined, pid_file: join(folder, 'nginx.pid') });

    expect(await plane.apply(world.target, await ofPhase(world, 'switch'), applyOptions, ever)).toMatchObject({
      kind: 'rejected',
      detail: expect.stringContaining('does not run'),
    });
    expect(await readFile(file, 'utf8')).toBe(before);
  });
});
