import type { ErrorClass } from '../../domain/step.ts';
import type { HttpError } from './http-error.ts';

/**
 * Class of a status other than 2xx as the answer to a write. What else is known of a server (its reasons, its own codes) comes before this.
 * @see reference control-planes-serving 6.3
 */
export function classOfStatus(status: number): ErrorClass {
  switch (status) {
    case 401:
    case 403:
      return 'auth';
    case 409:
    case 412:
      return 'conflict';
    case 408:
    case 425:
    case 429:
    case 502:
    case 503:
      return 'transient';
    default:
      return status >= 500 ? 'indeterminate' : 'permanent';
  }
}

/** Class of a reading that ended so: it changes nothing, so one whose answer is open may simply be asked again. */
export function classOfReading(errorClass: ErrorClass): ErrorClass {
  return errorClass === 'indeterminate' ? 'transient' : errorClass;
}

/** Connecting failed: nothing was sent. */
const notConnected: ReadonlySet<string> = new Set(['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH']);
export function isNotConnected(error: HttpError): boolean {
  return notConnected.has(error.code);
}
