import { mkdir } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { Code } from '@connectrpc/connect';
import { describe, expect, it } from 'vitest';
import { eventually, HELD, HOLD, SETTLE_MS, startTestServer, type TestServer } from './test-server.ts';

const settle = (): Promise<void> => sleep(SETTLE_MS);

/** Waits for these states of a model, and expects them. */
async function expectStates(server: TestServer, model: string, states: string): Promise<void> {
  expect(
    await eventually(
      () => server.states(model),
      (now) => now === states,
    ),
  ).toBe(states);
}

describe.concurrent('a change of version', () => {
  it('is answered with OK before it has happened; the old version serves until the new one does', async () => {
    await using server = await startTestServer({ fraud: { 42: HELD, 43: { unload_ms: 500 } } }, HOLD);

    await server.reload([{ name: 'fraud', versions: [42] }]);

    await expectStates(server, 'fraud', 'v43 AVAILABLE, v42 LOADING');
    expect(await server.serving('fraud')).toBe(43);
    await server.repository.setBehaviour('fraud', 42, {});
    await expectStates(server, 'fraud', 'v43 UNLOADING, v42 AVAILABLE');
    expect(await server.serving('fraud')).toBe(42);
    await expectStates(server, 'fraud', 'v43 END, v42 AVAILABLE');
  });

  it('leaves requests without a version on the highest loaded one, until that is unloaded', async () => {
    await using server = await startTestServer({ fraud: { 42: {}, 43: {} } });

    await server.reload([{ name: 'fraud', versions: [42, 43] }]);
    await expectStates(server, 'fraud', 'v43 AVAILABLE, v42 AVAILABLE');
    const staged = [await server.serving('fraud'), await server.serving('fraud', 42)];
    await server.reload([{ name: 'fraud', versions: [42] }]);
    await expectStates(server, 'fraud', 'v43 END, v42 AVAILABLE');

    expect(staged).toEqual([43, 42]);
    expect(await server.serving('fraud')).toBe(42);
  });

  it('waits for the requests that the old version still has', async () => {
    await using server = await startTestServer({ fraud: { 42: {}, 43: { latency_ms: 600 } } });
    const request = server.predictionService.predict({ modelSpec: { name: 'fraud' } });
    await sleep(50);

    await server.reload([{ name: 'fraud', versions: [42] }]);
    await expectStates(server, 'fraud', 'v43 UNLOADING, v42 AVAILABLE');

    expect((await request).modelSpec?.versionChoice.value).toMatchObject({ value: 43n });
    await expectStates(server, 'fraud', 'v43 END, v42 AVAILABLE');
  });

  it('unloads the lower of two unwanted versions at once, the last one only when the new one serves', async () => {
    await using server = await startTestServer({ fraud: { 41: {}, 42: {}, 43: HELD } }, HOLD, [{ name: 'fraud', versions: [41, 42] }]);
    await expectStates(server, 'fraud', 'v42 AVAILABLE, v41 AVAILABLE');

    await server.reload([{ name: 'fraud', versions: [43] }]);

    await expectStates(server, 'fraud', 'v43 LOADING, v42 AVAILABLE, v41 END');
    await server.repository.setBehaviour('fraud', 43, {});
    await expectStates(server, 'fraud', 'v43 AVAILABLE, v42 END, v41 END');
  });

  it('that is undone while it is under way is done first, and then done again backwards', async () => {
    await using server = await startTestServer({ fraud: { 42: HELD, 43: {} } }, HOLD);
    await server.reload([{ name: 'fraud', versions: [42] }]);
    await expectStates(server, 'fraud', 'v43 AVAILABLE, v42 LOADING');
    await server.repository.setBehaviour('fraud', 43, HELD);

    await server.reload([{ name: 'fraud', versions: [43] }]);
    await settle();
    await server.repository.setBehaviour('fraud', 42, {});

    await expectStates(server, 'fraud', 'v43 LOADING, v42 AVAILABLE');
    await server.repository.setBehaviour('fraud', 43, {});
    await expectStates(server, 'fraud', 'v43 AVAILABLE, v42 END');
  });

  it('of the default policy follows the disk', async () => {
    await using server = await startTestServer({ fraud: { 42: {} } });

    await server.repository.setBehaviour('fraud', 43, {});
    await expectStates(server, 'fraud', 'v43 AVAILABLE, v42 END');
    await mkdir(`${server.repository.basePath('fraud')}/not-a-version`);
    await server.repository.removeVersion('fraud', 43);

    await expectStates(server, 'fraud', 'v43 END, v42 AVAILABLE');
  });

  it('unloads models that the new list leaves out', async () => {
    await using server = await startTestServer({ fraud: { 1: {} }, churn: { 1: {} } });

    await server.reload([{ name: 'fraud' }]);

    await expectStates(server, 'churn', 'v1 END');
    await expect(server.serving('churn')).rejects.toMatchObject({ code: Code.NotFound });
    expect(await server.serving('fraud')).toBe(1);
  });
});

