import type { AnyControlPlaneKind } from './control-plane.ts';
import { mlflow } from './mlflow/index.ts';
import { tensorflowServing } from './tensorflow-serving/index.ts';

/** Every kind of control plane: one line each. */
const kinds: readonly AnyControlPlaneKind[] = [mlflow, tensorflowServing];

/** Kind (key in the daemon's file) → its schemas and code. */
export const controlPlaneKinds: ReadonlyMap<string, AnyControlPlaneKind> = new Map(kinds.map((kind) => [kind.kind, kind]));
