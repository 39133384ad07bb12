import { KubernetesError } from './errors.ts';

const label = /^(?:[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?\/)?[A-Za-z0-9](?:[\w.-]*[A-Za-z0-9])?$/;
const labelValue = /^(?:[A-Za-z0-9](?:[\w.-]*[A-Za-z0-9])?)?$/;

/**
 * `labelSelector` of a query for objects that have all of these labels: custom resources may hold any text where a label belongs, and a comma in it would
 * ask for something else.
 * @throws {KubernetesError} permanent, for what is no label
 */
export function selectorOf(labels: Readonly<Record<string, string>>): string {
  return labelTerms(labels).join(',');
}

/** The same, one by one, for a selector that has others too. @throws {KubernetesError} permanent, for what is no label */
export function labelTerms(labels: Readonly<Record<string, string>>): readonly string[] {
  return Object.entries(labels).map(([key, value]) => `${labelKey(key)}=${valueOfLabel(value)}`);
}

/** @throws {KubernetesError} permanent, when it is none */
export function labelKey(key: string): string {
  if (label.test(key)) return key;
  throw notOne('name', key);
}

/** @throws {KubernetesError} permanent, when it is none */
export function valueOfLabel(value: string): string {
  if (labelValue.test(value)) return value;
  throw notOne('value', value);
}

function notOne(what: string, text: string): KubernetesError {
  return new KubernetesError('permanent', `kubernetes: found ${JSON.stringify(text.slice(0, 100))} in a selector, expected the ${what} of a label`);
}
