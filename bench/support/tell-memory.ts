/**
 * Loaded before the daemon (`node --expose-gc --import`): tells its parent, when asked over IPC, what it holds after a collection.
 * The channel keeps nothing alive.
 */
export type HeldByProcess = {
  readonly heapUsed: number;
  readonly external: number;
  /** Kinds of what keeps the event loop alive, one entry each. */
  readonly resources: readonly string[];
};

process.on('message', () => {
  globalThis.gc?.();
  const { heapUsed, external } = process.memoryUsage();
  const held: HeldByProcess = { heapUsed, external, resources: process.getActiveResourcesInfo() };
  process.send?.(held);
});
process.channel?.unref();
