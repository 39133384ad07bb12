import type { Observation } from '../../src/domain/observation.ts';
import { type ControlPlane, PlaneError, type PlaneTarget } from '../../src/domain/ports.ts';

const states = ['absent', 'pending', 'loading', 'available', 'draining', 'unloaded', 'failed'];

/** What was observed, or `null` when the plane said by class that it cannot tell; any other end fails the test. */
export async function wasRefused<Value>(observing: Promise<Value>): Promise<Value | null> {
  try {
    return await observing;
  } catch (error) {
    if (!(error instanceof PlaneError)) throw error;
    // A reading may simply be asked again.
    if (error.class === 'indeterminate') throw new Error(`a reading is indeterminate: ${error.message}`, { cause: error });
    return null;
  }
}

/** Whether a text or number of a document, keys too, holds this text. */
function mentions(document: unknown, text: string): boolean {
  if (typeof document !== 'object' || document === null) return String(document).includes(text);
  return Object.entries(document).some(([key, item]) => key.includes(text) || mentions(item, text));
}

/** Whether JSON keeps it as it is, nothing of it left out. */
function isJson(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return value === null || typeof value === 'string' || typeof value === 'boolean' || Number.isFinite(value);
  return Array.isArray(value) ? value.every(isJson) : Object.getPrototypeOf(value) === Object.prototype && Object.values(value).every(isJson);
}

/**
 * What any observation keeps to, whatever the other side said: versions are words of the answers, shares are shares, and a plan can be made of it.
 * @param said everything the other side answered, and the model's own keys
 */
export function expectSound(observation: Observation, facts: { readonly plane: ControlPlane; readonly target: PlaneTarget; readonly said: unknown }): void {
  const ids = new Set<string>();
  const parts = [observation, ...observation.endpoints, ...(observation.registry === undefined ? [] : [observation.registry])];
  for (const { versions, serving } of parts) {
    let total = 0;
    for (const { version, share } of serving) {
      if (!(share >= 0 && share <= 1)) throw new Error(`the share of ${JSON.stringify(version)} is ${share}`);
      total += share;
    }
    if (total > 1.000_001) throw new Error(`the shares are ${total} in all`);
    for (const { state } of versions) if (!states.includes(state)) throw new Error(`the state of a version is ${JSON.stringify(state)}`);
    for (const id of [...versions.map((version) => version.id), ...serving.map(({ version }) => version)]) ids.add(id);
  }
  for (const id of ids)
    if (typeof id !== 'string' || id === '' || !mentions(facts.said, id)) throw new Error(`version ${JSON.stringify(id)} stands in no answer`);
  if (!isJson(observation)) throw new Error(`an observation is no JSON: ${JSON.stringify(observation)}`);
  for (const version of ['6', 'constructor']) {
    const plan = facts.plane.plan(facts.target, observation, { kind: 'serve', shares: [{ version, share: 1 }] });
    if (!['steps', 'nothing', 'refused'].includes(plan.kind)) throw new Error(`a plan is ${JSON.stringify(plan)}`);
  }
}
