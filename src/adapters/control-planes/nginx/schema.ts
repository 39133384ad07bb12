import { z } from 'zod';
import { always, exactlyOneOf } from '../../../config/key-rules.ts';
import { duration, filePath, httpUrl, text, versionId } from '../../../config/scalars.ts';
import { smokeBeforeSwitch } from '../action-contract.ts';

const argv = z.tuple([text({ min: 1, expected: 'a program' })], text(), { error: 'expected a list of program and arguments; write [nginx, -t, -q]' });

const node = z
  .strictObject({
    name: text({ min: 1, expected: 'a name' }).optional().meta({ description: 'Name of this nginx, for people. Default: its folder.' }),
    folder: filePath().meta({ description: 'Folder with the files that rollbackd owns, included from http{} as *.conf. Required.' }),
    url: httpUrl().meta({ description: 'Where this nginx answers the markers, on loopback. Required.' }),
    pid_file: filePath().optional().meta({ description: 'Pid file of the master, which gets HUP. Exactly one of pid_file, reload_command.' }),
    reload_command: argv.optional().meta({ description: 'Program and arguments that reload, no shell. Exactly one of pid_file, reload_command.' }),
    test_command: argv
      .prefault(['nginx', '-t', '-q'])
      .meta({ description: 'Program and arguments that test the whole configuration. Default: [nginx, -t, -q].' }),
  })
  .check(
    exactlyOneOf(['pid_file', 'reload_command'], { none: 'expected pid_file or reload_command', both: 'expected only one of pid_file and reload_command' }),
  );

/** What stands under `nginx` of a control plane. */
export const nginxConfig = z.strictObject({
  nodes: z
    .array(node, { error: 'expected a list of nginx' })
    .min(1, 'expected at least one nginx')
    .meta({ description: 'Every nginx; each is told and confirmed. Required.' }),
  timeout: duration({ minMs: 1, minText: '1ms' })
    .prefault('3s')
    .meta({ description: 'Longest time one call for the marker, or one connection to a server, may take. Default: 3s.' }),
  command_timeout: duration({ minMs: 1, minText: '1ms' }).prefault('15s').meta({ description: 'Longest time test and reload may take. Default: 15s.' }),
  reload_timeout: duration({ minMs: 1, minText: '1ms' })
    .prefault('5s')
    .meta({ description: 'How long after a reload the marker may still be the old one; then the reload counts as failed. Default: 5s.' }),
  smoke_before_switch: smokeBeforeSwitch(),
});
export type NginxConfig = z.output<typeof nginxConfig>;
export type NginxNode = NginxConfig['nodes'][number];

/** What needs no quotes in nginx's syntax. */
const word = (what: string) =>
  z
    .string({ error: `expected ${what}` })
    .regex(/^[^\s;{}"'\\#$]+$/, `expected ${what}, as it stands in nginx’s configuration: without blanks, quotes, ; { } \\ # $`);
const variable = (what: string) => z.string({ error: `expected ${what}` }).regex(/^\$[a-zA-Z_]\w*$/, `expected ${what}; write $name`);
const servers = z.array(word('host:port or unix:/path of a server'), { error: 'expected a list of servers' });

const valued = z.record(
  versionId(),
  z.strictObject({
    value: word('a value').meta({ description: 'Value that stands for the version, such as the name of its upstream. Required.' }),
    servers: servers.default([]).meta({ description: 'Its servers, connected to before traffic moves. Default: none.', default: [] }),
  }),
  { error: 'expected a map of versions' },
);

/** What stands under `models[].plane`. */
export const nginxKeys = z
  .strictObject({
    file: z
      .string({ error: 'expected the name of a file' })
      .regex(/^[A-Za-z0-9][\w.-]*\.conf$/, 'expected the name of a file that ends in .conf, without folder')
      .meta({ description: 'File in every node’s folder that rollbackd owns. Required.' }),
    marker: z
      .string({ error: 'expected a name' })
      .regex(/^[a-zA-Z_]\w*$/, 'expected the name of a variable, without $')
      .meta({ description: 'Variable the file’s marker sets; nginx answers it at /<marker> of url. Required.' }),
    upstream: z
      .strictObject({
        name: word('the name of an upstream').meta({ description: 'The upstream in the file. Required.' }),
        versions: z
          .record(versionId(), servers.min(1, 'expected at least one server'), { error: 'expected a map of versions to servers' })
          .meta({ description: 'Version → its servers, as the upstream names them. Required.' }),
      })
      .optional()
      .meta({ description: 'One upstream; the servers of other versions are down. Exactly one of upstream, split_clients, map.' }),
    split_clients: z
      .strictObject({
        variable: variable('the variable it sets').meta({ description: 'The variable it sets, with $. Required.' }),
        versions: valued.meta({ description: 'Version → value. Required.' }),
      })
      .optional()
      .meta({ description: 'A split_clients block. Exactly one of upstream, split_clients, map.' }),
    map: z
      .strictObject({
        variable: variable('the variable it sets').meta({ description: 'The variable it sets, with $. Required.' }),
        versions: valued.meta({ description: 'Version → value. Required.' }),
      })
      .optional()
      .meta({ description: 'A map block; its default is what serves, other keys are routes. Exactly one of upstream, split_clients, map.' }),
  })
  .check(
    exactlyOneOf(['upstream', 'split_clients', 'map'], {
      none: 'expected upstream, split_clients or map',
      both: 'expected only one of upstream, split_clients, map',
    }),
    always((value, refuse) => {
      if (value['map'] !== undefined && (value['map'] as { variable?: unknown }).variable === `$${String(value['marker'])}`)
        refuse('marker', 'expected another name than the map’s variable');
    }),
  );
export type NginxKeys = z.output<typeof nginxKeys>;
