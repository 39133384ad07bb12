import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Code } from '@connectrpc/connect';
import { describe, expect, it } from 'vitest';
import { eventually, SETTLE_MS, startTestServer } from './test-server.ts';

const settle = (): Promise<void> => sleep(SETTLE_MS);

describe.concurrent('a list of models', () => {
  it('is refused when it names a model twice, or a folder that is not absolute', async () => {
    await using server = await startTestServer({ fraud: { 1: {} } });

    await expect(server.reload([{ name: 'fraud' }, { name: 'fraud' }])).rejects.toMatchObject({
      code: Code.InvalidArgument,
      rawMessage: 'Illegal to list model fraud multiple times in config list',
    });
    await expect(server.reload([{ name: 'fraud', basePath: 'models/fraud' }])).rejects.toMatchObject({
      code: Code.InvalidArgument,
      rawMessage: 'Expected model fraud to have an absolute path or URI; got base_path()=models/fraud',
    });
    expect(await server.serving('fraud')).toBe(1);
  });

  it('is refused when a known model changes or loses its platform', async () => {
    await using server = await startTestServer({ fraud: { 1: {} } });

    await expect(server.reload([{ name: 'fraud', platform: 'onnx' }])).rejects.toMatchObject({
      code: Code.InvalidArgument,
      rawMessage: "Illegal to change a model's platform. For model fraud platform was tensorflow and new platform requested is onnx",
    });
    await expect(server.reload([{ name: 'fraud', platform: '' }])).rejects.toMatchObject({ code: Code.InvalidArgument });
    await server.reload([{ name: 'fraud' }]);
  });

  it('with an unknown platform for a new model is refused, but remembered: the mended one is refused too, until the model was left out', async () => {
    await using server = await startTestServer({ fraud: { 1: {} }, churn: { 1: {} } }, {}, [{ name: 'fraud' }]);

    await expect(server.reload([{ name: 'fraud' }, { name: 'churn', platform: 'onnx' }])).rejects.toThrow('Model churn requests unsupported platform onnx');
    await expect(server.reload([{ name: 'fraud' }, { name: 'churn' }])).rejects.toThrow("Illegal to change a model's platform");
    await server.reload([{ name: 'fraud' }]);
    await server.reload([{ name: 'fraud' }, { name: 'churn' }]);

    expect(await server.serving('churn')).toBe(1);
  });

  it('with an empty platform for a new model makes every later reload fail', async () => {
    await using server = await startTestServer({ fraud: { 1: {} }, churn: { 1: {} } }, {}, [{ name: 'fraud' }]);
    const refusal = { code: Code.InvalidArgument, rawMessage: expect.stringContaining('Illegal setting neither') };

    await expect(server.reload([{ name: 'fraud' }, { name: 'churn', platform: '' }])).rejects.toMatchObject(refusal);

    await expect(server.reload([{ name: 'fraud' }])).rejects.toMatchObject(refusal);
    await expect(server.reload([{ name: 'fraud' }, { name: 'churn' }])).rejects.toMatchObject(refusal);
    expect(await server.serving('fraud')).toBe(1);
  });

  it('is the only kind of configuration there is', async () => {
    await using server = await startTestServer({ fraud: { 1: {} } });
    const refusal = { code: Code.InvalidArgument, rawMessage: expect.stringContaining('Only ModelConfigList is currently supported') };

    await expect(server.modelService.handleReloadConfigRequest({ config: {} })).rejects.toMatchObject(refusal);
    await expect(server.modelService.handleReloadConfigRequest({})).rejects.toMatchObject(refusal);
    const config = { config: { case: 'customModelConfig' as const, value: { typeUrl: 'type.googleapis.com/x.Y', value: new Uint8Array() } } };
    await expect(server.modelService.handleReloadConfigRequest({ config })).rejects.toMatchObject(refusal);
  });

  it('with a logging_config is refused by the stock server, after the rest of it was applied', async () => {
    await using server = await startTestServer({ fraud: { 1: {}, 2: {} } });
    const logged = { name: 'fraud', versions: [1], more: 'logging_config { sampling_config { sampling_rate: 0.1 } }' };

    await expect(server.reload([logged])).rejects.toMatchObject({ code: Code.InvalidArgument, rawMessage: 'No request-logger-creator provided.' });

    expect(
      await eventually(
        () => server.serving('fraud'),
        (version) => version === 1,
      ),
    ).toBe(1);
  });

  it('is written down with every field, if asked for', async () => {
    await using server = await startTestServer({ fraud: { 1: {} } });
    const journal = join(server.repository.dir, 'reloads.jsonl');
    await using other = await startTestServer({ fraud: { 1: {} } }, { reload_journal_file: journal, accept_logging_config: true });

    await other.reload([{ name: 'fraud', versions: ['9007199254740993', 1], more: 'logging_config { log_collector_config { type: "x" } }' }]);

    const records = (await readFile(journal, 'utf8'))
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(records.map(({ call, source, event, code }) => [call, source, event, code])).toEqual([
      [1, 'boot', 'begin', undefined],
      [1, 'boot', 'end', 'OK'],
      [2, 'rpc', 'begin', undefined],
      [2, 'rpc', 'end', 'OK'],
    ]);
    expect(records[2].config.model_config_list.config[0]).toMatchObject({
      model_version_policy: { specific: { versions: ['9007199254740993', '1'] } },
      logging_config: { log_collector_config: { type: 'x' } },
    });
  });
});

