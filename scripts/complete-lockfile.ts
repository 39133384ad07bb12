/**
 * Completes package-lock.json with the optional packages of other platforms that a registry mirror did not have when it was written
 * (npm drops what it cannot fetch, and `npm ci` then calls the lock file out of step). Adds name, version and platform, no address and no checksum.
 * Run after every change of a dependency: `node scripts/complete-lockfile.ts`.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';

type Entry = {
  version?: string;
  dev?: boolean;
  optional?: boolean;
  os?: string[];
  cpu?: string[];
  libc?: string[];
  optionalDependencies?: Record<string, string>;
};

const file = new URL('../package-lock.json', import.meta.url);
const lock = JSON.parse(readFileSync(file, 'utf8')) as { packages: Record<string, Entry> };
const systems = ['android', 'darwin', 'linux', 'win32', 'freebsd', 'openbsd', 'netbsd', 'sunos', 'aix', 'openharmony'];
const processors = ['arm64', 'arm', 'x64', 'ia32', 'ppc64', 's390x', 'riscv64', 'loong64', 'mips64el', 'wasm32'];
const aliases: Readonly<Record<string, string>> = { aarch64: 'arm64', armv7: 'arm', 'arm-eabi': 'arm', ppc64le: 'ppc64', wasi: 'wasm32' };

let added = 0;
for (const [path, entry] of Object.entries(lock.packages)) {
  for (const [name, range] of Object.entries(entry.optionalDependencies ?? {})) {
    const nested = `${path}/node_modules/${name}`;
    const hoisted = `node_modules/${name}`;
    const exact = /^\d+\.\d+\.\d+\S*$/.test(range);
    if (lock.packages[nested] !== undefined || lock.packages[hoisted] !== undefined || !exact) continue;
    lock.packages[hoisted] = { version: range, ...platformOf(name), ...(entry.dev === true ? { dev: true } : {}), optional: true };
    added += 1;
  }
}
lock.packages = Object.fromEntries(Object.entries(lock.packages).toSorted(([a], [b]) => (a < b ? -1 : 1)));
writeFileSync(file, `${JSON.stringify(lock, null, 2)}\n`);
process.stdout.write(`${added} packages of other platforms added to package-lock.json\n`);

/** What an older release of the package says of itself, or what its name says. */
function platformOf(name: string): Pick<Entry, 'os' | 'cpu' | 'libc'> {
  try {
    const answer = execFileSync('npm', ['view', name, 'os', 'cpu', 'libc', '--json'], { stdio: ['ignore', 'pipe', 'ignore'], encoding: 'utf8' });
    const parsed = JSON.parse(answer) as Pick<Entry, 'os' | 'cpu' | 'libc'>;
    if (parsed.os !== undefined || parsed.cpu !== undefined)
      return { ...(parsed.os && { os: parsed.os }), ...(parsed.cpu && { cpu: parsed.cpu }), ...(parsed.libc && { libc: parsed.libc }) };
  } catch {
    // Unknown to this registry in every version: its name has to do.
  }
  const words = name.split(/[/-]/);
  const known = (list: readonly string[]): string[] => words.map((word) => aliases[word] ?? word).filter((word) => list.includes(word));
  const libc = words.some((word) => word.startsWith('musl')) ? ['musl'] : words.some((word) => word.startsWith('gnu')) ? ['glibc'] : [];
  return {
    ...(known(systems).length > 0 && { os: known(systems) }),
    ...(known(processors).length > 0 && { cpu: known(processors) }),
    ...(libc.length > 0 && { libc }),
  };
}
