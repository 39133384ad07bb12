import { readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import type { DaemonProcess } from '../support/daemon-process.ts';
import { describeDaemon, errorRatioRule, modelName, type Stage, served, setStageFromFiles, untilFinished } from '../support/stage-files.ts';
import { until } from '../support/until.ts';

/** One stage and one daemon for the whole file, from its start to its end: each test takes it on from where the one before left it. */
let stage: Stage;
let daemon: DaemonProcess;

beforeAll(async () => {
  stage = await setStageFromFiles({ versions: { 1: {}, 2: {} } });
});
afterAll(async () => {
  await stage[Symbol.asyncDispose]();
});

/** With the daemon's address. */
const ask = async (...args: string[]) => await stage.cli(...args, '--url', daemon.url);

/** A copy of a file beside it, with something changed; `name` keeps copies apart. */
async function changedCopy(file: string, name: string, change: (text: string) => string): Promise<string> {
  const text = await readFile(file, 'utf8');
  const changed = change(text);
  expect(changed).not.toBe(text);
  const copy = join(dirname(file), name);
  await writeFile(copy, changed);
  return copy;
}

describe.concurrent('before a daemon runs', { timeout: 90_000 }, () => {
  it('version says what runs where', async () => {
    expect(await stage.cli('version')).toEqual({
      code: 0,
      stdout: expect.stringMatching(/^rollbackd \d+\.\d+\.\d+ \(node 2[4-9]\.\d+\.\d+\)\n$/) as string,
      stderr: '',
    });
  });

  it('schema prints JSON Schemas, and refuses what has none', async () => {
    for (const which of ['rules', 'config']) {
      const { code, stdout } = await stage.cli('schema', which);
      expect(code).toBe(0);
      expect(JSON.parse(stdout)).toMatchObject({ $schema: 'http://json-schema.org/draft-07/schema#' });
    }
    expect(await stage.cli('schema', 'models')).toEqual({ code: 1, stdout: '', stderr: 'rollbackd schema: found "models", expected rules or config\n' });
  });

  it('an unknown command or flag ends with 1 and the way to help', async () => {
    for (const args of [['rolback'], ['get', 'models', '--sort']]) {
      const { code, stdout, stderr } = await stage.cli(...args);
      expect([code, stdout]).toEqual([1, '']);
      expect(stderr).toMatch(/unknown (?:command|option).*\(see --help\)/s);
    }
  });

  it('check config counts what it found', async () => {
    expect(await stage.cli('check', 'config', stage.configFile)).toEqual({
      code: 0,
      stdout: 'SUCCESS: 1 model, 1 rule, 1 source, 1 control plane\n',
      stderr: '',
    });
  });

  it('check config shows every fault of every file at its place', async () => {
    await changedCopy(stage.rulesFile, 'faulty.rules', (text) => text.replace('above: 5%', 'abov: 5%'));
    const faulty = await changedCopy(stage.configFile, 'faulty.yaml', (text) =>
      text.replace('stick: 2s', 'stick: two').replace('../rules/*.yaml', '../rules/faulty.rules'),
    );

    const { code, stdout, stderr } = await stage.cli('check', 'config', faulty);

    expect([code, stdout]).toEqual([1, '']);
    expect(stderr).toMatch(/faulty\.yaml:\d+:\d+: models\[0\]\.rollback\.stick: .*two.*\n.*stick: two\n +\^/);
    expect(stderr).toMatch(/faulty\.rules:\d+:\d+: .*abov: unknown key; did you mean "above"\?/);
    expect(stderr).toMatch(/FAILED: \d errors, 0 warnings\n$/);
  });

  it('check rules judges rule files alone, as text or JSON', async () => {
    expect(await stage.cli('check', 'rules', stage.rulesFile)).toMatchObject({ code: 0, stdout: 'SUCCESS: 1 file, 1 group, 1 rule\n' });
    const faulty = await changedCopy(stage.rulesFile, 'too-much.rules', (text) => text.replace('above: 5%', 'above: 500%'));

    const { code, stdout } = await stage.cli('check', 'rules', '-o', 'json', faulty);

    expect(code).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject([{ severity: 'error' }]);
  });

  it.each(['healthy', 'ready'])('check %s fails and says how to give the address', async (what) => {
    const { code, stdout, stderr } = await stage.cli('check', what, '--url', 'http://127.0.0.1:1');

    expect([code, stdout]).toEqual([1, '']);
    expect(stderr).toMatch(/^rollbackd: http:\/\/127\.0\.0\.1:1: .*is rollbackd running there\? Give its address by --url\n$/);
  });

  it('plan finds nothing to do while all is well', async () => {
    const { code, stdout, stderr } = await stage.cli('plan', '--config.file', stage.configFile);

    expect(code).toBe(0);
    expect(stderr).toBe('gathering samples for 2 s\n');
    // BUG (src/cli/plan.ts, columns): shows «✔ ok ok», since markOf() ends in the word already.
    expect(stdout).toMatch(/^MODEL +VERSION +RULE +VERDICT +WOULD +REASON\nfraud-detector +2 +ModelErrorRatioHigh +✔ ok +nothing +error ratio 0% /);
  });

  it('explain says what each rule asks, needs and sees at the present traffic', async () => {
    const { code, stdout } = await stage.cli('explain', modelName, '--config.file', stage.configFile, '-o', 'json');

    const [first] = JSON.parse(stdout) as { traffic: { requestsPerSecond: number; badShare: number }; isFed: boolean; queries: string[]; delays: unknown[] }[];
    expect(first?.traffic.requestsPerSecond).toBeGreaterThan(1);
    expect(first).toMatchObject({ rule: 'ModelErrorRatioHigh', isFed: true, acts: 'enforce', traffic: { badShare: 0 }, falseAlarmsPerYear: 0 });
    expect(first?.queries.join()).toMatch(/increase\(/);
    expect(first?.delays).toHaveLength(3);
    expect(code).toBe(0);
    const unasked = await stage.cli('explain', 'fruad', '--config.file', stage.configFile, '--requests-per-second', '20');
    expect(unasked).toMatchObject({ code: 1, stderr: 'rollbackd: found no model fruad; expected one of fraud-detector\n' });
  });

  it('plan ends with 2 when it would act, with target and steps', async () => {
    const rule = { alert: 'High', condition: errorRatioRule.condition, rollback: {} };
    await using other = await setStageFromFiles({ rules: [rule] });

    const { code, stdout } = await other.cli('plan', '--config.file', other.configFile, '-o', 'json');

    expect(JSON.parse(stdout)).toMatchObject([
      {
        model: modelName,
        version: '2',
        verdict: 'breach',
        would: 'rollback',
        target: '1',
        steps: expect.arrayContaining([expect.stringMatching(/^stage 1 on /)]) as string[],
      },
    ]);
    expect(code).toBe(2);
    expect(await other.servers[0]!.orders()).toEqual([]);
    expect(await readFile(other.modelsConfig, 'utf8')).not.toContain('specific');
  });

  it('reject ends an episode that waits, with nothing done; what has ended can be neither approved nor rejected', async () => {
    await using other = await setStageFromFiles({ rollback: { require_approval: 'always' } });
    const waiting = await other.startDaemon();
    const url = ['--url', waiting.url];
    const { id } = await until('an episode to wait', async () => (await waiting.rollbacks()).find(({ state }) => state === 'pending_approval'), {
      seen: async () => await describeDaemon(waiting),
    });

    expect(await other.cli('reject', id, '--reason', 'known load test', '--by', 'ann', ...url)).toEqual({ code: 0, stdout: `${id} rejected\n`, stderr: '' });

    const again = await other.cli('approve', id, '--reason', 'after all', ...url);
    expect(again).toEqual({ code: 1, stdout: '', stderr: `rollbackd: episode ${id} does not wait for approval: it is rejected\n` });
    const [episode] = await waiting.rollbacks();
    expect(episode).toMatchObject({ id, state: 'rejected', outcome: 'failure', started_at: null, detail: 'rejected by ann: known load test', steps: [] });
    expect(await other.servers[0]!.orders()).toEqual([]);
    // BUG (src/telemetry/metrics.ts, episodeFinished): counts it, although its own words are that one that never started is not counted.
    expect((await waiting.metrics()).sum('rollbackd_rollbacks_total')).toBe(0);
  });

  it('test smoke passes with 0 on what serves, and fails with 2', async () => {
    const smoke = ['test', 'smoke', modelName, '--config.file', stage.configFile];
    expect(await stage.cli(...smoke)).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^TEST +OUTCOME +TOOK +DETAIL\none known transaction +✔ passed +\d+ms +200 in \d+ ms\n$/) as string,
    });

    const failed = await stage.cli(...smoke, '--version-id', '7', '-o', 'json');

    expect(failed.code).toBe(2);
    expect(JSON.parse(failed.stdout)).toMatchObject({ model: modelName, version: '7', smoke_tests: [{ name: 'one known transaction', outcome: 'failed' }] });
    expect(await stage.cli('test', 'smoke', 'shop', '--config.file', stage.configFile)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('no model "shop"') as string,
    });
  });

  it('run refuses a faulty file and starts nothing', async () => {
    const faulty = await changedCopy(stage.configFile, 'unknown-key.yaml', (text) => text.replace('journal:', 'jurnal:'));

    const { code, stderr } = await stage.cli('run', '--config.file', faulty);

    expect(code).toBe(1);
    expect(stderr).toMatch(/jurnal: unknown key; did you mean "journal"\?/);
    expect(stderr).toMatch(/is refused; nothing was started\n$/);
  });
});