describe.concurrent('a label', () => {
  it('has to point to a version that is available now', async () => {
    await using server = await startTestServer({ fraud: { 42: {}, 43: {} } });

    await expect(server.reload([{ name: 'fraud', versions: [42, 43], labels: { stable: 42 } }])).rejects.toMatchObject({
      code: Code.FailedPrecondition,
      rawMessage: 'Request to assign label to version 42 of model fraud, which is not currently available for inference',
    });
    await settle();
    expect(await server.states('fraud')).toBe('v43 AVAILABLE');
    await server.reload([{ name: 'fraud', versions: [42, 43] }]);
    await eventually(
      () => server.states('fraud'),
      (states) => states === 'v43 AVAILABLE, v42 AVAILABLE',
    );
    await server.reload([{ name: 'fraud', versions: [42, 43], labels: { stable: 42 } }]);

    expect(await server.serving('fraud', 'stable')).toBe(42);
  });

  it('that is refused leaves the versions alone, but its configuration is the remembered one', async () => {
    await using server = await startTestServer({ fraud: { 1: {}, 2: {} } });

    await expect(
      server.reload([
        { name: 'fraud', versions: [1], labels: { stable: 1 } },
        { name: 'churn', basePath: '/nowhere' },
      ]),
    ).rejects.toMatchObject({
      code: Code.FailedPrecondition,
    });
    await settle();

    expect(await server.states('fraud')).toBe('v2 AVAILABLE');
    await expect(server.reload([{ name: 'fraud' }, { name: 'churn', basePath: '/nowhere', platform: 'onnx' }])).rejects.toThrow(
      'For model churn platform was tensorflow',
    );
  });

  it('is gone when the next list leaves it out', async () => {
    await using server = await startTestServer({ fraud: { 1: {} }, churn: { 1: {} } });
    await server.reload([{ name: 'fraud', labels: { stable: 1 } }, { name: 'churn' }]);
    expect(await server.serving('fraud', 'stable')).toBe(1);

    await server.reload([{ name: 'fraud' }, { name: 'churn', labels: { stable: 1 } }]);

    await expect(server.serving('fraud', 'stable')).rejects.toMatchObject({ code: Code.InvalidArgument });
    expect(await server.serving('churn', 'stable')).toBe(1);
  });

  it('may point to a version that is not there with the flag, when it is new, but not move there', async () => {
    await using server = await startTestServer({ fraud: { 1: {}, 2: {} } }, { allow_version_labels_for_unavailable_models: true });

    await server.reload([{ name: 'fraud', versions: [2], labels: { stable: 2, canary: 1 } }]);
    await server.reload([{ name: 'fraud', versions: [2], labels: { stable: 2, canary: 1 } }]);

    await expect(server.serving('fraud', 'canary')).rejects.toMatchObject({ code: Code.NotFound });
    await expect(server.reload([{ name: 'fraud', versions: [2], labels: { stable: 1 } }])).rejects.toMatchObject({ code: Code.FailedPrecondition });
  });

  it('goes on pointing to a version that was unloaded under it; one that is not there is another error', async () => {
    await using server = await startTestServer({ fraud: { 1: {}, 2: {} } });
    await server.reload([{ name: 'fraud', versions: [1], labels: { stable: 2 } }]);
    await eventually(
      () => server.states('fraud'),
      (states) => states === 'v2 END, v1 AVAILABLE',
    );

    await expect(server.serving('fraud', 'stable')).rejects.toMatchObject({
      code: Code.NotFound,
      rawMessage: 'Servable not found for request: Specific(fraud, 2)',
    });
    await expect(server.serving('fraud', 'canary')).rejects.toMatchObject({
      code: Code.InvalidArgument,
      rawMessage: 'Unrecognized servable version label: canary',
    });
  });

  it('in the configuration of the start keeps the server from starting, unless the flag allows it', async () => {
    const boot = [{ name: 'fraud', versions: [1], labels: { stable: 1 } }];

    await expect(startTestServer({ fraud: { 1: {} } }, {}, boot)).rejects.toMatchObject({ code: 'FAILED_PRECONDITION' });
    await using server = await startTestServer({ fraud: { 1: {} } }, { allow_version_labels_for_unavailable_models: true }, boot);

    expect(await server.serving('fraud', 'stable')).toBe(1);
  });
});

