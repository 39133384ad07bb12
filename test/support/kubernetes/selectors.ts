import { badRequest } from './api-error.ts';
import { isMap, type KubernetesObject } from './kubernetes-object.ts';

type Labels = Readonly<Record<string, string>>;

/** `a=b,c!=d,e in (f,g),h notin (i),j,!k`. @throws {ApiError} 400 */
export function matchesLabels(selector: string, labels: Labels): boolean {
  return requirements(selector).every((requirement) => requirement(labels));
}

/** `spec.selector` of a Deployment or ReplicaSet. */
export function matchesSelector(selector: unknown, labels: Labels): boolean {
  if (!isMap(selector)) return false;
  const wanted = isMap(selector['matchLabels']) ? selector['matchLabels'] : {};
  if (!Object.entries(wanted).every(([key, value]) => labels[key] === value)) return false;
  const expressions = (selector['matchExpressions'] ?? []) as { key: string; operator: string; values?: string[] }[];
  return expressions.every(({ key, operator, values = [] }) => {
    const value = labels[key];
    switch (operator) {
      case 'In':
        return value !== undefined && values.includes(value);
      case 'NotIn':
        return value === undefined || !values.includes(value);
      case 'Exists':
        return value !== undefined;
      default:
        return value === undefined;
    }
  });
}

function requirements(selector: string): ((labels: Labels) => boolean)[] {
  // Commas within brackets part values, not requirements.
  return selector
    .split(/,(?![^(]*\))/)
    .map((part) => part.trim())
    .filter((part) => part !== '')
    .map(requirement);
}

function requirement(text: string): (labels: Labels) => boolean {
  const set = /^(\S+)\s+(in|notin)\s*\(([^)]*)\)$/.exec(text);
  if (set !== null) {
    const [, key = '', how, list = ''] = set;
    const values = list.split(',').map((value) => value.trim());
    return (labels) => {
      const value = labels[key];
      return how === 'in' ? value !== undefined && values.includes(value) : value === undefined || !values.includes(value);
    };
  }
  const equal = /^([^!=\s]+)\s*(==|=|!=)\s*([^=\s]*)$/.exec(text);
  if (equal !== null) {
    const [, key = '', how, value] = equal;
    return (labels) => (how === '!=' ? labels[key] !== value : labels[key] === value);
  }
  if (/^![^\s=]+$/.test(text)) return (labels) => labels[text.slice(1)] === undefined;
  if (/^[^\s!=()]+$/.test(text)) return (labels) => labels[text] !== undefined;
  throw badRequest(`unable to parse requirement: found '${text}'`);
}

/** Fields that every resource can be selected by; Pods have a few more. */
const selectable: Readonly<Record<string, (object: KubernetesObject) => unknown>> = {
  'metadata.name': (object) => object.metadata.name,
  'metadata.namespace': (object) => object.metadata.namespace,
};
const selectablePodFields: Readonly<Record<string, (object: KubernetesObject) => unknown>> = {
  'spec.nodeName': (object) => object.spec?.['nodeName'],
  'status.phase': (object) => object.status?.['phase'],
  'status.podIP': (object) => object.status?.['podIP'],
};

/** @throws {ApiError} 400 for a field the server cannot select by */
export function matchesFields(selector: string, object: KubernetesObject, kind: string): boolean {
  return selector
    .split(',')
    .filter((part) => part.trim() !== '')
    .every((part) => {
      const match = /^([^!=]+?)\s*(==|=|!=)\s*(.*)$/.exec(part.trim());
      if (match === null) throw badRequest(`invalid selector: '${selector}'; can't understand '${part}'`);
      const [, field = '', how, value] = match;
      const pick = selectable[field] ?? (kind === 'Pod' ? selectablePodFields[field] : undefined);
      if (pick === undefined) throw badRequest(`field label not supported: ${field}`);
      return (how === '!=') !== ((pick(object) ?? '') === value);
    });
}

/** What `metadata.name=NAME` asks for: RBAC takes it for a name. */
export function nameInFieldSelector(selector: string): string | null {
  return /(?:^|,)metadata\.name==?([^,]+)(?:,|$)/.exec(selector)?.[1] ?? null;
}
