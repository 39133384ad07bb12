import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type MisbehavingServer, type Misbehaviour, startMisbehavingServer, type Upstream } from '../support/misbehaving-server.ts';
import { until } from '../support/until.ts';

/** Time limit that the parts under test are given for one call, ms. */
export const limitMs = 120;

/** What came of one conversation. `said`: all of it, where a secret could hide. */
export type Talk =
  | { readonly well: true; readonly said: unknown }
  | { readonly well: false; readonly class: string; readonly words: string; readonly said: unknown };

/** Where the other side is reached; `caFile`: what its certificate is checked against, `null`: no TLS. */
export type Place = { readonly address: string; readonly url: string; readonly caFile: string | null };

type Protocol = 'http' | 'grpc' | 'tcp';

/** Something of ours that talks to a server of theirs. */
export type FaultyPart = AsyncDisposable & {
  /** The true server, without TLS. */
  readonly upstream: Upstream;
  /** Is in what we send, and in every answer of a server at fault. */
  readonly secret: string | null;
  /** The real adapter towards that place, its time limit set to `limitMs`. @returns one conversation; `well` only with what the true server says */
  readonly connect: (place: Place) => Promise<{ readonly talk: () => Promise<Talk>; readonly close: () => Promise<void> }>;
};

type Row = {
  readonly name: string;
  readonly how: (secret: string) => Misbehaviour;
  /** What must stand in the words. */
  readonly words: RegExp;
};

const page = (secret: string): string => `<!doctype html><title>Sign in</title><p>${secret}</p>`;
const late = /no (whole )?answer|deadline|timed? ?out|within/i;
const connectionRows: readonly Row[] = [
  { name: 'a refused connection', how: () => 'refused', words: /refused/i },
  { name: 'a name that does not resolve', how: () => 'unknown host', words: /no such host|ENOTFOUND/ },
  { name: 'a server that never answers', how: () => 'silent', words: late },
  { name: 'a connection that goes dead', how: () => 'dead', words: late },
  { name: 'an answer that drips', how: () => 'drip', words: late },
  { name: 'an answer without its end', how: () => 'cut short', words: /\w/ },
  { name: 'a reset connection', how: () => 'reset', words: /\w/ },
  { name: 'a closed connection', how: () => 'hang up', words: /\w/ },
  { name: 'the answer of a mail server', how: () => 'garbage', words: /\w/ },
  { name: 'an endless answer', how: () => 'endless', words: /\w/ },
];
const tlsRows: readonly Row[] = [
  { name: 'a certificate of an unknown authority', how: () => 'unknown authority', words: /unknown CA|certificate|UNABLE_TO_VERIFY/i },
  { name: 'a certificate that has expired', how: () => 'expired certificate', words: /expired/i },
  { name: 'a certificate of another name', how: () => 'certificate of another name', words: /another name|altnames|ALTNAME/i },
  { name: 'a server that speaks no TLS', how: () => 'no TLS', words: /\w/ },
];
const answerRows: readonly Row[] = [
  { name: 'a login page', how: (secret) => ({ status: 200, type: 'text/html', body: page(secret) }), words: /\w/ },
  { name: 'a page of another type', how: (secret) => ({ status: 200, type: 'application/pdf', body: `%PDF ${secret}` }), words: /\w/ },
  { name: 'JSON of another shape', how: (secret) => ({ status: 200, type: 'application/json', body: `{"weather": "${secret}"}` }), words: /\w/ },
  { name: 'null', how: () => ({ status: 200, type: 'application/json', body: 'null' }), words: /\w/ },
  { name: 'JSON that breaks off', how: () => ({ status: 200, type: 'application/json', body: '{"status": "succ' }), words: /\w/ },
];
const statusRow = (status: number): Row => ({
  name: `a ${status}`,
  how: (secret) => ({ status, type: 'text/html', body: page(secret) }),
  words: new RegExp(String(status)),
});
/** Statuses beside those that `httpAnswers` has. */
const otherStatuses = [400, 502];
const allStatuses = [400, 401, 403, 404, 409, 422, 429, 500, 502, 503, 504];