describe('beside a running daemon', { timeout: 90_000 }, () => {
  it('check healthy and check ready say so', async () => {
    daemon = await stage.startDaemon(['--web.enable-lifecycle']);
    await until('readiness', async () => (await fetch(`${daemon.url}/-/ready`)).ok);

    expect(await ask('check', 'healthy')).toEqual({ code: 0, stdout: 'rollbackd is healthy.\n', stderr: '' });
    expect(await ask('check', 'ready')).toEqual({ code: 0, stdout: 'rollbackd is ready.\n', stderr: '' });
  });

  it('a second daemon on the same journal is refused, and the first goes on', async () => {
    const { code, stderr } = await stage.cli('run', '--config.file', stage.configFile, '--web.listen-address', '127.0.0.1:0');

    expect(code).toBe(1);
    const last = stderr.trimEnd().split('\n').at(-1);
    expect(last).toMatch(
      /^rollbackd: journal \S+rollbackd\.db: found another process that uses it .* stop that process .* or give this one another journal\.sqlite\.path$/,
    );
    expect((await ask('check', 'ready')).code).toBe(0);
  });

  it('a second daemon on the same port is refused in a line', async () => {
    const other = await changedCopy(stage.configFile, 'other-journal.yaml', (text) => text.replace('rollbackd.db', 'other.db'));

    const { code, stderr } = await stage.cli('run', '--config.file', other, '--web.listen-address', new URL(daemon.url).host);

    expect(code).toBe(1);
    expect(stderr.trimEnd().split('\n').at(-1)).toMatch(/^rollbackd: .*EADDRINUSE/);
  });

  it('get shows models and versions as a table, as JSON and as YAML', async () => {
    await until('a verdict', async () => (await daemon.model()).verdict === 'ok', { seen: async () => await describeDaemon(daemon) });

    expect((await ask('get', 'models')).stdout).toMatch(/^MODEL +SERVING +MODE +VERDICT +LAST ROLLBACK\nfraud-detector +2 +enforce +✔ ok +\S+\n$/);
    expect((await ask('get', 'versions', modelName)).stdout).toMatch(
      /^MODEL +VERSION +ROLE +STATE +SHARE +KNOWN GOOD +AGE\nfraud-detector +2 +candidate +available +100% +no +\S+\n$/,
    );
    expect(JSON.parse((await ask('get', 'models', '-o', 'json')).stdout)).toMatchObject([
      { name: modelName, mode: 'enforce', versions: [{ version: '2', share: 1 }] },
    ]);
    expect(parse((await ask('get', 'models', '-o', 'yaml')).stdout)).toMatchObject([
      { name: modelName, mode: 'enforce', versions: [{ version: '2', share: 1 }] },
    ]);
    expect((await ask('get', 'status')).stdout).toMatch(
      /^PART +NAME +KIND +STATE +SINCE +ERROR\njournal +sqlite +sqlite +✔ ok .*\nsource +\S+ +scrape +✔ ok .*\ncontrol plane +\S+ +tensorflow_serving +✔ ok .*\n(?:.*\n)*settings .*✔ ok/,
    );
    expect((await ask('get', 'rollbacks')).stdout).toBe('No rollbacks found.\n');
    expect((await ask('get', 'decisions')).stdout).toBe('No decisions found.\n');
    expect(await ask('get', 'alerts', '-o', 'json')).toEqual({ code: 0, stdout: '[]\n', stderr: '' });
  });

  it('describe of an unknown rollback fails', async () => {
    expect(await ask('describe', 'rollback', 'rb_none')).toEqual({ code: 1, stdout: '', stderr: 'rollbackd: no rollback has the id "rb_none"\n' });
  });

  it('pause holds a breach; plan does not, and says by its exit code that it would act', async () => {
    expect(await ask('pause', modelName, '--for', '1h', '--reason', 'load test', '--by', 'ann')).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^paused until 20\S+Z\n$/) as string,
    });
    await stage.repository.setBehaviour(served, 2, { fail_ratio: 0.2 });
    await until('the breach to be held', async () => (await daemon.decisions()).some(({ reason }) => reason === 'paused'), {
      seen: async () => await describeDaemon(daemon),
    });

    expect((await ask('get', 'decisions')).stdout).toMatch(
      /fraud-detector +2 +hold +paused +ModelErrorRatioHigh +1 +the model is paused until \S+ by ann: load test\n/,
    );
    expect((await ask('get', 'alerts')).stdout).toMatch(
      /^ALERT +MODEL +VERSION +STATE +VALUE +ACTIVE\nModelErrorRatioHigh +fraud-detector +2 +✖ firing +0\.\d+ +\S+\n$/,
    );
    expect((await ask('get', 'models')).stdout).toMatch(/fraud-detector +2 +enforce \(paused\) +✖ breach/);
    expect((await daemon.metrics()).value('rollbackd_model_paused', { model: modelName })).toBe(1);
    expect(await daemon.rollbacks()).toEqual([]);
  });

  it('pause needs a reason, and one of a model or --all', async () => {
    expect(await ask('pause', modelName)).toMatchObject({ code: 1, stderr: expect.stringContaining("'--reason <text>' not specified") as string });
    expect(await ask('pause', '--reason', 'x')).toMatchObject({ code: 1, stderr: 'rollbackd: name a model, or write --all (not both)\n' });
    expect(await ask('pause', 'shop', '--reason', 'x')).toMatchObject({ code: 1, stderr: `rollbackd: no model "shop"; there are: ${modelName}\n` });
  });

  it('plan holds a paused breach, as the daemon does', async () => {
    const { code, stdout } = await stage.cli('plan', '--config.file', stage.configFile, '-o', 'json');

    expect(JSON.parse(stdout)).toMatchObject([
      { version: '2', rule: 'ModelErrorRatioHigh', would: 'hold', because: expect.stringContaining('paused') as string },
    ]);
    expect(code).toBe(0);
  });

  it('resume lets it go, and the rollback is described', async () => {
    expect(await ask('resume', modelName, '--reason', 'over')).toEqual({ code: 0, stdout: 'resumed\n', stderr: '' });
    const { id } = await untilFinished(daemon);

    const text = await ask('describe', 'rollback', id);
    expect(text.code).toBe(0);
    expect(text.stdout).toMatch(/^Rollback: +rb_\S+\nModel: +fraud-detector\nFrom: +2\nTo: +1\nState: +succeeded \(success\)\n/);
    expect(text.stdout).toMatch(/Steps:\n +done +stage 1 on \S+ \(took \d+ms\)\n/);
    expect(JSON.parse((await ask('describe', 'rollback', id, '-o', 'json')).stdout)).toMatchObject({ id, outcome: 'success', links: {} });
    expect((await ask('get', 'rollbacks')).stdout).toMatch(
      /^ID +MODEL +FROM +TO +STATE +OUTCOME +TRIGGER +AGE\nrb_\S+ +fraud-detector +2 +1 +✔ succeeded +success +ModelErrorRatioHigh +\S+\n$/,
    );
    expect((await ask('get', 'versions')).stdout).toMatch(/fraud-detector +2 +quarantined/);
    // The journal is read beside the daemon that writes it.
    const changelog = await stage.cli('changelog', modelName, '--config.file', stage.configFile);
    expect(changelog).toMatchObject({ code: 0, stderr: '' });
    expect(changelog.stdout).toMatch(/^## 2\n\n[^#]*\* \*\*Rolled back\*\* to 1, switched [^#]*Impact: about \d+ failed requests/m);
    expect(changelog.stdout).toMatch(/^## 1\n\n[^#]*Not rolled back\.\n\* Restored \S+ in place of 2 /m);
    expect((await daemon.model()).pinned).toBe(true);
    expect(await readFile(stage.modelsConfig, 'utf8')).toMatch(/specific \{ versions: 1 \}/);
  });

  it('unpin gives the policy back, to the server and to the file', async () => {
    await stage.repository.setBehaviour(served, 2, {});

    const { code, stdout } = await ask('unpin', modelName, '--reason', 'mended');

    expect(code).toBe(0);
    expect(stdout).toMatch(/give policy .* back on /);
    await until('version 2 to serve again', async () => (await stage.servers[0]!.client.metadataVersion(served)) === '2');
    expect(await readFile(stage.modelsConfig, 'utf8')).not.toContain('model_version_policy');
    expect(await stage.servers[0]!.orders()).toEqual(['1+2', '1', 'latest']);
    await until('the pin to be gone', async () => (await daemon.metrics()).value('rollbackd_model_pinned', { model: modelName }) === 0);
    expect(await ask('unpin', modelName, '--reason', 'again')).toMatchObject({ code: 0, stdout: `${modelName} is not pinned: nothing to do\n` });
  });

  it('SIGHUP with a faulty file keeps the old settings and says why; mended, it takes them, and so does a POST', async () => {
    const rules = await readFile(stage.rulesFile, 'utf8');
    await writeFile(stage.rulesFile, rules.replace('above: 5%', 'above: five'));
    daemon.process.kill('SIGHUP');
    const refused = await until('the refusal', () => daemon.logRecords().find(({ message }) => message === 'settings refused; the old ones stay in force'));

    expect(refused['rollbackd.faults']).toMatchObject([expect.stringMatching(/fraud-detector\.yaml:\d+:\d+: .*five/)]);
    expect(refused['log.level']).toBe('error');
    expect((await daemon.metrics()).value('rollbackd_config_last_reload_successful')).toBe(0);
    expect(await daemon.api('rules')).toMatchObject([{ rules: [{ name: 'ModelErrorRatioHigh', query: expect.stringContaining('above 0.05') as string }] }]);
    const reload = await fetch(`${daemon.url}/-/reload`, { method: 'POST' });
    expect([reload.status, await reload.text()]).toEqual([500, expect.stringMatching(/^the new configuration was refused, the old one stays:\n.*five/)]);

    await writeFile(stage.rulesFile, rules.replace('above: 5%', 'above: 7%'));
    daemon.process.kill('SIGHUP');
    await until('the reload', () => daemon.logRecords().some(({ message }) => message === 'settings reloaded'));
    expect(await daemon.api('rules')).toMatchObject([{ rules: [{ query: expect.stringContaining('above 0.07') as string }] }]);
    expect((await daemon.metrics()).value('rollbackd_config_last_reload_successful')).toBe(1);

    await writeFile(stage.rulesFile, rules.replace('above: 5%', 'above: 8%'));
    expect((await fetch(`${daemon.url}/-/reload`, { method: 'POST' })).status).toBe(200);
    expect(await daemon.api('rules')).toMatchObject([{ rules: [{ query: expect.stringContaining('above 0.08') as string }] }]);
  });

  it('SIGTERM ends it with 0 and everything closed', async () => {
    expect(await daemon.stop()).toEqual({ code: 0, signal: null });

    expect(daemon.logRecords().at(-1)).toMatchObject({ message: 'rollbackd is down' });
    expect(daemon.process.stdout()).toBe('');
    await expect(fetch(`${daemon.url}/-/healthy`)).rejects.toThrow('fetch failed');
    expect(await stage.readJournal(async (journal) => await journal.verify())).toMatchObject({ ok: true });
    // The journal is free for the next.
    const next = await stage.startDaemon();
    expect(await next.rollbacks()).toHaveLength(1);
    expect(await next.stop()).toEqual({ code: 0, signal: null });
  });
});
