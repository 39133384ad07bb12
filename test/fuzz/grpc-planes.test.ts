import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { create, type DescMessage, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import type * as Connect from '@connectrpc/connect';
import { type Code, ConnectError } from '@connectrpc/connect';
import type * as ConnectNode from '@connectrpc/connect-node';
import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { seldonV2 } from '../../src/adapters/control-planes/seldon-v2/index.ts';
import { tensorflowServing } from '../../src/adapters/control-planes/tensorflow-serving/index.ts';
import type { PlaneTarget } from '../../src/domain/ports.ts';
import { anyDamages, anyText, damaged, forAll } from '../support/fuzz.ts';
import { answerCallsBy, type GrpcAnswer } from '../support/in-memory-grpc.ts';
import { type KubernetesAnswers, tell } from '../support/in-memory-kubernetes.ts';
import { aPlaneDeps } from '../support/plane-deps.ts';
import {
  ExperimentStatusResponseSchema,
  ModelStatusResponseSchema,
  ServerStatusResponseSchema,
} from '../support/seldon-v2-scheduler/gen/mlops/scheduler/scheduler_pb.ts';
import { GetModelMetadataResponseSchema } from '../support/tensorflow-serving/gen/tensorflow_serving/apis/get_model_metadata_pb.ts';
import { GetModelStatusResponseSchema } from '../support/tensorflow-serving/gen/tensorflow_serving/apis/get_model_status_pb.ts';
import { expectSound, wasRefused } from './sound.ts';

vi.mock('@connectrpc/connect', async (original) => ({
  ...(await original<typeof Connect>()),
  createClient: (await import('../support/in-memory-grpc.ts')).createClient,
}));
vi.mock('@connectrpc/connect-node', async (original) => ({ ...(await original<typeof ConnectNode>()), ...(await import('../support/in-memory-grpc.ts')) }));
vi.mock('../../src/adapters/http/client.ts', async () => await import('../support/in-memory-http.ts'));
vi.mock('../../src/adapters/kubernetes/kubeconfig.ts', async () => await import('../support/in-memory-kubernetes.ts'));

const ever = new AbortController().signal;
/** Nothing is waited for: an answer that contradicts the list is asked for again after a while. */
const deps = { ...aPlaneDeps(), clock: { nowMs: () => 0, sleep: async () => undefined } };
const words = anyText.map((text) => text.toWellFormed());
const int64 = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom(6n, 7n) },
  fc.constantFrom(0n, -1n, 2n ** 63n - 1n, -(2n ** 63n), 2n ** 53n + 1n),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
);
const int32 = fc.oneof({ weight: 2, arbitrary: fc.nat({ max: 60 }) }, fc.integer());

const error: fc.Arbitrary<GrpcAnswer> = fc
  .tuple(words, fc.integer({ min: 1, max: 16 }), fc.boolean())
  .map(([text, code, isOfTheWire]) => new ConnectError(text, code as Code, undefined, undefined, isOfTheWire ? new Error(text) : undefined));

/** The bytes of a message, whole, cut short, or with some of them replaced. */
function bytesOf<Schema extends DescMessage>(schema: Schema, message: fc.Arbitrary<unknown>): fc.Arbitrary<Uint8Array> {
  const whole = message.map((init) => toBinary(schema, create(schema, init as MessageInitShape<Schema>)));
  return fc.oneof(
    { weight: 6, arbitrary: whole },
    { weight: 1, arbitrary: fc.tuple(whole, fc.nat({ max: 200 })).map(([bytes, length]) => bytes.slice(0, length)) },
    {
      weight: 2,
      arbitrary: fc.tuple(whole, fc.nat({ max: 200 }), fc.uint8Array({ minLength: 1, maxLength: 4 })).map(([bytes, at, other]) => {
        const start = bytes.length === 0 ? 0 : at % bytes.length;
        return Uint8Array.from([...bytes.slice(0, start), ...other, ...bytes.slice(start + other.length)]);
      }),
    },
  );
}

/** All texts and numbers of the messages that these bytes are, read by another copy of the schema than the plane's. */
function saidIn(schema: DescMessage, answer: GrpcAnswer): unknown {
  if (answer instanceof ConnectError) return null;
  return answer.map((bytes) => {
    try {
      return fromBinary(schema, bytes);
    } catch {
      return null;
    }
  });
}

