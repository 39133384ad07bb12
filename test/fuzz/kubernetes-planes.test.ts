import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
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
import { answerInProcess, type InProcessAnswer } from '../support/in-process-http.ts';
import { connectPlane } from '../support/kubernetes/plane-stage.ts';
import { expectSound, wasRefused } from './sound.ts';

/** What an API server answered to one thorough observation of each plane: path → document. */
type Answers = Readonly<Record<string, unknown>>;
const recorded = JSON.parse(readFileSync(join(import.meta.dirname, 'fixtures/kubernetes-answers.json'), 'utf8')) as Readonly<Record<string, Answers>>;

const ever = new AbortController().signal;
const named = { name: 'fraud', namespace: 'shop' };

const planes: readonly {
  readonly name: string;
  readonly kind: AnyControlPlaneKind;
  readonly config?: Readonly<Record<string, unknown>>;
  readonly keys: Readonly<Record<string, unknown>>;
  readonly serves: string;
  /** What it calls the traffic of endpoints that are no known pod. */
  readonly placeholder?: string;
}[] = [
  { name: 'kubernetes_deployment', kind: kubernetesDeployment, keys: {}, serves: '7' },
  { name: 'kubernetes_service', kind: kubernetesService, keys: {}, serves: '7', placeholder: 'unknown' },
  { name: 'gateway_api', kind: gatewayApi, config: { propagation: '0s' }, keys: { namespace: 'shop', version_pattern: 'fraud-v(\\d+)' }, serves: '7' },
  { name: 'istio', kind: istio, config: { propagation: '0s' }, keys: { namespace: 'shop', versions: { '6': 'v6', '7': 'v7' } }, serves: '7' },
  { name: 'ingress_nginx', kind: ingressNginx, config: { propagation: '0s' }, keys: { namespace: 'shop', version_pattern: 'fraud-v(\\d+)' }, serves: '6' },
  { name: 'kserve, Knative', kind: kserve, keys: { ...named, artifact: 's3://models/fraud/{{ $version }}' }, serves: 'v2' },
  { name: 'kserve, Standard', kind: kserve, keys: { ...named, artifact: 's3://models/fraud/{{ $version }}' }, serves: 'v2' },
  { name: 'seldon_v1, Istio', kind: seldonV1, keys: named, serves: 'v2' },
  { name: 'seldon_v1, Ambassador', kind: seldonV1, keys: named, serves: 'v2' },
];

describe.each(planes)('$name, given any answers of an API server', ({ name, kind, config = {}, keys, serves, placeholder }) => {
  const good = recorded[name] ?? {};
  let answers: Answers = good;
  let plane: ControlPlane;
  const target: PlaneTarget = { model: 'fraud', plane: kind.planeKeys.parse(keys) as Record<string, unknown> };
  const owned = new AsyncDisposableStack();

  beforeAll(async () => {
    owned.use(
      answerInProcess(({ method, url }): InProcessAnswer => {
        const document = answers[`${method} ${url.pathname}${url.search}`];
        if (document !== undefined) return { body: JSON.stringify(document) };
        return { status: 404, body: JSON.stringify({ kind: 'Status', status: 'Failure', reason: 'NotFound', code: 404, message: 'not found' }) };
      }),
    );
    plane = await connectPlane(kind, { url: 'http://127.0.0.1:1', token: 'planted-t0ken', config });
    owned.defer(async () => await plane.close());
  });
  afterAll(async () => await owned.disposeAsync());

  it('reads the good ones', async () => {
    answers = good;

    const observation = await plane.observe(target, { thorough: true }, ever);

    expect(observation.serving).toEqual([{ version: serves, share: 1 }]);
    expect(observation.refusals).toEqual([]);
  });

  // Only KServe tells its mode by a name.
  const inherited = kind === kserve ? ['constructor', '__proto__', 'toString'] : [];
  for (const mode of inherited)
    it(`takes ${mode} for no mode of a deployment`, async () => {
      const path = 'GET /apis/serving.kserve.io/v1beta1/namespaces/shop/inferenceservices/fraud';
      const isvc = structuredClone(good[path]) as { status: Record<string, unknown> };
      isvc.status['deploymentMode'] = mode;
      answers = { ...good, [path]: isvc };

      await expect(plane.observe(target, { thorough: false }, ever)).rejects.toThrow(`deployment mode ${mode} is not supported`);
    });

  it('never makes up a version or a share', async () => {
    await forAll(anyDamages, 50, async (damages) => {
      answers = damaged(good, damages);
      const observation = await wasRefused(plane.observe(target, { thorough: damages.length === 1 }, ever));
      if (observation !== null) expectSound(observation, { plane, target, said: [answers, keys, placeholder] });
    });
  });
});
