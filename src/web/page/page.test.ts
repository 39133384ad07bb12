import bcrypt from 'bcryptjs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { aModel, aServer, aStatus } from '../../../test/support/a-web-server.ts';
import { anEpisode } from '../../../test/support/an-episode.ts';
import { anyText, forAll } from '../../../test/support/fuzz.ts';
import { aGroup, aRule, aWorldOf, evilTexts, type PageWorld, pageQueries } from '../../../test/support/page-world.ts';
import type { Episode } from '../../domain/episode.ts';
import type { ModelView, Queries, StatusView } from '../api.ts';
import { Login } from '../login.ts';
import type { WebDeps } from '../server.ts';

const nowMs = Date.UTC(2026, 10, 22, 12, 1);
const browser = { accept: 'text/html,application/xhtml+xml,*/*;q=0.8' };
/** Pages of a world, as a browser asks for them. */
function aBrowser(world: PageWorld = {}, changes: Partial<WebDeps> = {}) {
  const asked: unknown[] = [];
  const queries = pageQueries(world, (filter) => asked.push(filter));
  const server = aServer({ queries, nowMs: () => nowMs, ...changes });
  const open = async (url: string, headers: Readonly<Record<string, string>> = browser) => await server.app.inject({ url, headers });
  /** What is read there: the text without its markup. */
  const read = async (url: string): Promise<string> =>
    (await open(url)).body
      .replace(/^[\s\S]*<main[^>]*>/, '')
      .replaceAll(/<[^>]+>/g, ' ')
      .replaceAll('&lt;', '<')
      .replaceAll('&quot;', '"')
      .replaceAll('&amp;', '&')
      .replaceAll(/\s+/g, ' ');
  return { ...server, asked, open, read };
}

const named = (name: string, changes: Partial<ModelView> = {}): ModelView => ({ ...aModel, name, ...changes });

describe('the fleet', () => {
  const fleet = [
    named('fine'),
    named('few', { verdict: 'no_data', reason: '12 requests' }),
    named('slow', { verdict: 'pending', reason: 'p99 310ms > 250ms for 20s, for: 1m' }),
    named('bad', { verdict: 'breach', reason: 'error ratio 10.2% (588 of 5771) > 5%', rollback_in_progress: 'rb_1' }),
    named('dark', { verdict: 'ok', error: 'tfs-0:8500: connection refused' }),
    named('moving', { rollback_in_progress: 'rb_2' }),
  ];
  const order = (html: string): (string | undefined)[] => [...html.matchAll(/href="\.\/models\/([^"]+)"/g)].map((match) => match[1]);

  it('lists what needs a look first, and counts it in the title', async () => {
    const { body } = await aBrowser({ models: fleet }).open('/');

    expect(order(body)).toEqual(['bad', 'dark', 'moving', 'slow', 'few', 'fine']);
    expect(body).toContain('<title>(4) Fleet · rollbackd</title>');
  });

  it('says each state by glyph and word, with its arithmetic', async () => {
    const text = await aBrowser({ models: fleet }).read('/');

    for (const words of [
      '✖ breach error ratio 10.2% (588 of 5771) > 5%',
      '! not observed tfs-0:8500: connection refused',
      '▲ pending p99 310ms > 250ms for 20s, for: 1m',
      '● no data 12 requests',
      '✔ ok error ratio 0.1% (5 of 5771) ≤ 5%',
      '↩ rolling back',
    ])
      expect(text).toContain(words);
  });

  it('shows what serves, the candidate, the last rollback and what holds a model back', async () => {
    const [version] = aModel.versions;
    if (version === undefined) throw new Error('no version');
    const versions = [
      { ...version, version: '7', role: 'candidate' as const, share: 0.1 },
      { ...version, version: '6', share: 0.9, known_good: true },
    ];
    const paused = { since: '2026-11-22T11:00:00.000Z', until: '2026-11-22T13:00:00.000Z', reason: 'load test', by: 'ann' };
    const last = { id: 'rb_1', at: '2026-11-20T12:01:00.000Z', outcome: 'success' };

    const text = await aBrowser({ models: [named('m', { versions, paused, pinned: true, last_rollback: last, mode: 'dry_run' })] }).read('/');

    expect(text).toMatch(/6 ✔ known good 90% 7 10% 7 served well for 3m of 1h .* ✔ success 2d ago dry run ‖ paused ends in 59m ⊙ pinned/);
  });

  it('finds models by their name, and those that need a look', async () => {
    const { open } = aBrowser({ models: fleet });

    expect(order((await open('/?name=A')).body)).toEqual(['bad', 'dark']);
    expect(order((await open('/?name=&show=look')).body)).toEqual(['bad', 'dark', 'moving', 'slow']);
    expect((await open('/?name=%22%3E%3Cb%3E')).body).toContain('value="&quot;>&lt;b>"');
    expect((await open('/?show=everything')).statusCode).toBe(400);
  });

  it('shows 200 models on a page', async () => {
    const { open } = aBrowser({ models: Array.from({ length: 450 }, (_, index) => named(`m${String(index).padStart(3, '0')}`)) });

    const [first, last] = [await open('/?name=m'), await open('/?page=3&name=m')];

    expect([order(first.body).length, order(last.body).length, order(last.body)[0]]).toEqual([200, 50, 'm400']);
    expect(first.body).toContain('href="./?name=m&amp;page=2"');
    expect(order((await open('/?page=99')).body)).toHaveLength(50);
  });
});

