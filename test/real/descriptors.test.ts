import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const run = promisify(execFile);
const pathOf = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
const checker = pathOf('../support/tensorflow-serving/check-official-descriptors.ts');
const adapter = pathOf('../../src/adapters/control-planes/tensorflow-serving');
const buf = pathOf('../../node_modules/.bin/buf');
/** The checker fetches the descriptors once, by pip; that of the environment which `npm run real-parts` makes is surely there. */
const venv = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'rollbackd', 'pytest', 'bin');
const env = { ...process.env, PATH: [venv, process.env['PATH'] ?? ''].join(delimiter) };
let folder = '';

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'rollbackd-descriptors-'));
});
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

/** Our .proto files are our own writing; the makers' own descriptors say whether they are right. */
describe('numbers, types and names are those of TensorFlow Serving', () => {
  it('in what the double speaks', async () => {
    const { stdout } = await run(process.execPath, [checker], { env });

    expect(stdout).toMatch(/^double: \d{2,} fields, values and methods compared with tensorflow-serving-api \S+: as in the original$/m);
  });

  it('in what the control plane speaks', async () => {
    const set = join(folder, 'adapter.binpb');
    await run(buf, ['build', '-o', set], { cwd: adapter });

    const { stdout } = await run(process.execPath, [checker, set], { env });

    expect(stdout).toMatch(/adapter\.binpb: \d{2,} fields, values and methods compared with tensorflow-serving-api \S+: as in the original$/m);
  });
});
