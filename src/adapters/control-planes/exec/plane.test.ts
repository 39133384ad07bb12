import { existsSync } from 'node:fs';
import { chmod, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import type { Answer, FaultySetup } from '../../../../test/contract/answers.ts';
import { all, describeControlPlane, reach } from '../../../../test/contract/control-plane.ts';
import { aPlaneDeps } from '../../../../test/support/plane-deps.ts';
import type { ControlPlane } from '../../../domain/ports.ts';
import type { Step } from '../../../domain/step.ts';
import { exec } from './index.ts';
import { execConfig } from './schema.ts';

const ever = new AbortController().signal;
const secret = 'planted-exec-secret';
const target = { model: 'fraud-detector', plane: { model: 'fraud' } };
const applyOptions = { inverse: false, opId: 'rb_1/switch', epoch: 1 };

/** The other side: a shell script over a file that holds the serving version. `FAULT`, or a file `fault-<action>`, makes it misbehave. */
const script = `#!/bin/sh
input=$(cat)
fault=
[ "$1" = switch ] && fault=$FAULT
[ -e "fault-$1" ] && fault=$(cat "fault-$1")
to=$(printf '%s' "$input" | sed -n 's/.*"to":"\\([^"]*\\)".*/\\1/p')
act() { if [ -n "$to" ]; then printf '%s' "$to" > serving; fi; }
if [ "$1" = switch ]; then echo "$input" >> calls; fi
case "$fault" in
'') ;;
hang) sleep 60 & echo $! > child; wait ;;
loud) i=0; while [ $i -lt 4000 ]; do echo "line $i with words to fill it"; i=$((i+1)); done; echo "token $TOKEN" >&2; exit 1 ;;
killed) echo "killed with $TOKEN" >&2; kill -9 $$ ;;
'done, then killed') act; echo "killed with $TOKEN" >&2; kill -9 $$ ;;
'done, then silent') act; echo "silent with $TOKEN" >&2; touch reached; exec sleep 60 ;;
*) echo "refused with $TOKEN" >&2; exit "$fault" ;;
esac
case "$1" in
observe) printf '{"serving": [{"version": "%s", "share": 1}], "generation": "%s"}' "$(cat serving)" "$(cat serving)" ;;
switch) act; echo "told $TOKEN" ;;
esac
`;

/** As the README has it. */
const answers: readonly Answer[] = [
  { name: 'exit code 1', written: 'permanent', read: 'transient' },
  { name: 'exit code 10', written: 'already', read: 'transient' },
  { name: 'exit code 11', written: 'conflict', read: 'transient' },
  { name: 'exit code 64', written: 'permanent', read: 'permanent' },
  { name: 'exit code 75', written: 'transient', read: 'transient' },
  { name: 'exit code 77', written: 'auth', read: 'auth' },
  { name: 'exit code 127', written: 'permanent', read: 'permanent' },
  { name: 'a program that is not there', written: 'permanent', read: 'permanent', requests: 0 },
  { name: 'a program that may not be executed', written: 'permanent', read: 'permanent', requests: 0 },
  { name: 'killed', written: 'indeterminate', read: 'transient' },
  { name: 'done, then killed', written: 'indeterminate', read: 'transient', isDone: true },
  { name: 'done, then silent', written: 'indeterminate', read: 'transient', isDone: true },
];

/** @param expire ends the time limit of what runs */
function execFault(folder: string, expire: () => void): FaultySetup['fault'] {
  return async (on, answer) => {
    const owned = new AsyncDisposableStack();
    const action = on === 'read' ? 'observe' : 'switch';
    const program = join(folder, `${action}.sh`);
    const put = async (path: string, text: string): Promise<void> => {
      await writeFile(path, text);
      owned.defer(async () => rm(path, { force: true }));
    };
    if (answer === 'a program that is not there') {
      await rename(program, `${program}.away`);
      owned.defer(async () => rename(`${program}.away`, program));
    } else if (answer === 'a program that may not be executed') {
      await chmod(program, 0o644);
      owned.defer(async () => chmod(program, 0o755));
    } else await put(join(folder, `fault-${action}`), answer.replace('exit code ', ''));
    if (answer === 'done, then silent') {
      const stop = new AbortController();
      const waiting = expireOnceReached(join(folder, 'reached'), expire, stop.signal);
      owned.defer(async () => {
        stop.abort();
        await waiting;
      });
    }
    return { [Symbol.asyncDispose]: async () => owned.disposeAsync() };
  };
}

/** Ends the time limit of each run as soon as it has come to where it falls silent. */
async function expireOnceReached(mark: string, expire: () => void, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    if (existsSync(mark)) {
      await rm(mark);
      expire();
    }
    await sleep(5);
  }
}

type World = FaultySetup & { readonly folder: string; readonly another: (changes: Record<string, unknown>) => Promise<ControlPlane> };

async function start(): Promise<World> {
  const folder = await mkdtemp(join(tmpdir(), 'exec-plane-'));
  for (const action of ['observe', 'switch']) await writeFile(join(folder, `${action}.sh`), script, { mode: 0o755 });
  await writeFile(join(folder, 'serving'), '7');
  await writeFile(join(folder, 'token'), `${secret}\n`);
  const deps = aPlaneDeps();
  const planes: ControlPlane[] = [];
  const another = async (changes: Record<string, unknown>): Promise<ControlPlane> => {
    const argv = (action: string) => ({ argv: [join(folder, `${action}.sh`), action] });
    const config = { observe: argv('observe'), switch: argv('switch'), cwd: folder, env_files: { TOKEN: join(folder, 'token') } };
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
    fault: execFault(folder, () => deps.clock.expire()),
    wires: {},
    said: deps.said,
    folder,
    another,
    [Symbol.asyncDispose]: async () => {
      for (const plane of planes) await plane.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

describeControlPlane('exec', start, answers);

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
