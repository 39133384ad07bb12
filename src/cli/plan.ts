import { setTimeout as sleep } from 'node:timers/promises';
import { stringify } from 'yaml';
import { realClock } from '../adapters/clock/real-clock.ts';
import { openConfiguredJournalReadOnly, openMemoryJournal } from '../adapters/journal/index.ts';
import type { App } from '../app/app.ts';
import { createApp } from '../app/create.ts';
import { soleLeadership } from '../app/leadership.ts';
import { planeTarget } from '../app/observer.ts';
import { effectivePolicy, isActing } from '../app/runtime.ts';
import { readSignatures } from '../app/stages/compatibility.ts';
import { judgeGuards } from '../app/stages/decide.ts';
import { type Follower, type GroupLook, judgeWithGroup, lookAtGroup } from '../app/stages/group.ts';
import { queriesOf } from '../app/stages/measure.ts';
import type { Config } from '../config/config.ts';
import { type SpelledSignals, spellSignals } from '../config/spell-signals.ts';
import { consequence } from '../domain/decide.ts';
import type { Model } from '../domain/model.ts';
import type { Journal, Log } from '../domain/ports.ts';
import type { Verdict } from '../domain/verdict.ts';
import { createLog } from '../telemetry/log.ts';
import { Metrics } from '../telemetry/metrics.ts';
import { markOf, styleOf } from './columns.ts';
import { exitCodes } from './exit.ts';
import { gatherMsOf } from './scrape-time.ts';
import { loadSettings } from './settings.ts';
import { type Column, type OutputFormat, renderOutput } from './table.ts';
import { readVersion } from './version.ts';

type Row = {
  readonly model: string;
  readonly version: string;
  readonly rule: string;
  readonly verdict: string;
  readonly reason: string;
  /** What would follow: rollback, approval, dry_run, hold, notify, or nothing. */
  readonly would: string;
  readonly because: string;
  readonly target: string | null;
  readonly steps: readonly string[];
  readonly queries: readonly string[];
  /** What the model's preset filled in, as it could be written in its place; `null` without a preset. */
  readonly preset: ({ readonly name: string } & SpelledSignals) | null;
};

const columns: readonly Column<Row>[] = [
  { header: 'MODEL', value: (row) => row.model },
  { header: 'VERSION', value: (row) => row.version },
  { header: 'RULE', value: (row) => row.rule },
  { header: 'VERDICT', value: (row) => markOf(row.verdict), style: (row) => styleOf(row.verdict) },
  { header: 'WOULD', value: (row) => (row.target === null ? row.would : `${row.would} to ${row.target}`) },
  { header: 'REASON', value: (row) => (row.because === '' ? row.reason : `${row.reason}; ${row.because}`) },
  { header: 'STEPS', value: (row) => row.steps.join(', '), wide: true },
  { header: 'QUERIES', value: (row) => row.queries.join(' ; '), wide: true },
];

/** Evaluates once and prints what would be done; writes nowhere but to the terminal. @returns 2 when a version breaches and something would be done */
export async function plan(options: { configFile: string; gatherMs: number | null; output: OutputFormat }): Promise<number> {
  const config = await loadSettings(options.configFile);
  const journal = await seededJournal(config);
  const log = createLog({ level: 'error', format: process.stderr.isTTY ? 'pretty' : 'ecs' });
  const { app, close } = await createApp(config, {
    log,
    metrics: new Metrics({ version: readVersion() }, { processMetrics: false }),
    journal,
    forceDryRun: true,
  });
  try {
    const gatherMs = options.gatherMs ?? gatherMsOf(config);
    if (gatherMs > 0) {
      process.stderr.write(`gathering samples for ${gatherMs / 1000} s\n`);
      await app.turn();
      await sleep(gatherMs);
    }
    const verdicts = await app.turn();
    const rows = await Promise.all(verdicts.map(async (verdict) => await foresee(app, verdict, log)));
    process.stdout.write(
      `${renderOutput(options.output, { data: rows, rows, columns, none: 'Nothing to judge: no version has samples, and none is seen serving.' }, process.stdout)}${options.output === 'table' || options.output === 'wide' ? presetTexts(app) : ''}`,
    );
    return rows.some((row) => row.would === 'rollback' || row.would === 'approval') ? exitCodes.pending : exitCodes.ok;
  } finally {
    await close(0);
  }
}