describe('the page of a model', () => {
  it('shows versions, what each rule says of them, decisions and rollbacks', async () => {
    const verdict = {
      rule: 'group/High',
      version: '7',
      verdict: 'breach',
      reason: '10.2% > 5%',
      value: 0.102,
      threshold: 0.05,
      requests: 5771,
      at: '',
    } as const;
    const text = await aBrowser({ detail: { verdicts: [{ ...verdict, at: '2026-11-22T12:00:57.000Z' }] } }).read('/models/fraud-detector');

    for (const words of [
      'Versions Version Role State Traffic Known good Quarantined First seen 7 ▶ active available 100% · no served well for 3m of 1h',
      'High rolls back, for 30s error_ratio over 1m above 0.05, min_requests 100',
      '7 ✖ breach 10.2% > 5% 5771 3s ago',
      'rules/fraud.yaml, group group , every 5s',
      '12h ago ‖ hold 7 → 6 High cooldown : rolled back 3m ago, cooldown: 30m',
      '1m ago 7 → 6 ✔ succeeded ModelErrorRatioHigh error ratio 10.2% (588 of 5771) > 5% for 1m12s, for: 1m 12.5 s',
    ])
      expect(text).toContain(words);
  });

  it('tells rules of one name in one group apart', async () => {
    const verdict = { version: '7', value: null, threshold: null, requests: null, at: '2026-11-22T12:00:57.000Z' };
    const verdicts = [
      { ...verdict, rule: 'group/High', verdict: 'ok' as const, reason: 'of the first' },
      { ...verdict, rule: 'group/High#2', verdict: 'breach' as const, reason: 'of the second' },
    ];
    const groups = [
      {
        ...aGroup,
        rules: [
          { ...aRule, query: 'query one' },
          { ...aRule, query: 'query two' },
        ],
      },
    ];

    expect(await aBrowser({ detail: { verdicts }, groups }).read('/models/fraud-detector')).toMatch(/query one .*of the first .*query two .*of the second/);
  });

  it('says that no rule watches it', async () => {
    expect(await aBrowser({ groups: [] }).read('/models/fraud-detector')).toContain('No rule watches this model');
  });
});

