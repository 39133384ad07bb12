import { createHash } from 'node:crypto';
import { canonicalJson } from '../domain/canonical-json.ts';
import { pickReceivers, type Route, type Taken } from '../domain/routing.ts';

/** An alert that fires now. `fingerprint`: the same alert over time (rule, model, version). */
export type FiringAlert<Data> = {
  readonly fingerprint: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly startsAtMs: number;
  readonly data: Data;
};

/** An alert of a group; `endsAtMs`: seen resolved then. */
export type GroupedAlert<Data> = FiringAlert<Data> & { readonly endsAtMs: number | null };

/** What is to be told now. `id` is the same after a restart that lost the state, so that the outbox tells it once. */
export type GroupMessage<Data> = {
  readonly id: string;
  readonly receiver: string;
  readonly status: 'firing' | 'resolved';
  readonly groupLabels: Readonly<Record<string, string>>;
  /** Firing ones first, each part by start. */
  readonly alerts: readonly GroupedAlert<Data>[];
};

type Group<Data> = {
  readonly taken: Taken;
  readonly groupLabels: Readonly<Record<string, string>>;
  readonly flushAtMs: number;
  readonly alerts: Readonly<Record<string, GroupedAlert<Data>>>;
  /** Alertmanager's notification log of this group: fingerprints told last. */
  readonly told: { readonly atMs: number; readonly firing: readonly string[]; readonly resolved: readonly string[] } | null;
};

/** Plain JSON; begin with `noGroups`. */
export type GrouperState<Data> = { readonly groups: Readonly<Record<string, Group<Data>>> };
export const noGroups: GrouperState<never> = { groups: {} };

export type GrouperConfig = { readonly route: Route /** Whether a receiver hears of resolved alerts. */; readonly sendResolved: (receiver: string) => boolean };

/**
 * One turn of Alertmanager's grouping, pure: `alerts` are all that fire at `nowMs`; one that fired and is not among them is resolved.
 * A new group waits `group_wait`, a changed one for the next `group_interval`, an unchanged one for `repeat_interval`.
 * Call it with each evaluation, and at `nextMs`.
 * @see https://github.com/prometheus/alertmanager dispatch/dispatch.go, notify/dedup_stage.go (when a group needs telling)
 */
export function step<Data>(
  config: GrouperConfig,
  state: GrouperState<Data>,
  alerts: readonly FiringAlert<Data>[],
  nowMs: number,
): { readonly state: GrouperState<Data>; readonly send: readonly GroupMessage<Data>[]; readonly nextMs: number | null } {
  const groups: Record<string, Group<Data>> = {};
  const send: GroupMessage<Data>[] = [];
  for (const [key, group] of Object.entries(updated(config, state, alerts, nowMs))) {
    const next = group.flushAtMs <= nowMs ? flush(key, group, config.sendResolved(group.taken.receiver), nowMs, send) : group;
    if (next !== null) groups[key] = next;
  }
  const nextMs = Object.values(groups).reduce<number | null>((first, { flushAtMs }) => (first === null ? flushAtMs : Math.min(first, flushAtMs)), null);
  return { state: { groups }, send, nextMs };
}

/** Groups with the alerts of now: new ones added, those no longer firing marked, those routed elsewhere since a reload left out. */
function updated<Data>(config: GrouperConfig, state: GrouperState<Data>, alerts: readonly FiringAlert<Data>[], nowMs: number): Record<string, Group<Data>> {
  const groups: Record<string, Group<Data>> = {};
  const firing = new Set(alerts.map(({ fingerprint }) => fingerprint));
  for (const [key, group] of Object.entries(state.groups)) {
    const kept = Object.values(group.alerts).filter(({ fingerprint }) => !firing.has(fingerprint));
    groups[key] = { ...group, alerts: Object.fromEntries(kept.map((alert) => [alert.fingerprint, { ...alert, endsAtMs: alert.endsAtMs ?? nowMs }])) };
  }
  for (const alert of alerts) {
    for (const taken of pickReceivers(config.route, alert.labels)) {
      const groupLabels = labelsOfGroup(taken, alert.labels);
      const key = `${taken.key} ${canonicalJson(groupLabels)}`;
      const group = groups[key] ?? { taken, groupLabels, flushAtMs: firstFlush(taken, alert.startsAtMs, nowMs), alerts: {}, told: null };
      groups[key] = { ...group, taken, alerts: { ...group.alerts, [alert.fingerprint]: { ...alert, endsAtMs: null } } };
    }
  }
  return groups;
}

