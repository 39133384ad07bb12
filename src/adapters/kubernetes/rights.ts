import type { AccessQuestion, KubernetesClient } from './client.ts';
import type { GitOpsState, PausePlace } from './gitops-state.ts';
import type { Resource } from './object.ts';

/** Verbs on a resource in a namespace; without a name on all of them (a `list` cannot be limited to names). */
export function rightsOf({ group, resource }: Resource, namespace: string, verbs: readonly string[], name?: string): readonly AccessQuestion[] {
  return verbs.map((verb) => ({ verb, group, resource, namespace, ...(name === undefined ? {} : { name }) }));
}

/** To pause who keeps an object as git has it. A pause on the object itself needs no more than the plane's own patch. */
export function pauseRights({ pending, paused }: GitOpsState): readonly AccessQuestion[] {
  return [...pending, ...paused].filter(({ kind }) => kind !== 'object').flatMap((place) => rightsOn(place));
}

function rightsOn({ path }: PausePlace): readonly AccessQuestion[] {
  const [, group = '', version = '', namespace = '', resource = '', name = ''] =
    /^\/apis\/([^/]+)\/([^/]+)\/namespaces\/([^/]+)\/([^/]+)\/([^/]+)$/.exec(path) ?? [];
  return rightsOf({ group, version, resource }, namespace, ['get', 'patch'], name);
}

/**
 * Asks the API server for each (SelfSubjectAccessReview), whom everybody may ask that.
 * @returns those that rollbackd lacks, for people: `patch deployments.apps shop/fraud`
 * @throws {KubernetesError} when it cannot be asked
 */
export async function lackingRights(client: KubernetesClient, questions: readonly AccessQuestion[], signal: AbortSignal): Promise<readonly string[]> {
  const answers = await Promise.all(questions.map(async (question) => ({ question, ...(await client.selfSubjectAccessReview(question, signal)) })));
  return answers
    .filter(({ allowed }) => !allowed)
    .map(({ question: { verb, group, resource, subresource, namespace, name }, reason }) => {
      const place = name === undefined ? `in ${namespace}` : `${namespace}/${name}`;
      return `${verb} ${resource}${subresource === undefined ? '' : `/${subresource}`}${group === '' ? '' : `.${group}`} ${place}${reason === '' ? '' : ` (${reason})`}`;
    });
}
