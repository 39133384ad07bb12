import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { homedir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { realClock } from '../../src/adapters/clock/real-clock.ts';
import { createSmokeRunner } from '../../src/adapters/smoke/index.ts';
import type { SmokeTest } from '../../src/domain/model.ts';
import type { Log } from '../../src/domain/ports.ts';

const quiet: Log = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined, child: () => quiet };
/** Where scripts/real-parts puts it. */
const pytest = path.join(process.env['XDG_CACHE_HOME'] ?? path.join(homedir(), '.cache'), 'rollbackd', 'pytest', 'bin', 'pytest');

let server: Server;
let url = '';

beforeAll(async () => {
  if (!existsSync(pytest)) throw new Error(`${pytest} is missing; run: npm run real-parts`);
  // Version 6 knows fraud by the amount; version 7 calls everything fine.
  server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const { instances } = JSON.parse(Buffer.concat(chunks).toString()) as { instances: [number, number, number][] };
      const version = /\/versions\/(\d+):predict$/.exec(request.url ?? '')?.[1];
      response.setHeader('Content-Type', 'application/json');
      response.end(JSON.stringify({ predictions: instances.map(([amount]) => (version === '6' && amount > 1000 ? 0.97 : 0.02)) }));
    });
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1/models/fraud`;
});
afterAll(() => {
  server.close();
});

async function test(to: string) {
  const runner = createSmokeRunner({ clock: realClock, log: quiet, baseEnv: { PATH: process.env['PATH'] ?? '', HOME: homedir(), LANG: 'C.UTF-8' } });
  const smokeTest: SmokeTest = {
    timeoutMs: 60_000,
    retries: 0,
    onFailure: 'stop',
    requests: [
      {
        kind: 'command',
        name: "the team's own tests",
        argv: [pytest, '-q', '-p', 'no:cacheprovider', 'test_model_performance.py'],
        env: { MODEL_VERSION: '{{ $to }}', MODEL_URL: url, PYTHONDONTWRITEBYTECODE: '1' },
        cwd: path.resolve(import.meta.dirname, '../support/pytest'),
      },
    ],
  };
  const [result] = await runner.run(smokeTest, { model: 'fraud', to, from: '8', labels: {} }, new AbortController().signal);
  return result;
}

describe("a team's own pytest file as smoke test", () => {
  it('passes on a version that judges right', async () => {
    expect(await test('6')).toMatchObject({ name: "the team's own tests", outcome: 'passed' });
  });

  it('fails on one that does not, and shows what pytest found', async () => {
    const result = await test('7');

    expect(result?.outcome).toBe('failed');
    expect(result?.detail).toContain('exit code 1');
    expect(result?.detail).toContain('test_known_transactions_are_judged_right');
    expect(result?.detail).toContain('2 failed, 3 passed');
  });
});
