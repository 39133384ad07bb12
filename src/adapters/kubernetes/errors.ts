import { PlaneError } from '../../domain/ports.ts';
import type { ApplyOutcome, ErrorClass } from '../../domain/step.ts';
import { classOfReading, classOfStatus, isNotConnected } from '../http/error-class.ts';
import { HttpError } from '../http/http-error.ts';

/** A failure of a call to an API server. */
export class KubernetesError extends PlaneError {
  /** HTTP status of the answer; `null` when there was none. */
  readonly status: number | null;
  /** `reason` of the server's Status (`Conflict`, `AlreadyExists`, `Expired` …); `null` when it gave none. */
  readonly reason: string | null;
  constructor(
    errorClass: ErrorClass,
    message: string,
    facts: { status?: number | null; reason?: string | null; retryAfterMs?: number | null; cause?: unknown } = {},
  ) {
    super(errorClass, message, {
      ...(facts.cause === undefined ? {} : { cause: facts.cause }),
      ...(facts.retryAfterMs === undefined || facts.retryAfterMs === null ? {} : { retryAfterMs: facts.retryAfterMs }),
    });
    this.status = facts.status ?? null;
    this.reason = facts.reason ?? null;
  }
}

/** Whether `error` is the server's answer with this HTTP status. */
export function isStatus(error: unknown, status: number): error is KubernetesError {
  return error instanceof KubernetesError && error.status === status;
}

/** What an API server says of a failure: its `Status` object, in part. */
export type ServerStatus = { readonly message: string; readonly reason: string | null };

/**
 * Class of an answer other than 2xx, by the table of reference control-planes-serving 6.3. A 422 may also be a lost race: `guardedPatch` finds out.
 * @see https://kubernetes.io/docs/reference/using-api/api-concepts/ and apimachinery's `StatusReason`s
 */
export function classOfAnswer(status: number, { message, reason }: ServerStatus): ErrorClass {
  if (status === 403 && isDenial(message)) return 'permanent';
  // A watch or a page that is too old: begun anew, it goes on.
  if (status === 410) return 'transient';
  // The request did not get past admission, or the server says itself that it did nothing.
  if (status === 500 && (/failed calling webhook/.test(message) || reason === 'ServerTimeout')) return 'transient';
  return classOfStatus(status);
}

/** A 403 that no further right would mend: an admission webhook or policy, a quota, a namespace that goes away. */
function isDenial(message: string): boolean {
  return /denied (the )?request|exceeded quota|is being terminated/.test(message);
}

const distrusted: ReadonlySet<string> = new Set([
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'CERT_HAS_EXPIRED',
  'ERR_TLS_CERT_ALTNAME_INVALID',
  'FILE',
]);

/** Class of a call without a whole answer. Whatever may have been sent may have been done. */
export function classOfFailure(error: HttpError): ErrorClass {
  if (isNotConnected(error)) return 'transient';
  if (distrusted.has(error.code)) return 'auth';
  if (error.code === 'BAD_URL' || error.code === 'TOO_LARGE' || error.code === 'REDIRECT') return 'permanent';
  return 'indeterminate';
}

/** What `apply` answers for a failed call; `detail` says what was tried. @throws what is no `PlaneError` */
export function outcomeOf(error: unknown, detail?: string): ApplyOutcome {
  if (!(error instanceof PlaneError)) throw error;
  const words = detail === undefined ? error.message : `${detail}: ${error.message}`;
  if (error.class === 'indeterminate') return { kind: 'indeterminate', class: 'indeterminate', detail: words };
  if (error.class === 'conflict') return { kind: 'conflict', class: 'conflict', detail: words };
  return { kind: 'rejected', class: error.class, detail: words };
}

/** @throws what is no `HttpError` */
export function fromHttpError(error: unknown, method: string, path: string): KubernetesError {
  if (!(error instanceof HttpError)) throw error;
  const errorClass = classOfFailure(error);
  return new KubernetesError(method === 'GET' ? classOfReading(errorClass) : errorClass, `kubernetes: ${method} ${path}: ${error.message}`, { cause: error });
}
