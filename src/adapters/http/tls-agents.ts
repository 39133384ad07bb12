import { readFile, stat } from 'node:fs/promises';
import { Agent } from 'node:https';
import { errnoOf, SecretFileError } from './credentials.ts';
import type { TlsSettings } from './http-settings.ts';

const versions = { TLS10: 'TLSv1', TLS11: 'TLSv1.1', TLS12: 'TLSv1.2', TLS13: 'TLSv1.3' } as const;

type Lease = { readonly agent: Agent; release(): void };
type Held = { readonly agent: Agent; readonly state: string; users: number; retired: boolean };

/**
 * Keeps one `https.Agent` per client and makes a new one when a TLS file changes (mtime, size or inode). The old one ends with
 * its last request.
 */
export class TlsAgents {
  readonly #settings: TlsSettings;
  readonly #maxSockets: number;
  #held: Held | null = null;

  constructor(settings: TlsSettings, maxSockets: number) {
    this.#settings = settings;
    this.#maxSockets = maxSockets;
  }

  /** The agent for one request. @throws {SecretFileError} when a file cannot be read or is no PEM */
  async lease(): Promise<Lease> {
    const state = await this.#fileState();
    if (this.#held?.state !== state) {
      const agent = await this.#build();
      // Another request may have been faster: then both built the same, the later one wins.
      this.#retire();
      this.#held = { agent, state, users: 0, retired: false };
    }
    const held = this.#held;
    held.users += 1;
    return {
      agent: held.agent,
      release: () => {
        held.users -= 1;
        if (held.retired && held.users === 0) held.agent.destroy();
      },
    };
  }

  close(): void {
    this.#held?.agent.destroy();
    this.#held = null;
  }

  #retire(): void {
    if (this.#held === null) return;
    this.#held.retired = true;
    if (this.#held.users === 0) this.#held.agent.destroy();
  }

  async #fileState(): Promise<string> {
    const { ca_file, cert_file, key_file } = this.#settings;
    const states = await Promise.all(
      Object.entries({ ca_file, cert_file, key_file }).map(async ([key, file]) => {
        if (file === undefined) return '';
        try {
          const { mtimeMs, size, ino } = await stat(file);
          return `${mtimeMs}/${size}/${ino}`;
        } catch (error) {
          throw new SecretFileError(`${key}: cannot read ${file}${errnoOf(error)}`);
        }
      }),
    );
    return states.join(' ');
  }

  async #build(): Promise<Agent> {
    const { ca, ca_file, cert, cert_file, key, key_file, server_name, insecure_skip_verify, min_version } = this.#settings;
    const [caText, certText, keyText] = await Promise.all([readPem('ca_file', ca_file), readPem('cert_file', cert_file), readPem('key_file', key_file)]);
    return new Agent({
      keepAlive: true,
      maxSockets: this.#maxSockets,
      ...withValue('ca', caText ?? ca),
      ...withValue('cert', certText ?? cert),
      ...withValue('key', keyText ?? key),
      ...withValue('servername', server_name),
      ...withValue('minVersion', min_version === undefined ? undefined : versions[min_version]),
      rejectUnauthorized: insecure_skip_verify !== true,
    });
  }
}

function withValue<K extends string, V>(name: K, value: V | undefined): { [P in K]?: V } {
  return value === undefined ? {} : ({ [name]: value } as { [P in K]?: V });
}

async function readPem(key: string, file: string | undefined): Promise<string | undefined> {
  if (file === undefined) return undefined;
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw new SecretFileError(`${key}: cannot read ${file}${errnoOf(error)}`);
  }
}
