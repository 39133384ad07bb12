import type { JsonMap } from '../kubernetes-object.ts';
import { availableOf, forgetDeadline, isWithinDelay, keepAborted, others, type Pass, promote, scale, scaleDownLater } from './pass.ts';
import { hashLabel } from './template.ts';

/** One pass over a blue-green Rollout: pods, then the pause, then the active Service. */
export async function reconcileBlueGreen(pass: Pass): Promise<void> {
  const { spec, status, next, current, stable, hash } = pass;
  const { blueGreen } = spec.strategy;
  if (blueGreen === undefined) return;
  const replicas = spec.replicas ?? 1;
  const isPaused = spec.paused === true;
  // Before its deadline is forgotten.
  const isFast = hash === status.stableRS || pass.isInWindow || isWithinDelay(current);
  if (blueGreen.previewService !== undefined && !isPaused) await point(pass, blueGreen.previewService, hash);
  await forgetDeadline(pass, current);
  await forgetDeadline(pass, stable);
  if (stable !== null && stable !== current) await scale(pass, stable, replicas);
  await scale(pass, current, replicas);
  const active = await selectorOf(pass, blueGreen.activeService);
  const preview = blueGreen.previewService === undefined ? '' : await selectorOf(pass, blueGreen.previewService);
  for (const set of others(pass)) {
    const isReferenced = [active, preview, status.blueGreen?.activeSelector].includes(set.metadata.labels?.[hashLabel] ?? '-');
    if (!isReferenced) await scaleDownLater(pass, set);
  }
  const isAborted = next.abort === true;
  const isUp = availableOf(current) >= replicas;
  const isFastTracked = isFast || status.promoteFull === true || active === '' || active === hash;
  let target = active;
  if (isUp && !isPaused) {
    if (isFastTracked) target = hash;
    else if (!isAborted) {
      if (blueGreen.autoPromotionEnabled !== false) target = hash;
      else if (status.controllerPause !== true) {
        next.controllerPause = true;
        next.pauseConditions = [{ reason: 'BlueGreenPause', startTime: `${new Date().toISOString().slice(0, 19)}Z` }];
      } else if ((status.pauseConditions ?? []).length === 0) target = hash;
    }
    // Only where all pods of the new version are up: else nothing is switched, not even back.
    if (status.abort === true && isAborted) target = status.stableRS ?? '';
    if (target !== active) await point(pass, blueGreen.activeService, target);
  }
  next.blueGreen = { activeSelector: target, previewSelector: preview };
  if (isAborted) keepAborted(pass);
  if (stable === null) return promote(pass);
  const isSwitched = target === hash;
  const isJudged = isFast || status.promoteFull === true || blueGreen.postPromotionAnalysis === undefined;
  if (isSwitched && isUp && !isAborted && isJudged) promote(pass);
}

async function selectorOf({ client, namespace }: Pass, service: string): Promise<string> {
  const found = await client.get(`/api/v1/namespaces/${namespace}/services/${service}`);
  return String((found.spec?.['selector'] as JsonMap | undefined)?.[hashLabel] ?? '');
}

async function point({ client, namespace }: Pass, service: string, hash: string): Promise<void> {
  const path = `/api/v1/namespaces/${namespace}/services/${service}`;
  const found = await client.get(path);
  if ((found.spec?.['selector'] as JsonMap | undefined)?.[hashLabel] !== hash) await client.merge(path, { spec: { selector: { [hashLabel]: hash } } });
}
