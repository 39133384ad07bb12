import { z } from 'zod';
import { text } from '../../../config/scalars.ts';
import { kubernetesAccess, kubernetesAccessCheck } from '../../kubernetes/access.ts';
import { gitopsKeys } from '../../kubernetes/gitops-state.ts';

/** What stands under `kubernetes_deployment` of a control plane. */
export const kubernetesDeploymentConfig = z.strictObject({ ...kubernetesAccess.shape, ...gitopsKeys }).check(kubernetesAccessCheck);
export type KubernetesDeploymentConfig = z.output<typeof kubernetesDeploymentConfig>;

/** The label that Kubernetes recommends for the version of an application. */
const defaultLabel = 'app.kubernetes.io/version';

const versionFrom = z.union(
  [
    z.strictObject({ label: text({ min: 1, expected: 'the name of a label' }).meta({ description: 'Label of the pod template that carries the version.' }) }),
    z.strictObject({
      image_tag: text({ min: 1, expected: 'the name of a container' }).meta({
        description: 'Container whose image carries the version: its tag, or its digest where it has one.',
      }),
    }),
    z.literal('image_tag'),
    z.literal('pod_template_hash'),
  ],
  { error: 'expected {label: …}, image_tag, {image_tag: container} or pod_template_hash' },
);
export type VersionFrom = z.output<typeof versionFrom>;

/** What stands under `models[].plane`. */
export const kubernetesDeploymentKeys = z.strictObject({
  namespace: text({ min: 1, expected: 'a namespace' }).optional().meta({ description: 'Namespace. Default: that of the service account or context.' }),
  deployment: text({ min: 1, expected: 'the name of a Deployment' })
    .optional()
    .meta({ description: 'Name of the Deployment. Default: the name of the model here.' }),
  version_from: versionFrom.default({ label: defaultLabel }).meta({
    description:
      'What names a version: {label: …} of the pod template, image_tag (of the first container, or {image_tag: container}), or pod_template_hash. Default: {label: app.kubernetes.io/version}.',
  }),
  statefulset: z
    .never({
      error:
        'expected no statefulset: rolling one back does not replace a pod that is not ready (kubernetes#67250), so a rollback could not be proved; use a Deployment, or the exec control plane',
    })
    .optional()
    .meta({ description: 'Refused: StatefulSets cannot be rolled back safely.' }),
});
