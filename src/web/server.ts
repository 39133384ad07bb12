import type { Server as HttpsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { type FastifyHttpsOptions, type FastifyInstance, type FastifyReply, type FastifyRequest, type FastifyServerOptions, fastify } from 'fastify';
import { z } from 'zod';
import { parseDuration } from '../domain/duration.ts';
import { viewDecision, viewEpisode } from '../domain/episode-view.ts';
import type { Log } from '../domain/ports.ts';
import { admit } from './access.ts';
import { guardAdmin, refuseForeignPage } from './admin-guard.ts';
import { checked, found, listQuery } from './answers.ts';
import { type Actions, ApiError, type Health, type Lifecycle, type Queries, type RetentionActions } from './api.ts';
import type { Login } from './login.ts';
import { addPages, answerAsPage } from './page/routes.ts';
import { type TlsMaterial, tlsServerOptions } from './tls.ts';

export type WebDeps = {
  readonly queries: Queries;
  readonly actions: Actions;
  readonly retention: RetentionActions;
  /** Answer to `GET /metrics`. */
  readonly metrics: { render(): Promise<{ readonly contentType: string; readonly body: string }> };
  readonly health: Health;
  /** `--web.enable-admin-api`. */
  readonly adminApi: { readonly enabled: boolean };
  readonly lifecycle: Lifecycle;
  /** Who may ask; `null`: nobody has to sign in. */
  readonly login?: Login | null;
  /** `null`: http. */
  readonly tls?: TlsMaterial | null;
  readonly log: Log;
  /** For ages on the pages; default: this machine's clock. */
  readonly nowMs?: () => number;
};

export type WebServer = {
  /** @param address `host:port`; `:9797` is every IPv4 address, port 0 any free one. @returns where it listens */
  listen(address: string): Promise<{ readonly host: string; readonly port: number }>;
  /** Finishes what is being answered. */
  close(): Promise<void>;
  /** Another certificate for the connections to come. Whether clients must show one stays as it was. @throws when it cannot be used */
  replaceTls(tls: TlsMaterial): void;
  /** For tests. */
  readonly app: FastifyInstance;
};

const maxBodyBytes = 64 * 1024;
const securityHeaders = {
  'Content-Security-Policy': "default-src 'none'; frame-ancestors 'none'",
  'X-Content-Type-Options': 'nosniff',
  'X-Frame-Options': 'DENY',
  'Referrer-Policy': 'no-referrer',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Cache-Control': 'no-store',
} as const;

const text = z.string().trim().min(1).max(1000);
const who = { reason: text, by: text.max(200).default('admin-api') };
const duration = z.string().transform((value, context) => {
  const parsed = parseDuration(value);
  if (parsed !== null && parsed > 0) return parsed;
  context.addIssue({ code: 'custom', message: 'expected a duration; write 30m or 2h' });
  return z.NEVER;
});
const bodies = {
  plain: z.strictObject(who),
  pause: z.strictObject({ ...who, for: duration.nullable().default(null) }),
  rollback: z.strictObject({ ...who, to: z.string().min(1).nullable().default(null) }),
};

/** The daemon's HTTP side: management endpoints as Prometheus has them, its JSON envelope under `/api/v1`, and pages for people. */
export function createWebServer(deps: WebDeps): WebServer {
  const tls = deps.tls ?? null;
  const login = deps.login ?? null;
  const nowMs = deps.nowMs ?? Date.now;
  const options: FastifyServerOptions = {
    logger: false,
    bodyLimit: maxBodyBytes,
    requestTimeout: 30_000,
    forceCloseConnections: 'idle',
    routerOptions: { maxParamLength: 500 },
    // What is refused before any hook runs: a part of the path that is too long, or badly encoded.
    frameworkErrors: (error, request, reply) => {
      void answerError(deps.log, nowMs, error, request, reply.headers(securityHeaders));
    },
  };
  const app = (tls === null
    ? fastify(options)
    : fastify({ ...options, https: tlsServerOptions(tls) } as unknown as FastifyHttpsOptions<HttpsServer>)) as unknown as FastifyInstance;
  readBodies(app);
  app.decorateRequest('signedIn', null);
  app.addHook('onRequest', async (request, reply) => {
    reply.headers(securityHeaders);
    if (login !== null) await admit(request, reply, login, deps.log);
  });
  app.setErrorHandler((error, request, reply) => answerError(deps.log, nowMs, error, request, reply));
  app.setNotFoundHandler((request) => {
    throw new ApiError('not_found', `nothing is at ${request.method} ${request.url.split('?', 1)[0]}`);
  });
  addManagement(app, deps);
  addQueries(app, deps.queries);
  app.get<{ Params: { name: string } }>('/api/v1/models/:name/retention', async ({ params }) => success(await deps.retention.plan(params.name)));
  addActions(app, deps);
  addPages(app, { queries: deps.queries, nowMs });
  return {
    app,
    listen: async (address) => {
      const { host, port: wanted } = parseListenAddress(address);
      // Of a name with two addresses Fastify would make two servers, and only one could be given another certificate.
      await app.listen({ host: tls !== null && host === 'localhost' ? '127.0.0.1' : host, port: wanted });
      const bound = app.server.address() as AddressInfo;
      return { host: bound.address, port: bound.port };
    },
    close: async () => {
      await app.close();
    },
    replaceTls: (material) => {
      (app.server as unknown as HttpsServer).setSecureContext(tlsServerOptions(material));
    },
  };
}

/** JSON is parsed by us (an empty body is an empty object); any other body is read and dropped, the guards say what they want. */
function readBodies(app: FastifyInstance): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (_request, body, done) => {
    try {
      done(null, body === '' ? {} : JSON.parse(String(body)));
    } catch {
      done(new ApiError('bad_data', 'the body is no JSON'));
    }
  });
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, _body, done) => done(null, {}));
}

