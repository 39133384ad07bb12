import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { checked, found, listQuery } from '../answers.ts';
import type { ApiError, Queries } from '../api.ts';
import { assets, findAsset } from './assets.ts';
import { fleetPage } from './fleet.ts';
import { renderDocument } from './html.ts';
import { layOut, type Page } from './layout.ts';
import { modelPage } from './model.ts';
import type { Place } from './parts.ts';
import { bareProblem, problemPage } from './problem.ts';
import { rollbackPage } from './rollback.ts';
import { rollbacksPage } from './rollbacks.ts';
import { modelBanner, statusPage, troubleBanner } from './status.ts';

export type PageDeps = { readonly queries: Queries; readonly nowMs: () => number };

/** Script, style and refreshing from here and nowhere else; no form leads elsewhere. */
const contentPolicy =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
const refreshMs = 5_000;
const frame = { assets: { css: assets.css.path, js: assets.js.path, icon: assets.icon.path }, refreshMs };
/** Rows of the lists on a model's page. */
const recent = 20;
const fleetQuery = z.object({
  name: z.string().max(500).default(''),
  show: z.enum(['all', 'look']).default('all'),
  page: z.coerce.number().int().min(1).max(100_000).default(1),
});

/** The pages: everything to read, nothing to do. */
export function addPages(app: FastifyInstance, { queries, nowMs }: PageDeps): void {
  const serve = (url: string, make: (request: FastifyRequest, place: Place) => Promise<Page>): void => {
    app.get(url, async (request, reply) => {
      const place = placeOf(request, nowMs());
      return await sendPage(reply, await make(request, place), place);
    });
  };
  const overview = async () => await Promise.all([queries.status(), queries.models()]);
  serve('/', async (request, place) => {
    const query = checked(fleetQuery, request.query, 'query');
    const [status, models] = await overview();
    return fleetPage(models, query, troubleBanner(status, models, place), place);
  });
  serve('/status', async (_request, place) => statusPage(...(await overview()), place));
  serve('/models/:key', async (request, place) => {
    const name = keyOf(request);
    const model = found(await queries.model(name), `no model is named "${name}"`);
    const [status, groups, decisions, rollbacks] = await Promise.all([
      queries.status(),
      queries.rules(name),
      queries.decisions({ model: name, limit: recent }),
      queries.rollbacks({ model: name, limit: recent }),
    ]);
    return modelPage({ banner: modelBanner(status, model, place), model, groups, decisions, rollbacks }, place);
  });
  serve('/rollbacks', async (request, place) => {
    const { model, limit } = checked(listQuery, request.query, 'query');
    const filter = model === undefined ? { limit } : { model, limit };
    return rollbacksPage(await queries.rollbacks(filter), filter, place);
  });
  serve('/rollbacks/:key', async (request, place) => {
    const id = keyOf(request);
    const episode = found(await queries.rollback(id), `no rollback has the id "${id}"`);
    return rollbackPage(episode, await queries.decisionOf(episode), place);
  });
  app.get<{ Params: { file: string } }>('/assets/:file', async ({ params, url }, reply) => {
    const { asset, isCurrent } = found(findAsset(params.file), `nothing is at GET ${url}`);
    await reply
      .header('Cache-Control', isCurrent ? 'private, max-age=31536000, immutable' : 'no-store')
      .type(asset.type)
      .send(asset.body);
  });
}

/** Answers in HTML where a browser asked for a page. @returns whether it did */
export async function answerAsPage(request: FastifyRequest, reply: FastifyReply, problem: ApiError, nowMs: number): Promise<boolean> {
  if (!wantsPage(request)) return false;
  const place = placeOf(request, nowMs);
  reply.code(problem.status);
  const isStranger = problem.errorType === 'unauthorized' || problem.errorType === 'too_many_requests';
  if (isStranger) await asHtml(reply).send(renderDocument(bareProblem(problem.status, problem.message)));
  else await sendPage(reply, problemPage(problem.status, problem.message, place), place);
  return true;
}

/** Programs ask for anything (`*` / `*`) and get JSON; what lies under these paths is for programs only. */
function wantsPage({ method, url, headers }: FastifyRequest): boolean {
  const isForPrograms = /^\/(?:api|-|metrics|assets)(?:[/?]|$)/.test(url);
  return (method === 'GET' || method === 'HEAD') && !isForPrograms && /\btext\/html\b/i.test(headers.accept ?? '');
}

async function sendPage(reply: FastifyReply, page: Page, place: Place): Promise<FastifyReply> {
  return await asHtml(reply).send(renderDocument(layOut(page, place, frame)));
}

function asHtml(reply: FastifyReply): FastifyReply {
  return reply.header('Content-Security-Policy', contentPolicy).type('text/html; charset=utf-8');
}

function placeOf({ url }: FastifyRequest, nowMs: number): Place {
  const depth = (url.split('?', 1)[0] ?? '').split('/').length - 2;
  return { root: depth <= 0 ? './' : '../'.repeat(depth), nowMs };
}

function keyOf({ params }: FastifyRequest): string {
  return (params as { key: string }).key;
}
