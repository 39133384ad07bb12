import { z } from 'zod';
import { httpConfigSchema } from '../../../config/http-config.ts';
import { exactlyOneOf } from '../../../config/key-rules.ts';
import { duration, entityName, httpUrl, text } from '../../../config/scalars.ts';
import { compileRegex } from '../../../domain/linear-regex.ts';

/** What stands under `mlflow` of a control plane. */
export const mlflowConfig = z
  .strictObject({
    url: httpUrl().meta({ description: 'Address of the MLflow server, without /api/2.0. Required.' }),
    timeout: duration({ minMs: 100, minText: '100ms' })
      .default(10_000)
      .meta({ description: 'Limit of one call; a write that takes longer counts as unknown. Default: 10s.', default: '10s' }),
    http_config: httpConfigSchema.optional().meta({ description: 'Authentication, TLS and headers. Default: none.' }),
    actuator: entityName('the name of a control plane').optional().meta({
      description: 'Control plane that moves the traffic, by name; the registry is told after it confirmed. Exactly one of actuator, alias_is_traffic.',
    }),
    alias_is_traffic: z
      .literal(true, { error: 'expected true; leave it out where another control plane moves the traffic' })
      .optional()
      .meta({ description: 'true: the servers follow the alias by themselves, so moving it is the rollback. Exactly one of actuator, alias_is_traffic.' }),
  })
  .check(
    exactlyOneOf(['actuator', 'alias_is_traffic'], {
      none: 'needs actuator or alias_is_traffic, found neither: an alias of MLflow moves no traffic by itself; write actuator: <the control plane that does>, or alias_is_traffic: true where your servers follow the alias',
      both: 'found actuator and alias_is_traffic, expected one of them',
    }),
  );
export type MlflowConfig = z.output<typeof mlflowConfig>;

const alias = z
  .string({ error: 'expected an alias' })
  .regex(/^[\w-]{1,255}$/, 'expected an alias: letters, digits, _ and -, 255 at most')
  .refine((name) => !/^(latest|v\d+)$/i.test(name), 'expected an alias; MLflow reserves latest, and v with a number');

/** What stands under `models[].plane`, beside the keys of the actuator. */
export const mlflowKeys = z.strictObject({
  registered_model: text({ min: 1, expected: 'the name of a registered model' })
    .optional()
    .meta({ description: 'Name of the registered model in MLflow. Default: the name of the model here.' }),
  alias: alias.default('champion').meta({ description: 'Alias that says which version serves. Default: champion.' }),
  repository: httpUrl()
    .optional()
    .meta({ description: 'Address of the git repository, for a link to the commit of a version’s run. Default: the run’s tag mlflow.source.git.repoURL.' }),
  registry_version: z
    .string({ error: 'expected a regular expression with one capture' })
    .superRefine((pattern, context) => {
      const fault = captureFault(pattern);
      if (fault !== null) context.addIssue({ code: 'custom', message: fault });
    })
    .optional()
    .meta({ description: 'Regular expression with one capture, anchored: the actuator’s name of a version → MLflow’s. Default: they are the same.' }),
});

/** Why a pattern cannot map versions, `null` when it can. */
function captureFault(pattern: string): string | null {
  const { regex, fault } = compileRegex(pattern);
  if (fault !== undefined) return `expected a regular expression that compiles (${fault})`;
  return regex.captures === 1 ? null : `expected exactly one capture, such as fraud-(\\d+); it has ${regex.captures}`;
}
