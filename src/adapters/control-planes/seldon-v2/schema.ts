import { z } from 'zod';
import { tlsConfigSchema } from '../../../config/http-config.ts';
import { always } from '../../../config/key-rules.ts';
import { duration, text } from '../../../config/scalars.ts';
import { kubernetesAccess, kubernetesAccessCheck } from '../../kubernetes/access.ts';
import { artifactPattern } from '../artifact-names.ts';
import { gitopsPolicy } from '../resource-patch.ts';

const scheduler = z.strictObject({
  endpoint: z
    .string({ error: 'expected an address; write host:port' })
    .regex(/^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9_.-]+):\d{1,5}$/, 'expected an address; write host:port, such as seldon-scheduler.seldon-mesh:9004')
    .meta({ description: 'Address of the scheduler’s gRPC API: seldon-scheduler.NAMESPACE:9004, or :9044 with TLS. Required.' }),
  tls_config: tlsConfigSchema.optional().meta({ description: 'TLS (and with cert and key mutual TLS) of that connection. Default: plaintext.' }),
  timeout: duration({ minMs: 1, minText: '1ms' }).prefault('3s').meta({ description: 'Longest time one status stream may take. Default: 3s.' }),
});

/** What stands under `seldon_v2` of a control plane. */
export const seldonV2Config = z
  .strictObject({
    ...kubernetesAccess.shape,
    gitops: gitopsPolicy,
    scheduler: scheduler.meta({ description: 'The scheduler, which alone tells which generation serves; only read. Required.' }),
  })
  .check(kubernetesAccessCheck);
export type SeldonV2Config = z.output<typeof seldonV2Config>;

/** What stands under `models[].plane`. */
export const seldonV2Keys = z
  .strictObject({
    model: text({ min: 1, expected: 'the name of a Model' })
      .optional()
      .meta({ description: 'Model whose artifact is set back. One of model, experiment. Default: the name of the model here.' }),
    experiment: text({ min: 1, expected: 'the name of an Experiment' })
      .optional()
      .meta({ description: 'Experiment whose candidates are the versions. One of model, experiment. Default: none.' }),
    namespace: text({ min: 1, expected: 'the name of a namespace' })
      .optional()
      .meta({ description: 'Its namespace. Default: that of the service account or kubeconfig context.' }),
    artifact: artifactPattern()
      .optional()
      .meta({ description: 'Where in the Model’s storageUri the version stands: gs://models/fraud/{{ $version }}. Default: artifactVersion is the version.' }),
  })
  .check(
    always((value, refuse) => {
      if (value['experiment'] === undefined) return;
      if (value['model'] !== undefined) refuse('model', 'expected only one of model and experiment');
      if (value['artifact'] !== undefined) refuse('artifact', 'expected no artifact beside experiment: its candidates are the versions');
    }),
  );
