import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ModelService } from './gen/tensorflow_serving/apis/model_service_pb.ts';
import { generateLoad } from './load.ts';
import { makeModelRepository, startTensorFlowServing } from './start.ts';
import { makeTestCertificate } from './test-certificates.ts';

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tensorflow-serving-double-'));
});

afterEach(() => rm(folder, { recursive: true, force: true }));

async function write(name: string, text: string): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, text);
  return path;
}

describe('startTensorFlowServing', () => {
  it('runs a process that takes load, and that can be stopped and started again on its ports', async () => {
    const repository = await makeModelRepository(folder, { fraud: { 1: { fail_ratio: 0.5 } } });
    const flags = { model_name: 'fraud', model_base_path: repository.basePath('fraud') };
    const server = await startTensorFlowServing({ flags });
    const stop = new AbortController();
    const load = generateLoad({ endpoints: [server.rest], model: 'fraud', ratePerSecond: 200, signal: stop.signal });
    while (load.report.sent < 40) await sleep(10);
    stop.abort();
    const { byVersion, sent, failures } = await load.done;

    await server.stop();
    await expect(fetch(server.rest)).rejects.toThrow('fetch failed');
    const [port, rest_api_port] = [server.grpc, server.rest].map((address) => Number(address.split(':').at(-1)));
    await using again = await startTensorFlowServing({ flags: { ...flags, port: port ?? 0, rest_api_port: rest_api_port ?? 0 } });

    expect(again.grpc).toBe(server.grpc);
    expect(failures).toEqual({});
    expect(byVersion).toEqual({ 1: { 200: Math.ceil(sent / 2), 500: Math.floor(sent / 2) } });
  });

  it('says why the server did not start', async () => {
    const config = await write('models.config', 'model_config_list { config { name: "fraud" base_path: "fraud" model_platform: "tensorflow" } }');
    const start = (flags: object, options = {}): Promise<unknown> => startTensorFlowServing({ flags, ...options }).catch((error: unknown) => error);

    const [refused, wrong, late] = await Promise.all([
      start({ model_config_file: config }),
      start({ modle_name: 'x', port: 'y' }),
      start({ model_base_path: join(folder, 'none') }, { readyTimeoutMs: 500 }),
    ]);

    const message = expect.stringContaining('INVALID_ARGUMENT: Expected model fraud to have an absolute path');
    expect(refused).toMatchObject({ exitCode: 255, message });
    expect(wrong).toMatchObject({ exitCode: 255, message: expect.stringMatching(/--port=y: expected a number: [^]*--modle_name=x: unknown flag; /) });
    expect(late).toMatchObject({ exitCode: null, message: expect.stringContaining('was not ready after 500 ms') });
  });

  it('speaks TLS on its gRPC port and asks for a certificate of the client, if told to', async () => {
    const repository = await makeModelRepository(folder, { fraud: { 1: {} } });
    const authority = { ...makeTestCertificate('test authority'), commonName: 'test authority' };
    const server = makeTestCertificate('server', authority);
    const client = makeTestCertificate('client', authority);
    const quote = (pem: string): string => JSON.stringify(pem);
    const ssl = await write(
      'ssl.config',
      `server_key: ${quote(server.key)} server_cert: ${quote(server.cert)} custom_ca: ${quote(authority.cert)} client_verify: true`,
    );
    await using running = await startTensorFlowServing({ flags: { model_name: 'fraud', model_base_path: repository.basePath('fraud'), ssl_config_file: ssl } });
    const status = (nodeOptions: object): Promise<unknown> => {
      const transport = createGrpcTransport({ baseUrl: `https://${running.grpc}`, nodeOptions });
      return createClient(ModelService, transport).getModelStatus({ modelSpec: { name: 'fraud' } });
    };

    expect(await status({ ca: authority.cert, ...client })).toMatchObject({ modelVersionStatus: [{ version: 1n }] });
    await expect(status({ ca: authority.cert })).rejects.toThrow(/certificate|socket|closed|reset|session/i);
    await expect(status({ ...client })).rejects.toThrow(/certificate/);
  });
});
