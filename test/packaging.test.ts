import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const root = path.resolve(import.meta.dirname, '..');
const read = (file: string): string => readFileSync(path.join(root, file), 'utf8');
const manifest = JSON.parse(read('package.json')) as { bin: { rollbackd: string }; files: string[]; scripts: Record<string, string>; version: string };

describe('the image', () => {
  const dockerfile = read('Dockerfile')
    .replaceAll(/\\\n\s*/g, ' ')
    .split('\n');
  const [build, run] = [dockerfile.slice(0, dockerfile.findLastIndex(isFrom)), dockerfile.slice(dockerfile.findLastIndex(isFrom))];

  it('copies only what is there and what .dockerignore lets through', () => {
    const ignored = read('.dockerignore').split('\n');
    const copied = build.filter((line) => line.startsWith('COPY ')).flatMap((line) => line.split(' ').slice(1, -1));

    expect(copied).toContain('src');
    for (const source of copied) {
      expect(existsSync(path.join(root, source)), source).toBe(true);
      expect(ignored, source).toContain(`!${source}`);
    }
  });

  it('runs only scripts that package.json has, and starts the program that it names', () => {
    const scripts = build.join('\n').matchAll(/npm run ([\w:-]+)/g);
    for (const [, script] of scripts) expect(Object.keys(manifest.scripts)).toContain(script);

    expect(run).toContain(`ENTRYPOINT ["/nodejs/bin/node", "/app/${manifest.bin.rollbackd}"]`);
    expect(run.find((line) => line.startsWith('HEALTHCHECK'))).toContain(`CMD ["/nodejs/bin/node", "/app/${manifest.bin.rollbackd}", "check", "healthy"]`);
  });

  it('runs as nobody special, listens on all addresses and writes to one place', () => {
    expect(run).toContain('USER 65532:65532');
    expect(run).toContain('VOLUME /var/lib/rollbackd');
    expect(run.at(-2)).toContain('--web.listen-address=0.0.0.0:9797');
    expect(run[0]).toBe('FROM gcr.io/distroless/nodejs24-debian13:nonroot');
  });
});

describe('what runs in production', () => {
  type Locked = { readonly dev?: boolean; readonly devOptional?: boolean; readonly hasInstallScript?: boolean; readonly link?: boolean };
  const locked = Object.entries((JSON.parse(read('package-lock.json')) as { packages: Record<string, Locked> }).packages).filter(
    ([place, { dev }]) => place !== '' && dev !== true,
  );

  it('has no package that runs a script when it is installed', () => {
    const hooks = ['preinstall', 'install', 'postinstall'];
    const scripted = locked.filter(([place, { hasInstallScript }]) => {
      const file = path.join(root, place, 'package.json');
      // A package for another machine is in the lock file only.
      const { scripts = {} } = existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as { scripts?: Record<string, string> }) : {};
      return hasInstallScript === true || hooks.some((hook) => scripts[hook] !== undefined) || existsSync(path.join(root, place, 'binding.gyp'));
    });

    expect(scripted.map(([place]) => place)).toEqual([]);
    expect(locked.map(([place]) => place)).toContain('node_modules/axios');
  });
});

describe('the package', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'rollbackd-package-'));
  const main = path.join(folder, manifest.bin.rollbackd);

  beforeAll(() => {
    execFileSync(process.execPath, ['scripts/build.ts', path.join(folder, 'dist')], { cwd: root, stdio: 'pipe' });
    symlinkSync(path.join(root, 'node_modules'), path.join(folder, 'node_modules'));
  }, 120_000);
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it('starts when compiled, from any folder', () => {
    expect(execFileSync(process.execPath, [main, 'version'], { cwd: tmpdir(), encoding: 'utf8' })).toContain(manifest.version);
  });

  it('loads neither web server nor page to check rules', () => {
    const listing = `import { registerHooks } from 'node:module';
      registerHooks({ resolve: (name, context, next) => { const found = next(name, context); process.stderr.write(found.url + '\\n'); return found; } });`;
    const args = ['--import', `data:text/javascript,${encodeURIComponent(listing)}`, main, 'check', 'rules', 'rules/fraud-detector.yaml'];
    const { status, stderr } = spawnSync(process.execPath, args, { cwd: root, encoding: 'utf8' });

    expect([status, stderr.includes('/node_modules/yaml/')]).toEqual([0, true]);
    expect(stderr.split('\n').filter((url) => /\/node_modules\/(?:fastify|preact|htm)|\/src\/web\/(?:server|page)/.test(url))).toEqual([]);
  });

  it('gives others the detector, and its types', () => {
    writeFileSync(path.join(folder, 'package.json'), read('package.json'));
    const script = path.join(folder, 'own-streams.mjs');
    const options = "{kind: 'threshold', threshold: 0.05, alpha: 0.01, pollSeconds: 5, horizonSeconds: 86400}";
    writeFileSync(script, `import { createDetector } from 'rollbackd/detect'; console.log(createDetector(${options}).update(1000, 900).decision);`);

    expect(execFileSync(process.execPath, [script], { cwd: folder, encoding: 'utf8' })).toBe('rollback\n');
    expect(existsSync(path.join(folder, 'dist/src/domain/detect/index.d.ts'))).toBe(true);
  });

  it('holds the server that the demo starts, and no tests', () => {
    const files = execFileSync('find', ['dist', '-type', 'f'], { cwd: folder, encoding: 'utf8' }).split('\n');

    expect(files.filter((file) => file.startsWith('dist/test/support/tensorflow-serving/') && file.endsWith('.js')).length).toBeGreaterThan(5);
    expect(files.filter((file) => /\.test\.|fake-clock|\/fixtures\//.test(file))).toEqual([]);
  });

  it('holds style and script of the page', () => {
    const folder = path.join('src', 'web', 'page', 'assets');

    expect(readdirSync(path.join(path.dirname(main), 'web', 'page', 'assets'))).toEqual(readdirSync(path.join(root, folder)));
  });

  it('packs what people read and what editors complete from', () => {
    const [packed] = JSON.parse(execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], { cwd: root, encoding: 'utf8' })) as [
      { files: { path: string }[] },
    ];
    const files = packed.files.map((file) => file.path);

    for (const file of ['package.json', 'LICENSE', 'README.md', 'CHANGELOG.md', 'config/rollbackd.yaml']) expect(files).toContain(file);
    for (const folder of ['schema/', 'rules/'])
      expect(
        files.some((file) => file.startsWith(folder)),
        folder,
      ).toBe(true);
    expect(files.filter((file) => file.startsWith('src/') || file.startsWith('node_modules/') || file.startsWith('.'))).toEqual([]);
  });
});

function isFrom(line: string): boolean {
  return line.startsWith('FROM ');
}