/**
 * The table of faults, row by row, on one part: each ends in an error in words, within the time limit, without a secret; and the next conversation after
 * it works, with nothing done.
 * @param options.isAnswered the statuses of `httpAnswers` are asked elsewhere; `tls`: also its own rows; `accepts`: rows that are no fault to this part; `only`: the others are asked elsewhere, of the same client
 */
export function describeFaults(
  name: string,
  protocol: Protocol,
  start: () => Promise<FaultyPart>,
  {
    isAnswered = false,
    tls = false,
    accepts = [],
    only,
  }: { readonly isAnswered?: boolean; readonly tls?: boolean; readonly accepts?: readonly string[]; readonly only?: readonly string[] } = {},
): void {
  const statuses = isAnswered ? otherStatuses : allStatuses;
  const answers = protocol === 'http' ? [...answerRows, ...statuses.map((status) => statusRow(status))] : [];
  const rows = [...connectionRows, ...(tls ? tlsRows : []), ...answers].filter((row) => only?.includes(row.name) !== false);

  describe(`${name}, and a server at fault`, () => {
    let part: FaultyPart;
    let server: MisbehavingServer;
    let folder: string;
    let line: Awaited<ReturnType<FaultyPart['connect']>>;
    beforeAll(async () => {
      part = await start();
      folder = mkdtempSync(join(tmpdir(), 'rollbackd-faults-'));
      server = await startMisbehavingServer(part.upstream, tls ? { alpn: protocol === 'grpc' ? 'h2' : 'http/1.1' } : null);
      const caFile = tls ? join(folder, 'ca.pem') : null;
      if (caFile !== null) writeFileSync(caFile, server.authority);
      const address = `localhost:${server.port}`;
      line = await part.connect({ address, url: `${tls ? 'https' : 'http'}://${address}`, caFile });
      await talksWell();
    });
    afterAll(async () => {
      await line.close();
      await server[Symbol.asyncDispose]();
      await part[Symbol.asyncDispose]();
      rmSync(folder, { recursive: true });
    });

    /** A busy machine may need more than one try within the time limit. */
    async function talksWell(): Promise<void> {
      let last: Talk | null = null;
      await until('a conversation that works', async () => (last = await line.talk()).well, { everyMs: 10, seen: () => JSON.stringify(last) });
    }

    it.each(rows)('$name: an error in words and in time, and then it goes on by itself', async ({ name: row, how, words }) => {
      await server.behave(how(part.secret ?? 'nothing'));
      let talk: Talk;
      let tookMs: number;
      // A busy machine may run into the time limit before it comes to the fault.
      for (let tries = 5; ; tries -= 1) {
        const startedMs = performance.now();
        talk = await line.talk();
        tookMs = performance.now() - startedMs;
        if (talk.well || tries === 1 || words.test(talk.words) || !late.test(talk.words)) break;
      }
      await server.behave(null);

      if (!accepts.includes(row)) {
        expect(talk.well).toBe(false);
        if (!talk.well) {
          expect(talk.words).toMatch(words);
          expect(talk.words).not.toMatch(/\[object |\n {4}at |(?<!received )undefined/);
          expect(['transient', 'permanent', 'auth', 'conflict']).toContain(talk.class);
        }
        expect(tookMs).toBeLessThan(50 * limitMs);
      }
      if (part.secret !== null) expect(everythingIn(talk.said)).not.toContain(part.secret);
      await talksWell();
    });
  });
}

/** What of an error or an answer could come before somebody's eyes. */
function everythingIn(said: unknown): string {
  if (Array.isArray(said)) return said.map(everythingIn).join(' ');
  if (!(said instanceof Error)) return JSON.stringify(said) ?? '';
  return `${String(said)} ${said.stack ?? ''} ${JSON.stringify(said)} ${said.cause === undefined ? '' : everythingIn(said.cause)}`;
}
