import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { playGroup } from '../../test/support/chaos/group-play.ts';
import { wrongsOf } from '../../test/support/chaos/judge.ts';
import type { Crash } from '../../test/support/chaos/mortal.ts';
import { type Plant, type Played, play } from '../../test/support/chaos/play.ts';
import { calm, type Scenario, scenarios } from '../../test/support/chaos/scenario.ts';
import type { ControlPlane, Journal, Sender } from '../domain/ports.ts';

/** `ROLLBACKD_CHAOS_PLAYS=5000 npx vitest run --project unit src/app/chaos.test.ts` for more of them, `ROLLBACKD_FUZZ_SEED` for others. */
const plays = Number(process.env['ROLLBACKD_CHAOS_PLAYS'] ?? 200);

/** @throws with all that is wrong */
async function expectRight(scenario: Scenario, plant?: Plant): Promise<Played> {
  const played = await play(scenario, plant);
  const wrongs = wrongsOf(scenario, played);
  if (wrongs.length > 0)
    throw new Error(
      `${wrongs.join('\n')}\nAgain: ROLLBACKD_CHAOS_SCENARIO='${JSON.stringify(scenario)}' npx vitest run --project unit src/app/chaos.test.ts -t 'the given play'`,
    );
  return played;
}

function dyingAt(crash: Crash): Scenario {
  return { ...calm, crashes: [{ ...crash, downS: 1, isSent: false }] };
}

describe('a rollback whose process is killed', () => {
  it('before and after every journal write and every call of the plane: ends once, in the right state', { timeout: 600_000 }, async () => {
    const whole = await expectRight(calm);
    let [crashes, slowestMs] = [0, 0];
    for (const operation of ['append', 'observe', 'apply'] as const) {
      const all = whole.counts.get(operation) ?? 0;
      for (let nth = 1; nth <= all; nth += 1) {
        for (const side of ['before', 'after'] as const) {
          const played = await expectRight(dyingAt({ operation, side, nth }));
          crashes += played.crashes;
          slowestMs = Math.max(slowestMs, played.recoveredMs ?? 0);
        }
      }
    }
    process.stdout.write(`chaos: ${crashes} crashes, one before and one after each of ${JSON.stringify([...whole.counts])}, slowest ${slowestMs} ms\n`);
    expect(crashes).toBeGreaterThan(100);
  });

  it(`whatever befalls it, ${plays} plays: what serves changes once at the most, and no message is lost`, { timeout: 3_600_000 }, async () => {
    const sums = { plays: 0, crashes: 0, faults: 0, succeeded: 0, failed: 0, aborted: 0, slowestMs: 0 };
    await fc.assert(
      fc.asyncProperty(scenarios, async (scenario) => {
        const played = await expectRight(scenario);
        sums.plays += 1;
        sums.crashes += played.crashes;
        sums.faults += played.faults;
        sums.slowestMs = Math.max(sums.slowestMs, played.recoveredMs ?? 0);
        const state = played.episodes[0]?.state;
        if (state === 'succeeded' || state === 'failed' || state === 'aborted') sums[state] += 1;
      }),
      { numRuns: plays, interruptAfterTimeLimit: 3_500_000 },
    );
    process.stdout.write(`chaos: ${JSON.stringify(sums)}\n`);
    expect(sums.crashes).toBeGreaterThan(plays / 2);
  });
});

