import { z } from 'zod';
import { duration, flag, text, wholeNumber } from '../../../config/scalars.ts';
import { kubernetesAccess, kubernetesAccessCheck } from '../../kubernetes/access.ts';
import { gitopsKeys } from '../../kubernetes/gitops-state.ts';
import { versionNameCheck, versionNameKeys } from '../version-names.ts';

/** What stands under `ingress_nginx` of a control plane. */
export const ingressNginxConfig = z
  .strictObject({
    ...kubernetesAccess.shape,
    ...gitopsKeys,
    annotations_prefix: text({ min: 1, expected: 'the prefix of annotations, without a slash at its end' }).default('nginx.ingress.kubernetes.io').meta({
      description: 'What the controller’s flag --annotations-prefix says. Default: nginx.ingress.kubernetes.io.',
    }),
    propagation: duration().prefault('5s').meta({
      description:
        'How long the controller and its workers may take to follow a change, which nothing tells: it looks every 3.3 s (--sync-rate-limit), a worker every second. Default: 5s.',
    }),
    smoke_before_switch: flag().default(false).meta({
      description:
        'Ask the smoke test before traffic moves, too; its URL must then lead to the target itself, as http://fraud-v{{ $to }}.shop.svc. Default: false.',
    }),
  })
  .check(kubernetesAccessCheck);
export type IngressNginxConfig = z.output<typeof ingressNginxConfig>;

/** What stands under `models[].plane`. */
export const ingressNginxKeys = z
  .strictObject({
    namespace: text({ min: 1, expected: 'a namespace' }).meta({ description: 'Namespace of both Ingresses. Required.' }),
    ingress: text({ min: 1, expected: 'the name of an Ingress' })
      .optional()
      .meta({ description: 'Name of the primary Ingress. Default: the name of the model here.' }),
    canary: text({ min: 1, expected: 'the name of an Ingress' })
      .optional()
      .meta({ description: 'Name of the canary Ingress, which need not be there all the time. Default: the primary’s name and -canary.' }),
    host: text({ min: 1, expected: 'a host, as the Ingress has it' })
      .optional()
      .meta({ description: 'Only the rules of this host serve the model. Default: all.' }),
    path: text({ min: 1, expected: 'a path, as the Ingress has it' })
      .optional()
      .meta({ description: 'Only this path serves the model; for an Ingress that leads to several models. Default: all.' }),
    ...versionNameKeys('the backend Service'),
    min_ready: wholeNumber(1).default(1).meta({ description: 'Ready endpoints a Service must have before traffic moves to it. Default: 1.' }),
  })
  .check(versionNameCheck);
export type IngressNginxKeys = z.output<typeof ingressNginxKeys>;
