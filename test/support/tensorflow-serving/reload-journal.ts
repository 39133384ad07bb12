import { appendFileSync } from 'node:fs';
import { toJson } from '@bufbuild/protobuf';
import { toStatusError } from './core/status.ts';
import { type ModelServerConfig, ModelServerConfigSchema } from './gen/tensorflow_serving/config/model_server_config_pb.ts';
import type { ModelServer } from './model-server.ts';

/** Who asked for a reload: the start, the poll of the configuration file, or a client. */
export type ReloadSource = 'boot' | 'file' | 'rpc';

/** One line of the journal. A reload that hangs has the first line only. */
export type ReloadRecord =
  | { call: number; source: ReloadSource; event: 'begin'; config: unknown }
  | { call: number; source: ReloadSource; event: 'end'; code: string; message: string };

/**
 * Applies configurations and, if asked to, writes down every try as a line of JSON ({@link ReloadRecord}): an aid of the double, since the
 * original tells nobody what it was given.
 */
export class ReloadJournal {
  readonly #server: ModelServer;
  readonly #path: string | undefined;
  #calls = 0;

  constructor(server: ModelServer, path: string | undefined) {
    this.#server = server;
    this.#path = path;
  }

  /** @throws {StatusError} as {@link ModelServer.reloadConfig} */
  async reload(source: ReloadSource, config: ModelServerConfig): Promise<void> {
    this.#calls += 1;
    const call = this.#calls;
    this.#write({ call, source, event: 'begin', config: toJson(ModelServerConfigSchema, config, { useProtoFieldName: true }) });
    try {
      await this.#server.reloadConfig(config);
      this.#write({ call, source, event: 'end', code: 'OK', message: '' });
    } catch (error) {
      const { code, message } = toStatusError(error);
      this.#write({ call, source, event: 'end', code, message });
      throw error;
    }
  }

  #write(record: ReloadRecord): void {
    if (this.#path !== undefined) appendFileSync(this.#path, `${JSON.stringify(record)}\n`);
  }
}
