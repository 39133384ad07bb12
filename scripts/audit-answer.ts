import { z } from 'zod';

/** What `npm audit --json` came to. */
export type Audit =
  | { readonly kind: 'clean'; readonly packages: number }
  /** A line a finding: `yaml <99 (moderate): Stack overflow, https://…`. */
  | { readonly kind: 'found'; readonly lines: readonly string[] }
  /** Nothing is known: the registry has no such service, or cannot be reached. */
  | { readonly kind: 'not_asked'; readonly reason: string }
  | { readonly kind: 'failed'; readonly reason: string };

const advisory = z.object({ title: z.string(), url: z.string(), severity: z.string(), range: z.string() });
const report = z.object({
  auditReportVersion: z.literal(2),
  /** `via`: an advisory, or the name of another package here through which it comes. */
  vulnerabilities: z.record(z.string(), z.object({ via: z.array(z.union([z.string(), advisory])) })),
  metadata: z.object({ vulnerabilities: z.object({ total: z.number() }), dependencies: z.object({ total: z.number() }) }),
});
const failure = z.object({
  message: z.string().optional(),
  statusCode: z.number().optional(),
  error: z.object({ code: z.string().optional(), summary: z.string().optional() }).optional(),
});

/**
 * Reads the answer; of one that says neither, `failed`. No reason names the registry, which may be a private one.
 * @param text standard output of `npm audit --json` (npm 8 to 11)
 * @see https://docs.npmjs.com/cli/v11/commands/npm-audit
 */
export function readAudit(text: string): Audit {
  let answer: unknown;
  try {
    answer = JSON.parse(text);
  } catch {
    return { kind: 'failed', reason: 'npm audit gave no JSON' };
  }
  const found = report.safeParse(answer);
  if (found.success) {
    const { vulnerabilities, metadata } = found.data;
    const lines = Object.entries(vulnerabilities).flatMap(([name, { via }]) =>
      via.flatMap((cause) => (typeof cause === 'string' ? [] : [`${name} ${cause.range} (${cause.severity}): ${cause.title}, ${cause.url}`])),
    );
    const { total } = metadata.vulnerabilities;
    if (total === 0 && lines.length === 0) return { kind: 'clean', packages: metadata.dependencies.total };
    return { kind: 'found', lines: lines.length > 0 ? lines : [`${total} findings, without an advisory`] };
  }
  const told = failure.safeParse(answer).data;
  if (told?.statusCode !== undefined) return { kind: 'not_asked', reason: `the registry answered ${told.statusCode}` };
  const network = /failed, reason:.*\b(E[A-Z_]{3,}|timeout)\b/.exec(told?.message ?? '')?.[1];
  if (network !== undefined) return { kind: 'not_asked', reason: `the registry cannot be reached (${network})` };
  return { kind: 'failed', reason: told?.error?.summary || told?.error?.code || 'npm audit gave an answer of no known form' };
}
