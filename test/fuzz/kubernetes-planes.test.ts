import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { argoRollouts } from '../../src/adapters/control-planes/argo-rollouts/index.ts';
import type { AnyControlPlaneKind } from '../../src/adapters/control-planes/control-plane.ts';
import { gatewayApi } from '../../src/adapters/control-planes/gateway-api/index.ts';
import { ingressNginx } from '../../src/adapters/control-planes/ingress-nginx/index.ts';
import { istio } from '../../src/adapters/control-planes/istio/index.ts';
import { kserve } from '../../src/adapters/control-planes/kserve/index.ts';
import { kubernetesDeployment } from '../../src/adapters/control-planes/kubernetes-deployment/index.ts';
import { kubernetesService } from '../../src/adapters/control-planes/kubernetes-service/index.ts';
import { seldonV1 } from '../../src/adapters/control-planes/seldon-v1/index.ts';
import type { ControlPlane, PlaneTarget } from '../../src/domain/ports.ts';
import { anyDamages, damaged, forAll } from '../support/fuzz.ts';
import { type KubernetesAnswers, tell } from '../support/in-memory-kubernetes.ts';
import { aPlaneDeps } from '../support/plane-deps.ts';
import { expectSound, wasRefused } from './sound.ts';

vi.mock('../../src/adapters/http/client.ts', async () => await import('../support/in-memory-http.ts'));
vi.mock('../../src/adapters/kubernetes/kubeconfig.ts', async () => await import('../support/in-memory-kubernetes.ts'));

/** What an API server answered to one thorough observation of each plane. */
const recorded = JSON.parse(readFileSync(join(import.meta.dirname, 'fixtures/kubernetes-answers.json'), 'utf8')) as Readonly<Record<string, KubernetesAnswers>>;

const ever = new AbortController().signal;
const named = { name: 'fraud', namespace: 'shop' };

const planes: readonly {
  readonly name: string;
  readonly kind: AnyControlPlaneKind;
  readonly config?: Readonly<Record<string, unknown>>;
  readonly keys: Readonly<Record<string, unknown>>;
  readonly serves: Readonly<Record<string, number>>;
  /** What it calls a version of which nothing is known. */
  readonly placeholder?: string;
}[] = [
  { name: 'kubernetes_deployment', kind: kubernetesDeployment, keys: {}, serves: { '7': 1 } },
  { name: 'kubernetes_service', kind: kubernetesService, keys: {}, serves: { '7': 1 }, placeholder: 'unknown' },
  { name: 'gateway_api', kind: gatewayApi, config: { propagation: '0s' }, keys: { namespace: 'shop', version_pattern: 'fraud-v(\\d+)' }, serves: { '7': 1 } },
  { name: 'istio', kind: istio, config: { propagation: '0s' }, keys: { namespace: 'shop', versions: { '6': 'v6', '7': 'v7' } }, serves: { '7': 1 } },
  {
    name: 'ingress_nginx',
    kind: ingressNginx,
    config: { propagation: '0s' },
    keys: { namespace: 'shop', version_pattern: 'fraud-v(\\d+)' },
    serves: { '6': 1 },
  },
  { name: 'kserve, Knative', kind: kserve, keys: { ...named, artifact: 's3://models/fraud/{{ $version }}' }, serves: { v2: 1 }, placeholder: '?' },
  { name: 'kserve, Standard', kind: kserve, keys: { ...named, artifact: 's3://models/fraud/{{ $version }}' }, serves: { v2: 1 }, placeholder: '?' },
  { name: 'seldon_v1, Istio', kind: seldonV1, keys: named, serves: { v2: 1 } },
  { name: 'seldon_v1, Ambassador', kind: seldonV1, keys: named, serves: { v2: 1 } },
  { name: 'argo_rollouts, canary', kind: argoRollouts, keys: {}, serves: { '6': 0.8, '7': 0.2 }, placeholder: 'unknown' },
  { name: 'argo_rollouts, blue-green', kind: argoRollouts, keys: {}, serves: { '7': 1 } },
];

describe.each(planes)('$name, given any answers of an API server', ({ name, kind, config = {}, keys, serves, placeholder }) => {
  const good = recorded[name] ?? {};
  let plane: ControlPlane;
  const target: PlaneTarget = { model: 'fraud', plane: kind.planeKeys.parse(keys) as Record<string, unknown> };

  beforeAll(async () => {
    plane = await kind.create(kind.config.parse({ kubeconfig: 'none', ...config }), aPlaneDeps());
  });
  afterAll(async () => await plane.close());

  it('reads the good ones', async () => {
    tell(good);

    const observation = await plane.observe(target, { thorough: true }, ever);

    expect(Object.fromEntries(observation.serving.map(({ version, share }) => [version, share]))).toEqual(serves);
    expect(observation.refusals).toEqual([]);
  });

  // Only KServe tells its mode by a name.
  const inherited = kind === kserve ? ['constructor', '__proto__', 'toString'] : [];
  for (const mode of inherited)
    it(`takes ${mode} for no mode of a deployment`, async () => {
      const path = 'GET /apis/serving.kserve.io/v1beta1/namespaces/shop/inferenceservices/fraud';
      const isvc = structuredClone(good[path]) as { status: Record<string, unknown> };
      isvc.status['deploymentMode'] = mode;
      tell({ ...good, [path]: isvc });

      await expect(plane.observe(target, { thorough: false }, ever)).rejects.toThrow(`deployment mode ${mode} is not supported`);
    });

  it('never makes up a version or a share', async () => {
    // 2,000 of each kind: those that can look in two ways play half of them in each.
    const cases = 2_000 / planes.filter((other) => other.kind === kind).length;
    await forAll(anyDamages, cases, async (damages) => {
      const answers = damaged(good, damages);
      tell(answers);
      const observation = await wasRefused(plane.observe(target, { thorough: damages.length === 1 }, ever));
      if (observation !== null) expectSound(observation, { plane, target, said: [Object.values(answers), keys, placeholder] });
    });
  });
});
