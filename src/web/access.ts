import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Log } from '../domain/ports.ts';
import { includesRole, type WebRole } from '../domain/web-role.ts';
import { ApiError } from './api.ts';
import type { Login, SignedIn } from './login.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** `null` where nobody has to sign in. */
    signedIn: SignedIn | null;
  }
}

/** For probes of the machinery, which carry no password. */
const openRoutes: ReadonlySet<string> = new Set(['/-/healthy', '/-/ready']);
const operatorRoutes: ReadonlySet<string> = new Set([
  '/api/v1/models/:key/pause',
  '/api/v1/models/:key/resume',
  '/api/v1/models/:key/rollback',
  '/api/v1/rollbacks/:key/approve',
  '/api/v1/rollbacks/:key/reject',
]);

/** Least role for a request; `null`: open to all. What is listed nowhere is the admin's, so that a new endpoint is not everybody's. */
export function roleNeeded(method: string, route: string | undefined): WebRole | null {
  if (method === 'GET' || method === 'HEAD') return route !== undefined && openRoutes.has(route) ? null : 'viewer';
  return method === 'POST' && route !== undefined && operatorRoutes.has(route) ? 'operator' : 'admin';
}

/** Lets a request through when who sends it signed in and may. @throws {ApiError} 401, 403, 429 */
export async function admit(request: FastifyRequest, reply: FastifyReply, login: Login, log: Log): Promise<void> {
  const needed = roleNeeded(request.method, request.routeOptions.url);
  if (needed === null) return;
  const address = request.socket.remoteAddress ?? '';
  const answer = await login.check(request.headers.authorization, address);
  if (!('refused' in answer)) {
    if (!includesRole(answer.role, needed)) throw new ApiError('forbidden', `${answer.name} is ${answer.role}; this needs the role ${needed}`);
    request.signedIn = answer;
    return;
  }
  if (answer.refused === 'limited') {
    reply.header('Retry-After', String(Math.ceil(answer.retryAfterMs / 1000)));
    throw new ApiError('too_many_requests', 'too many failed logins from this address; wait as long as Retry-After says');
  }
  reply.header('WWW-Authenticate', 'Basic realm="rollbackd", charset="UTF-8"');
  if (answer.refused === 'missing') throw new ApiError('unauthorized', 'a user name and password are needed (rollbackd: --web.user and --web.password-file)');
  // Neither the name: people type passwords there.
  log.warn({ peer: address }, 'a login failed');
  throw new ApiError('unauthorized', 'wrong user name or password');
}
