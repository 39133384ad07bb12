/** A refusal of the API server: what stands in its `Status` answer. Texts as kube-apiserver writes them. */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  readonly code: number;
  readonly reason: string;
  readonly details: Readonly<Record<string, unknown>> | undefined;
  constructor(code: number, reason: string, message: string, details?: Readonly<Record<string, unknown>>) {
    super(message);
    this.code = code;
    this.reason = reason;
    this.details = details;
  }

  /** The `Status` object. */
  status(): Record<string, unknown> {
    return {
      kind: 'Status',
      apiVersion: 'v1',
      metadata: {},
      status: 'Failure',
      message: this.message,
      reason: this.reason,
      ...(this.details === undefined ? {} : { details: this.details }),
      code: this.code,
    };
  }
}

/** Resource as messages name it: `deployments.apps`, `services`. */
export type Named = { readonly group: string; readonly resource: string };
export function qualified({ group, resource }: Named): string {
  return group === '' ? resource : `${resource}.${group}`;
}
const details = (named: Named, name: string): Record<string, unknown> => ({
  ...(name === '' ? {} : { name }),
  ...(named.group === '' ? {} : { group: named.group }),
  kind: named.resource,
});

export function notFound(named: Named, name: string): ApiError {
  return new ApiError(404, 'NotFound', `${qualified(named)} "${name}" not found`, details(named, name));
}
export function alreadyExists(named: Named, name: string): ApiError {
  return new ApiError(409, 'AlreadyExists', `${qualified(named)} "${name}" already exists`, details(named, name));
}
export function conflict(
  named: Named,
  name: string,
  why = 'the object has been modified; please apply your changes to the latest version and try again',
): ApiError {
  return new ApiError(409, 'Conflict', `Operation cannot be fulfilled on ${qualified(named)} "${name}": ${why}`, details(named, name));
}
export type Cause = { readonly field: string; readonly message: string; readonly reason?: string };
export function invalid(named: Named, kind: string, name: string, causes: readonly Cause[]): ApiError {
  const texts = causes.map((cause) => `${cause.field}: ${cause.message}`);
  const text = texts.length === 1 ? texts[0] : `[${texts.join(', ')}]`;
  return new ApiError(422, 'Invalid', `${kind}${named.group === '' ? '' : `.${named.group}`} "${name}" is invalid: ${text}`, {
    name,
    ...(named.group === '' ? {} : { group: named.group }),
    kind,
    causes: causes.map((cause) => ({ reason: cause.reason ?? 'FieldValueInvalid', message: cause.message, field: cause.field })),
  });
}
/** A JSON patch that does not fit, whichever operation it was: no details at all. */
export function patchRejected(): ApiError {
  return new ApiError(422, 'Invalid', 'the server rejected our request due to an error in our request', {});
}
export function badRequest(message: string): ApiError {
  return new ApiError(400, 'BadRequest', message);
}
export function unauthorized(): ApiError {
  return new ApiError(401, 'Unauthorized', 'Unauthorized');
}
export function methodNotAllowed(): ApiError {
  return new ApiError(405, 'MethodNotAllowed', 'the server does not allow this method on the requested resource', {});
}
/** @param accepted `null`: refused before the patch handler, as built-in kinds do it */
export function unsupportedMediaType(accepted: readonly string[] | null): ApiError {
  const message =
    accepted === null
      ? '415: Unsupported Media Type'
      : `the body of the request was in an unknown format - accepted media types include: ${accepted.join(', ')}`;
  return new ApiError(415, 'UnsupportedMediaType', message, {});
}
export function expired(message: string): ApiError {
  return new ApiError(410, 'Expired', message);
}
/** RBAC's refusal. `namespace: null`: at cluster scope. */
export function forbidden(named: Named, name: string, request: { user: string; verb: string; subresource: string | null; namespace: string | null }): ApiError {
  const what = request.subresource === null ? named.resource : `${named.resource}/${request.subresource}`;
  const where = request.namespace === null ? 'at the cluster scope' : `in the namespace "${request.namespace}"`;
  return new ApiError(
    403,
    'Forbidden',
    `${qualified(named)}${name === '' ? '' : ` "${name}"`} is forbidden: User "${request.user}" cannot ${request.verb} resource "${what}" in API group "${named.group}" ${where}`,
    details(named, name),
  );
}