describe.concurrent('a version that fails to load', () => {
  it('is tried again so often, and then ends with its error', async () => {
    await using server = await startTestServer(
      { fraud: { 42: { load_error: 'disk quota', load_error_code: 'RESOURCE_EXHAUSTED' }, 43: {} } },
      { max_num_load_retries: 2, load_retry_interval_micros: 150_000 },
    );
    const began = performance.now();
    await server.reload([{ name: 'fraud', versions: [42] }]);

    await expectStates(server, 'fraud', 'v43 AVAILABLE, v42 END RESOURCE_EXHAUSTED');

    expect(performance.now() - began).toBeGreaterThan(299);
    const versionChoice = { case: 'version', value: { value: 42n } } as const;
    const { modelVersionStatus } = await server.modelService.getModelStatus({ modelSpec: { name: 'fraud', versionChoice } });
    expect(modelVersionStatus[0]?.status?.errorMessage).toBe('disk quota');
    expect(await server.serving('fraud')).toBe(43);
  });

  it('is LOADING as long as it is tried again, and loaded once what was wrong is mended', async () => {
    await using server = await startTestServer({ fraud: { 42: HELD, 43: {} } }, HOLD);
    await server.reload([{ name: 'fraud', versions: [42] }]);
    await expectStates(server, 'fraud', 'v43 AVAILABLE, v42 LOADING');

    await server.repository.setBehaviour('fraud', 42, {});

    await expectStates(server, 'fraud', 'v43 END, v42 AVAILABLE');
  });

  it('is never tried again while it stays wanted, but after it was left out for a while', async () => {
    await using server = await startTestServer({ fraud: { 42: { load_error: 'corrupt' }, 43: {} } });
    await server.reload([{ name: 'fraud', versions: [42, 43] }]);
    await expectStates(server, 'fraud', 'v43 AVAILABLE, v42 END INTERNAL');
    await server.repository.setBehaviour('fraud', 42, {});

    await server.reload([{ name: 'fraud', versions: [42, 43] }]);
    await settle();
    expect(await server.states('fraud')).toBe('v43 AVAILABLE, v42 END INTERNAL');
    await server.reload([{ name: 'fraud', versions: [43] }]);
    await settle();
    expect(await server.states('fraud')).toBe('v43 AVAILABLE, v42 END INTERNAL');
    await server.reload([{ name: 'fraud', versions: [42, 43] }]);

    await expectStates(server, 'fraud', 'v43 AVAILABLE, v42 AVAILABLE');
  });

  it('as the only wanted one cannot be undone: the old one serves on, but neither list that names it is taken up', async () => {
    await using server = await startTestServer({ fraud: { 42: { load_error: 'corrupt' }, 43: {}, 44: {} } }, {}, [{ name: 'fraud', versions: [43] }]);
    await server.reload([{ name: 'fraud', versions: [42] }]);
    await expectStates(server, 'fraud', 'v43 AVAILABLE, v42 END INTERNAL');
    await server.repository.setBehaviour('fraud', 42, {});

    for (const versions of [[43], [42, 43], [42]]) {
      await server.reload([{ name: 'fraud', versions }]);
      await settle();
      expect(await server.states('fraud')).toBe('v43 AVAILABLE, v42 END INTERNAL');
    }
    await server.reload([{ name: 'fraud', versions: [44] }]);

    await expectStates(server, 'fraud', 'v44 AVAILABLE, v43 END, v42 END INTERNAL');
  });

  it('holds up every other model of the server, unless there are threads to load with', async () => {
    const models = { fraud: { 42: HELD, 43: {} }, churn: { 1: {}, 2: {} } };
    await using stock = await startTestServer(models, HOLD);
    await using threaded = await startTestServer(models, { ...HOLD, num_load_threads: 2 });
    const servers = [stock, threaded];

    for (const server of servers) await server.reload([{ name: 'fraud', versions: [42] }, { name: 'churn' }]);
    for (const server of servers) await expectStates(server, 'fraud', 'v43 AVAILABLE, v42 LOADING');
    for (const server of servers)
      await server.reload([
        { name: 'fraud', versions: [42] },
        { name: 'churn', versions: [1] },
      ]);
    await expectStates(threaded, 'churn', 'v2 END, v1 AVAILABLE');
    await settle();

    expect(await stock.states('churn')).toBe('v2 AVAILABLE');
    await stock.repository.setBehaviour('fraud', 42, {});
    await expectStates(stock, 'churn', 'v2 END, v1 AVAILABLE');
  });

  it('gives up after the attempt under way when it is no longer wanted, if there are threads to load with', async () => {
    await using server = await startTestServer({ fraud: { 42: HELD, 43: {} } }, { ...HOLD, num_load_threads: 1 }, [{ name: 'fraud', versions: [43] }]);
    await server.reload([{ name: 'fraud', versions: [42, 43] }]);
    await expectStates(server, 'fraud', 'v43 AVAILABLE, v42 LOADING');

    await server.reload([{ name: 'fraud', versions: [43] }]);

    await expectStates(server, 'fraud', 'v43 AVAILABLE, v42 END INTERNAL');
  });
});

