import type { ApplyOutcome } from '../../../domain/step.ts';
import type { JsonPatchOperation } from '../../kubernetes/client.ts';
import { annotate, marks } from '../../kubernetes/guarded-patch.ts';
import type { KubernetesObject } from '../../kubernetes/object.ts';
import { lastWriterOf } from '../../kubernetes/owners.ts';
import { conflict, rejected } from '../answers.ts';
import type { ReplicaSet } from '../replica-sets.ts';
import type { Holder, Mutation, MutationOf } from './mutation.ts';
import { hashOf, isObserved, type Rollout, type Workload } from './objects.ts';
import { askedHash } from './observed.ts';
import { pausedWords } from './plan.ts';
import { originalTemplate } from './template.ts';

/** Everything a change is decided on, as it was read for it. */
export type Present = {
  readonly rollout: Rollout;
  /** The Rollout as the server gave it. */
  readonly object: KubernetesObject;
  /** What spec.workloadRef names, `null` without one, or why it cannot be used. */
  readonly workload: Workload | string | null;
  readonly workloadObject: KubernetesObject | null;
  readonly sets: readonly ReplicaSet[];
};

/** One patch, and of what: the Rollout's status, or the object that holds the template. Or the outcome without one. */
export type Change =
  | { readonly on: 'status' | 'template'; readonly operations: readonly JsonPatchOperation[] }
  | { readonly on: 'nothing'; readonly outcome: ApplyOutcome };

type Options = { readonly inverse: boolean; readonly opId: string };

/** Pure: what a mutation asks for, given what is there. Done already, or somebody else's doing: no patch. */
export function changeFor(mutation: Mutation, present: Present, options: Options): Change {
  if (mutation.op === 'abort') return abort(mutation, present);
  if (mutation.op === 'retry') return retry(mutation, present);
  const moved = holderMoved(mutation.holder, present);
  if (moved !== null) return nothing(moved);
  if (mutation.op === 'template') return setTemplate(mutation, present, options);
  if (mutation.op === 'promote') return promote(mutation, present);
  const { workload, rollout, sets } = present;
  return askedHash(rollout, workload, sets) === mutation.from.hash ? setTemplate(mutation, present, options) : promote(mutation, present);
}

function abort({ from, to }: MutationOf<'abort'>, { rollout }: Present): Change {
  const { currentPodHash, stableRS, abort: isAborted, promoteFull } = rollout.status;
  if (currentPodHash === to.hash && stableRS === to.hash) return already(`the rollout of ${from.version} has ended, and ${to.version} is the stable version`);
  if (currentPodHash !== from.hash)
    return nothing(conflict(`the controller works on ${currentPodHash}, not on ${from.version} (${from.name}): another rollout was started meanwhile`));
  if (stableRS !== to.hash)
    return nothing(rejected('permanent', `${to.version} is no longer the stable version (${stableRS} is): an abort would be dropped, roll back again`));
  if (isAborted) return already(`the rollout of ${from.version} is aborted`);
  if (promoteFull)
    return nothing(
      rejected(
        'permanent',
        `somebody asked for the promotion of ${from.version} (promoteFull), so an abort would be ignored (argo-rollouts#4461): roll back again`,
      ),
    );
  return { on: 'status', operations: [...whileAt(from.hash, to.hash), { op: 'add', path: '/status/abort', value: true }] };
}

function retry({ from, to, step }: MutationOf<'retry'>, { rollout }: Present): Change {
  const { currentPodHash, stableRS, abort: isAborted } = rollout.status;
  if (!isAborted) return already('the rollout is not aborted');
  if (currentPodHash !== from.hash || stableRS !== to.hash)
    return nothing(conflict(`another rollout was started meanwhile (the controller works on ${currentPodHash})`));
  const back: JsonPatchOperation[] = step === null ? [] : [{ op: 'add', path: '/status/currentStepIndex', value: step }];
  return { on: 'status', operations: [...whileAt(from.hash, to.hash), { op: 'replace', path: '/status/abort', value: false }, ...back] };
}

function setTemplate(mutation: MutationOf<'template' | 'settle'>, present: Present, options: Options): Change {
  const { from, to } = mutation;
  const { rollout, object, workload, workloadObject, sets } = present;
  const asked = askedHash(rollout, workload, sets);
  if (asked === to.hash) return already(`the Rollout asks for ${to.version} already`);
  if (asked === null) return nothing(rejected('transient', 'the controller has not looked at the newest template yet, so nobody knows what it asks for'));
  const holder = workloadObject ?? object;
  if (asked !== from.hash) {
    const writer = lastWriterOf(holder.metadata, ['spec', 'template']);
    return nothing(conflict(`the Rollout no longer asks for ${from.version}${writer === null ? '' : `: ${writer} wrote its template last`}`));
  }
  const kept = sets.find((set) => set.metadata.uid === to.uid && hashOf(set) === to.hash);
  if (kept === undefined)
    return nothing(
      rejected('permanent', `ReplicaSet ${to.name} of version ${to.version} is no longer kept; revisionHistoryLimit is ${rollout.spec.revisionHistoryLimit}`),
    );
  if (rollout.spec.paused) return nothing(rejected('permanent', pausedWords));
  const values = options.inverse
    ? { [marks.opId]: null, [marks.from]: null, [marks.to]: null }
    : { [marks.opId]: options.opId, [marks.from]: from.version, [marks.to]: to.version };
  return {
    on: 'template',
    operations: [{ op: 'replace', path: '/spec/template', value: originalTemplate(kept) }, ...annotate(holder.metadata.annotations, values)],
  };
}

/** Only once the controller works on it: what is asked for before that, it takes away with the old rollout. */
function promote({ to }: MutationOf<'promote' | 'settle'>, { rollout, workload, sets }: Present): Change {
  const { currentPodHash, stableRS, promoteFull } = rollout.status;
  const asked = askedHash(rollout, workload, sets);
  if (asked !== null && asked !== to.hash) return nothing(conflict(`the Rollout no longer asks for ${to.version}: somebody else changed its template`));
  if (asked === null || currentPodHash !== to.hash || !isObserved(rollout, typeof workload === 'string' ? null : workload))
    return nothing(rejected('transient', `the controller does not work on ${to.version} yet: a promotion now would be lost`));
  if (stableRS === to.hash) return already(`${to.version} is promoted already`);
  if (promoteFull) return already(`the promotion of ${to.version} is asked for already`);
  if (rollout.spec.paused) return nothing(rejected('permanent', pausedWords));
  return { on: 'status', operations: [...whileAt(to.hash, stableRS), { op: 'add', path: '/status/promoteFull', value: true }] };
}

/** Guards of a change to the status, whose words are true of one rollout only. */
function whileAt(current: string, stable: string): JsonPatchOperation[] {
  return [
    { op: 'test', path: '/status/currentPodHash', value: current },
    { op: 'test', path: '/status/stableRS', value: stable },
  ];
}

function holderMoved(holder: Holder, { workload, rollout }: Present): ApplyOutcome | null {
  if (typeof workload === 'string') return rejected('permanent', workload);
  const uid = holder.kind === 'rollout' ? null : holder.uid;
  if ((workload?.metadata.uid ?? null) === uid) return null;
  return conflict(`the template of ${rollout.metadata.name} stands elsewhere now (spec.workloadRef), or was deleted and made anew`);
}

function nothing(outcome: ApplyOutcome): Change {
  return { on: 'nothing', outcome };
}

function already(detail: string): Change {
  return nothing({ kind: 'already', detail });
}
