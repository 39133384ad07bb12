import bcrypt from 'bcryptjs';
import { describe, expect, it } from 'vitest';
import { aServer } from '../../test/support/a-web-server.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { Login, type WebUsers } from './login.ts';

const password = 'planted-secret: with a colon';
/** The cheapest there is. */
const hash = bcrypt.hashSync(password, 4);
const users: WebUsers = new Map([
  ['vera', { hash, role: 'viewer' }],
  ['otto', { hash, role: 'operator' }],
  ['ada', { hash, role: 'admin' }],
]);
const basic = (name: string, given = password): string => `Basic ${Buffer.from(`${name}:${given}`).toString('base64')}`;

function aGuardedServer(options: { adminApi?: boolean } = {}) {
  const clock = new FakeClock();
  const computed: string[] = [];
  const compare = async (given: string, known: string): Promise<boolean> => {
    computed.push(given);
    return await bcrypt.compare(given, known);
  };
  const login = new Login(users, { nowMs: () => clock.nowMs(), compare });
  const server = aServer({ login, adminApi: { enabled: options.adminApi ?? false } });
  const ask = async (
    method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'DELETE',
    url: string,
    authorization: string | null,
    options: { remoteAddress?: string; headers?: Record<string, string> } = {},
  ) =>
    await server.app.inject({
      method,
      url,
      headers: {
        'content-type': 'application/json',
        host: 'rollbackd.example:9797',
        ...options.headers,
        ...(authorization === null ? {} : { authorization }),
      },
      ...(method === 'POST' ? { payload: '{"reason": "a bad release"}' } : {}),
      remoteAddress: options.remoteAddress ?? '10.1.2.3',
    });
  return { ...server, login, clock, computed, ask };
}

describe('roles', () => {
  const model = '/api/v1/models/fraud-detector';
  const episode = '/api/v1/rollbacks/rb_01JDEXAMPLE';
  /** What nobody, vera (viewer), otto (operator) and ada (admin) are answered. */
  it.each([
    ['GET', '/-/healthy', [200, 200, 200, 200]],
    ['HEAD', '/-/ready', [200, 200, 200, 200]],
    ['GET', '/metrics', [401, 200, 200, 200]],
    ['GET', '/api/v1/models', [401, 200, 200, 200]],
    ['HEAD', '/api/v1/models', [401, 200, 200, 200]],
    ['GET', model, [401, 200, 200, 200]],
    ['GET', `${model}/retention`, [401, 200, 200, 200]],
    ['GET', '/api/v1/rollbacks', [401, 200, 200, 200]],
    ['GET', episode, [401, 200, 200, 200]],
    ['GET', '/api/v1/decisions', [401, 200, 200, 200]],
    ['GET', '/api/v1/rules', [401, 200, 200, 200]],
    ['GET', '/api/v1/alerts', [401, 200, 200, 200]],
    ['GET', '/nothing/is/here', [401, 404, 404, 404]],
    ['POST', `${model}/pause`, [401, 403, 200, 200]],
    ['POST', '/api/v1/models/*/pause', [401, 403, 200, 200]],
    ['POST', `${model}/resume`, [401, 403, 200, 200]],
    ['POST', `${model}/rollback`, [401, 403, 200, 200]],
    ['POST', `${episode}/approve`, [401, 403, 200, 200]],
    // The stand-in has nothing to reject.
    ['POST', `${episode}/reject`, [401, 403, 409, 409]],
    ['POST', `${model}/unpin`, [401, 403, 403, 200]],
    ['POST', `${model}/retention`, [401, 403, 403, 200]],
    ['POST', '/-/reload', [401, 403, 403, 200]],
    ['PUT', '/-/reload', [401, 403, 403, 200]],
    ['POST', '/-/healthy', [401, 403, 403, 404]],
    ['DELETE', model, [401, 403, 403, 404]],
  ] as const)('%s %s: %j to nobody, viewer, operator, admin', async (method, url, statuses) => {
    const { ask } = aGuardedServer();
    const authorizations = [null, basic('vera'), basic('otto'), basic('ada')];

    const answers = await Promise.all(authorizations.map(async (authorization) => (await ask(method, url, authorization)).statusCode));

    expect(answers).toEqual(statuses);
  });

  it('says who may not and what it takes, and does nothing', async () => {
    const { ask, asked } = aGuardedServer();

    expect((await ask('POST', '/-/reload', basic('otto'))).json()).toEqual({
      status: 'error',
      errorType: 'forbidden',
      error: 'otto is operator; this needs the role admin',
    });
    expect(asked).toEqual([]);
  });

  it('asks for a login on this machine too, also with the admin API on', async () => {
    const { ask, asked } = aGuardedServer({ adminApi: true });

    const answer = await ask('POST', '/api/v1/models/fraud-detector/pause', null, { remoteAddress: '127.0.0.1', headers: { host: 'localhost:9797' } });

    expect([answer.statusCode, answer.headers['www-authenticate'], asked]).toEqual([401, 'Basic realm="rollbackd", charset="UTF-8"', []]);
  });

  it('journals who signed in, whatever name the body gives', async () => {
    const { app, asked } = aGuardedServer();

    await app.inject({
      method: 'POST',
      url: '/api/v1/models/fraud-detector/resume',
      headers: { authorization: basic('otto'), 'content-type': 'application/json' },
      payload: { reason: 'x', by: 'ada' },
    });

    expect(asked).toEqual([['resume', 'fraud-detector', { reason: 'x', by: 'otto' }]]);
  });

  it.each([
    [{ origin: 'https://evil.example' }, 403],
    [{ 'sec-fetch-site': 'cross-site' }, 403],
    [{ 'content-type': 'text/plain' }, 415],
  ] as [Record<string, string>, number][])('acts for no other web page: %j', async (headers, status) => {
    const { ask, asked } = aGuardedServer();

    expect((await ask('POST', '/api/v1/models/fraud-detector/pause', basic('ada'), { headers })).statusCode).toBe(status);
    expect(asked).toEqual([]);
  });
});

