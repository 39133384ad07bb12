import { formatAge } from '../domain/duration.ts';
import type { RetentionView } from '../web/api.ts';
import { clientFor, type DaemonFlags } from './daemon-flags.ts';
import { exitCodes } from './exit.ts';
import { type Column, type OutputFormat, renderOutput } from './table.ts';

type Row = RetentionView['stores'][number]['versions'][number] & { readonly store: string; readonly error: string | null };

/** What happens to a version, in a word or with its reason. */
function fateOf({ error, keep, outcome }: Row): string {
  if (error !== null) return `not looked at: ${error}`;
  if (keep !== null) return `kept: ${keep}`;
  return outcome ?? 'would be deleted';
}

function columns(nowMs: number): readonly Column<Row>[] {
  return [
    { header: 'STORE', value: (row) => row.store },
    { header: 'VERSION', value: (row) => row.version },
    { header: 'AGE', value: (row) => (row.created === null ? null : formatAge(nowMs - Date.parse(row.created))) },
    { header: 'FATE', value: fateOf, style: (row) => (row.keep === null ? 'yellow' : null) },
  ];
}

/**
 * `retention plan MODEL` and `retention run MODEL`, asked of a running daemon: it knows what serves and what may be gone back to.
 * @returns 2 for a plan that would delete something, and for a run that could not look everywhere
 */
export async function retention(
  what: 'plan' | 'run',
  model: string,
  options: DaemonFlags & { output: OutputFormat; reason: string; by: string },
): Promise<number> {
  const client = clientFor(options, 600_000);
  try {
    const view = what === 'plan' ? await client.retention(model) : await client.runRetention(model, { reason: options.reason, by: options.by });
    const rows = view.stores.flatMap(({ store, error, versions }): Row[] =>
      error === null ? versions.map((version) => ({ ...version, store, error })) : [{ store, error, version: '', created: null, keep: null, outcome: null }],
    );
    process.stdout.write(renderOutput(options.output, { data: view, rows, columns: columns(Date.now()), none: 'No versions found.' }, process.stdout));
    const isPending = what === 'plan' ? rows.some((row) => row.error === null && row.keep === null) : rows.some((row) => row.error !== null);
    return isPending ? exitCodes.pending : exitCodes.ok;
  } finally {
    client.close();
  }
}
