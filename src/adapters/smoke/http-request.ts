import { readFile } from 'node:fs/promises';
import { equalJson, parseJsonPath, readJsonPath } from '../../domain/json-path.ts';
import type { SmokeExpect, SmokeRequest } from '../../domain/model.ts';
import type { SmokeContext } from '../../domain/ports.ts';
import { renderUrl, urlTemplateFault } from '../../domain/url-template.ts';
import type { HttpResponse } from '../http/client.ts';
import { HttpError } from '../http/http-error.ts';
import type { Attempt, AttemptTools } from './attempt.ts';
import { parseText, redact, renderText, TemplateError } from './text.ts';

type HttpSmokeRequest = Extract<SmokeRequest, { kind: 'http' }>;
type Prepared = { readonly method: string; readonly url: string; readonly headers: Readonly<Record<string, string>>; readonly body: string | undefined };

/** One try of an `http` request. `timeoutMs`: the whole test's; `until` is aborted when it is over, so the client's own limit lies behind it. */
export async function sendRequest(
  tools: AttemptTools,
  request: HttpSmokeRequest,
  context: SmokeContext,
  timeoutMs: number,
  until: AbortSignal,
): Promise<Attempt> {
  const { prepared, fault } = await prepare(request, context);
  if (fault !== undefined) return { passed: false, detail: fault, durationMs: 0, permanent: true };
  const secrets = [...(tools.secrets?.() ?? []), ...secretsOf(prepared.headers)];
  const startedMs = tools.clock.nowMs();
  try {
    const answer = await tools.http.request({ ...prepared, timeoutMs: timeoutMs * 2, signal: until });
    const failure = unmet(request.expect, answer);
    const shown = `${answer.status} in ${Math.round(answer.durationMs)} ms`;
    return { passed: failure === null, detail: redact(tools.http.redact(failure ?? shown), secrets), durationMs: answer.durationMs };
  } catch (error) {
    if (!(error instanceof HttpError)) throw error;
    const detail = error.code === 'ABORTED' ? `${error.method} ${error.host}: no answer yet` : redact(error.message, secrets);
    return { passed: false, detail, durationMs: tools.clock.nowMs() - startedMs };
  }
}

async function prepare(request: HttpSmokeRequest, context: SmokeContext): Promise<{ prepared: Prepared; fault?: never } | { fault: string; prepared?: never }> {
  try {
    const template = parseText('url', request.url);
    const urlFault = urlTemplateFault(template);
    if (urlFault !== null) return { fault: `url: ${urlFault}` };
    const url = renderUrl(template, context);
    const headers: Record<string, string> = {};
    for (const [name, value] of Object.entries(request.headers)) {
      const rendered = renderText(`header ${name}`, value, context);
      if (/[\r\n\0]/.test(rendered)) return { fault: `header ${name}: its value has a line break` };
      headers[name] = rendered;
    }
    const body =
      request.bodyFile === null ? (request.body === null ? undefined : renderText('body', request.body, context)) : await readFile(request.bodyFile, 'utf8');
    if (body !== undefined && !Object.keys(headers).some((name) => name.toLowerCase() === 'content-type')) headers['Content-Type'] = 'application/json';
    return { prepared: { method: request.method, url, headers, body } };
  } catch (error) {
    if (error instanceof TemplateError) return { fault: error.message };
    if (error instanceof Error && 'code' in error) return { fault: `body_file ${request.bodyFile ?? ''} cannot be read (${String(error.code)})` };
    return { fault: `url: ${error instanceof Error ? error.message : String(error)}` };
  }
}

/** The first expectation that is not met, in words; `null` when all are. Without `status`, any 2xx will do. */
function unmet(expect: SmokeExpect, answer: HttpResponse): string | null {
  const statusOk = expect.status === null ? answer.status >= 200 && answer.status < 300 : answer.status === expect.status;
  if (!statusOk) {
    const location = answer.headers['location'] === undefined ? '' : ' (a redirect; redirects are not followed)';
    return `answered ${answer.status}${location}, expected ${expect.status ?? '2xx'}: ${excerpt(answer.body)}`;
  }
  return unmetJson(expect.json, answer.body) ?? unmetDuration(expect.durationBelowMs, answer.durationMs);
}

function unmetJson(expected: Readonly<Record<string, unknown>>, body: string): string | null {
  const entries = Object.entries(expected);
  if (entries.length === 0) return null;
  let document: unknown;
  try {
    document = JSON.parse(body);
  } catch {
    return `the answer is no JSON: ${excerpt(body)}`;
  }
  for (const [source, wanted] of entries) {
    const { path, fault } = parseJsonPath(source);
    if (fault !== undefined) return `${source}: ${fault.message}`;
    const read = readJsonPath(path, document);
    if (!read.found) return `${source}: ${read.reason}; expected ${excerpt(JSON.stringify(wanted))}`;
    if (!equalJson(read.value, wanted)) return `${source}: found ${excerpt(JSON.stringify(read.value))}, expected ${excerpt(JSON.stringify(wanted))}`;
  }
  return null;
}

function unmetDuration(belowMs: number | null, durationMs: number): string | null {
  return belowMs === null || durationMs < belowMs ? null : `took ${Math.round(durationMs)} ms, expected below ${belowMs} ms`;
}

function excerpt(text: string): string {
  const flat = text.replaceAll(/\s+/g, ' ').trim();
  if (flat === '') return 'an empty body';
  return flat.length > 200 ? `${flat.slice(0, 199)}…` : flat;
}

/** An answer may echo what it was sent. */
function secretsOf(headers: Readonly<Record<string, string>>): string[] {
  return Object.entries(headers)
    .filter(([name]) => /authorization|cookie|token|key|secret/i.test(name))
    .flatMap(([, value]) => [value, value.replace(/^\w+\s+/, '')]);
}