describe('the page of a rollback', () => {
  it('says what happened, on what evidence, why there, by which steps', async () => {
    const notes = ['Argo CD will put version 7 back'];
    const { read, open } = aBrowser({ episode: { notes, requestedBy: 'ann' } });

    const text = await read('/rollbacks/rb_01JDEXAMPLE');

    for (const words of [
      'Rolled back fraud-detector 7 → 6 ✔ succeeded',
      'ModelErrorRatioHigh : error ratio 10.2% (588 of 5771) > 5% for 1m12s, for: 1m. Detected 22 Nov 2026, 12:00:00 UTC ; the switch was confirmed 4 s and the rollback ended 12.5 s after that.',
      '! to do Argo CD will put version 7 back',
      'Signal error ratio Version 7 10.2% Limit 5% Requests 5771 Window 1m Compared to version 6 : 0.1%',
      'sum(rate(x[1m]))',
      'Decided: rolled back 3m ago, cooldown: 30m; guards that held: cooldown.',
      'Not version Because 5 quarantined',
      'stage 6 on tfs-0:8500 ✔ done +100 ms 1.9 s available',
      'one known transaction ✔ passed before traffic moved 181 ms 200 in 181 ms',
      'Recovered 22 Nov 2026, 12:00:09 UTC (+9 s)',
    ])
      expect(text).toContain(words);
    expect((await open('/rollbacks/rb_01JDEXAMPLE')).body).toContain('href="../api/v1/rollbacks/rb_01JDEXAMPLE"');
  });

  it('says who moves with it, and who stays', async () => {
    const members = [
      { model: 'ranker', episode: 'rb_02' },
      { model: 'fraud-detector', episode: 'rb_01JDEXAMPLE' },
    ];
    const stays = [{ model: 'features', reason: 'nothing of it serves' }];
    const group = { name: 'checkout', kind: 'ordered', leader: 'rb_01JDEXAMPLE', members, stays, releasedMs: null } as const;
    const { read, open } = aBrowser({ episode: { group } });

    expect(await read('/rollbacks/rb_01JDEXAMPLE')).toContain(
      'Group checkout One after the other, in this order: ranker fraud-detector began it features stays, nothing of it serves',
    );
    expect((await open('/rollbacks/rb_01JDEXAMPLE')).body).toContain('href="../rollbacks/rb_02"');
  });

  it.each([
    [{ mode: 'dry_run', state: 'recorded', outcome: null }, 'Would roll back fraud-detector 7 → 6 ○ dry run'],
    [{ state: 'watching', outcome: null, finishedAtMs: null }, 'Rollback of fraud-detector 7 → 6 ↩ watching'],
    [{ state: 'failed', outcome: 'unknown' }, 'Rollback of fraud-detector 7 → 6 ? failed, outcome unknown'],
    [{ trigger: 'manual', rule: null, requestedBy: 'ann', reason: 'bad scores' }, 'By hand, by ann : bad scores.'],
    [{ steps: [], smokeTests: [], links: {} }, 'None was planned.'],
  ] satisfies [Partial<Episode>, string][])('%j reads «%s»', async (episode, words) => {
    expect(await aBrowser({ episode }).read('/rollbacks/rb_1')).toContain(words);
  });

  it('links to web pages only, and to none with a password', async () => {
    const links = {
      runbook: 'https://runbooks.example.org/fraud?a=1&b=2',
      script: 'javascript:alert(1)',
      spaced: ' \tjava\nscript:alert(1)',
      data: 'data:text/html,<script>alert(1)</script>',
      file: 'file:///etc/passwd',
      guarded: 'https://ann:planted-secret@git.example.org/',
      nothing: '',
    };
    const { body } = await aBrowser({ episode: { links } }).open('/rollbacks/rb_1');

    const leading = [...body.matchAll(/href="([^"]*)"/g)].map((match) => match[1] ?? '').filter((href) => !/^\.\.?\//.test(href));
    expect(leading).toEqual(['#main', 'https://runbooks.example.org/fraud?a=1&amp;b=2']);
    expect(body).not.toContain('planted-secret');
  });
});

