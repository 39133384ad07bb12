import { canaryRules, canarySettings, hasCookieAffinity } from './canary-rules.ts';
import { type Ingress, isSameClass, isSamePlace, placeText, type Routing } from './ingress.ts';

/**
 * What other Ingresses of the namespace make of this canary. The admission webhook stops most of it, where it is installed.
 * @param others all but the primary and the canary
 */
export function neighbourFaults(
  others: readonly Ingress[],
  primary: Ingress,
  { primaryService, canaryService, primaryPaths, canaryPaths }: Routing,
  prefix: string,
): readonly string[] {
  const faults: string[] = [];
  for (const other of others) {
    // Another controller's: a move to its successor, say.
    if (!isSameClass(primary, other)) continue;
    const what = `ingress ${other.name}`;
    const { isCanary } = canaryRules(canarySettings(other.annotations, prefix));
    if (isCanary) {
      const shared = other.paths.find((path) => primaryPaths.some((own) => isSamePlace(own, path)));
      if (shared !== undefined) faults.push(`${what} is a canary of ${placeText(shared)}, too: ingress-nginx takes only one, and which is not known`);
      continue;
    }
    const shared = other.paths.find((path) => primaryPaths.some((own) => own.host === path.host && own.path === path.path && own.pathType === path.pathType));
    if (shared !== undefined) faults.push(`${what} leads ${placeText(shared)}, too: ingress-nginx takes the older one`);
    if (canaryService !== null && other.paths.some((path) => isSameBackend(path, canaryPaths, canaryService)))
      faults.push(`${what} leads to Service ${canaryService}, too, not as a canary: ingress-nginx then ignores its weight, or leaves that path out`);
    if (
      hasCookieAffinity(other.annotations, prefix) &&
      !hasCookieAffinity(primary.annotations, prefix) &&
      other.paths.some((path) => isSameBackend(path, primaryPaths, primaryService))
    )
      faults.push(`${what} gives Service ${primaryService} cookie affinity, which then holds for ${primary.name}, too; write affinity: cookie there as well`);
  }
  return faults;
}

function isSameBackend({ service, port }: { service: string; port: string }, paths: Routing['primaryPaths'], wanted: string): boolean {
  return service === wanted && paths.some((path) => path.service === wanted && path.port === port);
}
