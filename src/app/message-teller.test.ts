import { expect, it } from 'vitest';
import { anEpisode } from '../../test/support/an-episode.ts';
import { aModel, aRule, aVerdict } from '../../test/support/builders.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { FakePlane } from '../../test/support/fake-plane.ts';
import { silentLog } from '../../test/support/stage.ts';
import { openMemoryJournal } from '../adapters/journal/memory/open.ts';
import { emptyCalendar } from '../domain/calendar.ts';
import { defaultLimits } from '../domain/limits.ts';
import type { Route } from '../domain/routing.ts';
import { FleetWatch } from './fleet-watch.ts';
import { Memory } from './memory.ts';
import { MessageTeller, type NewMessage } from './message-teller.ts';
import { Observer } from './observer.ts';
import type { Runtime } from './runtime.ts';
import { VerdictBoard } from './verdict-board.ts';

const route: Route = {
  receiver: 'oncall',
  groupBy: ['model'],
  groupWaitMs: 0,
  groupIntervalMs: 1_000,
  repeatIntervalMs: 3_600_000,
  matchers: [],
  continue: false,
  routes: [],
};

/** A model with one rule that only tells. */
async function setScene() {
  const clock = new FakeClock();
  const journal = await openMemoryJournal({ clock });
  const memory = await Memory.load(journal);
  const board = new VerdictBoard();
  const plane = Object.assign(new FakePlane({ clock, serving: '2' }), {
    origin: (_target: unknown, version: string) => ({ commit: `https://git.example.org/fraud/commit/${version}`, runbook: 'https://plane.example.org' }),
  });
  const planes = new Map([['tfs', plane]]);
  const model = aModel({ links: { runbook: 'https://runbooks.example.org/fraud' } });
  const { rollback: _, ...rule } = aRule();
  const runtime: Runtime = {
    models: new Map([[model.name, model]]),
    groups: [{ name: 'fraud', model: model.name, intervalMs: 5_000, rules: [{ ...rule, rollback: null }] }],
    sources: new Map(),
    planes,
    observer: new Observer({ planes, clock, log: silentLog }),
    limits: defaultLimits,
    calendar: emptyCalendar,
    externalLabels: {},
    route,
    sendResolved: new Set(),
    modelGroups: [],
    forceDryRun: false,
  };
  return { clock, journal, memory, board, runtime, rule };
}

/** What is told while the rule fires for these versions. */
async function toldOf(versions: readonly string[], externalUrl: string | null = null): Promise<readonly NewMessage[]> {
  const { clock, journal, memory, board, runtime, rule } = await setScene();
  const atMs = clock.nowMs();
  for (const version of versions) {
    board.post([aVerdict({ version, atMs, breachingSinceMs: atMs })]);
    const state = { rule: rule.id, version, breachingSinceMs: atMs, lastSeenMs: atMs, lastEvaluatedMs: atMs, firingSinceMs: atMs, keepFiringUntilMs: null };
    await memory.append([{ type: 'rule_states', states: { [`${rule.id} ${version}`]: state } }]);
  }
  const told: NewMessage[] = [];
  const sink = { enqueue: async (message: NewMessage) => told.push(message) > 0, events: () => [] };
  await new MessageTeller({ memory, board, fleet: new FleetWatch(), sink, log: silentLog, externalUrl }).tellAlerts(runtime, atMs);
  await journal.close();
  return told;
}

it('an alert links where its version came from; the links of the file beat those of the plane', async () => {
  expect(await toldOf(['2'])).toMatchObject([
    {
      kind: 'alert',
      content: { alerts: [{ version: '2' }], links: { commit: 'https://git.example.org/fraud/commit/2', runbook: 'https://runbooks.example.org/fraud' } },
    },
  ]);
});

it('alerts of several versions in one message link nothing: it would be read as being about all', async () => {
  expect(await toldOf(['2', '1'])).toMatchObject([{ content: { alerts: [{}, {}], links: {} } }]);
});

it('an alert links the page of its model where people reach it, and nothing where nobody said so', async () => {
  const url = 'https://rollbackd.example.org/ml';

  expect(await toldOf(['2'], url)).toMatchObject([{ content: { links: { rollbackd: `${url}/models/fraud` } } }]);
  expect((await toldOf(['2']))[0]?.content).not.toHaveProperty('links.rollbackd');
});

it('messages of a rollback link its page for good; a link of that name in the settings is kept', async () => {
  const { journal, memory, board, runtime } = await setScene();
  const told: NewMessage[] = [];
  const sink = { enqueue: async () => true, events: (messages: readonly NewMessage[]) => (told.push(...messages), []) };
  const teller = new MessageTeller({ memory, board, fleet: new FleetWatch(), sink, log: silentLog, externalUrl: 'https://rollbackd.example.org' });

  teller.onStarted(anEpisode(), runtime);
  teller.onFinished(anEpisode({ links: { rollbackd: 'https://own.example.org', runbook: 'https://runbooks.example.org' } }), runtime);
  await journal.close();

  const page = 'https://rollbackd.example.org/rollbacks/rb_01JDEXAMPLE';
  expect(told.map(({ content }) => content['links'])).toEqual([
    { rollbackd: page, git_tag: 'https://git.example.org/fraud/tags/v7' },
    { rollbackd: 'https://own.example.org', runbook: 'https://runbooks.example.org' },
  ]);
});
