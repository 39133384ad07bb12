import { lookup } from 'node:dns/promises';
import { isIPv6 } from 'node:net';
import { PlaneError } from '../../../domain/ports.ts';
import { parseEndpoint } from './schema.ts';

/** One replica: `name` identifies it everywhere (steps, memory, messages); `serverName` is what its certificate should carry. */
export type Address = { readonly name: string; readonly serverName: string | null };

/** Resolves one name to all its addresses. */
export type Resolve = (host: string) => Promise<readonly string[]>;

const resolveAll: Resolve = async (host) => (await lookup(host, { all: true })).map((entry) => entry.address);

/**
 * Every replica behind the `endpoints` of the configuration, without repeats, in the order of the file (addresses of one name sorted).
 * @throws {PlaneError} transient, when a `dns:///` name does not resolve: acting without knowing all replicas would not be safe
 */
export async function resolveAddresses(entries: readonly string[], resolve: Resolve = resolveAll): Promise<readonly Address[]> {
  const addresses = new Map<string, Address>();
  for (const entry of entries) {
    const parsed = parseEndpoint(entry);
    if (parsed === null) throw new PlaneError('permanent', `${entry}: expected host:port or dns:///name:port`);
    if (!parsed.resolve) {
      addresses.set(entry, { name: entry, serverName: null });
      continue;
    }
    let found: readonly string[];
    try {
      found = await resolve(parsed.host);
    } catch (cause) {
      throw new PlaneError('transient', `${entry}: the name does not resolve (${(cause as NodeJS.ErrnoException).code ?? 'unknown'})`, { cause });
    }
    for (const address of found.toSorted()) {
      const name = `${isIPv6(address) ? `[${address}]` : address}:${parsed.port}`;
      addresses.set(name, { name, serverName: parsed.host });
    }
  }
  return [...addresses.values()];
}
