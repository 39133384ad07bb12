import { z } from 'zod';
import { duration, flag, text, wholeNumber } from '../../../config/scalars.ts';
import { kubernetesAccess, kubernetesAccessCheck } from '../../kubernetes/access.ts';
import { gitopsKeys } from '../../kubernetes/gitops-state.ts';
import { versionNameCheck, versionNameKeys } from '../version-names.ts';

/** What stands under `gateway_api` of a control plane. */
export const gatewayApiConfig = z
  .strictObject({
    ...kubernetesAccess.shape,
    ...gitopsKeys,
    controller_name: text({ min: 1, expected: 'the name of a controller, as GatewayClass has it' }).optional().meta({
      description: 'Only what this controller says in status.parents counts; for routes an old controller has left words on. Default: every controller.',
    }),
    propagation: duration()
      .prefault('2s')
      .meta({ description: 'How long the proxies may take after the controller said that it took the route; only then it counts as switched. Default: 2s.' }),
    smoke_before_switch: flag().default(false).meta({
      description:
        'Ask the smoke test before traffic moves, too; its URL must then lead to the target itself, as http://fraud-v{{ $to }}.shop.svc. Default: false.',
    }),
  })
  .check(kubernetesAccessCheck);
export type GatewayApiConfig = z.output<typeof gatewayApiConfig>;

/** What stands under `models[].plane`. */
export const gatewayApiKeys = z
  .strictObject({
    namespace: text({ min: 1, expected: 'a namespace' }).meta({ description: 'Namespace of the HTTPRoute. Required.' }),
    http_route: text({ min: 1, expected: 'the name of an HTTPRoute' })
      .optional()
      .meta({ description: 'Name of the HTTPRoute. Default: the name of the model here.' }),
    rule: text({ min: 1, expected: 'the name of a rule, or its index from 0' })
      .optional()
      .meta({ description: 'Rule of the route that serves the model: its name, or its index from 0. Default: the only one.' }),
    ...versionNameKeys('the backend Service'),
    min_ready: wholeNumber(1).default(1).meta({ description: 'Ready endpoints the Service of a version must have to be a target. Default: 1.' }),
  })
  .check(versionNameCheck);
export type GatewayApiKeys = z.output<typeof gatewayApiKeys>;
