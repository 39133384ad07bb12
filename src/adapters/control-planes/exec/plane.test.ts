import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { all, type ControlPlaneSetup, describeControlPlane, reach } from '../../../../test/contract/control-plane.ts';
import { aPlaneDeps } from '../../../../test/support/plane-deps.ts';
import type { ControlPlane } from '../../../domain/ports.ts';
import type { Step } from '../../../domain/step.ts';
import { exec } from './index.ts';
import { execConfig } from './schema.ts';

const ever = new AbortController().signal;
const secret = 'planted-exec-secret';
const target = { model: 'fraud-detector', plane: { model: 'fraud' } };
const applyOptions = { inverse: false, opId: 'rb_1/switch', epoch: 1 };

/** The other side: a shell script over a file that holds the serving version. `FAULT` makes its switch misbehave. */
const script = `#!/bin/sh
input=$(cat)
case "$1" in
observe)
  printf '{"serving": [{"version": "%s", "share": 1}], "generation": "%s"}' "$(cat serving)" "$(cat serving)" ;;
switch)
  echo "$input" >> calls
  to=$(printf '%s' "$input" | sed 's/.*"to":"\\([^"]*\\)".*/\\1/')
  case "$FAULT" in
  hang) sleep 60 & echo $! > child; wait ;;
  loud) i=0; while [ $i -lt 4000 ]; do echo "line $i with words to fill it"; i=$((i+1)); done; echo "token $TOKEN" >&2; exit 1 ;;
  '') printf '%s' "$to" > serving; echo "told $TOKEN" ;;
  *) echo "refused with $TOKEN" >&2; exit "$FAULT" ;;
  esac ;;
esac
`;

type World = ControlPlaneSetup & { readonly folder: string; readonly another: (changes: Record<string, unknown>) => Promise<ControlPlane> };

