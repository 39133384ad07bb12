import type { Matcher, Model, Signals } from '../domain/model.ts';

const units = new Map([
  [1, 'seconds'],
  [1e-3, 'milliseconds'],
  [1e-6, 'microseconds'],
  [1e-9, 'nanoseconds'],
]);

/** What stands in `signals` and beside it, as the daemon's file has it: people may paste it in place of the preset. */
export type SpelledSignals = {
  readonly version_label?: string;
  readonly attribution?: 'serving';
  readonly signals: {
    readonly requests: { readonly counter: string; readonly matchers?: readonly string[] };
    readonly errors?: { readonly counter?: string; readonly matchers?: readonly string[] };
    readonly latency?: { readonly histogram: string; readonly unit: string; readonly matchers?: readonly string[] };
  };
};

/** The signals of a model written out, whether they come from a preset or not. */
export function spellSignals({ attribution, signals }: Pick<Model, 'attribution' | 'signals'>): SpelledSignals {
  const { requests, errors, latency } = signals;
  return {
    ...(attribution.kind === 'label' ? { version_label: attribution.label } : { attribution: 'serving' as const }),
    signals: {
      requests: { counter: requests.metric, ...spellMatchers(requests.matchers) },
      ...(errors === null ? {} : { errors: { ...(errors.metric === null ? {} : { counter: errors.metric }), ...spellMatchers(errors.matchers) } }),
      ...(latency === null ? {} : { latency: { histogram: latency.metric, unit: unitOf(latency), ...spellMatchers(latency.matchers) } }),
    },
  };
}

function unitOf({ unitSeconds }: NonNullable<Signals['latency']>): string {
  return units.get(unitSeconds) ?? `${unitSeconds} seconds`;
}

function spellMatchers(matchers: readonly Matcher[]): { readonly matchers?: readonly string[] } {
  return matchers.length === 0 ? {} : { matchers: matchers.map(({ label, op, value }) => `${label}${op}${JSON.stringify(value)}`) };
}
