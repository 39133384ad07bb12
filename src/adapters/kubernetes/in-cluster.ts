import { readFile } from 'node:fs/promises';
import type { Connection, ConnectionSource } from './connection.ts';
import { KubernetesError } from './errors.ts';

/** Where the kubelet puts a pod's service account. */
export const serviceAccountFolder = '/var/run/secrets/kubernetes.io/serviceaccount';

/**
 * The service account of the pod. The token is bound and rotates: the HTTP client reads token and CA at each request.
 * @see https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/
 */
export class InCluster implements ConnectionSource {
  readonly #environment: Readonly<Record<string, string | undefined>>;
  readonly #folder: string;
  #connection: Connection | null = null;

  constructor(environment: Readonly<Record<string, string | undefined>>, folder: string) {
    this.#environment = environment;
    this.#folder = folder;
  }

  async connect(): Promise<Connection> {
    if (this.#connection !== null) return this.#connection;
    const host = this.#environment['KUBERNETES_SERVICE_HOST'] ?? '';
    const port = this.#environment['KUBERNETES_SERVICE_PORT'] ?? '';
    if (host === '' || port === '')
      throw new KubernetesError(
        'permanent',
        'kubernetes: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set, so this is no pod of a cluster; give kubeconfig (and context)',
      );
    const namespace = await readFile(`${this.#folder}/namespace`, 'utf8').catch((cause: NodeJS.ErrnoException) => {
      throw new KubernetesError(
        'auth',
        `kubernetes: ${this.#folder}/namespace cannot be read (${cause.code ?? 'unknown'}): does the pod mount its service account (automountServiceAccountToken)?`,
      );
    });
    this.#connection = {
      server: `https://${host.includes(':') ? `[${host}]` : host}:${port}`,
      namespace: namespace.trim(),
      http: {
        authorization: { credentials_file: `${this.#folder}/token` },
        tls_config: { ca_file: `${this.#folder}/ca.crt` },
        follow_redirects: false,
      },
    };
    return this.#connection;
  }
}
