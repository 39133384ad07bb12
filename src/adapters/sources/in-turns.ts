/** Runs `run` for every task, at most `limit` at once, starting them in order. Rejects with the first failure. */
export async function inTurns<T>(tasks: Iterable<T>, limit: number, run: (task: T) => Promise<void>): Promise<void> {
  const rest = tasks[Symbol.iterator]();
  const worker = async (): Promise<void> => {
    for (let next = rest.next(); next.done !== true; next = rest.next()) await run(next.value);
  };
  await Promise.all(Array.from({ length: limit }, worker));
}
