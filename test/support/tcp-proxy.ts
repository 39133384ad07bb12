import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';

/** A line between two processes that can be cut: then nothing passes, and nobody is told. */
export type TcpProxy = AsyncDisposable & {
  readonly port: number;
  /** Both sides keep their connections and hear nothing more, new ones are taken and hear nothing. */
  readonly cut: () => void;
  /** What was cut is closed; new connections pass again. */
  readonly mend: () => void;
};

export async function startTcpProxy(target: { readonly host: string; readonly port: number }): Promise<TcpProxy> {
  const pairs = new Set<{ readonly near: Socket; readonly far: Socket | null }>();
  let isCut = false;
  const server = createServer({ allowHalfOpen: false }, (near) => {
    near.on('error', () => undefined);
    const far = isCut ? null : connect(target);
    const pair = { near, far };
    pairs.add(pair);
    near.once('close', () => {
      far?.destroy();
      pairs.delete(pair);
    });
    if (far === null) return;
    far.on('error', () => near.destroy());
    far.once('close', () => near.destroy());
    near.pipe(far);
    far.pipe(near);
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as { port: number };
  const drop = (): void => {
    for (const { near, far } of pairs) {
      near.destroy();
      far?.destroy();
    }
  };
  return {
    port,
    cut: () => {
      isCut = true;
      for (const { near, far } of pairs) {
        near.unpipe();
        far?.unpipe();
        near.pause();
        far?.pause();
      }
    },
    mend: () => {
      isCut = false;
      drop();
    },
    [Symbol.asyncDispose]: async () => {
      drop();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}
