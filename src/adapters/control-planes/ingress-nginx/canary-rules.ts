import { lookUp } from '../../../domain/lookup.ts';

/**
 * The canary annotations, read as the controller reads them.
 * @see https://github.com/kubernetes/ingress-nginx/blob/main/internal/ingress/annotations/canary/main.go and rootfs/etc/nginx/lua/balancer.lua
 */
const canaryKeys = [
  'canary',
  'canary-weight',
  'canary-weight-total',
  'canary-by-header',
  'canary-by-header-value',
  'canary-by-header-pattern',
  'canary-by-cookie',
  'affinity-canary-behavior',
] as const;
type CanaryKey = (typeof canaryKeys)[number];

/** What stands there, key without prefix → text; `null`: nothing. */
export type CanarySettings = Readonly<Record<CanaryKey, string | null>>;

export function canarySettings(annotations: Readonly<Record<string, string>>, prefix: string): CanarySettings {
  return Object.fromEntries(canaryKeys.map((key) => [key, lookUp(annotations, `${prefix}/${key}`) ?? null])) as Record<CanaryKey, string | null>;
}

/** What the controller makes of it. */
export type CanaryRules = {
  readonly isCanary: boolean;
  /** The weight that gives everything. */
  readonly full: number;
  /** Share (0..1) of the requests that no header, cookie or session decides on. */
  readonly share: number;
  /** Header and cookie rules in words: they win over the weight. */
  readonly exceptions: readonly string[];
  /** Clients that got the canary once keep it, whatever the weight, where the primary has cookie affinity. */
  readonly keepsSessions: boolean;
  /** What is written, and means something else. */
  readonly misreadings: readonly string[];
};

export function canaryRules(settings: CanarySettings): CanaryRules {
  const misreadings: string[] = [];
  const numberOf = (key: 'canary-weight' | 'canary-weight-total', fallback: number): number => {
    const text = settings[key];
    if (text === null) return fallback;
    if (/^[+-]?\d+$/.test(text)) return Number(text);
    misreadings.push(`${key} ${JSON.stringify(text)} is no whole number, and counts as ${fallback}`);
    return fallback;
  };
  const weight = numberOf('canary-weight', 0);
  const total = numberOf('canary-weight-total', 100);
  if (total < 100) misreadings.push(`canary-weight-total ${total} counts as 100`);
  const full = Math.max(total, 100);
  return {
    isCanary: isTrue(settings.canary),
    full,
    share: Math.min(Math.max(weight, 0), full) / full,
    exceptions: [
      ...(isGiven(settings['canary-by-header']) ? [`header ${settings['canary-by-header']}`] : []),
      ...(isGiven(settings['canary-by-cookie']) ? [`cookie ${settings['canary-by-cookie']}`] : []),
    ],
    keepsSessions: settings['affinity-canary-behavior']?.trim() !== 'legacy',
    misreadings,
  };
}

/** As the primary's annotations say it. */
export function hasCookieAffinity(annotations: Readonly<Record<string, string>>, prefix: string): boolean {
  return lookUp(annotations, `${prefix}/affinity`)?.trim() === 'cookie';
}

const noExceptions = { 'canary-by-header': null, 'canary-by-header-value': null, 'canary-by-header-pattern': null, 'canary-by-cookie': null };

/** Nobody gets the canary, clients with a session neither. It stays a canary: as a normal Ingress it would stand in the way of the primary. */
export function withoutTraffic(settings: CanarySettings, isSticky: boolean): CanarySettings {
  return { ...settings, ...noExceptions, 'canary-weight': '0', ...(isSticky ? { 'affinity-canary-behavior': 'legacy' } : {}) };
}

/** Everybody gets it: clients that a header or cookie kept away, too. */
export function withAllTraffic(settings: CanarySettings): CanarySettings {
  return { ...settings, ...noExceptions, 'canary-weight': String(canaryRules(settings).full) };
}

export function isSameSettings(a: CanarySettings, b: CanarySettings): boolean {
  return canaryKeys.every((key) => a[key] === b[key]);
}

/** What differs, as annotations: full key → new text, `null` takes it away. */
export function annotationChanges(from: CanarySettings, to: CanarySettings, prefix: string): Readonly<Record<string, string | null>> {
  return Object.fromEntries(canaryKeys.filter((key) => from[key] !== to[key]).map((key) => [`${prefix}/${key}`, to[key]]));
}

/** `canary-weight 10, canary-by-header x-canary`. */
export function settingsText(settings: CanarySettings): string {
  const present = canaryKeys.filter((key) => key !== 'canary' && settings[key] !== null).map((key) => `${key} ${JSON.stringify(settings[key])}`);
  return [...(isTrue(settings.canary) ? [] : [`canary ${JSON.stringify(settings.canary)}`]), ...present].join(', ') || 'no canary rule';
}

/** Go's ParseBool. */
function isTrue(text: string | null): boolean {
  return text !== null && ['1', 't', 'T', 'TRUE', 'true', 'True'].includes(text);
}

function isGiven(text: string | null): text is string {
  return text !== null && text.trim() !== '';
}
