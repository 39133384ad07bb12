import { availableOf, forgetDeadline, isPromoted, keepAborted, labelHash, others, type Pass, promote, scale, scaleDownLater } from './pass.ts';

/** One pass over a canary: traffic, then pods, then the step. */
export async function reconcileCanary(pass: Pass): Promise<void> {
  const { spec, status, next, stable, hash, current } = pass;
  const replicas = spec.replicas ?? 1;
  const steps = spec.strategy.canary?.steps ?? [];
  const isRouted = spec.strategy.canary?.trafficRouting !== undefined;
  const isAborted = next.abort === true && !isPromoted(pass);
  if (isRouted) routeTraffic(pass, isAborted);
  // Paused by a person, no pods are scaled; the traffic was looked at all the same.
  const isScaling = spec.paused === true ? false : await scalePods(pass, isRouted, isAborted);
  if (status.promoteFull === true || pass.isInWindow) {
    delete next.abort;
    delete next.abortedAt;
    delete next.pauseConditions;
    if (steps.length > 0) next.currentStepIndex = steps.length;
  }
  if (stable === null) return promote(pass);
  const isStillAborted = next.abort === true && !isPromoted(pass);
  const isUp = availableOf(current) >= replicas;
  const isSpared = status.promoteFull === true || pass.isInWindow || labelHash(stable) === hash;
  const isThrough = steps.length === 0 || (status.currentStepIndex ?? 0) >= steps.length;
  if (!isStillAborted && isUp && (isSpared || isThrough)) return promote(pass);
  if (isStillAborted) {
    keepAborted(pass);
    if (steps.length > 0) next.currentStepIndex = 0;
    return;
  }
  takeStep(pass, isScaling);
}

function takeStep({ spec, status, next, current }: Pass, isScaling: boolean): void {
  const steps = spec.strategy.canary?.steps ?? [];
  const index = status.currentStepIndex ?? 0;
  const step = steps[index];
  if (step === undefined || spec.paused === true || status.promoteFull === true) return;
  if (step.pause !== undefined) {
    if ((status.pauseConditions ?? []).length > 0) return;
    if (status.controllerPause === true) {
      // Somebody took the condition away: go on.
      delete next.controllerPause;
      next.currentStepIndex = index + 1;
      return;
    }
    if (isScaling) return;
    next.controllerPause = true;
    next.pauseConditions = [{ reason: 'CanaryPauseStep', startTime: `${new Date().toISOString().slice(0, 19)}Z` }];
    return;
  }
  const isThere = step.setWeight === undefined || availableOf(current) >= podsAt(spec.replicas ?? 1, step.setWeight);
  if (isThere) next.currentStepIndex = index + 1;
}

/** The last `setWeight` up to the step; 100 behind the last. */
function weightAt({ spec, status }: Pass): number {
  const steps = spec.strategy.canary?.steps ?? [];
  const index = status.currentStepIndex ?? 0;
  if (index >= steps.length) return 100;
  return steps.slice(0, index + 1).findLast((step) => step.setWeight !== undefined)?.setWeight ?? 0;
}

function podsAt(replicas: number, weight: number): number {
  return Math.ceil((replicas * weight) / 100);
}

function routeTraffic(pass: Pass, isAborted: boolean): void {
  const { status, next, current, stable, spec } = pass;
  const replicas = spec.replicas ?? 1;
  const present = status.canary?.weights?.canary.weight ?? 0;
  const wished = ((): number => {
    if (isPromoted(pass) || isAborted || availableOf(current) === 0) return 0;
    if (status.promoteFull === true) return present;
    const weight = weightAt(pass);
    return availableOf(current) >= podsAt(replicas, weight) ? weight : present;
  })();
  // Too few stable pods for what they would get.
  if (stable === null || availableOf(stable) < podsAt(replicas, 100 - wished)) return;
  next.canary = {
    weights: {
      canary: { weight: wished, podTemplateHash: labelHash(current) },
      stable: { weight: 100 - wished, podTemplateHash: labelHash(stable) },
    },
  };
}

async function scalePods(pass: Pass, isRouted: boolean, isAborted: boolean): Promise<boolean> {
  const { spec, status, current, stable, hash } = pass;
  const replicas = spec.replicas ?? 1;
  await forgetDeadline(pass, isAborted ? null : current);
  await forgetDeadline(pass, stable);
  const isStable = stable === null || labelHash(stable) === hash;
  const weight = isStable || status.promoteFull === true ? 100 : isAborted ? 0 : weightAt(pass);
  const wanted = podsAt(replicas, weight);
  if (!isStable) {
    // Beside a proxy the stable pods all stay; without one they make room for those of the canary that are up.
    const kept = isRouted || isAborted ? replicas : Math.max(replicas - wanted, replicas - availableOf(current));
    if (await scale(pass, stable, kept)) return true;
  }
  if (isAborted && isRouted) await scaleDownLater(pass, current);
  else if (isAborted && availableOf(stable) < replicas) return false;
  else if (await scale(pass, current, wanted)) return true;
  for (const set of others(pass)) {
    if (isRouted && isPromoted(pass)) await scaleDownLater(pass, set);
    else if (isRouted) await scale(pass, set, 0);
    else if (availableOf(isStable ? current : stable) >= (isStable ? wanted : 0)) await scale(pass, set, 0);
  }
  return false;
}
