import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { haproxy } from '../../src/adapters/control-planes/haproxy/index.ts';
import { parseMap, parseServersState, valueInFile, withServerStates, withValueInFile } from '../../src/adapters/control-planes/haproxy/node-state.ts';
import type * as RuntimeApi from '../../src/adapters/control-planes/haproxy/runtime-api.ts';
import { haproxyConfig, haproxyKeys } from '../../src/adapters/control-planes/haproxy/schema.ts';
import { isMarkerTrue, OwnedFileFault, parseOwnedFile, withVersion } from '../../src/adapters/control-planes/nginx/owned-file.ts';
import { type NginxKeys, nginxKeys } from '../../src/adapters/control-planes/nginx/schema.ts';
import { type Directive, parseDirectives, SyntaxFault } from '../../src/adapters/control-planes/nginx/syntax.ts';
import { PlaneError } from '../../src/domain/ports.ts';
import { forAll, textOf } from '../support/fuzz.ts';
import { aPlaneDeps } from '../support/plane-deps.ts';
import { expectSound, wasRefused } from './sound.ts';

/** What HAProxy's runtime API says; set by each case. */
let said: (command: string) => string = () => '';
vi.mock('../../src/adapters/control-planes/haproxy/runtime-api.ts', async (original) => ({
  ...(await original<typeof RuntimeApi>()),
  ask: async (_address: string, command: string) => said(command),
}));

const ever = new AbortController().signal;

/** A text as an expression that matches it alone. */
function literal(text: string): string {
  return text.replaceAll(/[\\^$.*+?()[\]{}|/]/g, '\\$&');
}

const shapes: Readonly<Record<'upstream' | 'split_clients' | 'map', NginxKeys>> = {
  upstream: nginxKeys.parse({
    file: 'fraud.conf',
    marker: 'fraud_marker',
    upstream: { name: 'fraud', versions: { '6': ['10.0.0.6:8501', '10.0.1.6:8501'], '7': ['10.0.0.7:8501'], constructor: ['unix:/run/c.sock'] } },
  }),
  split_clients: nginxKeys.parse({
    file: 'fraud.conf',
    marker: 'fraud_marker',
    split_clients: { variable: '$fraud', versions: { '6': { value: 'fraud_6' }, '7': { value: 'fraud_7' } } },
  }),
  map: nginxKeys.parse({
    file: 'fraud.conf',
    marker: 'fraud_marker',
    map: { variable: '$fraud', versions: { '6': { value: 'fraud_6' }, '7': { value: 'fraud_7' } } },
  }),
};
const marker = 'map $host $fraud_marker { default "m-1"; }\n';

/** Every word of a file, with its place. */
function wordsOf(directives: readonly Directive[]): Directive['words'] {
  return directives.flatMap(({ words, block }) => [...words, ...wordsOf(block?.directives ?? [])]);
}

/** A good file as parts: texts that a switch must leave alone, and `slot`s, each what may come to stand between two of them. */
type Parts = readonly (string | { readonly slot: RegExp; readonly now: string })[];

const blank = fc.constantFrom(' ', '\n', '\n  ', '\t', '  # up to here; { and } and "\n ', ' #\r\n');
const optional = (...texts: readonly string[]): fc.Arbitrary<string> => fc.constantFrom('', ...texts);

/** After an address: parameters that stay, and whether the server is off. */
const parameters = fc.tuple(optional(' weight=3', ' max_fails=2\n fail_timeout=5s', ' slow_start=30s'), optional(' down', ' backup', '\n  down'));
const serverOf = (address: string): fc.Arbitrary<Parts> =>
  fc.tuple(blank, parameters).map(([before, [kept, off]]) => [`${before}server ${address}${kept}`, { slot: /(?:\s+(?:down|backup))*/, now: off }, ';']);

const upstreamFile: fc.Arbitrary<Parts> = fc
  .tuple(
    blank,
    fc
      .subarray(['10.0.0.6:8501', '10.0.1.6:8501', '10.0.0.7:8501', 'unix:/run/c.sock'], { minLength: 1 })
      .chain((addresses) => fc.tuple(...addresses.map(serverOf))),
    optional('  keepalive 16;\n', '  zone z 64k; # shared\n', '  least_conn;\n'),
    blank,
  )
  .map(([start, servers, more, end]) => [
    `upstream fraud {${start}${more}`,
    ...servers.flat(),
    end.endsWith('\n') ? end : `${end}\n`,
    { slot: /(?: {2}server \S+;\n)*/, now: '' },
    '}\n',
  ]);

