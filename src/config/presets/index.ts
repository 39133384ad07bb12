import { envoyGateway } from './envoy-gateway.ts';
import { ingressNginx } from './ingress-nginx.ts';
import { istio } from './istio.ts';
import { kserve } from './kserve.ts';
import { kserveKnative } from './kserve-knative.ts';
import { kserveKnativeOtel } from './kserve-knative-otel.ts';
import { mlserver } from './mlserver.ts';
import { nginx } from './nginx.ts';
import { podLabels } from './pod-labels.ts';
import type { Preset } from './preset.ts';
import { seldonV1 } from './seldon-v1.ts';
import { seldonV2 } from './seldon-v2.ts';
import { tensorflowServing } from './tensorflow-serving.ts';
import { triton } from './triton.ts';

/** Every preset: one line each. */
const all: readonly Preset[] = [
  tensorflowServing,
  seldonV1,
  seldonV2,
  kserveKnative,
  kserveKnativeOtel,
  kserve,
  mlserver,
  triton,
  istio,
  envoyGateway,
  ingressNginx,
  nginx,
  podLabels,
];

/** Key under `models[].preset` → preset. */
export const presets: Readonly<Record<string, Preset>> = Object.fromEntries(all.map((preset) => [preset.name, preset]));
