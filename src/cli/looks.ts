import type { EpisodeView } from '../domain/episode-view.ts';
import { partRows } from '../web/status-parts.ts';
import { alertColumns, decisionColumns, modelColumns, partColumns, rollbackColumns, type VersionRow, versionColumns } from './columns.ts';
import { clientFor, type DaemonFlags } from './daemon-flags.ts';
import { CommandFailed, exitCodes } from './exit.ts';
import { type OutputFormat, onOneLine, renderOutput } from './table.ts';

type ListOptions = DaemonFlags & { readonly output: OutputFormat; readonly model: string | null; readonly limit: number };

/** `get models|versions|rollbacks|decisions|alerts`. */
export async function list(what: 'models' | 'versions' | 'rollbacks' | 'decisions' | 'alerts', options: ListOptions): Promise<number> {
  const client = clientFor(options);
  const nowMs = Date.now();
  const listing = { model: options.model ?? undefined, limit: options.limit };
  const print = <Row>(view: Parameters<typeof renderOutput<Row>>[1]): void => void process.stdout.write(renderOutput(options.output, view, process.stdout));
  try {
    switch (what) {
      case 'models': {
        const models = (await client.models()).filter((model) => options.model === null || model.name === options.model).slice(0, options.limit);
        print({ data: models, rows: models, columns: modelColumns(nowMs), none: 'No models found.' });
        break;
      }
      case 'versions': {
        const models = (await client.models()).filter((model) => options.model === null || model.name === options.model);
        const rows: VersionRow[] = models.flatMap((model) => model.versions.map((version) => ({ ...version, model: model.name }))).slice(0, options.limit);
        print({ data: rows, rows, columns: versionColumns(nowMs), none: 'No versions found.' });
        break;
      }
      case 'rollbacks': {
        const rollbacks = await client.rollbacks(listing);
        print({ data: rollbacks, rows: rollbacks, columns: rollbackColumns(nowMs), none: 'No rollbacks found.' });
        break;
      }
      case 'decisions': {
        const decisions = await client.decisions(listing);
        print({ data: decisions, rows: decisions, columns: decisionColumns(nowMs), none: 'No decisions found.' });
        break;
      }
      case 'alerts': {
        const alerts = (await client.alerts()).filter((alert) => options.model === null || alert.labels['model'] === options.model).slice(0, options.limit);
        print({ data: alerts, rows: alerts, columns: alertColumns(nowMs), none: 'No alerts found.' });
        break;
      }
    }
    return exitCodes.ok;
  } finally {
    client.close();
  }
}

/** `get status`: what the daemon talks to, a line each. */
export async function showStatus(options: DaemonFlags & { readonly output: OutputFormat }): Promise<number> {
  const client = clientFor(options);
  try {
    const status = await client.status();
    const view = { data: status, rows: partRows(status), columns: partColumns(Date.now()), none: 'Nothing found.' };
    process.stdout.write(renderOutput(options.output, view, process.stdout));
    return exitCodes.ok;
  } finally {
    client.close();
  }
}

/** `describe rollback ID`. */
export async function describeRollback(id: string, options: DaemonFlags & { readonly output: OutputFormat }): Promise<number> {
  const client = clientFor(options);
  try {
    const episode = await client.rollback(id);
    if (options.output === 'json' || options.output === 'yaml')
      process.stdout.write(renderOutput(options.output, { data: episode, rows: [], columns: [], none: '' }, process.stdout));
    else process.stdout.write(`${describeEpisode(episode)}\n`);
    return exitCodes.ok;
  } finally {
    client.close();
  }
}

/** `check healthy|ready`, the container's health check. */
export async function probe(what: 'healthy' | 'ready', flags: DaemonFlags): Promise<number> {
  const client = clientFor(flags, 5_000);
  try {
    const { ok, text } = await client.probe(what);
    if (!ok) throw new CommandFailed(text);
    process.stdout.write(`${text}\n`);
    return exitCodes.ok;
  } finally {
    client.close();
  }
}

/** An episode for a terminal: what happened, on what evidence, by which steps. */
export function describeEpisode(episode: EpisodeView): string {
  const line = (name: string, value: string | null): string[] => (value === null || value === '' ? [] : [`${`${name}:`.padEnd(14)}${onOneLine(value)}`]);
  const { evidence } = episode;
  const baseline = evidence.baseline === null ? null : `version ${evidence.baseline.version}: ${evidence.baseline.value ?? 'no data'}`;
  return [
    ...line('Rollback', episode.id),
    ...line('Model', episode.model),
    ...line('From', episode.from),
    ...line('To', episode.to),
    ...line('State', `${episode.state}${episode.outcome === null ? '' : ` (${episode.outcome})`}`),
    ...line('Mode', episode.mode),
    ...line('Trigger', episode.rule === null ? episode.trigger : `${episode.trigger} ${episode.rule}`),
    ...line('Reason', episode.reason),
    ...line('Detail', episode.detail),
    ...line('Group', describeGroup(episode)),
    ...line('Detected', episode.detected_at),
    ...line('Started', episode.started_at),
    ...line('Switched', episode.switched_at),
    ...line('Finished', episode.finished_at),
    ...line('Baseline', baseline),
    ...section('Queries', evidence.series),
    ...section(
      'Steps',
      episode.steps.map((step) => `${step.state.padEnd(9)} ${step.name}${step.detail === '' ? '' : ` (${step.detail})`}`),
    ),
    ...section(
      'Smoke tests',
      episode.smoke_tests.map((test) => `${test.outcome.padEnd(9)} ${test.name}, ${test.duration_ms} ms${test.detail === '' ? '' : `: ${test.detail}`}`),
    ),
    ...section(
      'Refused targets',
      episode.refused_targets.map((target) => `${target.version}: ${target.reason}`),
    ),
    // Only what the detail does not say already; a daemon of before has none.
    ...section(
      'To do',
      (episode.notes ?? []).filter((note) => !episode.detail.includes(note)),
    ),
    ...section(
      'Links',
      Object.entries(episode.links).map(([name, url]) => `${name}: ${url}`),
    ),
  ].join('\n');
}

/** `null` where it moves alone; a daemon of before knows no groups. */
function describeGroup({ id, group }: EpisodeView): string | null {
  if (group == null) return null;
  const members = group.members.map(({ model, episode }) => `${model}${episode === id ? '' : ` ${episode}`}${episode === group.leader ? ' (leads)' : ''}`);
  const stays = group.stays.map(({ model, reason }) => `${model} stays, ${reason}`);
  return [`${group.name}, ${group.kind}: ${members.join(', ')}`, ...stays].join('; ');
}

function section(title: string, lines: readonly string[]): string[] {
  return lines.length === 0 ? [] : [`${title}:`, ...lines.map((text) => `  ${onOneLine(text)}`)];
}
