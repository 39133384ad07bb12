import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleepFor } from 'node:timers/promises';
import { afterAll, describe, expect, it } from 'vitest';
import type { SmokeRequest, SmokeTest } from '../../domain/model.ts';
import type { Clock, Log, SmokeContext } from '../../domain/ports.ts';
import { realClock } from '../clock/real-clock.ts';
import { createSmokeRunner } from './index.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'rollbackd-smoke-'));
afterAll(() => rmSync(folder, { recursive: true }));

const context: SmokeContext = { model: 'fraud', to: '6', from: '7', labels: { region: 'eu' } };

function aCommand(argv: readonly [string, ...string[]], changes: Partial<Extract<SmokeRequest, { kind: 'command' }>> = {}): SmokeRequest {
  return { kind: 'command', name: "the team's own tests", argv, env: {}, cwd: folder, ...changes };
}

const script = (text: string): [string, ...string[]] => [process.execPath, '-e', text];

async function run(requests: readonly SmokeRequest[], changes: Partial<SmokeTest> = {}, { signal = new AbortController().signal, clock = realClock } = {}) {
  const logged: string[] = [];
  const log: Log = {
    debug: (fields) => logged.push(String(fields['output'])),
    info: () => undefined,
    warn: () => undefined,
    error: () => undefined,
    child: () => log,
  };
  const runner = createSmokeRunner({
    clock,
    log,
    baseEnv: { PATH: process.env['PATH'] ?? '', HOME: folder, LANG: 'C.UTF-8' },
    secrets: () => ['planted-secret'],
  });
  const results = await runner.run({ timeoutMs: 10_000, retries: 0, requests, onFailure: 'stop', ...changes }, context, signal);
  return { result: results[0], results, logged };
}

/** The time limit of 600 ms is over as soon as the command has written `file`, however slow the machine is; other sleeps are real. */
function clockUntil(file: string): Clock {
  return {
    ...realClock,
    sleep: async (durationMs, signal) => {
      if (durationMs !== 600) return await realClock.sleep(durationMs, signal);
      while (!existsSync(file)) await realClock.sleep(20, signal);
    },
  };
}

