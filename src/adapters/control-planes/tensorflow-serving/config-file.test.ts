import { chmod, lstat, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { fuzzRuns } from '../../../../test/support/fuzz-runs.ts';
import { editConfigFile, parseConfigFile, replaceFile, writeObstacle } from './config-file.ts';
import { type ModelState, specific, stateOf } from './model-state.ts';

const edit = (text: string, state: ModelState): string => editConfigFile(parseConfigFile(text, 'models.config'), 'fraud', state);
const pin = (...versions: string[]): ModelState => ({ policy: specific(versions), labels: {} });

const commented = `# owned by the fraud team
model_config_list {
  config {            # the main one
    name: "fraud"
    base_path: "/m/fraud"
    model_platform: "tensorflow"
    # two, for the canary
    model_version_policy {
      specific {
        versions: 6  # good
        versions: 7
      }
    }
    version_labels { key: "stable" value: 6 }
    version_labels { key: "canary", value: 7 } # moves often
  }
  config { name: "other", base_path: "/m/other", model_platform: "tensorflow" } # small
}
`;

describe('the edit of a config file', () => {
  it('changes only what changed, and keeps comments and layout', () => {
    expect(edit(commented, { policy: specific(['6']), labels: { stable: '6', canary: '6' } })).toBe(
      commented
        .replace('specific {\n        versions: 6  # good\n        versions: 7\n      }', 'specific {\n        versions: 6\n      }')
        .replace('value: 7', 'value: 6'),
    );
  });

  it.each([
    [
      'into a block on lines of its own',
      'model_config_list {\n  config {\n    name: "fraud"\n  }\n}\n',
      pin('6'),
      'model_config_list {\n  config {\n    name: "fraud"\n    model_version_policy { specific { versions: 6 } }\n  }\n}\n',
    ],
    [
      'into a block on one line',
      'model_config_list { config { name: "fraud" } }',
      pin('6'),
      'model_config_list { config { name: "fraud"  model_version_policy { specific { versions: 6 } } } }',
    ],
    [
      'with the line ends there are',
      'model_config_list {\r\n  config {\r\n    name: "fraud"\r\n  }\r\n}\r\n',
      pin('6'),
      'model_config_list {\r\n  config {\r\n    name: "fraud"\r\n    model_version_policy { specific { versions: 6 } }\r\n  }\r\n}\r\n',
    ],
    [
      'out, with its line',
      'model_config_list {\n  config {\n    name: "fraud"\n    model_version_policy { all {} }\n  }\n}\n',
      { policy: null, labels: {} },
      'model_config_list {\n  config {\n    name: "fraud"\n  }\n}\n',
    ],
    [
      'labels in list syntax',
      'model_config_list { config { name: "fraud" version_labels: [{key: "a" value: 1}, {key: "b" value: 2}] } }',
      { policy: null, labels: { a: '1', b: '1' } },
      'model_config_list { config { name: "fraud"   version_labels { key: "a" value: 1 } version_labels { key: "b" value: 1 } } }',
    ],
    [
      'a label out and one in',
      'model_config_list {\n config {\n  name: "fraud"\n  version_labels { key: "a" value: 1 }\n }\n}',
      { policy: null, labels: { 'ü"': '2' } },
      'model_config_list {\n config {\n  name: "fraud"\n  version_labels { key: "ü\\"" value: 2 }\n }\n}',
    ],
  ])('puts %s', (_name, text, state, wanted) => {
    expect(edit(text, state)).toBe(wanted);
  });

  it('is undone by the edit back, but for the words inside what was edited', () => {
    const once = edit(commented, pin('6'));
    const back = edit(once, { policy: specific(['6', '7']), labels: { stable: '6', canary: '7' } });

    expect(parseConfigFile(back, 'models.config').config).toEqual(parseConfigFile(commented, 'models.config').config);
    expect(back).toContain('# two, for the canary');
  });

  it('says what was wanted, whatever was there and whatever is wanted', () => {
    const version = fc.integer({ min: 1, max: 99 }).map(String);
    const policies = fc.oneof(
      fc.constant(null),
      fc.constant({ all: {} }),
      fc.record({ latest: fc.record({ num_versions: fc.integer({ min: 1, max: 9 }) }, { requiredKeys: [] }) }),
      fc.array(version, { minLength: 1, maxLength: 3 }).map(specific),
    );
    const states = fc.record({ policy: policies, labels: fc.dictionary(fc.string({ unit: 'grapheme' }), version, { maxKeys: 3, noNullPrototype: true }) });
    const start = fc.constantFrom(
      commented,
      'model_config_list { config { name: "fraud" } }',
      'model_config_list {\n  config < name: "fraud" >,\n}',
      'model_config_list: { config: [{ name: "fraud"; }] }',
    );
    fc.assert(
      fc.property(start, fc.array(states, { minLength: 1, maxLength: 4 }), (text, wanted) => {
        const edited = wanted.reduce(edit, text);
        const { config } = parseConfigFile(edited, 'models.config').config;
        const last = wanted.at(-1) as ModelState;

        expect(config.case === 'modelConfigList' && config.value.config[0] !== undefined && stateOf(config.value.config[0])).toEqual({
          policy: last.policy,
          labels: { ...last.labels },
        });
      }),
      { numRuns: 300 * fuzzRuns },
    );
  });

  it.each(['valueOf', 'constructor', 'toString', '__proto__', 'hasOwnProperty'])('takes %s as a label like any other', (label) => {
    const given = { policy: specific(['6']), labels: { ...Object.fromEntries([[label, '6']]) } };

    const labelledFile = edit(commented, given);
    const emptied = edit(labelledFile, { policy: specific(['6']), labels: {} });

    expect(labelledFile).toContain(`version_labels { key: "${label}" value: 6 }`);
    expect(emptied).not.toContain(label);
  });

  it.each([
    ['a custom config', 'custom_model_config { type_url: "x" }', /1:1: custom_model_config: rollbackd cannot edit it/],
    ['an empty file', '', /1:1: found no model_config_list/],
    ['one name twice', 'model_config_list { config { name: "a" }\n config { name: "a" } }', /2:9: config: found a second model named "a"/],
    ['no name', 'model_config_list { config { base_path: "/m" } }', /1:28: config: found a model without a name/],
  ])('is refused for %s', (_name, text, message) => {
    expect(() => parseConfigFile(text, 'models.config')).toThrow(message);
  });
});

describe('replacing a file', () => {
  let dir: string;
  let path: string;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'tfs-file-'));
    path = join(dir, 'models.config');
    await writeFile(path, 'old');
  });
  afterEach(async () => rm(dir, { recursive: true, force: true }));

  it('keeps the mode, leaves nothing beside it, and does not mind leftovers of a crash', async () => {
    await chmod(path, 0o640);
    await writeFile(join(dir, '.models.config.rollbackd-1-abc.tmp'), 'half a');

    await replaceFile(path, 'old', 'new');

    expect(await readFile(path, 'utf8')).toBe('new');
    expect((await lstat(path)).mode & 0o777).toBe(0o640);
    expect((await readdir(dir)).toSorted()).toEqual(['.models.config.rollbackd-1-abc.tmp', 'models.config']);
  });

  it('writes nothing when somebody else wrote in between', async () => {
    await expect(replaceFile(path, 'older', 'new')).rejects.toMatchObject({ class: 'conflict' });

    expect(await readFile(path, 'utf8')).toBe('old');
    expect(await readdir(dir)).toEqual(['models.config']);
  });

  it('shows a reader all of the old or all of the new, never less', async () => {
    const texts = Array.from({ length: 20 }, (_unused, index) => String(index % 10).repeat(200_000));
    await writeFile(path, texts[0] as string);
    const done = new AbortController();
    const reading = (async () => {
      while (!done.signal.aborted) {
        const seen = await readFile(path, 'utf8');
        expect(new Set(seen).size).toBe(1);
        expect(seen.length).toBe(200_000);
      }
    })();

    for (let index = 1; index < texts.length; index += 1) await replaceFile(path, texts[index - 1] as string, texts[index] as string);
    done.abort();
    await reading;
  });

  it('refuses a mounted ConfigMap (a symbolic link) and says what to do', async () => {
    await mkdir(join(dir, '..data'));
    await writeFile(join(dir, '..data', 'models.config'), 'old');
    const link = join(dir, 'linked.config');
    await symlink('..data/models.config', link);

    expect(await writeObstacle(link)).toMatch(
      /is a symbolic link \(a mounted ConfigMap\?\) and cannot be replaced; mount it writable, or set write_back: false/,
    );
    await expect(replaceFile(link, 'old', 'new')).rejects.toMatchObject({ class: 'permanent' });
    expect((await lstat(link)).isSymbolicLink()).toBe(true);
  });

  it('names a file that is not there', async () => {
    expect(await writeObstacle(join(dir, 'none'))).toMatch(/cannot be written back \(ENOENT\)/);
  });
});
