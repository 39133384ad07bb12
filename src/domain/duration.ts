const unitsMs = { y: 31_536_000_000, w: 604_800_000, d: 86_400_000, h: 3_600_000, m: 60_000, s: 1_000, ms: 1 } as const;
const grammar = /^(?:(\d+)y)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+)s)?(?:(\d+)ms)?$/;

/**
 * Reads a duration in Prometheus's grammar: whole numbers, biggest unit first (`1h30m`, `15s`, `250ms`), or a bare `0`.
 * @returns milliseconds, or `null` when the text is no duration
 * @see https://prometheus.io/docs/prometheus/latest/configuration/configuration/ (`<duration>`)
 */
export function parseDuration(text: string): number | null {
  if (text === '0') return 0;
  const match = grammar.exec(text);
  if (text === '' || match === null) return null;
  const [y, w, d, h, m, s, ms] = match.slice(1).map((part) => Number(part ?? 0)) as [number, number, number, number, number, number, number];
  const total = y * unitsMs.y + w * unitsMs.w + d * unitsMs.d + h * unitsMs.h + m * unitsMs.m + s * unitsMs.s + ms;
  return Number.isSafeInteger(total) ? total : null;
}

/** Writes milliseconds as Prometheus does: `90000` → `1m30s`, `0` → `0s`; weeks and years are used only when they divide the whole. */
export function formatDuration(durationMs: number): string {
  let rest = Math.round(Math.abs(durationMs));
  if (rest === 0) return '0s';
  const sign = durationMs < 0 ? '-' : '';
  if (rest % unitsMs.y === 0) return `${sign}${rest / unitsMs.y}y`;
  if (rest % unitsMs.w === 0) return `${sign}${rest / unitsMs.w}w`;
  let text = '';
  for (const unit of ['d', 'h', 'm', 's', 'ms'] as const) {
    const count = Math.floor(rest / unitsMs[unit]);
    if (count > 0) text += `${count}${unit}`;
    rest -= count * unitsMs[unit];
  }
  return sign + text;
}

/** Ages as kubectl writes them: two units at most, one from ten of it on: `45s`, `3m20s`, `12m`, `5h30m`, `9d`. */
export function formatAge(ageMs: number): string {
  const units = [
    ['d', 86_400],
    ['h', 3_600],
    ['m', 60],
    ['s', 1],
  ] as const;
  const total = Math.max(0, Math.floor(ageMs / 1000));
  const index = units.findIndex(([, length]) => total >= length);
  const [unit, length] = units[index] ?? ['s', 1];
  const whole = Math.floor(total / length);
  const [lesser, lesserLength] = units[index + 1] ?? ['', 1];
  const rest = index < 0 || lesser === '' ? 0 : Math.floor((total % length) / lesserLength);
  return whole >= 10 || rest === 0 ? `${whole}${unit}` : `${whole}${unit}${rest}${lesser}`;
}