/** What the daemon's journal knows of health, quarantine and pauses, in memory: the file itself is only read. */
async function seededJournal(config: Config): Promise<Journal> {
  const memory = await openMemoryJournal({ clock: realClock });
  const file = await openConfiguredJournalReadOnly(config.journal, 'empty');
  const entries = await file.ledger();
  await memory.append([
    ...(entries.length > 0 ? [{ type: 'ledger' as const, entries }] : []),
    ...(await file.quarantine()).map((entry) => ({ type: 'quarantined' as const, entry })),
    ...(await file.pauses()).map((pause) => ({ type: 'paused' as const, pause })),
    ...[...(await file.planeMemory())].map(([plane, values]) => ({ type: 'plane_memory' as const, plane, values, atMs: realClock.nowMs() })),
  ]);
  await file.close();
  return memory;
}

async function foresee(app: App, verdict: Verdict, log: Log): Promise<Row> {
  const { runtime, memory, board } = app;
  const model = runtime.models.get(verdict.model);
  const rule = runtime.groups.flatMap((group) => group.rules).find((candidate) => candidate.id === verdict.rule);
  const base = {
    model: verdict.model,
    version: verdict.version,
    rule: rule?.alert ?? verdict.rule,
    verdict: verdict.kind,
    reason: verdict.reason,
    target: null,
    steps: [],
    because: '',
    preset: model === undefined ? null : presetOf(model),
  };
  if (model === undefined || rule === undefined) return { ...base, would: 'nothing', queries: [] };
  const queries = queriesOf(runtime.sources.get(model.source), model, rule, realClock.nowMs());
  if (verdict.kind !== 'breach' && verdict.kind !== 'pending') return { ...base, would: 'nothing', queries };
  const own = { ...runtime, forceDryRun: false };
  if (!isActing(own, model, rule)) return { ...base, would: 'notify', queries };
  const signal = AbortSignal.timeout(30_000);
  const observation = await runtime.observer.observe(model, { thorough: true }, signal);
  const subject = {
    model,
    policy: effectivePolicy(own, model, rule),
    from: verdict.version,
    rule,
    verdict,
    observation,
    trigger: 'rule' as const,
    episode: null,
  };
  const plane = runtime.planes.get(model.controlPlane);
  const context = { memory, board, leadership: soleLeadership, fleet: app.fleet, runtime, nowMs: realClock.nowMs() };
  const informed = await readSignatures(subject, context, { plane, log, signal });
  const inForce = { ...context, runtime: own };
  const look = await lookAtGroup(informed, inForce, { thorough: true, log, signal });
  const alone = judgeGuards(informed, context);
  const { judgement, followers } = look === null ? { judgement: alone, followers: [] } : judgeWithGroup(alone, look, inForce);
  const { target } = judgement.choice;
  const planned =
    target === null || observation === null
      ? null
      : (plane?.plan(planeTarget(model), observation, { kind: 'serve', shares: [{ version: target, share: 1 }] }) ?? null);
  const steps = planned?.kind === 'steps' ? planned.steps.map((step) => step.name) : planned?.kind === 'refused' ? [`refused: ${planned.reason}`] : [];
  const because = [judgement.detail, ...(look === null ? [] : [describePeers(look, followers)])].filter((words) => words !== '').join('; ');
  return { ...base, would: consequence(judgement), because, target, steps, queries };
}

/** What would become of the other models of the group. */
function describePeers({ group, peers }: GroupLook, followers: readonly Follower[]): string {
  const going = followers.map(({ subject, target }) => `${subject.model.name} from ${subject.from} to ${target}`);
  const staying = peers.flatMap((peer) => (peer.kind === 'stays' ? [`${peer.model.name} stays, ${peer.reason}`] : []));
  return `group ${group.name}, ${group.kind}: ${[...going, ...staying].join('; ') || 'nobody else'}`;
}

function presetOf(model: Model): Row['preset'] {
  return model.preset === undefined ? null : { name: model.preset, ...spellSignals(model) };
}

/** Every preset in use written out, as keys of its model. */
function presetTexts({ runtime }: App): string {
  const texts = [...runtime.models.values()].flatMap((model) => {
    const preset = presetOf(model);
    if (preset === null) return [];
    const { name, ...spelled } = preset;
    return [`\n# Model ${model.name}: preset ${name}, written out:\n${stringify(spelled, { lineWidth: 0 })}`];
  });
  return texts.join('');
}
