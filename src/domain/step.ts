/**
 * Where in the rollback a step belongs; the smoke test of the staged target runs after `stage`. `persist` makes the switch survive a restart of the plane.
 * `record` tells others of it (a registry's alias, tags), after the switch is confirmed: a failure of it is told and stops nothing.
 */
export type StepPhase = 'stage' | 'switch' | 'persist' | 'record';

/** One mutation of a plane, self-contained JSON: journalled before it is done, so that another process can finish it. */
export type Step = {
  /** Unique in the episode, readable: `stage 6 on tfs-0:8500`. */
  readonly name: string;
  readonly phase: StepPhase;
  readonly endpoint: string;
  /** Steps of a phase with the same barrier may run together; a higher barrier waits until all below converged. */
  readonly barrier: number;
  /** Plane-native mutation. */
  readonly mutation: Readonly<Record<string, unknown>>;
  /** Plane-native mutation that takes it back; `null` when there is nothing to take back. */
  readonly inverse: Readonly<Record<string, unknown>> | null;
  /** Version that must be available (stage) or serve alone (switch) on `endpoint` when the step took. */
  readonly expect: { readonly available?: string; readonly serving?: string; readonly routes?: Readonly<Record<string, string>>; readonly gone?: string };
};

/** What the wish is: share per version (0..1); a rollback is 100 % of one. `unpin`: give back the policy from before the rollback. */
export type Desired =
  | {
      readonly kind: 'serve';
      readonly shares: readonly { readonly version: string; readonly share: number }[];
      /** Why, in words; for planes that keep a record. */
      readonly reason?: string;
    }
  | { readonly kind: 'unpin' };

export type PlanResult =
  /** `notes`: what the steps leave undone, for people. */
  | { readonly kind: 'steps'; readonly steps: readonly Step[]; readonly notes?: readonly string[] }
  | { readonly kind: 'nothing' }
  | { readonly kind: 'refused'; readonly reason: string };

/**
 * Outcome of one mutation. `indeterminate`: nobody knows whether it happened; never repeated blind.
 * `remember`: what the plane must know later (its journalled changes), saved with the step's outcome; `null` forgets a key.
 */
export type ApplyOutcome =
  | { readonly kind: 'applied' | 'already'; readonly detail?: string; readonly remember?: Readonly<Record<string, unknown>> }
  | { readonly kind: 'conflict' | 'rejected' | 'indeterminate'; readonly detail: string; readonly class: ErrorClass };

/** What two observations say of a step. `stale`: the plane still shows the state from before (look again); `reverted`: it had converged and somebody took it back. */
export type StepCheck = { readonly kind: 'converged' | 'progressing' | 'failed' | 'reverted' | 'stale'; readonly detail: string };

/** Classes of failure and what follows: reference control-planes-serving 6.3. */
export type ErrorClass = 'transient' | 'indeterminate' | 'conflict' | 'staging_needed' | 'permanent' | 'auth' | 'target_will_not_load';