describe('what is wrong', () => {
  const down = { up: false, since: '2026-11-22T11:58:00.000Z', last_success: '2026-11-22T11:57:45.000Z' };
  const since = 'since 22 Nov 2026, 11:58:00 UTC ( 3m ago )';
  const well = { ...aStatus, control_planes: [] };

  it.each([
    ['a source', { sources: [{ name: 'prom', kind: 'prometheus', ...down, error: 'connection refused' }] }, `✖ source down prom ${since}: connection refused`],
    ['a control plane', { control_planes: [{ name: 'tfs', kind: 'exec', ...down, error: 'exit code 1' }] }, `✖ control plane down tfs ${since}: exit code 1`],
    ['a receiver', { receivers: [{ name: 'oncall', kind: 'slack', ...down, error: 'answered 503' }] }, `✖ receiver down oncall ${since}: answered 503`],
    ['the journal', { journal: { ...aStatus.journal, ...down, error: 'disk full' } }, `✖ journal down sqlite ${since}: disk full`],
    ['another leader', { leader: { leads: false, holder: 'pod-1', lease: null } }, '○ not leader this process watches and does not act; pod-1 leads'],
    ['no leader', { leader: { leads: false, holder: null, lease: { ...down, error: 'no route' } } }, `nobody is known to lead ✖ lease down ${since}: no route`],
    [
      'a breaker',
      { breakers: [{ name: 'telemetry', since: down.since, detail: '5 of 6 models' }] },
      `‖ breaker open telemetry ${since}, nothing is rolled back until it has closed: 5 of 6 models`,
    ],
    [
      'a pause of all',
      { paused: [{ model: null, since: down.since, until: null, reason: 'release', by: 'ann' }] },
      `‖ paused all models by ann ${since}: release`,
    ],
    ['a flap lock', { flap_locked: ['fraud-detector'] }, '⟳ flap lock fraud-detector went back and forth'],
    [
      'a refused reload',
      { config: { ...aStatus.config, last_reload_successful: false, faults: ['rollbackd.yaml:3:1: modles: unknown key'] } },
      '! settings refused those loaded 22 Nov 2026, 12:00:00 UTC stay in force rollbackd.yaml:3:1: modles: unknown key',
    ],
  ] satisfies [string, Partial<StatusView>, string][])('says so first, on the fleet and on the status: %s', async (_name, status, words) => {
    const { read } = aBrowser({ status: { ...well, ...status } });

    const fleet = await read('/');
    expect(fleet).toContain(words);
    expect(fleet.indexOf(words)).toBeLessThan(fleet.indexOf('1 model, no model needs a look.'));
    expect(await read('/status')).toContain(words);
  });

  it('says which windows freeze how many models', async () => {
    const frozen = { frozen: ['load-test is on until 2026-11-22T15:00:00.000Z'] };
    const text = await aBrowser({ models: [named('a', frozen), named('b'), named('c', frozen)], status: well }).read('/');

    expect(text).toContain('❄ frozen 2 models: load-test is on until 2026-11-22T15:00:00.000Z');
    expect(text).toMatch(/enforce ❄ frozen/);
  });

  it('says on the page of a model what of it concerns the model', async () => {
    const sources = ['prom', 'mlflow'].map((name) => ({ name, kind: 'prometheus', ...down, error: 'connection refused' }));
    const text = await aBrowser({ status: { ...well, sources, flap_locked: ['ranker'] } }).read('/models/fraud-detector');

    expect(text).toContain(`✖ source down prom ${since}: connection refused Mode`);
    expect(text).not.toMatch(/mlflow|flap lock/);
  });

  it('says nothing while all is well', async () => {
    expect((await aBrowser({ status: well }).open('/')).body).not.toContain('What is wrong');
  });
});

it('shows all that rollbackd talks to, up or down, since when, and the last error', async () => {
  const text = await aBrowser({ status: { ...aStatus, freeze_windows: [{ name: 'load-test', active: false }] } }).read('/status');

  for (const words of [
    'This process leads: it acts Journal sqlite, epoch 1, 116 KiB Messages waiting 0 Settings loaded 22 Nov 2026, 12:00:00 UTC',
    'sqlite journal sqlite ✔ up 1m ago',
    'prom source prometheus ✔ up 1m ago',
    'tfs control plane tensorflow_serving ✖ down 1m ago',
    'tfs-0:8500: connection refused',
    'ml-oncall receiver slack … not asked yet',
    'load-test · off',
    'ab12 settings – none ✔ in force',
  ])
    expect(text).toContain(words);
});