const mapFile: fc.Arbitrary<Parts> = fc
  .tuple(
    blank,
    fc.constantFrom('fraud_6', 'fraud_7'),
    fc.array(fc.tuple(fc.constantFrom('canary', '"a b"', '~^x', 'beta'), fc.constantFrom('fraud_6', 'fraud_7'), blank), { maxLength: 3 }),
  )
  .map(([start, serving, routes]) => [
    `map $http_x $fraud {${start}default `,
    { slot: /fraud_[67]/, now: serving },
    ';',
    ...routes.flatMap(([key, value, space]) => [`${space}${key} `, { slot: /fraud_[67]/, now: value }, ';']),
    '\n}\n',
  ]);

const splitFile: fc.Arbitrary<Parts> = fc
  .constantFrom('10% fraud_7; * fraud_6;', '\n 0.5% fraud_6;\n # rest\n * fraud_7;\n', '* fraud_7;', '50% fraud_7; 50% fraud_6;')
  .map((body) => ['split_clients $remote_addr $fraud {', { slot: /\s*\* fraud_[67];\s*/, now: body }, '}\n']);

const withMarker = (form: fc.Arbitrary<Parts>): fc.Arbitrary<Parts> =>
  fc.tuple(form, fc.boolean(), optional('# rollbackd’s\n', '\n\n', '# "\n')).map(([parts, isFirst, comment]): Parts => {
    const own: Parts = ['map $host $fraud_marker { default ', { slot: /rb-[0-9a-f]{16}/, now: '"m-1"' }, '; }\n'];
    return isFirst ? [...own, comment, ...parts] : [...parts, comment, ...own];
  });

const files: readonly (readonly [shape: keyof typeof shapes, file: fc.Arbitrary<Parts>])[] = [
  ['upstream', withMarker(upstreamFile)],
  ['map', withMarker(mapFile)],
  ['split_clients', withMarker(splitFile)],
];

describe('files of NGINX', () => {
  const words = [
    'upstream fraud {',
    'map $http_x $fraud {',
    'split_clients $remote_addr $fraud {',
    marker,
    'server 10.0.0.6:8501',
    'server 10.0.0.7:8501',
    ' weight=',
    '3',
    '0x10',
    'Infinity',
    '1e3',
    ' down',
    ' backup',
    'default fraud_6;',
    '* fraud_7;',
    '10% ',
    '99.999% ',
    'fraud_6',
    ';',
    '}',
    '{',
    '"',
    "'",
    '\\',
    '# ',
    '\n',
    ' ',
  ];

  it('are read, or refused with the line; every word lies where it is said to', async () => {
    await forAll(fc.tuple(fc.constantFrom(...Object.values(shapes)), textOf(...words)), 700, ([keys, text]) => {
      try {
        for (const word of wordsOf(parseDirectives(text)))
          if (!(word.start < word.end && word.end <= text.length && text.slice(word.start, word.end).includes(word.text)))
            throw new Error(JSON.stringify(word));
      } catch (error) {
        if (!(error instanceof SyntaxFault)) throw error;
        const line = Number(/^line (\d+): /.exec(error.message)?.[1]);
        expect(line >= 1 && line <= text.split('\n').length).toBe(true);
      }
      try {
        const { serving, routes } = parseOwnedFile(text, keys, 'fraud.conf');
        expectShares(serving, keys);
        for (const version of Object.values(routes)) expect(['6', '7']).toContain(version);
      } catch (error) {
        if (!(error instanceof OwnedFileFault)) throw error;
      }
    });
  });

  it('take no weight that nginx would not take', async () => {
    const weight = fc.oneof(fc.constantFrom('', '0', '0x10', '1e3', 'Infinity', 'NaN', '-3', '+3', '2.5', ' 4'), fc.nat({ max: 300 }).map(String));
    await forAll(weight, 200, (text) => {
      const file = `${marker}upstream fraud { server 10.0.0.6:8501 weight=${text}; server 10.0.0.7:8501; }`;
      const isTaken = /^[1-9]\d*$/.test(text);
      if (isTaken)
        expect(parseOwnedFile(file, shapes.upstream, 'f').serving).toEqual([
          { version: '6', share: Number(text) / (Number(text) + 1) },
          { version: '7', share: 1 / (Number(text) + 1) },
        ]);
      else expect(() => parseOwnedFile(file, shapes.upstream, 'f')).toThrow(OwnedFileFault);
    });
  });

  it.each(files)('are rewritten with nothing else changed: %s', async (shape, file) => {
    const keys = shapes[shape];
    await forAll(fc.tuple(file, fc.constantFrom('6', '7')), 400, ([parts, to]) => {
      const text = parts.map((part) => (typeof part === 'string' ? part : part.now)).join('');
      const kept = new RegExp(`^${parts.map((part) => (typeof part === 'string' ? literal(part) : part.slot.source)).join('')}$`);

      const after = withVersion(parseOwnedFile(text, keys, 'f'), keys, to, 'f');

      expect(after).toMatch(kept);
      const read = parseOwnedFile(after, keys, 'f');
      expect(read.serving).toEqual([{ version: to, share: 1 }]);
      expect(isMarkerTrue(read)).toBe(true);
      expect(withVersion(read, keys, to, 'f')).toBe(after);
    });
  });

  it('nested without end are refused', () => {
    expect(() => parseDirectives('a{'.repeat(200_000))).toThrow(SyntaxFault);
    expect(() => parseOwnedFile('a{'.repeat(200_000), shapes.map, 'f')).toThrow(OwnedFileFault);
  });
});

