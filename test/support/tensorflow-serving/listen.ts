import { createServer as createHttpServer, type RequestListener } from 'node:http';
import { createSecureServer, createServer, type Http2Server, type ServerHttp2Session } from 'node:http2';
import type { AddressInfo, Server } from 'node:net';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import type { ApiContext } from './api/context.ts';
import { grpcRoutes } from './api/grpc.ts';
import type { SSLConfig } from './gen/tensorflow_serving/config/ssl_config_pb.ts';
import type { ReloadJournal } from './reload-journal.ts';

/** An open port. */
export interface Listener {
  port: number;
  /** Closes the port and cuts every connection, as a killed process would. */
  close: () => void;
}

/** Opens the gRPC port, with TLS when there is a configuration for it. gRPC only: neither gRPC-web nor Connect's own protocol. */
export async function listenForGrpc(context: ApiContext, journal: ReloadJournal, address: Address, ssl: SSLConfig | undefined): Promise<Listener> {
  const handler = connectNodeAdapter({ routes: grpcRoutes(context, journal), grpcWeb: false, connect: false });
  const server: Http2Server = ssl === undefined ? createServer(handler) : createSecureServer(tlsOptions(ssl), handler);
  const sessions = new Set<ServerHttp2Session>();
  server.on('session', (session) => {
    sessions.add(session);
    session.on('close', () => sessions.delete(session));
    // A client that goes away in the middle of a call is no matter of the server's.
    session.on('error', () => undefined);
  });
  const port = await listen(server, address);
  return {
    port,
    close: () => {
      server.close();
      for (const session of sessions) session.destroy();
    },
  };
}

/** Opens the REST port; the original has no TLS there. */
export async function listenForRest(handler: RequestListener, address: Address): Promise<Listener> {
  const server = createHttpServer(handler);
  const port = await listen(server, address);
  return {
    port,
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}

/** Where to listen; port 0 picks a free one. */
export interface Address {
  host: string;
  port: number;
}

function tlsOptions(ssl: SSLConfig) {
  return {
    key: ssl.serverKey,
    cert: ssl.serverCert,
    ...(ssl.customCa === '' ? {} : { ca: ssl.customCa }),
    requestCert: ssl.clientVerify,
    rejectUnauthorized: ssl.clientVerify,
  };
}

async function listen(server: Server, { host, port }: Address): Promise<number> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => resolve());
  });
  return (server.address() as AddressInfo).port;
}
