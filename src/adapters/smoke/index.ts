import type { SmokeResult } from '../../domain/episode.ts';
import type { SmokeRequest, SmokeTest } from '../../domain/model.ts';
import type { Clock, SmokeContext, SmokeRunner } from '../../domain/ports.ts';
import { createHttpClient } from '../http/client.ts';
import type { Attempt, AttemptTools, SmokeDeps } from './attempt.ts';
import { runCommand } from './command.ts';
import { sendRequest } from './http-request.ts';

type Result = Omit<SmokeResult, 'when'>;

const firstPauseMs = 500;
const longestPauseMs = 5_000;
const maxAnswerBytes = 1024 * 1024;

/**
 * Runs smoke tests: requests in their order up to the first that fails, each with `retries` and growing pauses between, all under one time limit.
 * `run` rejects only when `signal` is aborted (a shutdown is no failed test).
 */
export function createSmokeRunner(deps: SmokeDeps): SmokeRunner & { close(): void } {
  // Redirects are answers like others: a test asks who it names.
  const http = createHttpClient(
    { follow_redirects: false },
    { maxBytes: maxAnswerBytes, sleep: (durationMs, signal) => deps.clock.sleep(durationMs, signal), nowMs: () => deps.clock.nowMs() },
  );
  return { run: (test, context, signal) => runTest({ ...deps, http }, test, context, signal), close: () => http.close() };
}

async function runTest(tools: AttemptTools, test: SmokeTest, context: SmokeContext, signal: AbortSignal): Promise<readonly Result[]> {
  signal.throwIfAborted();
  const timer = new AbortController();
  const limit = new AbortController();
  tools.clock.sleep(test.timeoutMs, timer.signal).then(
    () => limit.abort(),
    () => undefined,
  );
  const until = AbortSignal.any([signal, limit.signal]);
  const results: Result[] = [];
  try {
    for (const request of test.requests) {
      const result = await runRequest(tools, request, test, context, until);
      signal.throwIfAborted();
      results.push(result);
      if (result.outcome === 'failed') break;
    }
  } finally {
    timer.abort();
  }
  return results;
}

async function runRequest(tools: AttemptTools, request: SmokeRequest, test: SmokeTest, context: SmokeContext, until: AbortSignal): Promise<Result> {
  const tries = test.retries + 1;
  let last: Attempt | null = null;
  let used = 0;
  for (; used < tries; used += 1) {
    if (used > 0 && !(await pause(tools.clock, used, until))) break;
    if (until.aborted) break;
    const attempt = await tryOnce(tools, request, test, context, until);
    if (until.aborted) {
      last ??= { ...attempt, passed: false };
      break;
    }
    last = attempt;
    if (attempt.passed || attempt.permanent === true) break;
  }
  const facts = { name: request.name, durationMs: Math.round(last?.durationMs ?? 0) };
  if (last?.passed === true) return { ...facts, outcome: 'passed', detail: last.detail };
  return { ...facts, outcome: 'failed', detail: describeFailure(last, Math.min(used + 1, tries), test, until.aborted) };
}

/** 0.5 s, 1 s, 2 s … at most 5 s. @returns false when there is no time left */
async function pause(clock: Clock, retry: number, until: AbortSignal): Promise<boolean> {
  return await clock.sleep(Math.min(firstPauseMs * 2 ** (retry - 1), longestPauseMs), until).then(
    () => true,
    () => false,
  );
}

async function tryOnce(tools: AttemptTools, request: SmokeRequest, test: SmokeTest, context: SmokeContext, until: AbortSignal): Promise<Attempt> {
  return request.kind === 'http' ? await sendRequest(tools, request, context, test.timeoutMs, until) : await runCommand(tools, request, context, until);
}

function describeFailure(last: Attempt | null, used: number, test: SmokeTest, outOfTime: boolean): string {
  const limit = `${test.timeoutMs / 1000}s`;
  if (last === null) return `not run: the time limit of ${limit} was over`;
  if (outOfTime) return `not passed within ${limit} (try ${used}): ${last.detail}`;
  return used > 1 ? `${last.detail} (after ${used} tries)` : last.detail;
}
