import type { EpisodeContent } from '../../../domain/message.ts';
import { percent, seconds, trimNumber } from '../../../domain/words.ts';
import { escapeMrkdwn } from './mrkdwn.ts';

/** `5771.3` → `5,771`. */
export function thousands(value: number): string {
  return String(Math.round(value)).replaceAll(/\B(?=(\d{3})+$)/g, ',');
}

/** Between two ISO times: `12.4 s`, `3 m 5 s`; `null` when one is missing or unreadable. */
export function took(from: string | null, to: string | null): string | null {
  const ms = Date.parse(to ?? '') - Date.parse(from ?? '');
  if (!Number.isFinite(ms) || ms < 0) return null;
  if (ms < 60_000) return `${trimNumber(Math.round(ms / 100) / 10)} s`;
  const minutes = Math.floor(ms / 60_000);
  return minutes < 60 ? `${minutes} m ${Math.round((ms % 60_000) / 1000)} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} m`;
}

const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/** `29 Nov 12:05 UTC`; the text itself when it is no time. */
export function when(iso: string): string {
  const date = new Date(iso);
  if (Number.isNaN(date.getTime())) return iso;
  const two = (value: number): string => String(value).padStart(2, '0');
  return `${date.getUTCDate()} ${months[date.getUTCMonth()] ?? ''} ${two(date.getUTCHours())}:${two(date.getUTCMinutes())} UTC`;
}

type Signal = { readonly show: (value: number) => string; readonly of: (value: string, requests: string) => string };

const requestsOr = (requests: string): string => (requests === '' ? 'the requests' : requests);
const signals: Readonly<Record<string, Signal>> = {
  error_ratio: { show: percent, of: (value, requests) => `${value} of ${requestsOr(requests)} failed` },
  slow_ratio: { show: percent, of: (value, requests) => `${value} of ${requestsOr(requests)} are slow` },
  latency: { show: seconds, of: (value, requests) => `latency ${value}${requests === '' ? '' : ` over ${requests}`}` },
  request_rate: { show: (value) => `${trimNumber(value)}/s`, of: (value, requests) => `${value}${requests === '' ? '' : ` (${requests})`}` },
  quality: { show: trimNumber, of: (value) => `quality ${value}` },
};
const other: Signal = { show: trimNumber, of: (value, requests) => `value ${value}${requests === '' ? '' : ` on ${requests}`}` };

/** Value against limit: `sentence` and `baseline` are mrkdwn, escaped; `short` is plain. `bold` marks the number. */
export function evidenceWords(
  { evidence }: Pick<EpisodeContent, 'evidence'>,
  bold: (text: string) => string,
): { sentence: string; short: string; baseline: string } {
  const signal = signals[evidence.signal] ?? other;
  const value = evidence.value === null ? null : signal.show(evidence.value);
  const limit = evidence.threshold === null ? null : signal.show(evidence.threshold);
  if (value === null) return { sentence: '', short: '', baseline: '' };
  const requests = evidence.requests === null ? '' : `${thousands(evidence.requests)} requests`;
  const window = evidence.window === null ? '' : ` in ${escapeMrkdwn(evidence.window)}`;
  const sentence = `${signal.of(bold(value), requests)}${window}${limit === null ? '' : ` (limit ${limit})`}`;
  const isBelow = evidence.threshold !== null && evidence.value !== null && evidence.value < evidence.threshold;
  const { baseline } = evidence;
  const baselineWords =
    baseline === null ? '' : `${escapeMrkdwn(baseline.version)} in the same window: ${baseline.value === null ? 'no data' : signal.show(baseline.value)}`;
  return { sentence, short: limit === null ? value : `${value} ${isBelow ? '<' : '>'} ${limit}`, baseline: baselineWords };
}
