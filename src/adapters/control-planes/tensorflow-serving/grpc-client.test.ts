import { createServer, type Http2Server, type ServerHttp2Session } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { create } from '@bufbuild/protobuf';
import { Code, ConnectError, type ConnectRouter } from '@connectrpc/connect';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import { afterEach, describe, expect, it } from 'vitest';
import { ModelVersionStatus_State as State } from './gen/tensorflow_serving/apis/get_model_status_pb.ts';
import { ModelService } from './gen/tensorflow_serving/apis/model_service_pb.ts';
import { PredictionService } from './gen/tensorflow_serving/apis/prediction_service_pb.ts';
import { ModelServerConfigSchema } from './gen/tensorflow_serving/config/model_server_config_pb.ts';
import { classOf, GrpcClient } from './grpc-client.ts';

const ever = new AbortController().signal;
const list = create(ModelServerConfigSchema);
const owned: (() => void)[] = [];
afterEach(() => {
  for (const release of owned.splice(0).toReversed()) release();
});

type Served = { readonly client: GrpcClient; readonly requests: string[]; readonly sessions: Set<ServerHttp2Session>; readonly server: Http2Server };

async function serve(routes: (router: ConnectRouter, served: () => Served) => void, timeoutMs = 500): Promise<Served> {
  const sessions = new Set<ServerHttp2Session>();
  const made: { served?: Served } = {};
  const server = createServer(connectNodeAdapter({ routes: (router) => routes(router, () => made.served as Served) }));
  server.on('session', (session) => {
    sessions.add(session);
    session.on('error', () => undefined);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const requests: string[] = [];
  const client = new GrpcClient(`127.0.0.1:${(server.address() as AddressInfo).port}`, null, timeoutMs, (method, code) => requests.push(`${method} ${code}`));
  owned.push(() => {
    client.abort();
    for (const session of sessions) session.destroy();
    server.close();
  });
  made.served = { client, requests, sessions, server };
  return made.served;
}

const never = async (): Promise<never> => new Promise<never>(() => undefined);

describe('the answer to a reload', () => {
  it.each([
    ['UNAVAILABLE', Code.Unavailable, 'transient'],
    ['RESOURCE_EXHAUSTED', Code.ResourceExhausted, 'transient'],
    ['ABORTED', Code.Aborted, 'transient'],
    ['FAILED_PRECONDITION', Code.FailedPrecondition, 'staging_needed'],
    ['INVALID_ARGUMENT', Code.InvalidArgument, 'permanent'],
    ['UNIMPLEMENTED', Code.Unimplemented, 'permanent'],
    ['NOT_FOUND', Code.NotFound, 'permanent'],
    ['UNAUTHENTICATED', Code.Unauthenticated, 'auth'],
    ['PERMISSION_DENIED', Code.PermissionDenied, 'auth'],
    ['UNKNOWN', Code.Unknown, 'indeterminate'],
    ['INTERNAL', Code.Internal, 'indeterminate'],
    ['DATA_LOSS', Code.DataLoss, 'indeterminate'],
  ])('%s of the server is of class %3$s', async (name, code, errorClass) => {
    const { client, requests } = await serve((router) =>
      router.service(ModelService, {
        handleReloadConfigRequest: () => {
          throw new ConnectError('because', code);
        },
      }),
    );

    expect(await client.reload(list, 500, ever)).toEqual({ kind: 'answered', code: name, message: 'because' });
    expect(classOf(name)).toBe(errorClass);
    expect(requests).toEqual([`HandleReloadConfigRequest ${name}`]);
  });

  it('is read from the status in an answer that is OK itself', async () => {
    const { client } = await serve((router) =>
      router.service(ModelService, { handleReloadConfigRequest: () => ({ status: { errorCode: 9, errorMessage: 'not now' } }) }),
    );

    expect(await client.reload(list, 500, ever)).toEqual({ kind: 'answered', code: 'FAILED_PRECONDITION', message: 'not now' });
  });

  it.each([
    ['no answer in time', async () => never(), 'DEADLINE_EXCEEDED'],
    [
      'a connection that breaks after the request',
      async (served: Served) => {
        for (const session of served.sessions) session.destroy();
        return never();
      },
      'ABORTED',
    ],
  ])('is lost with %s', async (_name, handle, code) => {
    const { client } = await serve((router, served) => router.service(ModelService, { handleReloadConfigRequest: async () => handle(served()) }));

    expect(await client.reload(list, 300, ever)).toMatchObject({
      kind: 'lost',
      code: expect.stringMatching(new RegExp(`${code}|UNAVAILABLE|INTERNAL|CANCELLED`)),
    });
  });

  it('is lost when the call is aborted under way', async () => {
    const abort = new AbortController();
    const { client } = await serve((router) =>
      router.service(ModelService, {
        handleReloadConfigRequest: async () => {
          abort.abort(new Error('stopped'));
          return never();
        },
      }),
    );

    expect(await client.reload(list, 5_000, abort.signal)).toMatchObject({ kind: 'lost', code: 'CANCELLED' });
  });

  it('is known not to have been sent when there is no connection', async () => {
    const client = new GrpcClient('127.0.0.1:1', null, 300, () => undefined);

    expect(await client.reload(list, 300, ever)).toEqual({ kind: 'unsent', message: 'connect ECONNREFUSED 127.0.0.1:1' });
  });
});

describe('reading from a server', () => {
  it('normalises states, in numeric order, and keeps what 64 bits can hold', async () => {
    const ok = { errorCode: 0 } as const;
    const { client } = await serve((router) =>
      router.service(ModelService, {
        getModelStatus: () => ({
          modelVersionStatus: [
            { version: 9223372036854775807n, state: State.AVAILABLE, status: ok },
            { version: 10n, state: State.START, status: ok },
            { version: 9n, state: State.LOADING, status: ok },
            { version: 8n, state: State.UNLOADING, status: ok },
            { version: 7n, state: State.END, status: ok },
            { version: 6n, state: State.END, status: { errorCode: 8 as const, errorMessage: 'no memory' } },
            { version: 5n, state: State.UNKNOWN },
          ],
        }),
      }),
    );

    expect(await client.versions('fraud', ever)).toEqual([
      { id: '5', state: 'pending' },
      { id: '6', state: 'failed', detail: 'no memory' },
      { id: '7', state: 'unloaded' },
      { id: '8', state: 'draining' },
      { id: '9', state: 'loading' },
      { id: '10', state: 'pending' },
      { id: '9223372036854775807', state: 'available' },
    ]);
  });

  it('tells a route that leads nowhere from a call that failed', async () => {
    const { client } = await serve((router) =>
      router.service(PredictionService, {
        getModelMetadata: ({ modelSpec }) => {
          if (modelSpec?.versionChoice.case === 'versionLabel') throw new ConnectError('Unrecognized servable version label', Code.InvalidArgument);
          throw new ConnectError(modelSpec?.name === 'gone' ? 'Servable not found' : 'broken', modelSpec?.name === 'gone' ? Code.NotFound : Code.Internal);
        },
      }),
    );

    expect(await client.route('fraud', 'canary', ever)).toEqual({ version: null, reason: 'Unrecognized servable version label' });
    expect(await client.route('gone', null, ever)).toEqual({ version: null, reason: 'Servable not found' });
    await expect(client.route('fraud', null, ever)).rejects.toMatchObject({
      class: 'transient',
      message: expect.stringMatching(/GetModelMetadata answered INTERNAL: broken/),
    });
  });

  it('takes a new connection once when the old one broke', async () => {
    let calls = 0;
    const { client, requests } = await serve((router, served) =>
      router.service(ModelService, {
        getModelStatus: async () => {
          calls += 1;
          if (calls > 1) return { modelVersionStatus: [] };
          for (const session of served().sessions) session.destroy();
          return never();
        },
      }),
    );

    expect(await client.versions('fraud', ever)).toEqual([]);
    expect(requests.map((request) => request.split(' ')[1] === 'OK')).toEqual([false, true]);
  });

  it('gives up after its time and leaves the connection that does not answer', async () => {
    let calls = 0;
    const { client, sessions } = await serve(
      (router) => router.service(ModelService, { getModelStatus: async () => ((calls += 1) > 1 ? { modelVersionStatus: [] } : never()) }),
      200,
    );

    await expect(client.versions('fraud', ever)).rejects.toMatchObject({ class: 'transient', message: expect.stringMatching(/DEADLINE_EXCEEDED/) });
    expect(await client.versions('fraud', ever)).toEqual([]);
    expect(sessions.size).toBe(2);
  });
});