function addManagement(app: FastifyInstance, deps: WebDeps): void {
  app.get('/-/healthy', async (_request, reply) => await reply.type('text/plain').send('rollbackd is healthy.\n'));
  app.get('/-/ready', async (_request, reply) => {
    const { reasons } = await deps.health.ready();
    if (reasons.length === 0) return await reply.type('text/plain').send('rollbackd is ready.\n');
    return await reply
      .code(503)
      .type('text/plain')
      .send(`rollbackd is not ready: ${reasons.join('; ')}\n`);
  });
  app.get('/metrics', async (_request, reply) => {
    const { contentType, body } = await deps.metrics.render();
    return await reply.type(contentType).send(body);
  });
  app.route({
    method: ['POST', 'PUT'],
    url: '/-/reload',
    handler: async (request, reply) => {
      if (!deps.lifecycle.enabled) throw new ApiError('forbidden', 'the lifecycle API is off; start rollbackd with --web.enable-lifecycle, or send it SIGHUP');
      refuseForeignPage(request);
      const { faults } = await deps.lifecycle.reload();
      if (faults.length === 0) return await reply.type('text/plain').send('');
      return await reply
        .code(500)
        .type('text/plain')
        .send(`the new configuration was refused, the old one stays:\n${faults.join('\n')}\n`);
    },
  });
}

function addQueries(app: FastifyInstance, queries: Queries): void {
  app.get('/api/v1/models', async () => success(await queries.models()));
  app.get<{ Params: { name: string } }>('/api/v1/models/:name', async ({ params }) =>
    success(found(await queries.model(params.name), `no model is named "${params.name}"`)),
  );
  app.get('/api/v1/rollbacks', async ({ query }) => success((await queries.rollbacks(listFilter(query))).map(viewEpisode)));
  app.get<{ Params: { id: string } }>('/api/v1/rollbacks/:id', async ({ params }) =>
    success(viewEpisode(found(await queries.rollback(params.id), `no rollback has the id "${params.id}"`))),
  );
  app.get('/api/v1/decisions', async ({ query }) => success((await queries.decisions(listFilter(query))).map(viewDecision)));
  app.get('/api/v1/rules', async () => success(await queries.rules()));
  app.get('/api/v1/alerts', async () => success(await queries.alerts()));
  app.get('/api/v1/status', async () => success(await queries.status()));
}

