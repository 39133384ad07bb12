import v8 from 'node:v8';
import { environment } from '../config/env.ts';

/**
 * Has V8 collect a daemon's garbage when there is a tenth more than what lives, not a multiple of it: one that waits most of the time has the time.
 * Left alone where somebody chose sizes themselves. `node bench/memory.ts` measures it.
 */
export function keepHeapLean(): void {
  for (const flag of leanFlags([...process.execArgv, environment()['NODE_OPTIONS'] ?? ''].join(' '))) v8.setFlagsFromString(flag);
}

/** @param chosen flags that Node was started with */
export function leanFlags(chosen: string): string[] {
  return /-semi-space-size|--max-old-space-size|--heap-growing-percent/.test(chosen) ? [] : ['--semi-space-growth-factor=1', '--heap-growing-percent=10'];
}