async function start(): Promise<World> {
  const folder = await mkdtemp(join(tmpdir(), 'exec-plane-'));
  await writeFile(join(folder, 'switch.sh'), script, { mode: 0o755 });
  await writeFile(join(folder, 'serving'), '7');
  await writeFile(join(folder, 'token'), `${secret}\n`);
  const deps = aPlaneDeps();
  const planes: ControlPlane[] = [];
  const another = async (changes: Record<string, unknown>): Promise<ControlPlane> => {
    const program = join(folder, 'switch.sh');
    const config = { observe: { argv: [program, 'observe'] }, switch: { argv: [program, 'switch'] }, cwd: folder, env_files: { TOKEN: join(folder, 'token') } };
    const plane = await exec.create(execConfig.parse({ ...config, ...changes }), deps);
    planes.push(plane);
    return plane;
  };
  return {
    plane: await another({}),
    target,
    from: '7',
    to: '6',
    remember: deps.remember,
    mutations: async () => (await readFile(join(folder, 'calls'), 'utf8').catch(() => '')).split('\n').length - 1,
    unreachable: async () => another({ observe: { argv: ['sh', '-c', 'echo "no route with $TOKEN" >&2; exit 75'] } }),
    silent: async () => another({ observe: { argv: ['sleep', '60'] } }),
    secret,
    folder,
    another,
    [Symbol.asyncDispose]: async () => {
      for (const plane of planes) await plane.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

describeControlPlane('exec', start);

async function switchStep(world: World): Promise<Step> {
  const plan = world.plane.plan(target, await world.plane.observe(target, { thorough: true }, ever), all('6'));
  return (plan.kind === 'steps' ? plan.steps[0] : undefined) as Step;
}

describe('a command as a control plane', () => {
  it('is told on standard input what to do, and gets no other environment', async () => {
    await using world = await start();
    await reach(world, all('6'));

    const calls = (await readFile(join(world.folder, 'calls'), 'utf8')).trim();
    expect(JSON.parse(calls)).toEqual({ action: 'switch', action_id: 'rb_contract:switch:6', model: 'fraud', labels: {}, from: '7', to: '6', expect: '7' });

    const plane = await world.another({ env: { OWN: 'yes' }, observe: { argv: ['sh', '-c', 'env | cut -d= -f1 | sort | tr "\\n" " " >&2; exit 75'] } });
    const error: unknown = await plane.observe(target, { thorough: false }, ever).catch((cause: unknown) => cause);
    const names = String(error).split('exit code 75: ')[1]?.split(' ');
    expect(names?.filter((name) => !['PWD', 'SHLVL', '_', 'OLDPWD'].includes(name))).toEqual(['LANG', 'OWN', 'PATH', 'TOKEN']);
  });

  it.each([
    ['10', { kind: 'already' }],
    ['11', { kind: 'conflict', class: 'conflict' }],
    ['75', { kind: 'rejected', class: 'transient' }],
    ['77', { kind: 'rejected', class: 'auth' }],
    ['1', { kind: 'rejected', class: 'permanent' }],
  ])('takes exit code %s for what the contract says, and shows no secret of what was written', async (code, expected) => {
    await using world = await start();
    const plane = await world.another({ env: { FAULT: code } });

    const outcome = await plane.apply(target, await switchStep(world), applyOptions, ever);

    expect(outcome).toMatchObject(expected);
    expect(outcome.detail).toContain(`exit code ${code}: refused with <secret>`);
  });

  it('takes an exit code that is listed as unknown for that: nobody knows whether it was done', async () => {
    await using world = await start();
    const plane = await world.another({ env: { FAULT: '1' }, unknown_exit_codes: [1, 137] });

    const outcome = await plane.apply(target, await switchStep(world), applyOptions, ever);

    expect(outcome).toMatchObject({ kind: 'indeterminate', detail: expect.stringMatching(/exit code 1: .*; whether it took is not known/) });
  });

  it.each([
    [[10], 'exit code 10 has a meaning of its own here; expected another'],
    [[0], 'expected an exit code of 1 to 255'],
    [[256], 'expected an exit code of 1 to 255'],
    [1, 'expected a list of exit codes; write [1, 137, 143]'],
  ])('refuses unknown_exit_codes: %j', (codes, words) => {
    const config = { observe: { argv: ['a'] }, switch: { argv: ['a'] }, unknown_exit_codes: codes };

    expect(execConfig.safeParse(config).error?.issues[0]?.message).toBe(words);
  });

  it('ends the whole process group at the time limit, and says that nobody knows', async () => {
    await using world = await start();
    const plane = await world.another({ env: { FAULT: 'hang' }, timeout: '500ms' });

    const outcome = await plane.apply(target, await switchStep(world), applyOptions, ever);

    expect(outcome).toMatchObject({ kind: 'indeterminate', detail: expect.stringContaining('time limit of 500 ms') });
    const child = Number(await readFile(join(world.folder, 'child'), 'utf8'));
    // Gone, or ended and not yet fetched by whoever inherited it.
    const state = await readFile(`/proc/${child}/stat`, 'utf8').catch(() => '0 (sleep) Z');
    expect(state.split(') ')[1]?.[0]).toBe('Z');
  });

  it('keeps the end of a long output, bounded', async () => {
    await using world = await start();
    const plane = await world.another({ env: { FAULT: 'loud' } });

    const outcome = await plane.apply(target, await switchStep(world), applyOptions, ever);

    expect(outcome.detail).toContain('token <secret>');
    expect(outcome.detail?.length).toBeLessThan(1_200);
  });

  it('uses no shell: an argument is one argument', async () => {
    await using world = await start();
    const plane = await world.another({ observe: { argv: ['printf', '%s', '{"serving": [{"version": "$(id); `id`", "share": 1}]}'] } });

    expect((await plane.observe(target, { thorough: false }, ever)).serving).toEqual([{ version: '$(id); `id`', share: 1 }]);
  });

  it('says what is wrong with a program that is not there', async () => {
    await using world = await start();
    const plane = await world.another({ observe: { argv: ['/nowhere/kubectl'] } });

    await expect(plane.observe(target, { thorough: false }, ever)).rejects.toMatchObject({
      class: 'permanent',
      message: expect.stringContaining('/nowhere/kubectl'),
    });
  });
});
