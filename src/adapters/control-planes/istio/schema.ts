import { z } from 'zod';
import { duration, flag, text, wholeNumber } from '../../../config/scalars.ts';
import { kubernetesAccess, kubernetesAccessCheck } from '../../kubernetes/access.ts';
import { gitopsKeys } from '../../kubernetes/gitops-state.ts';
import { versionNameCheck, versionNameKeys } from '../version-names.ts';

/** What stands under `istio` of a control plane. */
export const istioConfig = z
  .strictObject({
    ...kubernetesAccess.shape,
    ...gitopsKeys,
    propagation: duration()
      .prefault('5s')
      .meta({ description: 'How long the proxies may take to follow a change; Istio tells it only where its status is switched on. Default: 5s.' }),
    smoke_before_switch: flag().default(false).meta({
      description: 'Ask the smoke test before traffic moves, too; its URL must then lead to the target itself (a route or Service of its own). Default: false.',
    }),
  })
  .check(kubernetesAccessCheck);
export type IstioConfig = z.output<typeof istioConfig>;

/** What stands under `models[].plane`. */
export const istioKeys = z
  .strictObject({
    namespace: text({ min: 1, expected: 'a namespace' }).meta({ description: 'Namespace of the VirtualService. Required.' }),
    virtual_service: text({ min: 1, expected: 'the name of a VirtualService' })
      .optional()
      .meta({ description: 'Name of the VirtualService. Default: the name of the model here.' }),
    route: text({ min: 1, expected: 'the name of an http route, or its index from 0' })
      .optional()
      .meta({ description: 'Entry of spec.http that serves the model: its name, or its index from 0. Default: the only one.' }),
    service: text({ min: 1, expected: 'the name of a Service' })
      .optional()
      .meta({ description: 'Service of the model, for the preset istio. Default: the name of the model here.' }),
    ...versionNameKeys('the subset (of the host, where there is no subset)'),
    min_ready: wholeNumber(1).default(1).meta({ description: 'Ready endpoints a version must have to be a target. Default: 1.' }),
  })
  .check(versionNameCheck);
export type IstioKeys = z.output<typeof istioKeys>;
