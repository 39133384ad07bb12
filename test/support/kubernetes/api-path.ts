/** What a path of the API names. */
export type ApiPath = {
  readonly group: string;
  readonly version: string;
  /** '' for the discovery of the group's version. */
  readonly resource: string;
  /** `null`: of the cluster, or over all namespaces. */
  readonly namespace: string | null;
  /** '' for the whole list. */
  readonly name: string;
  readonly subresource: string | null;
};

/** `/api/v1/…` and `/apis/GROUP/VERSION/…`; `null` for every other path. */
export function parseApiPath(path: string): ApiPath | null {
  const parts = path
    .split('/')
    .filter((part) => part !== '')
    .map(decodeURIComponent);
  const isCore = parts[0] === 'api';
  if (!isCore && parts[0] !== 'apis') return null;
  const [group = '', version = ''] = isCore ? ['', parts[1]] : [parts[1], parts[2]];
  const rest = parts.slice(isCore ? 2 : 3);
  if (version === '') return null;
  const isNamespaced = rest[0] === 'namespaces' && rest.length >= 3 && rest[2] !== 'status' && rest[2] !== 'finalize';
  const [resource = '', name = '', subresource = null, ...more] = isNamespaced ? rest.slice(2) : rest;
  if (more.length > 0) return null;
  // Access to one Namespace is decided in that namespace.
  const namespace = isNamespaced ? (rest[1] ?? null) : null;
  return { group, version, resource, namespace, name, subresource };
}
