import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';

/** A server of a backend: `op` 0 stopped, 2 running; `admin` 1 forced maint, 8 forced drain. */
export type DoubleServer = { weight: number; readonly initial: number; op: number; admin: number };
export type DoubleState = {
  readonly backends: Record<string, Record<string, DoubleServer>>;
  readonly maps: Record<string, [string, string][]>;
  /** Backends with a static balance: only 0% and 100% are taken. */
  readonly statics: ReadonlySet<string>;
};

export type Interception = 'silence' | 'hang up' | 'keep' | 'reset' | { readonly text: string } | null;

/** HAProxy's runtime API as a server of its own: the replies of 2.6, one command per connection. */
export type RuntimeApiDouble = {
  readonly address: string;
  readonly state: DoubleState;
  /** Commands that were to change something, so far. */
  readonly mutations: readonly string[];
  /**
   * What is done with a command instead of answering it: `silence`, `hang up` (both without carrying it out), `keep`, `reset` (both after it was carried
   * out: the answer never comes, the connection breaks), a text; `null` answers it. `onSilence` is called with each command that stays without answer.
   */
  readonly intercept: (decide: (command: string) => Interception, onSilence?: () => void) => void;
} & AsyncDisposable;

const header =
  'be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr srv_agent_addr srv_agent_port';

/** @param path of a Unix socket; without it a port on loopback */
export async function startRuntimeApi(state: DoubleState, path?: string): Promise<RuntimeApiDouble> {
  const mutations: string[] = [];
  let decide: (command: string) => Interception = () => null;
  let onSilence: () => void = () => undefined;
  const open = new Set<Socket>();
  const server = createServer((socket) => {
    open.add(socket);
    socket.once('close', () => open.delete(socket));
    socket.on('error', () => undefined);
    let line = '';
    socket.on('data', (chunk: Buffer) => {
      line += chunk.toString('utf8');
      if (!line.includes('\n')) return;
      const command = line.slice(0, line.indexOf('\n')).trim();
      line = '';
      const fault = decide(command);
      if (/^(set|add|del) /.test(command)) mutations.push(command);
      if (fault === 'silence') return onSilence();
      if (fault === 'hang up') return void socket.destroy();
      if (typeof fault === 'object' && fault !== null) return void socket.end(`${fault.text}\n`);
      const answer = answerTo(state, command);
      if (fault === 'keep') return onSilence();
      if (fault === 'reset') return void socket.destroy();
      socket.end(`${answer}\n`);
    });
  });
  if (path === undefined) server.listen(0, '127.0.0.1');
  else server.listen(path);
  await once(server, 'listening');
  const bound = server.address();
  return {
    address: typeof bound === 'string' || bound === null ? `unix:${path}` : `127.0.0.1:${bound.port}`,
    state,
    mutations,
    intercept: (next, whenSilent = () => undefined) => {
      decide = next;
      onSilence = whenSilent;
    },
    [Symbol.asyncDispose]: async () => {
      for (const socket of open) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

function answerTo(state: DoubleState, command: string): string {
  const words = command.split(' ');
  const verb = words.slice(0, 2).join(' ');
  if (command.startsWith('show servers state')) return showServers(state, words[3]);
  const map = state.maps[words[2] ?? ''];
  switch (verb) {
    case 'show map':
      return map === undefined
        ? 'Unknown map identifier. Please use #<id> or <file>.\n'
        : map.map(([key, value], index) => `0x55d0c0${index}a0 ${key} ${value}\n`).join('');
    case 'set map': {
      if (map === undefined) return 'Unknown map identifier. Please use #<id> or <file>.\n';
      const entries = map.filter(([key]) => key === words[3]);
      for (const entry of entries) entry[1] = words[4] ?? '';
      return entries.length === 0 ? 'entry not found.\n' : '';
    }
    case 'add map':
      map?.push([words[3] ?? '', words[4] ?? '']);
      return map === undefined ? 'Unknown map identifier. Please use #<id> or <file>.\n' : '';
    case 'del map': {
      const at = map?.findIndex(([key]) => key === words[3]) ?? -1;
      if (at === -1) return 'Key not found.\n';
      map?.splice(at, 1);
      return '';
    }
    case 'set server':
      return setServer(state, words);
    default:
      return `Unknown command: '${words[0]}', but maybe one of the following ones is a better match:\n`;
  }
}

function showServers(state: DoubleState, wanted: string | undefined): string {
  const names = wanted === undefined ? Object.keys(state.backends) : [wanted];
  if (wanted !== undefined && state.backends[wanted] === undefined) return "Can't find backend.\n";
  const rows = names.flatMap((backend, be) =>
    Object.entries(state.backends[backend] ?? {}).map(
      ([name, server], index) =>
        `${be + 3} ${backend} ${index + 1} ${name} 127.0.0.1 ${server.op} ${server.admin} ${server.weight} ${server.initial} 9 1 0 0 6 0 0 0 - 8501 - 0 0 - - 0`,
    ),
  );
  return `1\n# ${header}\n${rows.map((row) => `${row}\n`).join('')}`;
}

function setServer(state: DoubleState, words: readonly string[]): string {
  const [backend = '', name = ''] = (words[2] ?? '').split('/');
  const server = state.backends[backend]?.[name];
  if (state.backends[backend] === undefined) return 'No such backend.\n';
  if (server === undefined) return 'No such server.\n';
  const value = words[4] ?? '';
  if (words[3] === 'state') {
    if (!['ready', 'drain', 'maint'].includes(value)) return "'set server <srv> state' expects 'ready', 'drain' and 'maint'.\n";
    server.admin = value === 'maint' ? 1 : value === 'drain' ? 8 : 0;
    server.op = value === 'maint' ? 0 : 2;
    return '';
  }
  const number = Number.parseInt(value, 10);
  if (state.statics.has(backend) && value !== '0%' && value !== '100%')
    return "Backend is using a static LB algorithm and only accepts weights '0%' and '100%'.\n";
  if (value.endsWith('%')) {
    if (number < 0 || number > 100) return 'Relative weight must be positive.\n';
    server.weight = Math.round((server.initial * number) / 100);
    return '';
  }
  if (!(number >= 0 && number <= 256)) return 'Absolute weight can only be between 0 and 256 inclusive.\n';
  server.weight = number;
  return '';
}