function addActions(app: FastifyInstance, { actions, retention, adminApi }: WebDeps): void {
  /** The guard runs before the body is read. */
  const post = <Body extends { readonly by: string }>(path: string, body: z.ZodType<Body>, act: (key: string, body: Body) => Promise<unknown>): void => {
    app.post<{ Params: { key: string } }>(
      `/api/v1/${path}`,
      {
        onRequest: async (request) => {
          guardAdmin(request, adminApi);
        },
      },
      async (request) => {
        const given = checked(body, request.body, 'body');
        // The journal names who signed in, whatever the body says.
        return success(await act(request.params.key, request.signedIn === null ? given : { ...given, by: request.signedIn.name }));
      },
    );
  };
  post('models/:key/pause', bodies.pause, async (model, { for: forMs, ...request }) => await actions.pause(model, { ...request, forMs }));
  post('models/:key/resume', bodies.plain, async (model, request) => await actions.resume(model, request));
  post('models/:key/unpin', bodies.plain, async (model, request) => await actions.unpin(model, request));
  post('models/:key/retention', bodies.plain, async (model, request) => await retention.run(model, request));
  post('models/:key/rollback', bodies.rollback, async (model, request) => viewEpisode(await actions.rollback(model, request)));
  post('rollbacks/:key/approve', bodies.plain, async (id, request) => viewEpisode(await actions.approve(id, request)));
  post('rollbacks/:key/reject', bodies.plain, async (id, request) => viewEpisode(await actions.reject(id, request)));
}

function listFilter(query: unknown): { model?: string; limit: number } {
  const { model, limit } = checked(listQuery, query, 'query');
  return model === undefined ? { limit } : { model, limit };
}

function success(data: unknown): { status: 'success'; data: unknown } {
  return { status: 'success', data };
}

/** What we say on purpose is shown; of anything else the caller learns that it failed, and the log the rest. */
async function answerError(log: Log, nowMs: () => number, error: unknown, request: FastifyRequest, reply: FastifyReply): Promise<void> {
  const known = error instanceof ApiError ? error : fastifyRefusal(error);
  if (known === null) log.error({ err: error, route: `${request.method} ${request.routeOptions.url ?? 'unknown'}` }, 'a web request failed');
  const problem = known ?? new ApiError('internal', 'rollbackd failed to answer; its log says why');
  if (await answerAsPage(request, reply, problem, nowMs())) return;
  const { status, errorType, message } = problem;
  await reply.code(status).send({ status: 'error', errorType, error: message });
}

/** Fastify's own refusals (a body over the limit, a bad length) are the caller's fault and say nothing of us. */
function fastifyRefusal(error: unknown): ApiError | null {
  if (!(error instanceof Error) || !('statusCode' in error) || typeof error.statusCode !== 'number' || error.statusCode >= 500) return null;
  return new ApiError('bad_data', error.message, error.statusCode);
}

/** `127.0.0.1:9797`, `[::1]:9797`, `:9797`. @throws {RangeError} on anything else */
export function parseListenAddress(address: string): { host: string; port: number } {
  const match = /^(?:\[([^\]]+)\]|([^:]*)):(\d{1,5})$/.exec(address);
  const port = Number(match?.[3] ?? Number.NaN);
  if (match === null || !(port <= 65_535)) throw new RangeError(`--web.listen-address: found "${address}", expected host:port; write 127.0.0.1:9797`);
  const host = match[1] ?? match[2] ?? '';
  return { host: host === '' ? '0.0.0.0' : host, port };
}
