import type { HttpSettings } from '../http/http-settings.ts';

/** All that is needed to talk to an API server now. */
export type Connection = {
  /** Base address, without a slash at its end. */
  readonly server: string;
  /** Namespace of the service account or context. */
  readonly namespace: string;
  readonly http: HttpSettings;
};

/** Where connections come from. */
export interface ConnectionSource {
  /**
   * The connection of this moment: the same object as long as nothing changed.
   * @param refused a connection whose credentials the server refused (401): credentials are fetched anew where that can help
   * @throws {KubernetesError} auth or permanent, naming file or program, never a secret
   */
  connect(refused: Connection | null, signal: AbortSignal): Promise<Connection>;
}
