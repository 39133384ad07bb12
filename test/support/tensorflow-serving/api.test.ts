import { anyUnpack } from '@bufbuild/protobuf/wkt';
import { Code } from '@connectrpc/connect';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sixDigits } from './api/tensorflow-metrics.ts';
import { Code as TensorFlowCode } from './gen/tensorflow/core/protobuf/error_codes_pb.ts';
import { SignatureDefMapSchema } from './gen/tensorflow_serving/apis/get_model_metadata_pb.ts';
import { eventually, startTestServer, type TestServer } from './test-server.ts';

let server: TestServer;

async function get(path: string): Promise<{ status: number; body: unknown }> {
  const response = await fetch(`${server.rest}${path}`);
  return { status: response.status, body: await response.json() };
}

async function post(path: string, body = '{"instances": [[1], [2]]}'): Promise<{ status: number; body: unknown; version: string | null }> {
  const response = await fetch(`${server.rest}${path}`, { method: 'POST', body });
  return { status: response.status, body: await response.json(), version: response.headers.get('x-model-version') };
}

async function metrics(path = '/monitoring/prometheus/metrics'): Promise<string[]> {
  const response = await fetch(`${server.rest}${path}`);
  return (await response.text()).split('\n');
}

beforeAll(async () => {
  const models = {
    fraud: { 42: {}, 43: { score: 0.5 } },
    counted: { 7: { fail_ratio: 0.1, latency_ms: 20 } },
    slow: { 1: { latency_ms: 300 } },
    failing: { 1: { fail_ratio: 1, fail_code: 'UNAVAILABLE' as const, fail_message: 'overloaded' } },
    changing: { 1: {} },
  };
  const flags = { extra_versioned_metrics: true, rest_api_timeout_in_ms: 100, allow_version_labels_for_unavailable_models: true };
  const fraud = { name: 'fraud', versions: [42, 43], labels: { stable: 42, gone: 41 } };
  server = await startTestServer(models, flags, [fraud, ...['counted', 'slow', 'failing', 'changing'].map((name) => ({ name }))]);
  await eventually(
    () => server.states('fraud'),
    (states) => states === 'v43 AVAILABLE, v42 AVAILABLE',
  );
});

afterAll(() => server[Symbol.asyncDispose]());

describe('the status', () => {
  it('names every version ever seen, highest first, with versions as strings in JSON', async () => {
    const { status, body } = await get('/v1/models/fraud');

    const ok = { error_code: 'OK', error_message: '' };
    expect(status).toBe(200);
    expect(body).toEqual({
      model_version_status: [
        { version: '43', state: 'AVAILABLE', status: ok },
        { version: '42', state: 'AVAILABLE', status: ok },
      ],
    });
  });

  it('takes a version, and ignores a label', async () => {
    const one = await get('/v1/models/fraud/versions/42');
    const labelled = await get('/v1/models/fraud/labels/no-such-label');
    const { modelVersionStatus } = await server.modelService.getModelStatus({
      modelSpec: { name: 'fraud', versionChoice: { case: 'versionLabel', value: 'stable' } },
    });

    expect(one.body).toHaveProperty('model_version_status.length', 1);
    expect(labelled.body).toHaveProperty('model_version_status.length', 2);
    expect(modelVersionStatus).toHaveLength(2);
  });

  it.each([
    ['/v1/models/none', 404, 'Could not find any versions of model none'],
    ['/v1/models/fraud/versions/44', 404, 'Could not find version 44 of model fraud'],
    ['/v1/models', 400, 'Missing model name in request.'],
    ['/v1/models/fraud/versions/99999999999999999999', 400, 'Failed to convert version: 99999999999999999999 to numeric.'],
    ['/v1/models/fraud/no/such/path', 400, 'Malformed request: GET /v1/models/fraud/no/such/path'],
  ])('of %s is %d', async (path, status, error) => {
    expect(await get(path)).toEqual({ status, body: { error } });
  });
});

