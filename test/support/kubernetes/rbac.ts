import type { KubernetesObject } from './kubernetes-object.ts';

export type User = { readonly name: string; readonly groups: readonly string[] };
/** What somebody wants to do. `name` is '' for a whole list. */
export type Attributes = {
  readonly verb: string;
  readonly group: string;
  readonly resource: string;
  readonly subresource: string | null;
  readonly namespace: string | null;
  readonly name: string;
};
type Rule = { apiGroups?: string[]; resources?: string[]; verbs?: string[]; resourceNames?: string[] };
type Subject = { kind: string; name: string; namespace?: string };

/** Finds objects of RBAC's four kinds; `namespace` null for those of the cluster. */
export type RbacLookup = (resource: 'roles' | 'rolebindings' | 'clusterroles' | 'clusterrolebindings', namespace: string | null) => readonly KubernetesObject[];

/** RBAC as the API server decides it; `system:masters` may everything. */
export function isAllowed(user: User, wanted: Attributes, find: RbacLookup): boolean {
  if (user.groups.includes('system:masters')) return true;
  const bound = (binding: KubernetesObject, namespace: string | null): boolean => {
    if (!((binding['subjects'] ?? []) as Subject[]).some((subject) => isSubject(user, subject))) return false;
    const reference = binding['roleRef'] as { kind: string; name: string };
    const roles = reference.kind === 'ClusterRole' ? find('clusterroles', null) : find('roles', namespace);
    const role = roles.find((one) => one.metadata.name === reference.name);
    return ((role?.['rules'] ?? []) as Rule[]).some((rule) => covers(rule, wanted));
  };
  return (
    find('clusterrolebindings', null).some((binding) => bound(binding, null)) ||
    (wanted.namespace !== null && find('rolebindings', wanted.namespace).some((binding) => bound(binding, wanted.namespace)))
  );
}

function isSubject(user: User, subject: Subject): boolean {
  if (subject.kind === 'Group') return user.groups.includes(subject.name);
  if (subject.kind === 'ServiceAccount') return user.name === `system:serviceaccount:${subject.namespace ?? ''}:${subject.name}`;
  return user.name === subject.name;
}

function covers(rule: Rule, wanted: Attributes): boolean {
  const resource = wanted.subresource === null ? wanted.resource : `${wanted.resource}/${wanted.subresource}`;
  const has = (list: readonly string[] | undefined, ...values: string[]): boolean =>
    list !== undefined && (list.includes('*') || values.some((value) => list.includes(value)));
  const names = rule.resourceNames ?? [];
  return (
    has(rule.verbs, wanted.verb) &&
    has(rule.apiGroups, wanted.group) &&
    has(rule.resources, resource, ...(wanted.subresource === null ? [] : [`*/${wanted.subresource}`])) &&
    (names.length === 0 || names.includes(wanted.name))
  );
}