/** An alert that has waited long enough already (a restart) is told at once. */
function firstFlush(taken: Taken, startsAtMs: number, nowMs: number): number {
  return startsAtMs + taken.groupWaitMs < nowMs ? nowMs : nowMs + taken.groupWaitMs;
}

function labelsOfGroup(taken: Taken, labels: Readonly<Record<string, string>>): Record<string, string> {
  const names = taken.groupBy.includes('...') ? Object.keys(labels) : taken.groupBy.filter((name) => Object.hasOwn(labels, name));
  return Object.fromEntries(names.toSorted().map((name) => [name, labels[name] ?? '']));
}

/** The group after its flush, `null` when nothing is left of it; a message is added to `send` when it needs telling. */
function flush<Data>(key: string, group: Group<Data>, sendResolved: boolean, nowMs: number, send: GroupMessage<Data>[]): Group<Data> | null {
  const all = Object.values(group.alerts).toSorted((a, b) => a.startsAtMs - b.startsAtMs || (a.fingerprint < b.fingerprint ? -1 : 1));
  const firing = all.filter(({ endsAtMs }) => endsAtMs === null);
  const resolved = all.filter(({ endsAtMs }) => endsAtMs !== null);
  let { told } = group;
  if (needsTelling(group, firing, resolved, sendResolved, nowMs)) {
    told = { atMs: nowMs, firing: firing.map(({ fingerprint }) => fingerprint), resolved: resolved.map(({ fingerprint }) => fingerprint) };
    const alerts = sendResolved ? [...firing, ...resolved] : firing;
    if (alerts.length > 0)
      send.push({
        id: messageId(key, group, alerts, nowMs),
        receiver: group.taken.receiver,
        status: firing.length > 0 ? 'firing' : 'resolved',
        groupLabels: group.groupLabels,
        alerts,
      });
  }
  if (firing.length === 0) return null;
  return { ...group, told, flushAtMs: nowMs + group.taken.groupIntervalMs, alerts: Object.fromEntries(firing.map((alert) => [alert.fingerprint, alert])) };
}

function needsTelling<Data>(
  { told, taken }: Group<Data>,
  firing: readonly GroupedAlert<Data>[],
  resolved: readonly GroupedAlert<Data>[],
  sendResolved: boolean,
  nowMs: number,
): boolean {
  if (told === null) return firing.length > 0;
  if (firing.some(({ fingerprint }) => !told.firing.includes(fingerprint))) return true;
  if (firing.length === 0) return told.firing.length > 0;
  if (sendResolved && resolved.some(({ fingerprint }) => !told.resolved.includes(fingerprint))) return true;
  return nowMs - told.atMs >= taken.repeatIntervalMs;
}

/** From what is told and how often it was repeated since the oldest start: nothing a restart would change. */
function messageId<Data>(key: string, { taken }: Group<Data>, alerts: readonly GroupedAlert<Data>[], nowMs: number): string {
  const oldestMs = Math.min(...alerts.map(({ startsAtMs }) => startsAtMs));
  const facts = [
    key,
    Math.floor((nowMs - oldestMs) / taken.repeatIntervalMs),
    alerts.map(({ fingerprint, startsAtMs, endsAtMs }) => [fingerprint, startsAtMs, endsAtMs === null]),
  ];
  return `alert/${createHash('sha256').update(canonicalJson(facts)).digest('hex').slice(0, 24)}`;
}
