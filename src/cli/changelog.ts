import type { SqlJournal } from '../adapters/journal/index.ts';
import { renderLinks } from '../app/rule-texts.ts';
import { formatInstant, viewDecision, viewEpisode } from '../domain/episode-view.ts';
import { historyOf, type VersionHistory } from '../domain/version-history.ts';
import { renderChangelog } from './changelog-markdown.ts';
import { CommandFailed, exitCodes } from './exit.ts';
import { type JournalChoice, readingJournal } from './journal.ts';
import { loadSettings } from './settings.ts';

/** More than any model has; the journal's own limit is for lists on a screen. */
const everything = 1_000_000;

/**
 * `changelog MODEL`: its versions, from the journal alone with `--file`, else also with the links that the daemon's file has for each.
 * @throws {CommandFailed} when the journal has nothing on the model
 */
export async function changelog(model: string, choice: JournalChoice, output: 'markdown' | 'json'): Promise<number> {
  const models = choice.file === null ? (await loadSettings(choice.configFile)).models : [];
  const templates = models.find(({ name }) => name === model)?.links ?? {};
  return await readingJournal(choice, async (journal) => {
    const versions = historyOf(await recordsOf(journal, model), (version) => renderLinks(templates, { model, version }));
    if (versions.length === 0) throw new CommandFailed(`rollbackd: journal ${journal.name} has no version of model "${model}"; ${await knownModels(journal)}`);
    const view = { model, versions: versions.map(viewHistory) };
    process.stdout.write(output === 'json' ? `${JSON.stringify(view, null, 2)}\n` : renderChangelog(model, versions));
    return exitCodes.ok;
  });
}

async function recordsOf(journal: SqlJournal, model: string) {
  const isOfModel = (entry: { readonly model: string }): boolean => entry.model === model;
  return {
    episodes: await journal.episodes({ model, limit: everything }),
    decisions: await journal.decisions({ model, limit: everything }),
    ledger: (await journal.ledger()).filter(isOfModel),
    quarantine: (await journal.quarantine()).filter(isOfModel),
  };
}

async function knownModels(journal: SqlJournal): Promise<string> {
  const names = new Set((await journal.ledger()).map(({ model }) => model));
  return names.size === 0 ? 'it has none of any model yet' : `it has those of ${[...names].toSorted().join(', ')}`;
}

/** As JSON; times are ISO 8601, episodes as everywhere. */
function viewHistory({ version, record, quarantine, departures, returns, held, links }: VersionHistory) {
  return {
    version,
    first_seen: formatInstant(record?.firstSeenMs ?? null),
    serving_since: formatInstant(record?.servingSinceMs ?? null),
    last_served: formatInstant(record?.lastServedMs ?? null),
    healthy_ms: record?.healthyMs ?? null,
    healthy_requests: record === null ? null : Math.round(record.healthyRequests),
    last_breach: formatInstant(record?.lastBreachMs ?? null),
    rollbacks: departures.map(({ episode, impact }) => ({
      impact: impact === null ? null : { duration_ms: impact.durationMs, failed_requests_estimate: impact.failedRequests },
      episode: viewEpisode(episode),
    })),
    restored_by: returns.filter(({ switchedAtMs }) => switchedAtMs !== null).map(({ id }) => id),
    held: held === null ? null : viewDecision(held),
    quarantine: quarantine === null ? null : { until: formatInstant(quarantine.untilMs), reason: quarantine.reason, by: quarantine.by },
    links,
  };
}