function expectShares(serving: readonly { readonly version: string; readonly share: number }[], keys: NginxKeys): void {
  const versions = Object.keys((keys.upstream ?? keys.split_clients ?? keys.map)?.versions ?? {});
  let total = 0;
  for (const { version, share } of serving) {
    if (!versions.includes(version) || !(share > 0 && share <= 1.000_001)) throw new Error(`${share} on ${JSON.stringify(version)}`);
    total += share;
  }
  if (total > 1.000_001) throw new Error(`the shares are ${total} in all`);
}

const columns =
  'be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord'.split(
    ' ',
  );
type Row = readonly [backend: string, server: string, operation: string, admin: string, weight: string, initial: string];

function rowText([backend, server, operation, admin, weight, initial]: Row): string {
  return `3 ${backend} 1 ${server} 127.0.0.1 ${operation} ${admin} ${weight} ${initial} 9 1 0 0 6 0 0 0 - 8501 -`;
}

const number = fc.nat({ max: 256 }).map(String);
const anyCell = fc.oneof(
  { weight: 12, arbitrary: number },
  { weight: 1, arbitrary: fc.constantFrom('-1', '0x10', '1e3', 'NaN', 'Infinity', '-', '1.5', '', '9'.repeat(40)) },
);
const backend = fc.constantFrom('fraud', 'fraud_6', 'fraud_7', 'other');
const rows = (cell: fc.Arbitrary<string>): fc.Arbitrary<readonly Row[]> =>
  fc.array(fc.tuple(backend, fc.constantFrom('a', 'b', 'constructor', '__proto__'), fc.constantFrom('0', '1', '2', '3'), cell, cell, cell), { maxLength: 5 });
const headed = (lines: readonly string[]): string => `1\n# ${columns.join(' ')}\n${lines.map((line) => `${line}\n`).join('')}`;

/** Something else with it: cut short, a line of it twice, words put in. */
const spoilt = (text: fc.Arbitrary<string>): fc.Arbitrary<string> =>
  fc.oneof(
    { weight: 2, arbitrary: text },
    { weight: 2, arbitrary: fc.tuple(text, fc.nat({ max: 600 })).map(([whole, length]) => whole.slice(0, length)) },
    {
      weight: 1,
      arbitrary: fc
        .tuple(text, fc.nat({ max: 600 }), textOf(' ', '\n', '1', '#', 'fraud', '0x55d0 '))
        .map(([whole, at, more]) => whole.slice(0, at) + more + whole.slice(at)),
    },
  );