describe.concurrent('a new model', () => {
  it('is waited for', async () => {
    await using server = await startTestServer({ fraud: { 1: {} }, churn: { 1: { load_ms: 200 } } }, {}, [{ name: 'fraud' }]);

    await server.reload([{ name: 'fraud' }, { name: 'churn' }]);

    expect(await server.states('churn')).toBe('v1 AVAILABLE');
  });

  it('that fails to load fails the reload, which stays in force', async () => {
    await using server = await startTestServer({ fraud: { 1: {} }, churn: { 1: { load_error: 'corrupt' } } }, {}, [{ name: 'fraud' }]);

    await expect(server.reload([{ name: 'fraud' }, { name: 'churn' }])).rejects.toMatchObject({
      code: Code.Unknown,
      rawMessage: '1 model(s) did not become available: {{{name: churn version: 1} due to error: INTERNAL: corrupt}, }',
    });
    await server.reload([{ name: 'fraud' }, { name: 'churn' }]);
  });

  it('that was there before is waited for anew: the END of its last life does not count', async () => {
    await using server = await startTestServer({ fraud: { 1: {} }, churn: { 1: { load_ms: 100 } } });
    await server.reload([{ name: 'fraud' }]);
    await eventually(
      () => server.states('churn'),
      (states) => states === 'v1 END',
    );

    await server.reload([{ name: 'fraud' }, { name: 'churn' }]);

    expect(await server.states('churn')).toBe('v1 AVAILABLE');
  });

  it('without versions blocks its reload and every later one for ever, whatever the client does; the status still answers', async () => {
    await using server = await startTestServer({ fraud: { 1: {}, 2: {} }, empty: {} }, {}, [{ name: 'fraud' }]);
    const late = { code: Code.DeadlineExceeded };

    await expect(server.reload([{ name: 'fraud' }, { name: 'empty' }], { timeoutMs: 150 })).rejects.toMatchObject(late);
    await expect(server.reload([{ name: 'fraud', versions: [1] }], { timeoutMs: 150 })).rejects.toMatchObject(late);
    await settle();
    expect(await server.states('fraud')).toBe('v2 AVAILABLE');
    await expect(server.states('empty')).rejects.toMatchObject({ code: Code.NotFound });
    await server.repository.setBehaviour('empty', 1, {});

    // Both were only waiting: now the second one is carried out, long after its client has gone.
    expect(
      await eventually(
        () => server.states('fraud'),
        (states) => states === 'v2 END, v1 AVAILABLE',
      ),
    ).toBe('v2 END, v1 AVAILABLE');
  });

  it('keeps the ports closed at the start until it has loaded', async () => {
    const starting = startTestServer({ fraud: { 1: { load_ms: 300 } } });

    expect(await Promise.race([starting.then(() => 'started'), sleep(200).then(() => 'loading')])).toBe('loading');
    await using server = await starting;
    expect(await server.serving('fraud')).toBe(1);
    await expect(startTestServer({ fraud: { 1: { load_error: 'corrupt' } } })).rejects.toThrow('1 servable(s) did not become available');
  });
});

describe.concurrent('the configuration file', () => {
  it('is applied again at every poll, so that what a client has set is gone', async () => {
    await using server = await startTestServer({ fraud: { 1: {}, 2: {} } }, { model_config_file_poll_wait_seconds: 1 });
    await sleep(100);

    await server.reload([{ name: 'fraud', versions: [1] }]);
    const rolledBack = await eventually(
      () => server.serving('fraud'),
      (version) => version === 1,
    );
    const reverted = await eventually(
      () => server.serving('fraud'),
      (version) => version === 2,
    );

    expect([rolledBack, reverted]).toEqual([1, 2]);
  });

  it('that cannot be read, or is refused, changes nothing', async () => {
    await using folder = await startTestServer({ fraud: { 1: {}, 2: {} } });
    const file = join(folder.repository.dir, 'models.config');
    await mkdir(folder.repository.dir, { recursive: true });
    await writeFile(file, folder.repository.configText([{ name: 'fraud' }]));
    await using server = await startTestServer({}, { model_config_file: file, model_config_file_poll_wait_seconds: 0.05 });

    await writeFile(file, 'model_config_list { config {');
    await sleep(150);
    const broken = await server.serving('fraud');
    await writeFile(file, folder.repository.configText([{ name: 'fraud', versions: [1] }]));

    expect(broken).toBe(2);
    expect(server.log()).toContain('Invalid protobuf file');
    expect(
      await eventually(
        () => server.serving('fraud'),
        (version) => version === 1,
      ),
    ).toBe(1);
  });
});
