import type { NamedPartView, PartView, StatusView } from './api.ts';

/** What rollbackd talks to, in one list; `part`: its role, in words. */
export type PartRow = { readonly part: string } & NamedPartView;

/** The parts of a status, a row each: journal, lease, sources, control planes, receivers, and the files. */
export function partRows(status: StatusView): readonly PartRow[] {
  const { journal, leader, config } = status;
  const rows = (part: string, named: readonly NamedPartView[]): PartRow[] => named.map((each) => ({ part, ...each }));
  const files: PartView = {
    up: config.last_reload_successful,
    since: config.last_reload_successful ? config.loaded : null,
    last_success: config.loaded,
    error: config.faults.join('; ') || null,
  };
  return [
    { part: 'journal', name: journal.kind, ...journal },
    ...(leader.lease === null ? [] : [{ part: 'lease', name: leader.holder ?? '', kind: leader.leads ? 'leads' : 'follows', ...leader.lease }]),
    ...rows('source', status.sources),
    ...rows('control plane', status.control_planes),
    ...rows('receiver', status.receivers),
    { part: 'settings', name: config.hash.slice(0, 12), kind: '', ...files },
  ];
}