describe('a group whose process is killed', () => {
  it.each(['together', 'ordered'] as const)('that goes %s: each of its models switches once, none is left behind', { timeout: 600_000 }, async (kind) => {
    const whole = await playGroup(kind, null);
    expect(whole.wrongs).toEqual([]);
    let [crashes, slowestMs] = [0, 0];
    // Before a write is after the one before it, but for what the plane was told in between.
    for (const [operation, sides] of [['append', ['after']] as const, ['apply', ['before', 'after']] as const]) {
      for (let nth = 1; nth <= (whole.counts.get(operation) ?? 0); nth += 1) {
        for (const side of sides) {
          const { wrongs, hasCrashed, recoveredMs } = await playGroup(kind, { operation, side, nth });
          expect(wrongs, `${side} ${operation} ${nth}`).toEqual([]);
          crashes += Number(hasCrashed);
          slowestMs = Math.max(slowestMs, recoveredMs);
        }
      }
    }
    process.stdout.write(`chaos: group ${kind}, ${crashes} crashes, slowest ${slowestMs} ms\n`);
    expect(crashes).toBeGreaterThan(30);
  });
});

/** Each breaks a promise on purpose: a harness that lets one of these pass proves nothing. */
describe('a fault that is planted', () => {
  const lostAnswer: Scenario = { ...calm, applyFaults: [{ nth: 2, kind: 'lost_answer' }] };
  const diedAfterSending = dyingAt({ operation: 'send', side: 'after', nth: 1 });

  it.each<[string, Scenario, Plant, string]>([
    ['a mutation repeated blind when its answer was lost', lostAnswer, { plane: repeatBlind }, 'was sent again without a look at the plane'],
    ['an act before its intent is durable', calm, { journal: (journal) => without(journal, 'step_intent') }, 'was sent before its intent was in the journal'],
    ['an end that tells nobody', calm, { journal: (journal) => without(journal, 'message_enqueued') }, '0 messages of an end for 1 episodes'],
    ['a sender that claims to have sent', calm, { sender: ({ lane }) => ({ lane, send: async () => ({ kind: 'sent', detail: '' }) }) }, 'was never sent'],
    ['a repeat in other words', diedAfterSending, { sender: sendWithNumber() }, 'was sent in other words than the journal has'],
    ['a switch back to the bad version', calm, { plane: putBack }, 'what serves changed'],
  ])('%s is found', async (_name, scenario, plant, words) => {
    const found = await expectRight(scenario, plant).then(
      () => 'nothing',
      (error: unknown) => String(error),
    );

    expect(found).toContain(words);
  });
});

function repeatBlind(plane: ControlPlane): ControlPlane {
  return replacing(plane, {
    apply: async (...call) => {
      const answer = await plane.apply(...call);
      return answer.kind === 'indeterminate' ? await plane.apply(...call) : answer;
    },
  });
}

/** Each switch is followed by one back. */
function putBack(plane: ControlPlane): ControlPlane {
  return replacing(plane, {
    apply: async (target, step, options, signal) => {
      const answer = await plane.apply(target, step, options, signal);
      if (step.phase === 'switch' && step.endpoint === 'b')
        await plane.apply(target, { ...step, mutation: { ...step.mutation, version: '2' } }, options, signal);
      return answer;
    },
  });
}

function without(journal: Journal, type: string): Journal {
  return replacing(journal, { append: async (events) => await journal.append(events.filter((event) => event.type !== type)) });
}

function sendWithNumber(): (sender: Sender) => Sender {
  let sent = 0;
  return (sender) => ({
    lane: sender.lane,
    send: async (message, signal) => await sender.send({ ...message, content: { ...message.content, attempt: (sent += 1) } }, signal),
  });
}

function replacing<Port extends object>(port: Port, methods: Partial<Port>): Port {
  return new Proxy(port, { get: (target, key) => Reflect.get(Reflect.has(methods, key) ? methods : target, key) as unknown });
}

/** One play alone, as a failure prints it. */
const given = process.env['ROLLBACKD_CHAOS_SCENARIO'];
if (given !== undefined) {
  it('the given play', async () => {
    const played = await play(JSON.parse(given) as Scenario);
    for (const { seq, epoch, event } of played.events) process.stdout.write(`${seq} (epoch ${epoch}) ${JSON.stringify(event).slice(0, 400)}\n`);

    expect(wrongsOf(JSON.parse(given) as Scenario, played)).toEqual([]);
  });
}
