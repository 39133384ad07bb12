import type { FastifyRequest } from 'fastify';
import { ApiError } from './api.ts';

/**
 * Lets a changing request through. Of somebody who signed in (whose role was asked before) only that no other web page is behind it; else only when the admin API is on, the peer is this machine, and no web page is behind it:
 * a foreign page could reach loopback by a form (hence JSON), by script (hence Origin), or by a name that resolves to 127.0.0.1 (hence Host).
 * @throws {ApiError}
 */
export function guardAdmin(request: FastifyRequest, adminApi: { readonly enabled: boolean }): void {
  if (request.signedIn === null) guardNameless(request, adminApi);
  refuseForeignPage(request);
  if (!/^application\/json\s*(?:;|$)/i.test(request.headers['content-type'] ?? ''))
    throw new ApiError('bad_data', 'Content-Type must be application/json', 415);
}

function guardNameless(request: FastifyRequest, adminApi: { readonly enabled: boolean }): void {
  if (!adminApi.enabled) throw new ApiError('forbidden', 'the admin API is off; start rollbackd with --web.enable-admin-api');
  if (!isLoopbackAddress(request.socket.remoteAddress ?? ''))
    throw new ApiError('forbidden', 'the admin API answers on loopback only; run the command where rollbackd runs');
  if (!isLoopbackHost(request.headers.host ?? ''))
    throw new ApiError('forbidden', 'the Host header names no loopback address; ask http://127.0.0.1 or http://localhost');
}

/** Refuses what a browser sends on behalf of another site. @throws {ApiError} */
export function refuseForeignPage(request: FastifyRequest): void {
  const { origin, host } = request.headers;
  const site = request.headers['sec-fetch-site'];
  const isForeign =
    (origin !== undefined && origin !== `http://${host}` && origin !== `https://${host}`) || (site !== undefined && site !== 'same-origin' && site !== 'none');
  if (isForeign) throw new ApiError('forbidden', 'requests on behalf of other web pages are refused (Origin, Sec-Fetch-Site)');
}

function isLoopbackAddress(address: string): boolean {
  return address === '::1' || /^(?:::ffff:)?127(?:\.\d{1,3}){3}$/.test(address);
}

function isLoopbackHost(host: string): boolean {
  return /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d{1,5})?$/i.test(host);
}
