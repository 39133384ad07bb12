import nock from 'nock';
import { describe, expect, it } from 'vitest';
import { anEpisode } from '../../test/support/an-episode.ts';
import { noNetwork } from '../../test/support/no-network.ts';
import { viewEpisode } from '../domain/episode-view.ts';
import { ApiClientError, createApiClient } from './api-client.ts';

noNetwork();

const daemon = (): nock.Scope => nock('http://127.0.0.1:9797');
const ok = (data: unknown) => ({ status: 'success', data });

describe('createApiClient', () => {
  it('asks the daemon on this machine unless told otherwise', async () => {
    daemon().get('/api/v1/models').reply(200, ok([]));

    expect(await createApiClient().models()).toEqual([]);
  });

  it('asks for lists with their filter, and for one thing by its encoded name', async () => {
    const client = createApiClient({ url: 'http://rollbackd.example:80/ops/' });
    const ops = nock('http://rollbackd.example');
    ops.get('/ops/api/v1/rollbacks?model=team%2Ffraud&limit=5').reply(200, ok([viewEpisode(anEpisode())]));
    ops.get('/ops/api/v1/models/team%2Ffraud').reply(200, ok({ name: 'team/fraud' }));

    expect(await client.rollbacks({ model: 'team/fraud', limit: 5 })).toMatchObject([{ id: 'rb_01JDEXAMPLE' }]);
    expect(await client.model('team/fraud')).toEqual({ name: 'team/fraud' });
  });

  it('sends actions as JSON', async () => {
    const json = nock('http://127.0.0.1:9797', { reqheaders: { 'content-type': 'application/json' } });
    json.post('/api/v1/models/fraud/unpin', { reason: 'fixed', by: 'ann' }).reply(200, ok({ detail: 'latest 1' }));
    json.post('/api/v1/models/fraud/pause', { reason: 'release', for: '2h' }).reply(200, ok({}));
    json.post('/api/v1/models/fraud/rollback', { reason: 'bad', to: '6' }).reply(200, ok(viewEpisode(anEpisode())));
    const client = createApiClient();

    expect(await client.unpin('fraud', { reason: 'fixed', by: 'ann' })).toEqual({ detail: 'latest 1' });
    await client.pause('fraud', { reason: 'release', for: '2h' });
    expect(await client.rollBack('fraud', { reason: 'bad', to: '6' })).toMatchObject({ to: '6' });
  });

  it("says in the daemon's words why something cannot be done", async () => {
    daemon().post('/api/v1/rollbacks/rb_1/approve').reply(409, { status: 'error', errorType: 'conflict', error: 'rb_1 does not wait for approval' });

    await expect(createApiClient().approve('rb_1', { reason: 'x' })).rejects.toMatchObject({
      name: 'ApiClientError',
      status: 409,
      errorType: 'conflict',
      message: 'rb_1 does not wait for approval',
    });
  });

  it('says who was asked when nobody answers, and how to name another', async () => {
    daemon()
      .get('/api/v1/alerts')
      .replyWithError(Object.assign(new Error('refused'), { code: 'ECONNREFUSED' }));

    await expect(createApiClient().alerts()).rejects.toThrow(
      'http://127.0.0.1:9797: connection refused (ECONNREFUSED); is rollbackd running there? Give its address by --url',
    );
  });

  it.each([
    ['a web page', 200, '<html>'],
    ['another JSON', 404, '{"message": "no"}'],
    ['a redirect', 302, ''],
  ])('knows that %s is not rollbackd', async (_name, status, body) => {
    daemon().get('/api/v1/rules').reply(status, body);

    await expect(createApiClient().rules()).rejects.toThrow(`http://127.0.0.1:9797/api/v1/rules: answered ${status}, and not as rollbackd does`);
  });

  it('never shows the password of its address', async () => {
    nock('http://ops.example').get('/api/v1/models').basicAuth({ user: 'ann', pass: 'planted-secret' }).reply(500, 'oops');

    const error: unknown = await createApiClient({ url: 'http://ann:planted-secret@ops.example' })
      .models()
      .catch((thrown: unknown) => thrown);

    expect(error).toBeInstanceOf(ApiClientError);
    expect(String(error)).not.toContain('planted-secret');
    expect(() => createApiClient({ url: 'ftp://ann:planted-secret@ops.example' })).toThrow(
      '--url: found "ftp://ops.example", expected an http or https URL; write http://127.0.0.1:9797',
    );
  });

  it('probes without throwing for a daemon that is not ready', async () => {
    daemon().get('/-/ready').reply(503, 'rollbackd is not ready: no source\n');
    daemon().get('/-/healthy').reply(200, 'rollbackd is healthy.\n');
    const client = createApiClient();

    expect(await client.probe('ready')).toEqual({ ok: false, text: 'rollbackd is not ready: no source' });
    expect(await client.probe('healthy')).toEqual({ ok: true, text: 'rollbackd is healthy.' });
  });
});
