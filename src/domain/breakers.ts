import type { BreachBreakerLimits, TelemetryBreakerLimits } from './limits.ts';
import { percent } from './words.ts';

export const breakerNames = ['telemetry', 'breach'] as const;

/** A breaker that is open: nothing new is rolled back, whatever the rules say. */
export type OpenBreaker = { readonly name: (typeof breakerNames)[number]; readonly sinceMs: number; readonly detail: string };

/** Memory of the telemetry breaker. Times in ms since 1970. */
export type TelemetryState = { readonly openSinceMs: number /** Last time too many had no data. */; readonly blindMs: number } | null;

/**
 * Opens at once when too many models are without fresh data, and closes after `forMs` of good data: what comes back first is old, or of a part only.
 * @param blind models without fresh data; of `models` that are watched
 */
export function stepTelemetry(
  state: TelemetryState,
  { blind, models }: { readonly blind: number; readonly models: number },
  limits: TelemetryBreakerLimits,
  nowMs: number,
): TelemetryState {
  if (models >= limits.minModels && blind > 0 && blind / models >= limits.share) return { openSinceMs: state?.openSinceMs ?? nowMs, blindMs: nowMs };
  if (state === null || nowMs - state.blindMs >= limits.forMs) return null;
  return state;
}

/** In words, with the numbers of now. */
export function describeTelemetry(
  { openSinceMs }: NonNullable<TelemetryState>,
  { blind, models }: { readonly blind: number; readonly models: number },
  limits: TelemetryBreakerLimits,
): OpenBreaker {
  const detail = `${blind} of ${models} models are without fresh data, telemetry_breaker: ${percent(limits.share)}; what is left may be wrong, too`;
  return { name: 'telemetry', sinceMs: openSinceMs, detail };
}

/**
 * Whether a large share of all models began to breach together: then it is not their versions. It stays open while so many of them still breach.
 * @param onsets when each model that breaches now began to, ms since 1970; of `models` that are watched
 */
export function findBreachStorm(onsets: readonly number[], models: number, limits: BreachBreakerLimits): OpenBreaker | null {
  if (models < limits.minModels) return null;
  const enough = Math.max(1, Math.ceil(limits.share * models - 1e-9));
  const sorted = onsets.toSorted((a, b) => a - b);
  for (const [index, sinceMs] of sorted.entries()) {
    const firstMs = sorted[index - enough + 1];
    if (firstMs === undefined || sinceMs - firstMs > limits.withinMs) continue;
    const together = sorted.filter((onsetMs) => onsetMs >= firstMs && onsetMs - firstMs <= limits.withinMs).length;
    const detail = `${together} of ${models} models began to breach together, breach_breaker: ${percent(limits.share)}; it is not their versions: look at what they share`;
    return { name: 'breach', sinceMs, detail };
  }
  return null;
}