describe('the state of servers in HAProxy', () => {
  it('is read as it is written, or refused', async () => {
    await forAll(spoilt(rows(anyCell).map((list) => headed(list.map(rowText)))), 800, (text) => {
      const lines = text.split('\n').filter((line) => line.trim() !== '');
      const own = lines
        .slice(2)
        .map((line) => line.trim().split(' '))
        .filter((cells) => cells[1] === 'fraud');
      try {
        const found = parseServersState(text, 'fraud', 'h');
        if (lines[1] !== `# ${columns.join(' ')}`) return;
        expect(found).toEqual(
          own.map((cells) => ({
            name: cells[3],
            running: cells[5] === '2',
            maint: (Number(cells[6]) & 0x27) !== 0,
            drain: (Number(cells[6]) & 0x18) !== 0,
            weight: Number(cells[7]),
            initial: Number(cells[8]),
          })),
        );
        for (const cells of own) expect([cells.length >= columns.length, cells.slice(5, 9).every((cell) => /^\d{1,9}$/.test(cell))]).toEqual([true, true]);
      } catch (error) {
        if (!(error instanceof PlaneError)) throw error;
      }
    });
  });

  it('is rewritten in the file with every other word kept, and reads back as it was wanted', async () => {
    const wanted = fc.dictionary(fc.constantFrom('a', 'b', 'constructor', '__proto__'), fc.record({ weight: fc.nat({ max: 256 }), maint: fc.boolean() }));
    await forAll(fc.tuple(rows(number), wanted, optional('# saved by hand\n', '\n')), 500, ([list, states, more]) => {
      const text = headed(list.map(rowText)) + more;
      const after = withServerStates(text, 'fraud', new Map(Object.entries(states)));

      const [before, now] = [text, after].map((whole) => whole.split('\n').map((line) => line.split(' ')));
      expect(now?.map((cells) => cells.length)).toEqual(before?.map((cells) => cells.length));
      for (const [index, cells] of (now ?? []).entries()) {
        const isTold = cells[1] === 'fraud' && Object.hasOwn(states, cells[3] ?? '');
        expect(cells.filter((_cell, at) => !isTold || (at !== 6 && at !== 7))).toEqual(
          before?.[index]?.filter((_cell, at) => !isTold || (at !== 6 && at !== 7)),
        );
      }
      for (const { name, weight, maint } of parseServersState(after.replace('# saved by hand\n', ''), 'fraud', 'f'))
        if (Object.hasOwn(states, name)) expect([weight, maint && states[name]?.maint]).toEqual([states[name]?.weight, states[name]?.maint]);
    });
  });
});

describe('map files of HAProxy', () => {
  const lines = fc.array(textOf('fraud.example', ' ', '\t', 'fraud_6', '#', '/path', '\r'), { maxLength: 6 }).map((list) => list.join('\n'));

  it('read back what was written, with every other line kept', async () => {
    await forAll(
      fc.tuple(lines, fc.constantFrom('fraud.example', '/path', 'constructor', '__proto__'), fc.constantFrom(null, 'fraud_6', 'fraud_7')),
      500,
      ([text, key, value]) => {
        const after = withValueInFile(text, key, value);
        const others = (whole: string): readonly string[] => whole.split('\n').filter((line) => line.trim().split(/\s+/)[0] !== key && line !== '');

        expect(valueInFile(after, key)).toBe(value);
        expect(others(after)).toEqual(others(text));
        expect(withValueInFile(after, key, value)).toBe(after);
      },
    );
  });

  it('read from the runtime API give only values that stand there', async () => {
    await forAll(textOf('0x55d0c0a0 ', 'fraud.example ', 'fraud_6', '\n', '0x', ' ', 'zz '), 300, (text) => {
      for (const value of parseMap(text, 'fraud.example')) expect(text).toMatch(new RegExp(`fraud\\.example ${literal(value.trimEnd())}`));
    });
  });
});

describe('haproxy, given any answers of the runtime API', () => {
  const planes = [
    ['weights', { weights: { backend: 'fraud', versions: { '6': ['a'], '7': ['b'] } } }],
    ['a map', { map: { file: '/etc/haproxy/fraud.map', key: 'fraud.example', versions: { '6': 'fraud_6', '7': 'fraud_7' } } }],
  ] as const;

  it.each(planes)('never makes up a share, by %s', async (_name, keys) => {
    const plane = await haproxy.create(haproxyConfig.parse({ endpoints: [{ address: '127.0.0.1:1' }] }), aPlaneDeps());
    const target = { model: 'fraud', plane: haproxyKeys.parse(keys) as Record<string, unknown> };
    const servers = spoilt(
      fc
        .tuple(rows(anyCell), fc.tuple(anyCell, anyCell))
        .map(([list, [a, b]]) =>
          headed([
            ...(['fraud', 'fraud_6', 'fraud_7'] as const).flatMap((name) => [
              rowText([name, 'a', '2', '0', a, '100']),
              rowText([name, 'b', '2', '0', b, '100']),
            ]),
            ...list.filter(([, server]) => server !== 'a' && server !== 'b').map(rowText),
          ]),
        ),
    );
    const map = spoilt(
      fc.constantFrom('0x55d0c00a0 fraud.example fraud_6\n', '0x55d0c00a0 fraud.example fraud_7\n0x55d0c01a0 other x\n', '\n', 'Unknown map identifier.\n'),
    );
    let read = 0;
    await forAll(fc.tuple(servers, map), 1_000, async ([state, values]) => {
      said = (command) => (command.startsWith('show map') ? values : state);
      const observation = await wasRefused(plane.observe(target, { thorough: true }, ever));
      if (observation === null) return;
      read += 1;
      expectSound(observation, { plane, target, said: keys });
    });
    expect(read).toBeGreaterThan(20);
    await plane.close();
  });
});