describe('tensorflow_serving, given any answers', () => {
  const config = tensorflowServing.config.parse({
    endpoints: ['127.0.0.1:1', '127.0.0.2:1'],
    model_config_list: [
      {
        name: 'fraud',
        base_path: '/models/fraud',
        model_platform: 'tensorflow',
        model_version_policy: { specific: { versions: ['7'] } },
        version_labels: { stable: '7' },
      },
    ],
  });
  const target: PlaneTarget = { model: 'fraud', plane: tensorflowServing.planeKeys.parse({}) as Record<string, unknown> };

  const version = fc.record({ version: int64, state: int32, status: fc.record({ errorCode: int32, errorMessage: words }) });
  const status: fc.Arbitrary<GrpcAnswer> = fc.oneof(
    {
      weight: 5,
      arbitrary: bytesOf(GetModelStatusResponseSchema, fc.record({ modelVersionStatus: fc.array(version, { maxLength: 2 }) })).map((bytes) => [bytes]),
    },
    { weight: 1, arbitrary: error },
  );
  const choice = fc.oneof(
    { weight: 3, arbitrary: int64.map((value) => ({ case: 'version' as const, value: { value } })) },
    { weight: 1, arbitrary: words.map((value) => ({ case: 'versionLabel' as const, value })) },
    { weight: 1, arbitrary: fc.constant({ case: undefined }) },
  );
  const metadata = fc.dictionary(words, fc.record({ typeUrl: words, value: fc.uint8Array({ maxLength: 20 }) }), { maxKeys: 2, noNullPrototype: true });
  const route: fc.Arbitrary<GrpcAnswer> = fc.oneof(
    {
      weight: 5,
      arbitrary: bytesOf(GetModelMetadataResponseSchema, fc.record({ modelSpec: fc.record({ name: words, versionChoice: choice }), metadata })).map((bytes) => [
        bytes,
      ]),
    },
    { weight: 1, arbitrary: error },
  );

  it('never makes up a version or a share', async () => {
    const plane = await tensorflowServing.create(config, deps);
    let read = 0;
    await forAll(fc.tuple(status, route, fc.nat({ max: 9 })), 1_500, async ([versions, routes, turn]) => {
      answerCallsBy((method) => (method === 'GetModelStatus' ? versions : routes));
      const observation = await wasRefused(plane.observe(target, { thorough: turn === 0 }, ever));
      if (observation === null) return;
      read += 1;
      const said = [saidIn(GetModelStatusResponseSchema, versions), saidIn(GetModelMetadataResponseSchema, routes), config];
      expectSound(observation, { plane, target, said });
    });
    expect(read).toBeGreaterThan(20);
    await plane.close();
  });

  it('reads a signature, or says by class that it cannot', async () => {
    const plane = await tensorflowServing.create(config, deps);
    await forAll(route, 500, async (routes) => {
      answerCallsBy(() => routes);
      const signatures = await wasRefused(plane.signatures?.(target, '7', ever) ?? Promise.resolve([]));
      for (const { signature } of signatures ?? []) expect(typeof signature).toBe('object');
    });
    await plane.close();
  });
});

const recorded = JSON.parse(readFileSync(join(import.meta.dirname, 'fixtures/kubernetes-answers.json'), 'utf8')) as Readonly<Record<string, KubernetesAnswers>>;

describe('seldon_v2, given any answers of the API server and the scheduler', () => {
  const names = fc.oneof({ weight: 4, arbitrary: fc.constantFrom('fraud', 'fraud-6', 'fraud-7', 'fraud-test') }, { weight: 1, arbitrary: words });
  const uint32 = fc.oneof({ weight: 3, arbitrary: fc.constantFrom(1, 2, 7) }, fc.nat(), fc.constant(2 ** 32 - 1));
  const version = fc.record({
    version: uint32,
    serverName: words,
    state: fc.record({ state: int32, reason: words, availableReplicas: uint32 }),
    kubernetesMeta: fc.option(fc.record({ generation: fc.oneof({ weight: 3, arbitrary: fc.constant(1n) }, int64) }), { nil: undefined }),
    modelDefn: fc.record({
      modelSpec: fc.record({ uri: fc.oneof(fc.constantFrom('gs://models/fraud/v6', 'gs://models/fraud/v7', 'gs://models/fraud/'), words) }),
    }),
  });
  const messages = (schema: DescMessage, message: fc.Arbitrary<unknown>): fc.Arbitrary<GrpcAnswer> =>
    fc.oneof({ weight: 6, arbitrary: fc.array(bytesOf(schema, message), { maxLength: 2 }) }, { weight: 1, arbitrary: error });
  const scheduler = fc.record({
    ModelStatus: messages(ModelStatusResponseSchema, fc.record({ modelName: names, versions: fc.array(version, { maxLength: 2 }), deleted: fc.boolean() })),
    ExperimentStatus: messages(
      ExperimentStatusResponseSchema,
      fc.record({
        experimentName: names,
        active: fc.boolean(),
        candidatesReady: fc.boolean(),
        statusDescription: words,
        kubernetesMeta: fc.record({ generation: fc.constantFrom(1n, 0n, -5n) }),
      }),
    ),
    ServerStatus: messages(
      ServerStatusResponseSchema,
      fc.record({
        serverName: words,
        availableReplicas: int32,
        resources: fc.array(fc.record({ availableMemoryBytes: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }) }), { maxLength: 2 }),
      }),
    ),
  });
  const targets = [
    ['Model', { model: 'fraud', namespace: 'shop', artifact: 'gs://models/fraud/{{ $version }}' }],
    ['Experiment', { experiment: 'fraud-test', namespace: 'shop' }],
  ] as const;

  it.each(targets)('never makes up a version or a share, of a %s', async (name, keys) => {
    const plane = await seldonV2.create(seldonV2.config.parse({ kubeconfig: 'none', scheduler: { endpoint: '127.0.0.1:1' } }), aPlaneDeps());
    const target: PlaneTarget = { model: 'fraud', plane: seldonV2.planeKeys.parse(keys) as Record<string, unknown> };
    const good = recorded[`seldon_v2, ${name}`] ?? {};
    let read = 0;
    await forAll(fc.tuple(scheduler, anyDamages, fc.nat({ max: 2 })), 1_000, async ([answers, damages, broken]) => {
      const objects = broken === 0 ? damaged(good, damages) : good;
      tell(objects);
      answerCallsBy((method) => answers[method as keyof typeof answers]);
      const observation = await wasRefused(plane.observe(target, { thorough: broken === 1 }, ever));
      if (observation === null) return;
      read += 1;
      const said = [saidIn(ModelStatusResponseSchema, answers.ModelStatus), objects === undefined ? null : Object.values(objects), keys, '?'];
      expectSound(observation, { plane, target, said });
    });
    expect(read).toBeGreaterThan(20);
    await plane.close();
  });
});
