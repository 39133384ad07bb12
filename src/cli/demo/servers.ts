import { fileURLToPath } from 'node:url';
import type * as load from '../../../test/support/tensorflow-serving/load.ts';
import type * as start from '../../../test/support/tensorflow-serving/start.ts';

/** The double's modules, whichever way this file was loaded: a checkout's `.ts`, or the package's `.js`. */
type Double = typeof start;
type LoadModule = typeof load;

const extension = fileURLToPath(import.meta.url).endsWith('.ts') ? 'ts' : 'js';
const folder = new URL('../../../test/support/tensorflow-serving/', import.meta.url);

/**
 * The protocol double of TensorFlow Serving, which the demo starts as processes of its own. It lies with the tests since it must know nothing of
 * rollbackd's own code; so it is loaded by its place, not imported.
 */
export async function loadDouble(): Promise<Double & LoadModule> {
  const [starting, loading] = await Promise.all([
    import(new URL(`start.${extension}`, folder).href) as Promise<Double>,
    import(new URL(`load.${extension}`, folder).href) as Promise<LoadModule>,
  ]);
  return { ...starting, ...loading };
}