describe('a command smoke test', () => {
  it('passes on exit code 0', async () => {
    const { result } = await run([aCommand(script('console.log("fine")'))]);

    expect(result).toMatchObject({ name: "the team's own tests", outcome: 'passed' });
    expect(result?.detail).toMatch(/^exit code 0 in \d+ ms$/);
  });

  it('fails on another exit code and shows the end of what was said, of both outputs', async () => {
    const { result } = await run([aCommand(script('console.log("first"); console.error("AssertionError: 3 != 2"); process.exit(3)'))]);

    expect(result?.outcome).toBe('failed');
    expect(result?.detail).toMatch(/^exit code 3: /);
    expect(result?.detail).toContain('AssertionError: 3 != 2');
    expect(result?.detail).toContain('first');
  });

  it('renders templates in arguments and environment, and passes each argument as it is: there is no shell', async () => {
    const report = 'console.log(JSON.stringify([process.argv.slice(1), process.env.MODEL_VERSION, process.cwd()])); process.exit(1)';

    const { result } = await run([
      aCommand([...script(report), '{{ $to }}', '$(id); "{{ $labels.region }}"', ''], { env: { MODEL_VERSION: '{{ $to }}-after-{{ $from }}' } }),
    ]);

    expect(result?.detail).toContain(JSON.stringify([['6', '$(id); "eu"', ''], '6-after-7', folder]));
  });

  it('gives the command no more of the environment than PATH, HOME, LANG and its own', async () => {
    process.env['PLANTED'] = 'planted-secret';

    const { result } = await run([aCommand(script('console.log(Object.keys(process.env).sort().join(" ")); process.exit(1)'), { env: { OWN: '1' } })]);

    expect(result?.detail).toBe('exit code 1: HOME LANG OWN PATH');
    delete process.env['PLANTED'];
  });

  it.each([
    ['is missing', aCommand(['no-such-program-here']), 'program "no-such-program-here" not found; give its full path, or put its folder into PATH'],
    ['may not be executed', aCommand([path.join(folder, 'plain.txt')]), `program "${path.join(folder, 'plain.txt')}" may not be executed (EACCES)`],
    ['has a folder that is missing', aCommand(script(''), { cwd: path.join(folder, 'gone') }), `cwd ${path.join(folder, 'gone')} is no folder`],
  ])('fails at once, without retries, when its program %s', async (_name, request, detail) => {
    writeFileSync(path.join(folder, 'plain.txt'), 'x');

    const { result } = await run([request], { retries: 5 });

    expect(result).toMatchObject({ outcome: 'failed', detail });
  });

  it('tries again when asked to', async () => {
    const marker = path.join(folder, 'second-try');

    const { result } = await run(
      [
        aCommand(
          script(
            `const fs = require('fs'); if (!fs.existsSync(${JSON.stringify(marker)})) { fs.writeFileSync(${JSON.stringify(marker)}, ''); process.exit(1) }`,
          ),
        ),
      ],
      { retries: 1 },
    );

    expect(result?.outcome).toBe('passed');
  });

  it('ends the whole process group when time is up', async () => {
    const trace = path.join(folder, 'grandchild');
    const grandchild = `setInterval(() => require('fs').appendFileSync(${JSON.stringify(trace)}, '.'), 20)`;
    const text = `console.log('started'); require('child_process').spawn(process.execPath, ['-e', ${JSON.stringify(grandchild)}], { stdio: 'inherit' }); setInterval(() => {}, 1000)`;

    const { result } = await run([aCommand(script(text))], { timeoutMs: 600, retries: 3 }, { clock: clockUntil(trace) });

    expect(result?.outcome).toBe('failed');
    expect(result?.detail).toBe('not passed within 0.6s (try 1): ended by SIGTERM: started');
    const size = statSync(trace).size;
    await sleepFor(300);
    expect(statSync(trace).size).toBe(size);
  });

  it('kills a command that does not listen to SIGTERM', async () => {
    const trace = path.join(folder, 'deaf');
    const text = `process.on('SIGTERM', () => console.log('no')); require('fs').writeFileSync(${JSON.stringify(trace)}, ''); setInterval(() => {}, 1000)`;

    const { result } = await run([aCommand(script(text))], { timeoutMs: 600 }, { clock: clockUntil(trace) });

    expect(result?.detail).toBe('not passed within 0.6s (try 1): ended by SIGKILL: no');
  });

  it.each([false, true])('does not wait for what a command leaves behind (in a session of its own: %s)', async (detached) => {
    const started = Date.now();

    const { result } = await run([
      aCommand(
        script(`require('child_process').spawn('sleep', ['30'], { stdio: 'inherit', detached: ${detached} }).unref(); setTimeout(() => process.exit(0), 100)`),
      ),
    ]);

    expect(result?.outcome).toBe('passed');
    expect(Date.now() - started).toBeLessThan(20_000);
  });

  it('stops the command when the daemon stops', async () => {
    const stop = new AbortController();
    setTimeout(() => stop.abort(new Error('stopping')), 300);

    await expect(run([aCommand(script('setTimeout(() => {}, 60000)'))], {}, { signal: stop.signal })).rejects.toThrow('stopping');
  });

  it('keeps only the end of a long output, and no secret in it', async () => {
    const { result, logged } = await run([
      aCommand(script('for (let i = 0; i < 20000; i++) console.log("line " + i + " planted-secret"); console.log("the end"); process.exitCode = 1')),
    ]);

    expect(result?.detail.endsWith('the end')).toBe(true);
    expect(result?.detail.length).toBeLessThan(1_100);
    expect(logged[0]?.length).toBeLessThanOrEqual(64 * 1024);
    expect(logged[0]?.startsWith('line ')).toBe(true);
    expect(result?.detail + logged.join('')).not.toContain('planted-secret');
  });
});
