import type { AnyControlPlaneKind } from './control-plane.ts';
import { kserve } from './kserve/index.ts';
import { mlflow } from './mlflow/index.ts';
import { seldonV1 } from './seldon-v1/index.ts';
import { seldonV2 } from './seldon-v2/index.ts';
import { tensorflowServing } from './tensorflow-serving/index.ts';

/** Every kind of control plane: one line each. */
const kinds: readonly AnyControlPlaneKind[] = [tensorflowServing, mlflow, seldonV1, seldonV2, kserve];

/** Kind (key in the daemon's file) → its schemas and code. */
export const controlPlaneKinds: ReadonlyMap<string, AnyControlPlaneKind> = new Map(kinds.map((kind) => [kind.kind, kind]));
