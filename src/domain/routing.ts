import { matchesWhole } from './linear-regex.ts';
import type { Matcher } from './model.ts';

/** A route as in Alertmanager, with what it inherits filled in. Durations in ms. */
export type Route = {
  readonly receiver: string;
  /** Labels whose values make a group; `['...']`: all labels, every alert alone. */
  readonly groupBy: readonly string[];
  readonly groupWaitMs: number;
  readonly groupIntervalMs: number;
  readonly repeatIntervalMs: number;
  /** All must hold; the root has none. */
  readonly matchers: readonly Matcher[];
  /** Whether siblings behind this route are asked too. */
  readonly continue: boolean;
  readonly routes: readonly Route[];
};

/** A receiver with how it wants its alerts grouped. `key`: place in the tree (`0/2`), since two routes of one receiver group apart. */
export type Taken = Pick<Route, 'receiver' | 'groupBy' | 'groupWaitMs' | 'groupIntervalMs' | 'repeatIntervalMs'> & { readonly key: string };

/**
 * Where an alert with these labels goes, as in Alertmanager: depth first, the first child that matches takes it, further ones only after
 * `continue: true`; what no child takes is the route's own.
 * @see https://prometheus.io/docs/alerting/latest/configuration/#route
 */
export function pickReceivers(route: Route, labels: Readonly<Record<string, string>>): readonly Taken[] {
  return pick(route, labels, '');
}

function pick(route: Route, labels: Readonly<Record<string, string>>, key: string): readonly Taken[] {
  if (!route.matchers.every((matcher) => holds(matcher, labels))) return [];
  const taken: Taken[] = [];
  for (const [index, child] of route.routes.entries()) {
    const found = pick(child, labels, `${key}/${index}`);
    taken.push(...found);
    if (found.length > 0 && !child.continue) break;
  }
  if (taken.length > 0) return taken;
  const { receiver, groupBy, groupWaitMs, groupIntervalMs, repeatIntervalMs } = route;
  return [{ receiver, groupBy, groupWaitMs, groupIntervalMs, repeatIntervalMs, key }];
}

/** A missing label is the empty one; regular expressions are anchored (the loader has compiled them once, so they do). */
function holds({ label, op, value }: Matcher, labels: Readonly<Record<string, string>>): boolean {
  const found = Object.hasOwn(labels, label) ? (labels[label] ?? '') : '';
  switch (op) {
    case '=':
      return found === value;
    case '!=':
      return found !== value;
    case '=~':
      return matchesWhole(value, found);
    case '!~':
      return !matchesWhole(value, found);
  }
}
