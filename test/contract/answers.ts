import type { ControlPlane, PlaneError } from '../../src/domain/ports.ts';
import type { ErrorClass } from '../../src/domain/step.ts';
import type { Upstream } from '../support/misbehaving-server.ts';
import type { Place } from './faults.ts';
import type { ControlPlaneSetup } from './plane-steps.ts';

/** One way in which a call to a plane can end, and what must follow from it: the table of reference control-planes-serving 6.3. */
export type Answer = {
  /** What comes back: `403`, `PERMISSION_DENIED`, `exit code 77`; the setup's `fault` knows it by this name. */
  readonly name: string;
  /** Class of a write that ended so; `applied`, `already`: no failure, the plane found out; `null`: a write does not end so. */
  readonly written: ErrorClass | 'applied' | 'already' | null;
  /** Class of a reading that ended so (never `indeterminate`: reading twice does no harm); `null`: a reading does not end so. */
  readonly read: Exclude<ErrorClass, 'indeterminate'> | null;
  /** The write was carried out all the same. */
  readonly isDone?: true;
  /** Only `observe` asks what answers so; `apply` needs nothing of it. */
  readonly isObserved?: true;
  /** Requests of one `apply` whose write ends so. Default 1: nothing is repeated blind. */
  readonly requests?: number;
  /** What the answer says of when to come again, ms. */
  readonly retryAfterMs?: PlaneError['retryAfterMs'];
};

/** Makes calls end so until it is disposed of. */
export type Fault = AsyncDisposable & {
  /** Asked instead of the setup's plane while the fault lasts. */
  readonly plane?: ControlPlaneSetup['plane'];
};

/** A setup whose server can be made to give the answers of a table. */
export type FaultySetup = ControlPlaneSetup & {
  /** From now on every reading, or every write, ends as the answer of that name. Where it has words, they hold the secret. */
  readonly fault: (on: 'read' | 'write', answer: string) => Promise<Fault>;
  /** What the plane talks to, by name, and the same plane with a time limit of `limitMs` towards another place; empty where it talks to nobody (commands). */
  readonly wires: Readonly<Record<string, { readonly upstream: Upstream; readonly connect: (place: Place) => Promise<ControlPlane> }>>;
  /** All that the plane has logged, and told of its requests. */
  readonly said: () => string;
};

/** Whatever speaks HTTP. */
export const httpAnswers: readonly Answer[] = [
  { name: '401', written: 'auth', read: 'auth' },
  { name: '403', written: 'auth', read: 'auth' },
  { name: '404', written: 'permanent', read: 'permanent' },
  { name: '409', written: 'conflict', read: 'conflict' },
  { name: '422', written: 'permanent', read: 'permanent' },
  { name: '429', written: 'transient', read: 'transient', retryAfterMs: 1_000 },
  { name: '500', written: 'indeterminate', read: 'transient' },
  { name: '503', written: 'transient', read: 'transient' },
  { name: '504', written: 'indeterminate', read: 'transient' },
  { name: 'reset', written: 'indeterminate', read: 'transient' },
  { name: 'reset after send', written: 'indeterminate', read: 'transient', isDone: true },
  { name: 'timeout after send', written: 'indeterminate', read: 'transient', isDone: true },
];

/** Whatever speaks gRPC. */
export const grpcAnswers: readonly Answer[] = [
  { name: 'UNAUTHENTICATED', written: 'auth', read: 'auth' },
  { name: 'PERMISSION_DENIED', written: 'auth', read: 'auth' },
  { name: 'NOT_FOUND', written: 'permanent', read: 'permanent' },
  { name: 'INVALID_ARGUMENT', written: 'permanent', read: 'permanent' },
  { name: 'UNIMPLEMENTED', written: 'permanent', read: 'permanent' },
  { name: 'ABORTED', written: 'transient', read: 'transient' },
  { name: 'RESOURCE_EXHAUSTED', written: 'transient', read: 'transient' },
  { name: 'UNAVAILABLE', written: 'transient', read: 'transient' },
  { name: 'INTERNAL', written: 'indeterminate', read: 'transient' },
  { name: 'DEADLINE_EXCEEDED', written: 'indeterminate', read: 'transient' },
  { name: 'CANCELLED', written: 'indeterminate', read: 'transient' },
  { name: 'reset', written: 'indeterminate', read: 'transient' },
  { name: 'reset after send', written: 'indeterminate', read: 'transient', isDone: true },
  { name: 'timeout after send', written: 'indeterminate', read: 'transient', isDone: true },
];

/** A copy of a table with some of its rows told otherwise. */
export function withAnswers(table: readonly Answer[], changes: Readonly<Record<string, Partial<Answer>>>): readonly Answer[] {
  return table.map((answer) => ({ ...answer, ...changes[answer.name] }));
}
