/** What the manager knows of one version when it asks the policy; `new` waits to be loaded, `ready` serves, `other` is in between or over. */
export interface VersionSnapshot {
  version: bigint;
  state: 'new' | 'ready' | 'other';
  aspired: boolean;
}

/** The next thing to do with a version. */
export interface ServableAction {
  kind: 'load' | 'unload';
  version: bigint;
}

/**
 * Next action for one model, if any (core/availability_preserving_policy.cc): load before unload, so that something serves all the
 * time. An un-aspired version goes only when an aspired one is ready, when nothing at all is aspired, or when another un-aspired
 * one is ready too (then the lowest goes). A failed aspired version counts as aspired but never as ready: the old one stays.
 */
export function nextAction(versions: VersionSnapshot[]): ServableAction | undefined {
  const aspired = versions.filter((one) => one.aspired);
  const leaving = versions.filter((one) => !one.aspired && one.state === 'ready').sort(byVersion);
  const lowest = leaving[0];
  const mayUnload = aspired.length === 0 || aspired.some((one) => one.state === 'ready') || leaving.length > 1;
  if (lowest !== undefined && mayUnload) return { kind: 'unload', version: lowest.version };

  const highest = aspired
    .filter((one) => one.state === 'new')
    .sort(byVersion)
    .at(-1);
  return highest === undefined ? undefined : { kind: 'load', version: highest.version };
}

function byVersion(a: VersionSnapshot, b: VersionSnapshot): number {
  return a.version < b.version ? -1 : 1;
}
