import { readFile } from 'node:fs/promises';
import { parse, parseAllDocuments } from 'yaml';
import type { KubernetesTestClient } from './kubernetes-client.ts';

export type RbacRule = { apiGroups: string[]; resources: string[]; resourceNames?: string[]; verbs: string[] };
type Issuer = { readonly client: KubernetesTestClient; readonly serviceAccountToken: (namespace: string, name: string) => Promise<string> };

/** The role that the README of a control plane ships below «Rights»: as YAML there, or in the file of deploy/rbac that is named after the kind. */
async function shippedRules(kind: string): Promise<readonly RbacRule[]> {
  const name = kind.replaceAll('_', '-');
  const readme = new URL(`../../../src/adapters/control-planes/${name}/README.md`, import.meta.url);
  const rights = /^## Rights\n(.*?)(?=^## )/ms.exec(await readFile(readme, 'utf8'))?.[1] ?? '';
  const block = /```yaml\n(.*?)```/s.exec(rights)?.[1];
  const isWhole = block !== undefined && /^kind: Role$/m.test(block);
  if (!isWhole && !rights.includes(`/deploy/rbac/${name}.yaml)`)) throw new Error(`${readme.pathname} ships no role below «Rights»`);
  const text = isWhole ? block : await readFile(new URL(`../../../deploy/rbac/${name}.yaml`, import.meta.url), 'utf8');
  const objects = parseAllDocuments(text).map((document) => document.toJS() as { kind: string; rules?: RbacRule[] });
  return objects.flatMap(({ kind: what, rules = [] }) => (what === 'Role' ? rules : []));
}

/** The rules that the README of `kubernetes_lease` ships. */
async function shippedLeaseRules(): Promise<readonly RbacRule[]> {
  const readme = new URL('../../../src/adapters/leases/kubernetes-lease/README.md', import.meta.url);
  const block = /```yaml\n(.*?)```/s.exec(await readFile(readme, 'utf8'))?.[1];
  if (block === undefined) throw new Error(`${readme.pathname} ships no rules`);
  return (parse(block) as { readonly rules: readonly RbacRule[] }).rules;
}

type Taken = (rule: RbacRule, verb: string) => boolean;

/**
 * An account of that namespace that may do what the shipped role says, and nothing else.
 * @param isTaken takes a verb of a rule away
 * @returns its token
 */
export async function grantShippedRole(issuer: Issuer, kind: string, namespace: string, isTaken: Taken = () => false): Promise<string> {
  return await grant(issuer, await shippedRules(kind), namespace, isTaken);
}

/** The same for the election of a leader by a Lease. */
export async function grantShippedLeaseRole(issuer: Issuer, namespace: string, isTaken: Taken = () => false): Promise<string> {
  return await grant(issuer, await shippedLeaseRules(), namespace, isTaken);
}

async function grant(issuer: Issuer, shipped: readonly RbacRule[], namespace: string, isTaken: Taken): Promise<string> {
  const rules = shipped.map((rule) => ({ ...rule, verbs: rule.verbs.filter((verb) => !isTaken(rule, verb)) })).filter((rule) => rule.verbs.length > 0);
  const account = { kind: 'ServiceAccount', name: 'rollbackd', namespace };
  const role = { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'rollbackd' };
  const token = await issuer.serviceAccountToken(namespace, account.name);
  await issuer.client.create({ apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'Role', metadata: { name: role.name, namespace }, rules });
  await issuer.client.create({
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'RoleBinding',
    metadata: { name: role.name, namespace },
    roleRef: role,
    subjects: [account],
  });
  return token;
}