describe.concurrent('what is missing on disk', () => {
  it('takes a model down when it is the only version wanted', async () => {
    await using server = await startTestServer({ fraud: { 43: {} } });

    await server.reload([{ name: 'fraud', versions: [42] }]);

    await expectStates(server, 'fraud', 'v43 END');
    await expect(server.serving('fraud')).rejects.toMatchObject({ code: Code.NotFound, rawMessage: 'Servable not found for request: Latest(fraud)' });
    expect(server.log()).toContain('was not found in the file system');
  });

  it('does no harm beside a version that is there', async () => {
    await using server = await startTestServer({ fraud: { 43: {} } });

    await server.reload([{ name: 'fraud', versions: [42, 43] }]);
    await settle();

    expect(await server.states('fraud')).toBe('v43 AVAILABLE');
  });

  it('keeps every model of the server as it is when it is the folder of any of them, though the answer is OK', async () => {
    await using server = await startTestServer({ fraud: { 42: {}, 43: {} }, churn: { 1: {} } });
    await server.repository.removeModel('churn');

    await server.reload([{ name: 'fraud', versions: [42] }, { name: 'churn' }]);
    await settle();
    const stalled = await server.states('fraud');
    await server.reload([{ name: 'fraud', versions: [42] }]);

    expect(stalled).toBe('v43 AVAILABLE');
    await expectStates(server, 'fraud', 'v43 END, v42 AVAILABLE');
  });

  it('is not seen when the disk is polled once only', async () => {
    await using server = await startTestServer({ fraud: { 42: {}, 43: {} } }, { file_system_poll_wait_seconds: 0 });

    await server.reload([{ name: 'fraud', versions: [42] }]);
    await settle();
    expect(await server.states('fraud')).toBe('v43 AVAILABLE');

    await expect(server.reload([{ name: 'fraud' }, { name: 'new', basePath: server.repository.basePath('fraud') }], { timeoutMs: 200 })).rejects.toMatchObject({
      code: Code.DeadlineExceeded,
    });
  });
});
