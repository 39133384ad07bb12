import { z } from 'zod';
import { parseDuration } from '../domain/duration.ts';
import { compileRegex } from '../domain/linear-regex.ts';
import { linkVariables, smokeVariables } from '../domain/template.ts';
import { cronSchedule } from './cron-schedule.ts';
import { freezeWindowSchema } from './freeze-windows.ts';
import { always, atMostOneOf, exactlyOneOf } from './key-rules.ts';
import { limitsSchema } from './limits-schema.ts';
import { matcher, regexFault } from './matchers.ts';
import { modelGroupSchema } from './model-groups.ts';
import { rollbackSchema } from './policy-schema.ts';
import { presets } from './presets/index.ts';
import { retentionSchema } from './retention-schema.ts';
import { duration, entityName, filePath, flag, labelName, labels, text, wholeNumber } from './scalars.ts';
import { template } from './template-schema.ts';
import { timeIntervalsSchema } from './time-intervals.ts';

/** What the loader must know of the plug-ins: kinds and schemas, handed in by the composition root. */
export type Registries = {
  /** Kind (key under `sources[]`) → its schema, whether it answers PromQL (`expr` rules), and whether it is a registry: it counts no requests. */
  readonly sources: Readonly<Record<string, { readonly schema: z.ZodType; readonly promql: boolean; readonly registry: boolean }>>;
  /** Kind (key under `control_planes[]`) → its schema, the schema of `models[].plane`, and whether its settings may name another that moves the traffic. */
  readonly controlPlanes: Readonly<
    Record<string, { readonly schema: z.ZodType; readonly planeKeys: z.ZodType; readonly actuator?: ((settings: unknown) => string | null) | null }>
  >;
  /** Key under `receivers[]`, such as `slack_configs` → schema of one entry of that list. */
  readonly receivers: Readonly<Record<string, { readonly schema: z.ZodType }>>;
  /** Key under `leader_election`, such as `kubernetes_lease` → schema of its settings. */
  readonly leases: Readonly<Record<string, { readonly schema: z.ZodType }>>;
};

const metricName = z
  .string({ error: 'expected the name of a metric' })
  .regex(/^[a-zA-Z_:][a-zA-Z0-9_:]*$/, 'expected the name of a metric, without selector and function');
const matchers = z.array(matcher('required'), { error: 'expected a list of matchers; write [\'model="fraud"\']' });

const signals = z.strictObject({
  requests: z
    .strictObject({
      counter: metricName.meta({ description: 'Counter of all requests. Required.' }),
      matchers: matchers.default([]).meta({ description: 'Matchers in PromQL that select this model. Default: none.' }),
    })
    .optional()
    .meta({ description: 'All requests. Required unless a preset gives it.' }),
  errors: z
    .strictObject({
      counter: metricName.optional().meta({ description: 'Counter of failed requests, if it is one of its own. Default: the requests’ counter.' }),
      matchers: matchers
        .optional()
        .meta({ description: 'Matchers added to the requests’ selector; with a counter of its own they stand alone. Default: none.' }),
    })
    .check(
      always((value, refuse) =>
        value['counter'] === undefined && !(Array.isArray(value['matchers']) && value['matchers'].length > 0)
          ? refuse(null, 'needs matchers or a counter of its own, found neither; without them every request would be an error', { code: 'missing_key' })
          : undefined,
      ),
    )
    .optional()
    .meta({ description: 'Failed requests. Default: the preset’s, or none (then no error_ratio).' }),
  latency: z
    .strictObject({
      histogram: metricName
        .refine((name) => !/_(bucket|sum|count)$/.test(name), 'expected the histogram’s name without _bucket, _sum or _count')
        .meta({ description: 'Classic histogram of request durations, without _bucket. Required.' }),
      unit: z
        .enum(['seconds', 'milliseconds', 'microseconds', 'nanoseconds'])
        .default('seconds')
        .meta({ description: 'Unit of its bounds: seconds, milliseconds, microseconds or nanoseconds. Default: seconds.' }),
      matchers: matchers.default([]).meta({ description: 'Matchers in PromQL that select this model. Default: none.' }),
    })
    .optional()
    .meta({ description: 'Durations of requests. Default: the preset’s, or none (then no latency condition).' }),
});

