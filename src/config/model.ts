import { lookUp } from '../domain/lookup.ts';
import type { Attribution, Model, QualitySource, RollbackPolicy, Signals, SmokeRequest, SmokeTest } from '../domain/model.ts';
import { defaultPolicy, toOverrides } from './policy-schema.ts';
import { presets } from './presets/index.ts';
import type { PresetSubject } from './presets/preset.ts';
import { toRetention } from './retention-schema.ts';
import type { ParsedModel } from './schema.ts';

const unitSeconds = { seconds: 1, milliseconds: 1e-3, microseconds: 1e-6, nanoseconds: 1e-9 } as const;

/**
 * A model as the domain has it.
 * @param plane its keys on the plane, as the plane's own schema gave them
 * @param folder where commands of smoke tests run
 */
export function toModel(parsed: ParsedModel, plane: Readonly<Record<string, unknown>>, folder: string): Model {
  return {
    name: parsed.name,
    source: parsed.source,
    controlPlane: parsed.control_plane,
    plane,
    attribution: toAttribution(parsed),
    // Anchored here, so that nobody else has to remember it; anchoring twice does no harm.
    versionMap: parsed.version_map === undefined ? null : `^(?:${parsed.version_map})$`,
    observeIntervalMs: parsed.observe_interval,
    ...(parsed.preset === undefined ? {} : { preset: parsed.preset }),
    signals: toSignals(parsed, { name: typeof plane['model'] === 'string' ? plane['model'] : parsed.name, plane }),
    quality: toQuality(parsed, plane),
    rollback: toPolicy(parsed.rollback),
    smokeTest: parsed.smoke_test === undefined ? null : toSmokeTest(parsed.smoke_test, folder),
    retention: parsed.retention === undefined ? null : toRetention(parsed.retention),
    links: parsed.links,
  };
}

/** What the plane says of a registry, it says of the same one: written twice it would only be wrong in one place. */
function toQuality(parsed: ParsedModel, plane: Readonly<Record<string, unknown>>): QualitySource | null {
  if (parsed.quality === undefined) return null;
  const ofPlane = (key: string): string | null => {
    const value = lookUp(plane, key);
    return typeof value === 'string' ? value : null;
  };
  return {
    source: parsed.quality.source,
    model: parsed.quality.registered_model ?? ofPlane('registered_model') ?? parsed.name,
    versionPattern: parsed.quality.registry_version ?? ofPlane('registry_version'),
  };
}

/** A model's policy: the defaults with what is written over them. */
export function toPolicy(parsed: ParsedModel['rollback']): RollbackPolicy {
  return { ...defaultPolicy, ...toOverrides(parsed, defaultPolicy) };
}

function toAttribution(parsed: ParsedModel): Attribution {
  if (parsed.version_label !== undefined) return { kind: 'label', label: parsed.version_label };
  if (parsed.attribution !== undefined || parsed.preset === undefined) return { kind: 'serving' };
  return presets[parsed.preset]?.attribution ?? { kind: 'serving' };
}

function toSignals(parsed: ParsedModel, subject: PresetSubject): Signals {
  const preset = parsed.preset === undefined ? null : (presets[parsed.preset]?.signals(subject) ?? null);
  const { requests, errors, latency } = parsed.signals ?? {};
  return {
    requests: requests === undefined ? (preset?.requests ?? { metric: '', matchers: [] }) : { metric: requests.counter, matchers: requests.matchers },
    errors: errors === undefined ? (preset?.errors ?? null) : { metric: errors.counter ?? null, matchers: errors.matchers ?? [] },
    latency:
      latency === undefined ? (preset?.latency ?? null) : { metric: latency.histogram, matchers: latency.matchers, unitSeconds: unitSeconds[latency.unit] },
  };
}

function toSmokeTest(parsed: NonNullable<ParsedModel['smoke_test']>, folder: string): SmokeTest {
  return {
    timeoutMs: parsed.timeout,
    retries: parsed.retries,
    onFailure: parsed.on_failure,
    requests: parsed.requests.map((request) => toSmokeRequest(request, folder)),
  };
}

function toSmokeRequest(parsed: NonNullable<ParsedModel['smoke_test']>['requests'][number], folder: string): SmokeRequest {
  const { name, http, command, expect } = parsed;
  if (http === undefined) {
    const [program, ...rest] = command?.argv ?? [''];
    return { kind: 'command', name, argv: [program, ...rest], env: command?.env ?? {}, cwd: folder };
  }
  const hasBody = http.body !== undefined || http.body_file !== undefined;
  return {
    kind: 'http',
    name,
    method: http.method ?? (hasBody ? 'POST' : 'GET'),
    url: http.url,
    headers:
      hasBody && !Object.keys(http.headers).some((header) => header.toLowerCase() === 'content-type')
        ? { 'content-type': 'application/json', ...http.headers }
        : http.headers,
    body: http.body ?? null,
    bodyFile: http.body_file ?? null,
    expect: { status: expect?.status ?? 200, json: expect?.json ?? {}, durationBelowMs: expect?.duration?.below ?? null },
  };
}
