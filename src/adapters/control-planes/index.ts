import { argoRollouts } from './argo-rollouts/index.ts';
import type { AnyControlPlaneKind } from './control-plane.ts';
import { exec } from './exec/index.ts';
import { gatewayApi } from './gateway-api/index.ts';
import { haproxy } from './haproxy/index.ts';
import { ingressNginx } from './ingress-nginx/index.ts';
import { istio } from './istio/index.ts';
import { kserve } from './kserve/index.ts';
import { kubernetesDeployment } from './kubernetes-deployment/index.ts';
import { kubernetesService } from './kubernetes-service/index.ts';
import { mlflow } from './mlflow/index.ts';
import { nginx } from './nginx/index.ts';
import { seldonV1 } from './seldon-v1/index.ts';
import { seldonV2 } from './seldon-v2/index.ts';
import { tensorflowServing } from './tensorflow-serving/index.ts';
import { webhook } from './webhook/index.ts';

/** Every kind of control plane: one line each. */
const kinds: readonly AnyControlPlaneKind[] = [
  argoRollouts,
  exec,
  gatewayApi,
  haproxy,
  ingressNginx,
  istio,
  kserve,
  kubernetesDeployment,
  kubernetesService,
  mlflow,
  nginx,
  seldonV1,
  seldonV2,
  tensorflowServing,
  webhook,
];

/** Kind (key in the daemon's file) → its schemas and code. */
export const controlPlaneKinds: ReadonlyMap<string, AnyControlPlaneKind> = new Map(kinds.map((kind) => [kind.kind, kind]));