describe('the metadata', () => {
  it.each([
    ['/v1/models/fraud/metadata', '43'],
    ['/v1/models/fraud/versions/42/metadata', '42'],
    ['/v1/models/fraud/labels/stable/metadata', '42'],
  ])('of %s names version %s', async (path, version) => {
    const { status, body } = await get(path);

    expect(status).toBe(200);
    expect(body).toHaveProperty('model_spec', { name: 'fraud', signature_name: '', version });
    expect(body).toHaveProperty('metadata.signature_def.signature_def.serving_default.method_name', 'tensorflow/serving/predict');
  });

  it.each([
    ['/v1/models/fraud/labels/gone/metadata', 404, 'Servable not found for request: Specific(fraud, 41)'],
    ['/v1/models/fraud/labels/none/metadata', 400, 'Unrecognized servable version label: none'],
    ['/v1/models/none/metadata', 404, 'Servable not found for request: Latest(none)'],
  ])('of %s is %d', async (path, status, error) => {
    expect(await get(path)).toEqual({ status, body: { error } });
  });

  it('holds the signatures as an Any over gRPC, and wants to be asked for them', async () => {
    const { metadata } = await server.predictionService.getModelMetadata({ modelSpec: { name: 'fraud' }, metadataField: ['signature_def'] });

    const any = metadata['signature_def'];
    expect(any?.typeUrl).toBe('type.googleapis.com/tensorflow.serving.SignatureDefMap');
    expect(Object.keys((any && anyUnpack(any, SignatureDefMapSchema))?.signatureDef ?? {})).toEqual(['serving_default']);
    await expect(server.predictionService.getModelMetadata({ modelSpec: { name: 'fraud' } })).rejects.toMatchObject({ code: Code.InvalidArgument });
  });
});

describe('a version with signatures of its own', () => {
  const signatures = { serving_default: { inputs: { rows: { dtype: 'DT_FLOAT', tensorShape: { dim: [{ size: '-1' }, { size: '14' }] } } } } };

  it('tells them over gRPC and REST alike', async () => {
    await server.repository.setBehaviour('fraud', 42, { signatures });

    const { metadata } = await server.predictionService.getModelMetadata({
      modelSpec: { name: 'fraud', versionChoice: { case: 'version', value: { value: 42n } } },
      metadataField: ['signature_def'],
    });
    const any = metadata['signature_def'];
    const told = (any && anyUnpack(any, SignatureDefMapSchema))?.signatureDef['serving_default'];
    expect(told?.inputs['rows']?.tensorShape?.dim.map(({ size }) => size)).toEqual([-1n, 14n]);
    const { body } = await get('/v1/models/fraud/versions/42/metadata');
    expect(body).toHaveProperty('metadata.signature_def.signature_def.serving_default.inputs.rows.tensor_shape.dim.1.size', '14');
    await server.repository.setBehaviour('fraud', 42, {});
  });
});

describe('a prediction', () => {
  it('has two numbers for each instance, and tells the version in a header', async () => {
    expect(await post('/v1/models/fraud:predict')).toEqual({
      status: 200,
      version: '43',
      body: {
        predictions: [
          [0.5, 0.5],
          [0.5, 0.5],
        ],
      },
    });
    expect(await post('/v1/models/fraud/versions/42:predict')).toMatchObject({ status: 200, version: '42', body: { predictions: { 0: [0.75, 0.25] } } });
    expect(await post('/v1/models/fraud/labels/stable:predict', '{"inputs": [1]}')).toMatchObject({ version: '42', body: { outputs: [[0.75, 0.25]] } });
  });

  it('tells the version in its model_spec over gRPC', async () => {
    const inputs = { instances: { tensorShape: { dim: [{ size: 3n }, { size: 1n }] } } };

    const { modelSpec, outputs } = await server.predictionService.predict({ modelSpec: { name: 'fraud' }, inputs });

    expect(modelSpec?.versionChoice.value).toMatchObject({ value: 43n });
    expect(outputs['scores']?.floatVal).toEqual([0.5, 0.5, 0.5, 0.5, 0.5, 0.5]);
  });

  it.each([
    ['/v1/models/none:predict', '{"instances": [1]}', 404, 'Servable not found for request: Latest(none)'],
    ['/v1/models/fraud/versions/41:predict', '{"instances": [1]}', 404, 'Servable not found for request: Specific(fraud, 41)'],
    ['/v1/models/fraud:predict', '{}', 400, "Missing 'inputs' or 'instances' key"],
    ['/v1/models/fraud:predict', '{"instances": []}', 400, "Expecting 'instances' value to be a non-empty list"],
    ['/v1/models/none:predict', '{', 400, expect.stringContaining('JSON Parse error')],
    ['/v1/models/fraud', '{}', 400, 'Malformed request: POST /v1/models/fraud'],
    ['/v1/models/failing:predict', '{"instances": [1]}', 503, 'overloaded'],
    ['/v1/models/slow:predict', '{"instances": [1]}', 504, 'Timed out waiting for notification'],
  ])('of %s with %s is %d', async (path, body, status, error) => {
    expect(await post(path, body)).toMatchObject({ status, body: { error } });
  });

  it('fails or slows down as soon as the behaviour of a running version says so', async () => {
    const before = await post('/v1/models/changing:predict');
    await server.repository.setBehaviour('changing', 1, { fail_ratio: 1 });
    const after = await post('/v1/models/changing:predict');
    await server.repository.setBehaviour('changing', 1, {});

    expect([before.status, after.status, after.version, (await post('/v1/models/changing:predict')).status]).toEqual([200, 500, '1', 200]);
  });

  it('has no end of its own over gRPC: the deadline of the client ends it', async () => {
    await expect(server.predictionService.predict({ modelSpec: { name: 'slow' } }, { timeoutMs: 100 })).rejects.toMatchObject({
      code: Code.DeadlineExceeded,
    });
  });
});