it('lists rollbacks of all models and of one', async () => {
  const { open, read, asked } = aBrowser();

  expect(await read('/rollbacks')).toContain('1m ago fraud-detector 7 → 6 ✔ succeeded ModelErrorRatioHigh');
  expect((await open('/rollbacks?model=team%2Ffraud&limit=7')).body).toContain('href="./models/team%2Ffraud"');
  expect(asked).toEqual([{ limit: 100 }, { model: 'team/fraud', limit: 7 }]);
});

describe('whatever the network sends', () => {
  const pages = ['/', '/status', '/models/m', '/rollbacks', '/rollbacks/rb_1', '/rollbacks?model='] as const;

  /** Tags of a document, attributes and all: what a text could not add to. */
  const tagsOf = (html: string): string[] => [...html.matchAll(/<(?:[a-z/!](?:[^>"]|"[^"]*")*)>?/gi)].map(([tag]) => tag.replaceAll(/"[^"]*"/g, '""'));

  it.each(evilTexts)('%j adds no markup to any page', async (text) => {
    const [harmless, harmful] = [aBrowser(aWorldOf('x')), aBrowser(aWorldOf(text))];
    for (const page of pages) {
      const end = page.endsWith('=') ? encodeURIComponent(text) : '';
      const [{ body: plain }, { body, statusCode }] = [await harmless.open(`${page}${page.endsWith('=') ? 'x' : ''}`), await harmful.open(`${page}${end}`)];

      expect(statusCode).toBe(200);
      expect(tagsOf(body)).toEqual(tagsOf(plain));
      expect(body).not.toMatch(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/);
      for (const [, href = ''] of body.matchAll(/(?:href|src|action)="([^"]*)"/g)) expect(href).toMatch(/^(?:\.\.?\/|#main$)/);
    }
  });

  it('asks for any model or rollback and gets a page, or that there is none', async () => {
    const { open } = aBrowser();

    await forAll(fc.tuple(fc.constantFrom('models', 'rollbacks'), anyText), 60, async ([list, text]) => {
      const { statusCode, headers, body } = await open(`/${list}/${encodeURIComponent(text.toWellFormed())}`);

      expect([200, 400, 404, 414]).toContain(statusCode);
      expect(headers['content-type']).toBe('text/html; charset=utf-8');
      expect(body.match(/<script/g)).toHaveLength(1);
    });
  });

  it('shows nothing that an episode carries for the planes, and nothing of a failure', async () => {
    const [step] = anEpisode().steps;
    if (step === undefined) throw new Error('no step');
    const secret = { token: 'planted-secret' };
    const steps = [{ ...step, step: { ...step.step, mutation: secret, inverse: secret } }];
    const request = { kind: 'command' as const, name: 'r', argv: ['x', 'planted-secret'] as [string, string], env: secret, cwd: '/' };
    const smokeTest = { timeoutMs: 1, retries: 0, requests: [request], onFailure: 'stop' as const };
    expect((await aBrowser({ episode: { steps, smokeTest } }).open('/rollbacks/rb_1')).body).not.toContain('planted-secret');

    const failing = { ...({} as Queries), models: async () => await Promise.reject(new Error('SELECT planted-secret')) };
    const answer = await aBrowser({}, { queries: failing }).open('/');
    expect([answer.statusCode, answer.body.includes('planted-secret'), answer.body.includes('rollbackd failed to answer; its log says why')]).toEqual([
      500,
      false,
      true,
    ]);
  });
});

describe('a page', () => {
  const contentPolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

  it.each(['/', '/models/fraud-detector', '/rollbacks', '/rollbacks/rb_1', '/status', '/nothing'])(
    '%s runs what comes from here, and nothing that is written in it',
    async (url) => {
      const { headers, body } = await aBrowser().open(url);

      expect(headers).toMatchObject({
        'content-type': 'text/html; charset=utf-8',
        'content-security-policy': contentPolicy,
        'x-content-type-options': 'nosniff',
        'x-frame-options': 'DENY',
        'referrer-policy': 'no-referrer',
        'cache-control': 'no-store',
      });
      expect(body).not.toMatch(/<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)[^>]*>|(?:src|action)="https?:|<link[^>]*"https?:/);
    },
  );

  it('is found wherever a proxy puts it: every link in it is relative', async () => {
    const { open } = aBrowser();
    for (const [url, root] of [
      ['/?name=a/b', './'],
      ['/models/fraud-detector', '../'],
      ['/rollbacks', './'],
      ['/rollbacks/rb_1?x=/', '../'],
      ['/no/such/page', '../../'],
    ]) {
      const { body } = await open(url ?? '');
      const roots = [...body.matchAll(/(?:href|src|action)="([^"#h][^"]*)"/g)].map((match) => /^(?:\.\.?\/)+/.exec(match[1] ?? '')?.[0]);
      expect([...new Set(roots)], url).toEqual([root]);
    }
  });

  it('brings its style and script, which may be kept for ever since their names change with them', async () => {
    const { open } = aBrowser();
    const { body } = await open('/');

    for (const [what, type] of [
      ['stylesheet" href', 'text/css; charset=utf-8'],
      ['module" src', 'text/javascript; charset=utf-8'],
      ['icon" href', 'image/svg+xml; charset=utf-8'],
    ]) {
      const path = new RegExp(`${what}="\\./(assets/[\\w.]+)"`).exec(body)?.[1];
      const asset = await open(`/${path}`);
      expect([asset.statusCode, asset.headers['content-type'], asset.headers['cache-control']]).toEqual([200, type, 'private, max-age=31536000, immutable']);
      expect(asset.body.length).toBeGreaterThan(100);
    }
    const old = await open('/assets/page.0123456789ab.css');
    expect([old.statusCode, old.headers['cache-control'], old.body.length > 100]).toEqual([200, 'no-store', true]);
    expect((await open('/assets/page.css')).json()).toMatchObject({ errorType: 'not_found' });
    expect((await open('/assets/..%2f..%2fserver.ts')).statusCode).toBe(404);
  });

  it('is a page for browsers; programs get the envelope, and so does who asks the API', async () => {
    const { open } = aBrowser();

    expect((await open('/models/none')).body).toContain('no model is named &quot;none&quot;');
    expect((await open('/models/none', { accept: '*/*' })).json()).toMatchObject({ errorType: 'not_found', error: 'no model is named "none"' });
    expect((await open('/rollbacks/rb_gone', {})).json()).toMatchObject({ errorType: 'not_found' });
    const api = await open('/api/v1/nothing');
    expect([api.json(), api.headers['content-security-policy']]).toEqual([
      expect.objectContaining({ errorType: 'not_found' }),
      "default-src 'none'; frame-ancestors 'none'",
    ]);
  });

  it('asks for a login where there are users, and shows a stranger nothing', async () => {
    const hash = bcrypt.hashSync('a password', 4);
    const login = new Login(new Map([['vera', { hash, role: 'viewer' as const }]]), { nowMs: () => nowMs });
    const { open } = aBrowser({}, { login });
    const authorization = `Basic ${Buffer.from('vera:a password').toString('base64')}`;

    for (const url of ['/', '/models/fraud-detector', '/rollbacks', '/rollbacks/rb_1', '/status', '/nothing']) {
      const stranger = await open(url);
      expect([stranger.statusCode, stranger.headers['www-authenticate']], url).toEqual([401, 'Basic realm="rollbackd", charset="UTF-8"']);
      expect(stranger.body).toContain('<h1>Unauthorized</h1>');
      expect(stranger.body).not.toMatch(/fraud|assets/);
      expect((await open(url, { ...browser, authorization })).statusCode, url).toBe(url === '/nothing' ? 404 : 200);
    }
  });
});
