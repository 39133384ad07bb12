import type { PlaneError } from '../../domain/ports.ts';
import type { ApplyOutcome, ErrorClass, PlanResult } from '../../domain/step.ts';

/** Answers of `plan` and `apply` that every plane gives, in one word each. */

export function refused(reason: string): PlanResult {
  return { kind: 'refused', reason };
}

/** The plane is not as the step expects it: somebody else was there. */
export function conflict(detail: string): ApplyOutcome {
  return { kind: 'conflict', class: 'conflict', detail };
}

/** Nobody knows whether it happened. */
export function indeterminate(detail: string): ApplyOutcome {
  return { kind: 'indeterminate', class: 'indeterminate', detail };
}

/** It did not happen. */
export function rejected(errorClass: ErrorClass, detail: string): ApplyOutcome {
  return { kind: 'rejected', class: errorClass, detail };
}

/** What was thrown before anything was sent; a reading whose answer is open may simply be asked again. */
export function notSent(error: PlaneError): ApplyOutcome {
  if (error.class === 'conflict') return conflict(error.message);
  return rejected(error.class === 'indeterminate' ? 'transient' : error.class, error.message);
}