describe('the metrics', () => {
  it('count every REST request, time the successes only, and know no version', async () => {
    for (let request = 0; request < 20; request += 1) await post('/v1/models/counted:predict');
    await get('/v1/models/counted');
    await server.predictionService.predict({ modelSpec: { name: 'counted' } });
    await server.states('counted');

    const lines = (await metrics()).filter((line) => line.includes('counted'));

    expect(lines).toContain(':tensorflow:serving:request_count{model_name="counted",status="OK"} 20');
    expect(lines).toContain(':tensorflow:serving:request_count{model_name="counted",status="INTERNAL"} 2');
    expect(lines).toContain(':tensorflow:serving:request_latency_count{model_name="counted",API="predict",entrypoint="REST"} 18');
    expect(lines).toContain(':tensorflow:serving:request_latency_count{model_name="counted",API="Predict",entrypoint="GRPC"} 1');
    expect(lines).toContain(':tensorflow:serving:request_latency_count{model_name="counted",API="",entrypoint="REST"} 1');
    const buckets = lines.filter((line) => line.includes('bucket') && line.includes('API="predict"'));
    expect(buckets).toHaveLength(34);
    expect(buckets[12]).toMatch(/le="11568.3"} 0$/);
    expect(buckets[33]).toMatch(/le="\+Inf"} 18$/);
    expect(lines.join('\n')).not.toContain('version');
  });

  it('of a gateway, if asked for, know the version and the status of every prediction', async () => {
    for (let request = 0; request < 2; request += 1) await post('/v1/models/failing:predict');
    await post('/v1/models/absent:predict');

    const lines = await metrics('/metrics');

    expect(lines).toContainEqual(expect.stringMatching(/^model_requests_total\{model="failing",model_version="1",code="503"\} \d$/));
    expect(lines).toContain('model_requests_total{model="absent",model_version="unknown",code="404"} 1');
    expect(lines).toContainEqual(expect.stringMatching(/^model_request_duration_seconds_bucket\{le="2.5",model="failing",model_version="1"\} \d$/));
  });

  it('write numbers as the original does', () => {
    expect([10, 58.32, 188.9568, 1101.99, 218_591.4, 1_274_823, 1_474_759_000, 0, 0.00001].map(sixDigits)).toEqual([
      '10',
      '58.32',
      '188.957',
      '1101.99',
      '218591',
      '1.27482e+06',
      '1.47476e+09',
      '0',
      '1e-05',
    ]);
  });
});

describe('the codes of TensorFlow', () => {
  it('have the numbers of gRPC', () => {
    const { OK, ...codes } = TensorFlowCode;
    const asGrpc = (name: string): string => name.toLowerCase().replace(/(?:^|_)(\w)/g, (_, letter: string) => letter.toUpperCase());

    expect(OK).toBe(0);
    for (const [name, number] of Object.entries(codes)) {
      expect([name, Code[asGrpc(name === 'CANCELLED' ? 'CANCELED' : name) as keyof typeof Code]]).toEqual([name, number]);
    }
  });
});
