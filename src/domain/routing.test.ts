import { describe, expect, it } from 'vitest';
import type { Matcher } from './model.ts';
import { pickReceivers, type Route } from './routing.ts';

const matcher = (label: string, op: Matcher['op'], value: string): Matcher => ({ label, op, value });
const aRoute = (receiver: string, changes: Partial<Route> = {}): Route => ({
  receiver,
  groupBy: ['model'],
  groupWaitMs: 1,
  groupIntervalMs: 2,
  repeatIntervalMs: 3,
  matchers: [],
  continue: false,
  routes: [],
  ...changes,
});

const tree = aRoute('root', {
  routes: [
    aRoute('audit', { matchers: [matcher('severity', '=~', 'page|ticket')], continue: true }),
    aRoute('fraud', {
      matchers: [matcher('team', '=', 'fraud')],
      routes: [
        aRoute('fraud-page', { matchers: [matcher('severity', '=', 'page')], groupBy: ['...'] }),
        aRoute('fraud-low', { matchers: [matcher('severity', '!~', 'p.*')] }),
      ],
    }),
    aRoute('no-team', { matchers: [matcher('team', '=', '')] }),
  ],
});

describe('pickReceivers', () => {
  it.each<[string, Record<string, string>, string[]]>([
    ['what no child takes is the root’s', { team: 'x' }, ['root']],
    ['the deepest that matches', { team: 'fraud', severity: 'p' }, ['fraud']],
    ['a child before its parent, and on after continue', { team: 'fraud', severity: 'page' }, ['audit', 'fraud-page']],
    ['negative matchers', { team: 'fraud', severity: 'info' }, ['fraud-low']],
    ['a missing label is empty', { severity: 'ticket' }, ['audit', 'no-team']],
    ['expressions are anchored', { severity: 'pages', team: 'x' }, ['root']],
  ])('%s', (_, labels, expected) => {
    expect(pickReceivers(tree, labels).map(({ receiver }) => receiver)).toEqual(expected);
  });

  it('says how to group, and where in the tree it was', () => {
    expect(pickReceivers(tree, { team: 'fraud', severity: 'page' })[1]).toEqual({
      receiver: 'fraud-page',
      groupBy: ['...'],
      groupWaitMs: 1,
      groupIntervalMs: 2,
      repeatIntervalMs: 3,
      key: '/1/0',
    });
  });
});