const smokeUrl = template(smokeVariables, { min: 1 }).superRefine((url, context) => {
  const authority = /^https?:\/\/([^/?#]*)/.exec(url)?.[1];
  if (authority === undefined || authority === '') context.addIssue({ code: 'custom', message: 'expected a URL; write http://host:port/path' });
  else if (url.slice(0, url.indexOf(authority) + authority.length).includes('{{'))
    context.addIssue({ code: 'custom', message: 'expected scheme, host and port without template; templates may stand in path and query only' });
  else if (authority.includes('@')) context.addIssue({ code: 'custom', message: 'expected a URL without user and password; put them into headers' });
  else if (!URL.canParse(`http://${authority}/`)) context.addIssue({ code: 'custom', message: 'expected a URL; write http://host:port/path' });
});

const headers = z.record(z.string().regex(/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/, 'expected the name of an HTTP header'), template(smokeVariables), {
  error: 'expected a map of header names to values',
});

const http = z
  .strictObject({
    method: z
      .enum(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'])
      .optional()
      .meta({ description: 'HTTP method, in capitals. Default: POST with a body, else GET.' }),
    url: smokeUrl.meta({ description: 'URL; {{ $to }}, {{ $from }}, {{ $model }}, {{ $labels.x }} may stand in path and query. Required.' }),
    headers: headers.default({}).meta({ description: 'Headers; templates may be used. Default: content-type: application/json with a body.' }),
    body: template(smokeVariables).optional().meta({ description: 'Body; templates may be used. Default: none.' }),
    body_file: filePath().optional().meta({ description: 'File with the body, read at use. Default: none.' }),
  })
  .check(atMostOneOf(['body', 'body_file'], 'found body and body_file, expected one of them'));

const jsonPath = z.string().regex(/^\$/, 'expected a JSON path; write $.predictions[0]');
const expectation = z.strictObject({
  status: wholeNumber(100, 599).default(200).meta({ description: 'HTTP status. Default: 200.' }),
  json: z
    .record(jsonPath, z.json(), { error: 'expected a map of JSON paths to values' })
    .default({})
    .meta({ description: 'JSON path → value; a path may end in .length(). Default: nothing asked.' }),
  duration: z
    .strictObject({ below: duration({ minMs: 1, minText: '1ms' }).meta({ description: 'The answer must be there sooner. Required.' }) })
    .optional()
    .meta({ description: 'Limit of the answer’s duration. Default: none but the timeout.' }),
});

const command = z.strictObject({
  argv: z
    .tuple([template(smokeVariables, { min: 1 })], template(smokeVariables), { error: 'expected a list of program and arguments; write [pytest, -q]' })
    .meta({ description: 'Program and arguments, no shell; templates may be used. Required.' }),
  env: z
    .record(z.string().regex(/^[a-zA-Z_][a-zA-Z0-9_]*$/, 'expected the name of an environment variable'), template(smokeVariables), {
      error: 'expected a map of names to values',
    })
    .default({})
    .meta({ description: 'Environment variables added; templates may be used. Default: none.' }),
});

const smokeRequest = z
  .strictObject({
    name: entityName('a name for people').meta({ description: 'Name of this request, for people. Required.' }),
    http: http.optional().meta({ description: 'An HTTP request. Exactly one of http, command.' }),
    command: command.optional().meta({ description: 'A program that exits 0 when all is well. Exactly one of http, command.' }),
    expect: expectation.optional().meta({ description: 'What the HTTP answer must be. Default: status 200.' }),
  })
  .check(
    exactlyOneOf(['http', 'command'], { none: 'needs http or command, found neither', both: 'found http and command, expected one of them' }),
    always((value, refuse) =>
      value['command'] !== undefined && value['http'] === undefined && value['expect'] !== undefined
        ? refuse('expect', 'stands beside http only; a command is judged by its exit code')
        : undefined,
    ),
  );

const smokeTest = z.strictObject({
  timeout: duration({ minMs: 1, minText: '1ms' })
    .default(30_000)
    .meta({ description: 'Limit of one run of all requests, retries included. Default: 30s.', default: '30s' }),
  retries: wholeNumber(0, 100).default(2).meta({ description: 'Tries after the first. Default: 2.' }),
  requests: z
    .array(smokeRequest, { error: 'expected a list of requests' })
    .min(1, 'expected at least one request')
    .meta({ description: 'What is asked of the target. Required.' }),
  on_failure: z
    .enum(['stop', 'next_target'])
    .default('stop')
    .meta({ description: 'stop: before the switch the staging is undone and nothing moved. next_target: try the next known good version. Default: stop.' }),
});

const versionMap = z.string({ error: 'expected a regular expression with one capture' }).superRefine((pattern, context) => {
  const fault = regexFault(pattern);
  if (fault !== null) {
    context.addIssue({ code: 'custom', message: `expected a regular expression that compiles (${fault})` });
    return;
  }
  const captures = compileRegex(pattern).regex?.captures ?? 0;
  if (captures !== 1) context.addIssue({ code: 'custom', message: `expected exactly one capture, such as v(\\d+); it has ${captures}` });
});

const presetNames = Object.keys(presets) as [string, ...string[]];

/** One entry of `models:`; what depends on the plane’s kind (`plane`) is checked by the loader. */
export const modelSchema = z
  .strictObject({
    name: entityName('the name of the model').meta({ description: 'Name of the model, as rules and people use it. Required.' }),
    source: z.string({ error: 'expected the name of a source' }).meta({ description: 'Source of its numbers, by name. Required.' }),
    control_plane: z
      .string({ error: 'expected the name of a control plane' })
      .meta({ description: 'Control plane that switches its versions, by name. Required.' }),
    plane: z
      .record(z.string(), z.unknown(), { error: 'expected a map; its keys depend on the control plane’s kind' })
      .default({})
      .meta({ description: 'What the plane calls it; keys depend on the plane’s kind. Default: as the plane’s kind says.' }),
    version_label: labelName().optional().meta({ description: 'Label that carries the version. One of version_label, attribution (a preset may imply it).' }),
    attribution: z
      .literal('serving')
      .optional()
      .meta({ description: 'serving: no label, all traffic is the serving version’s. One of version_label, attribution. Default: as the preset says.' }),
    version_map: versionMap
      .optional()
      .meta({ description: 'Regular expression with one capture, anchored: metrics’ name of a version → the plane’s. Default: none.' }),
    observe_interval: duration({ minMs: 1000, minText: '1s' })
      .default(15_000)
      .meta({ description: 'How often the plane is observed, 1s or more. Default: 15s.', default: '15s' }),
    preset: z
      .enum(presetNames)
      .optional()
      .meta({ description: `Fills signals: ${presetNames.join(', ')}. Default: none.` }),
    signals: signals.optional().meta({ description: 'Metrics of the model; what is written here wins over the preset. Required without a preset.' }),
    quality: z
      .strictObject({
        source: z.string({ error: 'expected the name of a source' }).meta({ description: 'Source of kind mlflow, by name. Required.' }),
        registered_model: text({ min: 1, expected: 'the name of a registered model' })
          .optional()
          .meta({ description: 'Name of the registered model there. Default: plane.registered_model, else the name of the model here.' }),
        registry_version: versionMap.optional().meta({
          description:
            'Regular expression with one capture, anchored: the plane’s name of a version → the registry’s. Default: plane.registry_version, else the same.',
        }),
      })
      .optional()
      .meta({ description: 'Registry that measures the quality of its versions. Default: none (then no quality metric).' }),
    rollback: rollbackSchema
      .default({})
      .meta({ description: 'Defaults for every rule of this model that has a rollback block. Default: dry_run to last_known_good.' }),
    smoke_test: smokeTest.optional().meta({ description: 'Asked of the target before traffic moves, where the plane can, and after. Default: none.' }),
    retention: retentionSchema
      .optional()
      .meta({ description: 'Old versions deleted where the plane keeps them, after a dry run. Default: none, nothing is deleted.' }),
    links: z
      .record(z.string().regex(/^[\w-]+$/, 'expected a word as the name of a link'), template(linkVariables), { error: 'expected a map of names to URLs' })
      .default({})
      .meta({ description: 'Links shown with an episode: git_tag, changelog, runbook …; {{ $version }}, {{ $model }}. Default: none.' }),
  })
  .check(
    always((value, refuse) => {
      if (value['version_label'] !== undefined && value['attribution'] !== undefined)
        refuse('attribution', 'found version_label and attribution, expected one of them');
      if (
        value['version_label'] === undefined &&
        value['attribution'] === undefined &&
        (value['preset'] === undefined || (typeof value['preset'] === 'string' && presets[value['preset']]?.attribution === null))
      )
        refuse(null, 'needs version_label or attribution, found neither; write version_label: <label that carries the version>, or attribution: serving', {
          code: 'missing_key',
        });
      const requests = (value['signals'] as { requests?: unknown } | undefined)?.requests;
      if (value['preset'] === undefined && requests === undefined)
        refuse(value['signals'] === undefined ? null : 'signals', 'needs a preset or signals.requests, found neither', { code: 'missing_key' });
    }),
  );

const routeFields = {
  receiver: z.string({ error: 'expected the name of a receiver' }),
  group_by: z.array(z.union([z.literal('...'), labelName()], { error: 'expected a label name, or ... for all labels' }), {
    error: 'expected a list of label names',
  }),
  group_wait: duration(),
  group_interval: duration({ minMs: 1, minText: '1ms' }),
  repeat_interval: duration({ minMs: 1, minText: '1ms' }),
};

const inherited = 'Default: the parent’s.';
/** A route below the root; what it leaves out it inherits. */
export type ParsedRoute = {
  receiver?: string | undefined;
  group_by?: string[] | undefined;
  group_wait?: number | undefined;
  group_interval?: number | undefined;
  repeat_interval?: number | undefined;
  matchers: z.output<ReturnType<typeof matcher>>[];
  continue: boolean;
  routes: ParsedRoute[];
};
const routes: z.ZodType<ParsedRoute[]> = z.lazy(() => z.array(childRoute, { error: 'expected a list of routes' }));
const childRoute: z.ZodType<ParsedRoute> = z
  .strictObject({
    receiver: routeFields.receiver.optional().meta({ description: `Receiver, by name. ${inherited}` }),
    matchers: z
      .array(matcher('optional'), { error: 'expected a list of matchers' })
      .default([])
      .meta({ description: 'All must hold: severity="page", team=~"a|b". Default: none, every alert.' }),
    continue: flag().default(false).meta({ description: 'Ask the routes behind this one too. Default: false.' }),
    group_by: routeFields.group_by.optional().meta({ description: `Labels that make a group. ${inherited}` }),
    group_wait: routeFields.group_wait.optional().meta({ description: `Wait for more alerts of a new group. ${inherited}` }),
    group_interval: routeFields.group_interval.optional().meta({ description: `Least time between two messages on a group that changed. ${inherited}` }),
    repeat_interval: routeFields.repeat_interval.optional().meta({ description: `Time after which a message on an unchanged group is repeated. ${inherited}` }),
    routes: routes.default([]).meta({ description: 'Routes below this one. Default: none.' }),
  })
  .meta({ id: 'route' });

const rootRoute = z.strictObject({
  receiver: routeFields.receiver.meta({ description: 'Receiver of everything no route below takes, by name. Required.' }),
  group_by: routeFields.group_by.default([]).meta({ description: 'Labels that make a group; ... for all. Default: none, one group.' }),
  group_wait: routeFields.group_wait.default(30_000).meta({ description: 'Wait for more alerts of a new group. Default: 30s.', default: '30s' }),
  group_interval: routeFields.group_interval
    .default(300_000)
    .meta({ description: 'Least time between two messages on a group that changed. Default: 5m.', default: '5m' }),
  repeat_interval: routeFields.repeat_interval
    .default(14_400_000)
    .meta({ description: 'Time after which a message on an unchanged group is repeated. Default: 4h.', default: '4h' }),
  routes: routes.default([]).meta({ description: 'Routes below; the first that matches is taken. Default: none.' }),
});

/** `{name, <kind>: settings}`: exactly one kind. */
function named(what: string, kinds: Readonly<Record<string, { readonly schema: z.ZodType }>>): z.ZodType<{ name: string } & Record<string, unknown>> {
  const names = Object.keys(kinds);
  const shape: Record<string, z.ZodType> = { name: entityName(`the name of the ${what}`).meta({ description: `Name of the ${what}, unique. Required.` }) };
  for (const [kind, { schema }] of Object.entries(kinds))
    shape[kind] = schema.optional().meta({ description: `Settings of a ${kind} ${what}. Exactly one kind per ${what}.` });
  return z.strictObject(shape).check(
    exactlyOneOf(names, {
      none: `needs its kind, found none; write one of ${names.join(', ')}`,
      both: `found a second kind, expected one; give it a ${what} of its own`,
    }),
  ) as unknown as z.ZodType<{ name: string } & Record<string, unknown>>;
}

function receiver(kinds: Registries['receivers']): z.ZodType<{ name: string } & Record<string, unknown>> {
  const shape: Record<string, z.ZodType> = { name: entityName('the name of the receiver').meta({ description: 'Name of the receiver, unique. Required.' }) };
  for (const [kind, { schema }] of Object.entries(kinds))
    shape[kind] = z
      .array(schema, { error: 'expected a list' })
      .default([])
      .meta({ description: `Where ${kind.replace(/_configs$/, '')} messages go. Default: none.` });
  return z.strictObject(shape) as unknown as z.ZodType<{ name: string } & Record<string, unknown>>;
}

/** As in client-go: the names, the defaults and what must hold between them. @see https://pkg.go.dev/k8s.io/client-go/tools/leaderelection */
const leaderElectionTimes = {
  lease_duration: duration({ minMs: 3000, minText: '3s' })
    .default(15_000)
    .meta({ description: 'A leader that is not heard of for this long is replaced; 3s or more. Default: 15s.', default: '15s' }),
  renew_deadline: duration({ minMs: 1000, minText: '1s' }).default(10_000).meta({
    description: 'A leader that could not renew for this long stops acting; less than lease_duration, the difference is what a request may take. Default: 10s.',
    default: '10s',
  }),
  retry_period: duration({ minMs: 100, minText: '100ms' })
    .default(2_000)
    .meta({ description: 'Time between two tries to take or renew; less than renew_deadline / 1.2. Default: 2s.', default: '2s' }),
};

type LeaderElectionTimes = { [Key in keyof typeof leaderElectionTimes]: z.output<(typeof leaderElectionTimes)[Key]> };

function leaderElection(kinds: Registries['leases']): z.ZodType<LeaderElectionTimes & Record<string, unknown>> {
  const shape: Record<string, z.ZodType> = { ...leaderElectionTimes };
  for (const [kind, { schema }] of Object.entries(kinds))
    shape[kind] = schema
      .optional()
      .meta({ description: `The lease is a ${kind.replaceAll('_', ' ')} instead of a row of the journal’s database. Default: none.` });
  return z.strictObject(shape).check(electionCheck, atMostOneOf(Object.keys(kinds), 'found a second lease, expected one')) as unknown as z.ZodType<
    LeaderElectionTimes & Record<string, unknown>
  >;
}

const electionCheck = always((value, refuse) => {
  const [lease = 15_000, renew = 10_000, retry = 2_000] = ['lease_duration', 'renew_deadline', 'retry_period'].map((key) => millisecondsOf(value[key]));
  if (renew >= lease) refuse('renew_deadline', 'expected less than lease_duration');
  else if (retry * 1.2 >= renew) refuse('retry_period', 'expected less than renew_deadline / 1.2');
});

function millisecondsOf(value: unknown): number | undefined {
  if (typeof value === 'number') return value;
  return typeof value === 'string' ? (parseDuration(value) ?? undefined) : undefined;
}

/** Schema of the daemon's file for the plug-ins at hand. */
export function configSchema(registries: Registries) {
  return z.strictObject({
    global: z
      .strictObject({
        evaluation_interval: duration({ minMs: 1000, minText: '1s' })
          .default(15_000)
          .meta({ description: 'How often rules are judged, 1s or more. Default: 15s.', default: '15s' }),
        external_labels: labels().default({}).meta({
          description: 'Labels that stand for this rollbackd, such as its cluster; ${VARIABLE} is taken from the environment, $$ is a $. Default: none.',
        }),
      })
      .prefault({})
      .meta({ description: 'Settings of the whole daemon.' }),
    rule_files: z
      .array(z.string({ error: 'expected a path or pattern' }).min(1, 'expected a path or pattern'), { error: 'expected a list of paths or patterns' })
      .default([])
      .meta({ description: 'Rule files, patterns allowed, relative to this file; *.test.yaml is left out. Default: none.' }),
    journal: z
      .strictObject({
        sqlite: z
          .strictObject({
            path: filePath().optional().meta({ description: 'Database file. Default: ../data/rollbackd.db.' }),
            backup: z
              .strictObject({
                dir: filePath().meta({ description: 'Folder of the backups, made when it is not there; better on another disk. Required.' }),
                schedule: cronSchedule('15 2 * * *').default('15 2 * * *').meta({ description: 'When, as a cron expression in UTC. Default: 15 2 * * *.' }),
                keep: wholeNumber(1).default(7).meta({ description: 'The newest so many backups stay. Default: 7.' }),
              })
              .optional()
              .meta({ description: 'Verified copies of the file, made while it is written. Default: none.' }),
          })
          .optional()
          .meta({ description: 'Embedded journal, for one process. At most one of sqlite, postgres. Default: as if empty.' }),
        postgres: z
          .strictObject({
            url_file: filePath().meta({
              description: 'File that holds postgres://user:password@host:port/database, read at each connection and trimmed. Required.',
            }),
          })
          .optional()
          .meta({
            description: 'Journal of several replicas, in the schema rollbackd of a PostgreSQL database. At most one of sqlite, postgres. Default: none.',
          }),
        retention: duration({ minMs: 7 * 86_400_000, minText: '7d' })
          .default(90 * 86_400_000)
          .meta({
            description: 'Events, decisions and sent messages older than this are removed every night, 7d or more; episodes stay. Default: 90d.',
            default: '90d',
          }),
      })
      .check(atMostOneOf(['sqlite', 'postgres'], 'found sqlite and postgres, expected one of them'))
      .prefault({})
      .meta({ description: 'Where everything is written down. Default: sqlite at ../data/rollbackd.db.' }),
    leader_election: leaderElection(registries.leases)
      .prefault({})
      .meta({ description: 'How the replicas of one postgres journal agree which of them acts. Not for sqlite. Default: by a row of that database.' }),
    sources: z
      .array(named('source', registries.sources), { error: 'expected a list of sources' })
      .default([])
      .meta({ description: 'Where numbers come from. Default: none.' }),
    control_planes: z
      .array(named('control plane', registries.controlPlanes), { error: 'expected a list of control planes' })
      .default([])
      .meta({ description: 'What switches versions. Default: none.' }),
    models: z.array(modelSchema, { error: 'expected a list of models' }).default([]).meta({ description: 'The served models. Default: none.' }),
    groups: z
      .array(modelGroupSchema, { error: 'expected a list of groups' })
      .default([])
      .meta({ description: 'Models that depend on each other, and are rolled back in step or never at once. A model is in one group. Default: none.' }),
    time_intervals: z
      .array(timeIntervalsSchema, { error: 'expected a list of time intervals' })
      .default([])
      .meta({ description: 'Named times, as in Alertmanager, for rollback.active_time_intervals. Default: none.' }),
    freeze_windows: z
      .array(freezeWindowSchema, { error: 'expected a list of freeze windows' })
      .default([])
      .meta({ description: 'Times in which nothing is rolled back (frozen), in the words of Argo CD’s sync windows. Default: none.' }),
    limits: limitsSchema.prefault({}).meta({ description: 'What holds a storm of rollbacks back, over all models. Default: each key’s.' }),
    route: rootRoute.optional().meta({ description: 'Which receiver is told what, as in Alertmanager. Default: nobody is told.' }),
    receivers: z
      .array(receiver(registries.receivers), { error: 'expected a list of receivers' })
      .default([])
      .meta({ description: 'Who is told. Default: nobody.' }),
  });
}

/** The daemon's file as its schema gives it. */
export type ParsedConfig = z.output<ReturnType<typeof configSchema>>;
export type ParsedModel = z.output<typeof modelSchema>;
