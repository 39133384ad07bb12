/** No answer makes anybody wait longer: a rollback in hand must not be put off for days, and timers run at once beyond 24 days. */
export const longestRetryAfterMs = 3_600_000;

/**
 * Reads a `Retry-After` header: whole or decimal seconds, or an HTTP date.
 * @returns ms from `nowMs`, 0 to an hour; `null` when absent or unreadable
 * @see https://www.rfc-editor.org/rfc/rfc9110#field.retry-after
 */
export function parseRetryAfter(value: string | null | undefined, nowMs: number): number | null {
  const text = value?.trim() ?? '';
  if (/^\d+(?:\.\d+)?$/.test(text)) return Math.min(Math.ceil(Number(text) * 1000), longestRetryAfterMs);
  if (!/^[A-Za-z]{3,9},? /.test(text)) return null;
  const atMs = Date.parse(text);
  return Number.isNaN(atMs) ? null : Math.min(Math.max(0, atMs - nowMs), longestRetryAfterMs);
}
