import type { RollbackPolicy } from '../domain/model.ts';
import { nearest } from './nearest.ts';
import type { YamlFile } from './yaml-document.ts';

/** A `rollback:` block as it is written, the policy that follows from it, and the names of `time_intervals:`. */
type ActiveTimes = {
  readonly written: { readonly require_approval?: unknown; readonly active_time_intervals?: readonly string[] | undefined };
  readonly policy: RollbackPolicy;
  readonly intervals: readonly string[];
};

/** Tells time intervals that are not there, `require_approval: outside` of nothing, and times that nothing asks for. */
export function checkActiveTimes(yaml: YamlFile, path: readonly PropertyKey[], { written, policy, intervals }: ActiveTimes): void {
  const names = written.active_time_intervals ?? [];
  names.forEach((name, i) => {
    if (intervals.includes(name)) return;
    const suggestion = nearest(name, intervals);
    yaml.report(
      [...path, 'active_time_intervals', i],
      `found ${JSON.stringify(name)}, expected the name of an entry of time_intervals${suggestion === null ? '' : `; did you mean "${suggestion}"?`} ${intervals.length === 0 ? '(there is none)' : `(there are: ${intervals.slice(0, 10).join(', ')})`}`,
      { code: 'unknown_name' },
    );
  });
  if (written.require_approval === 'outside' && policy.activeTimeIntervals.length === 0)
    yaml.report([...path, 'require_approval'], 'outside of what? Add active_time_intervals: [<name of an entry of time_intervals>] beside it', {
      code: 'missing_key',
    });
  if (names.length > 0 && policy.requireApproval !== 'outside')
    yaml.report([...path, 'active_time_intervals'], 'says nothing without require_approval: outside; add that, or remove it', { code: 'needless', at: 'key' });
}