describe('a login', () => {
  it.each([
    ['a wrong password', basic('ada', 'guess')],
    ['an empty password', basic('ada', '')],
    ['an unknown user with a password of another', basic('eve')],
    ['a name of what all objects have', basic('constructor')],
    ['no colon', `Basic ${Buffer.from('ada').toString('base64')}`],
    ['another scheme', `Bearer ${password}`],
    ['no base64', 'Basic §§§'],
  ])('is refused for %s, and shows nothing of it', async (_name, authorization) => {
    const { ask, logged } = aGuardedServer();

    const answer = await ask('GET', '/api/v1/models', authorization);

    expect(answer.statusCode).toBe(401);
    const shown = `${answer.body}${JSON.stringify(answer.headers)}${JSON.stringify(logged)}`;
    for (const secret of ['planted-secret', 'guess', 'eve', hash, authorization]) expect(shown).not.toContain(secret);
  });

  it('computes the hash of a name that is not known too, so that the time does not tell', async () => {
    const { ask, computed } = aGuardedServer();

    await ask('GET', '/metrics', basic('eve', 'guess'));

    expect(computed).toEqual(['guess']);
  });

  it('costs one hash however often it comes, also at the same time, until the users change', async () => {
    const { ask, computed, login } = aGuardedServer();
    const scrape = async () => (await ask('GET', '/metrics', basic('vera'))).statusCode;

    const many = await Promise.all(Array.from({ length: 30 }, scrape));
    expect([...new Set(many), await scrape(), computed.length]).toEqual([200, 200, 1]);

    login.replace(new Map([['vera', { hash: bcrypt.hashSync('another', 4), role: 'viewer' }]]));
    expect([await scrape(), computed.length]).toEqual([401, 2]);
  });

  it('is refused by address after ten that failed within a minute, the right one too', async () => {
    const { ask, clock, computed } = aGuardedServer();
    const guess = async (remoteAddress: string) => (await ask('GET', '/metrics', basic('ada', 'guess'), { remoteAddress })).statusCode;
    await ask('GET', '/metrics', basic('ada'));

    // At once, so that waiting for the first outcome is no way around.
    const answers = await Promise.all(Array.from({ length: 15 }, async (_, i) => (await ask('GET', '/metrics', basic('ada', `guess ${i}`))).statusCode));
    expect(answers.toSorted()).toEqual([...Array.from({ length: 10 }, () => 401), ...Array.from({ length: 5 }, () => 429)]);
    expect(computed).toHaveLength(11);

    await clock.advance(20_000);
    const refused = await ask('GET', '/metrics', basic('ada'));
    expect([refused.statusCode, refused.headers['retry-after'], refused.json<{ errorType: string }>().errorType]).toEqual([429, '40', 'too_many_requests']);
    expect((await ask('GET', '/-/healthy', null)).statusCode).toBe(200);
    expect(await guess('10.9.9.9')).toBe(401);

    await clock.advance(40_000);
    expect((await ask('GET', '/metrics', basic('ada'))).statusCode).toBe(200);
  });

  it('counts addresses of one IPv6 network as one, and IPv4 in either spelling', async () => {
    const { ask } = aGuardedServer();
    const guesses = async (addresses: readonly string[]) => {
      const statuses: number[] = [];
      for (const remoteAddress of addresses) statuses.push((await ask('GET', '/metrics', basic('ada', 'guess'), { remoteAddress })).statusCode);
      return statuses.slice(-2);
    };

    expect(await guesses([...Array.from({ length: 10 }, (_, i) => `2001:db8:1:2::${i}`), '2001:db8:1:2:3:4:5:6', '2001:db8:1:3::1'])).toEqual([429, 401]);
    expect(await guesses([...Array.from({ length: 10 }, () => '::ffff:10.7.7.7'), '10.7.7.7', '::1'])).toEqual([429, 401]);
  });

  it('that was right does not count', async () => {
    const { ask } = aGuardedServer();

    for (let i = 0; i < 25; i += 1) expect((await ask('GET', '/metrics', basic('vera'))).statusCode).toBe(200);
  });
});
