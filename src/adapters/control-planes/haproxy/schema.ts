import { z } from 'zod';
import { exactlyOneOf } from '../../../config/key-rules.ts';
import { duration, filePath, flag, versionId } from '../../../config/scalars.ts';
import { smokeBeforeSwitch } from '../action-contract.ts';

/** Where a runtime API listens; `null` when the text names none. */
export function parseAddress(address: string): { readonly path: string } | { readonly host: string; readonly port: number } | null {
  if (/^unix:\/[^\0]+$/.test(address)) return { path: address.slice('unix:'.length) };
  const match = /^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9_.-]+):(\d{1,5})$/.exec(address);
  const port = Number(match?.[2]);
  return match === null || port < 1 || port > 65_535 ? null : { host: (match[1] as string).replaceAll(/[[\]]/g, ''), port };
}

/** What may stand in a command of the runtime API: nothing that would end it or start another. */
const word = (what: string) => z.string({ error: `expected ${what}` }).regex(/^[^\s;\\"'#]+$/, `expected ${what}: without blanks, quotes, ; \\ and #`);

const endpoint = z.strictObject({
  address: z
    .string({ error: 'expected an address; write unix:/run/haproxy/admin.sock or host:port' })
    .refine((value) => parseAddress(value) !== null, 'expected an address; write unix:/run/haproxy/admin.sock or host:port')
    .meta({ description: 'Runtime API of one node: unix:/path of its socket, or host:port. Required.' }),
  write_maps: flag()
    .default(false)
    .meta({ description: 'Write a switched map into its file too, so that a reload keeps it: needs the node’s files here. Default: false.', default: false }),
  server_state_file: filePath().optional().meta({
    description:
      'The node’s server-state-file, rewritten after a switch of weights, so that a reload keeps it; must exist. Default: none, a reload undoes weights.',
  }),
});

/** What stands under `haproxy` of a control plane. */
export const haproxyConfig = z.strictObject({
  endpoints: z
    .array(endpoint, { error: 'expected a list of nodes; write [{address: "unix:/run/haproxy/admin.sock"}]' })
    .min(1, 'expected at least one node')
    .meta({ description: 'All nodes; every one is told and confirmed. Required.' }),
  timeout: duration({ minMs: 1, minText: '1ms' }).prefault('2s').meta({ description: 'Longest time one command may take. Default: 2s.' }),
  smoke_before_switch: smokeBeforeSwitch(),
});
export type HaproxyConfig = z.output<typeof haproxyConfig>;
export type HaproxyNode = HaproxyConfig['endpoints'][number];

const weights = z.strictObject({
  backend: word('the name of a backend').meta({ description: 'Backend with the servers of all versions. Required.' }),
  versions: z
    .record(versionId(), z.array(word('the name of a server')).min(1, 'expected at least one server'), { error: 'expected a map of versions to server names' })
    .meta({ description: 'Version → names of its servers in the backend. Required.' }),
  retire: z.enum(['weight', 'maint']).default('weight').meta({
    description: 'What the servers that leave get: weight 0, or maint, which sends away also those whose cookie names them. Default: weight.',
    default: 'weight',
  }),
});

const map = z.strictObject({
  file: word('the path of a map, as HAProxy’s configuration has it').meta({ description: 'The map, by the path the configuration has. Required.' }),
  key: word('a key of the map').meta({ description: 'Key whose value names the backend. Required.' }),
  versions: z
    .record(versionId(), word('the name of a backend'), { error: 'expected a map of versions to backends' })
    .meta({ description: 'Version → its backend. Required.' }),
  default_version: versionId().optional().meta({ description: 'Version that serves while the map has no such key. Default: none, the key must be there.' }),
});

/** What stands under `models[].plane`. */
export const haproxyKeys = z
  .strictObject({
    weights: weights.optional().meta({ description: 'Versions are servers of one backend. Exactly one of weights, map.' }),
    map: map.optional().meta({ description: 'Versions are backends, a map names the one that serves. Exactly one of weights, map.' }),
  })
  .check(exactlyOneOf(['weights', 'map'], { none: 'expected weights or map', both: 'expected only one of weights and map' }));
export type HaproxyKeys = z.output<typeof haproxyKeys>;
