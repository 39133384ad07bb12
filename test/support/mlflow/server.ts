import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { ApiFailure, Artifact, answer, type Behaviour, type Call } from './api.ts';
import { RegistryState } from './registry-state.ts';

/** As MLflow's basic-auth app has them; each includes those before it. */
export type Permission = 'NO_PERMISSIONS' | 'READ' | 'EDIT' | 'MANAGE';
const rank: readonly Permission[] = ['NO_PERMISSIONS', 'READ', 'EDIT', 'MANAGE'];

/** What a write asks for in the basic-auth app: taking away needs more than changing. */
function neededFor({ method }: Call): Permission {
  if (method === 'DELETE') return 'MANAGE';
  return method === 'GET' ? 'READ' : 'EDIT';
}

/** Something that goes wrong with the next calls that fit `route` (`POST registered-models/alias`). */
export type Fault = {
  readonly route: RegExp;
  /** Default 1. */
  readonly times?: number;
  /** An answer in MLflow's place. */
  readonly reply?: { readonly status: number; readonly body: string; readonly headers?: Readonly<Record<string, string>> };
  /** Carried out, and then the connection is cut. */
  readonly loseAnswer?: boolean;
  /** Something that happens at the same time, before the answer is made. */
  readonly meanwhile?: () => void;
};

/** A double of MLflow's server over HTTP, with its oddities: see README.md. */
export class MlflowServer implements AsyncDisposable {
  readonly state = new RegistryState();
  readonly behaviour: Behaviour = { danglingAliases: false, withoutLoggedModels: false };
  /** `user:password` → what that user may; absent: no authentication. */
  users: Map<string, Permission> | null = null;
  /** Bearer token that is asked for, where there is one. */
  token: string | null = null;
  /** Every call that reached it, as `POST registered-models/alias`. */
  readonly calls: string[] = [];
  readonly #faults: { fault: Fault; left: number }[] = [];
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor() {
    this.#server = createServer((request, response) => void this.#serve(request, response));
    this.#server.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
    });
  }

  static async start(): Promise<MlflowServer> {
    const double = new MlflowServer();
    await new Promise<void>((resolve) => double.#server.listen(0, '127.0.0.1', resolve));
    return double;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Calls that change something. */
  get writes(): readonly string[] {
    return this.calls.filter((call) => !call.startsWith('GET ') && call !== 'POST runs/search');
  }

  fail(fault: Fault): void {
    this.#faults.push({ fault, left: fault.times ?? 1 });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const url = new URL(request.url ?? '/', this.url);
    const path = url.pathname.replace(/^\/api\/2\.0\/mlflow\//, '');
    const method = request.method ?? '';
    const route = `${method} ${path}`;
    this.calls.push(route);
    const refusal = this.#authorize(request.headers.authorization, { method, path, query: url.searchParams, body: {} });
    if (refusal !== null) return void response.writeHead(refusal.status, { 'Content-Type': 'text/html' }).end(refusal.body);
    const entry = this.#faults.find(({ fault, left }) => left > 0 && fault.route.test(route));
    if (entry !== undefined) entry.left -= 1;
    if (entry?.fault.reply !== undefined) {
      const { status, body, headers } = entry.fault.reply;
      return void response.writeHead(status, { 'Content-Type': 'application/json', ...headers }).end(body);
    }
    try {
      const body = chunks.length === 0 ? {} : (JSON.parse(Buffer.concat(chunks).toString()) as Record<string, unknown>);
      const result = answer(this.state, this.behaviour, { method, path, query: url.searchParams, body });
      entry?.fault.meanwhile?.();
      if (entry?.fault.loseAnswer === true) return void request.socket.destroy();
      if (result instanceof Artifact) return void response.writeHead(200, { 'Content-Type': 'text/plain' }).end(result.text);
      response.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify(result));
    } catch (error) {
      const failure = error instanceof ApiFailure ? error : new ApiFailure(500, 'INTERNAL_ERROR', String(error));
      response
        .writeHead(failure.status, { 'Content-Type': 'application/json' })
        .end(JSON.stringify({ error_code: failure.errorCode, message: failure.message }));
    }
  }

  /** The basic-auth app answers in plain text. */
  #authorize(header: string | undefined, call: Call): { status: number; body: string } | null {
    if (this.token !== null) return header === `Bearer ${this.token}` ? null : { status: 401, body: 'Unauthorized' };
    if (this.users === null) return null;
    const given = Buffer.from((header ?? '').replace(/^Basic /, ''), 'base64').toString();
    const permission = this.users.get(given);
    if (permission === undefined) return { status: 401, body: 'You are not authenticated. Please see https://www.mlflow.org/docs/latest/auth/index.html' };
    return rank.indexOf(permission) >= rank.indexOf(neededFor(call)) ? null : { status: 403, body: 'Permission denied' };
  }
}
