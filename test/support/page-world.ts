import type { Episode } from '../../src/domain/episode.ts';
import type { ModelDetailView, ModelView, Queries, RuleGroupView, RuleView, StatusView } from '../../src/web/api.ts';
import { aDecision, aDetail, aModel, aStatus } from './a-web-server.ts';
import { anEpisode } from './an-episode.ts';

/** What pages show; one model and one rollback unless given. */
export type PageWorld = {
  readonly models?: readonly ModelView[];
  readonly detail?: Partial<ModelDetailView>;
  readonly episode?: Partial<Episode>;
  readonly groups?: readonly RuleGroupView[];
  readonly status?: StatusView;
};

export const aRule: RuleView = {
  type: 'alerting',
  name: 'High',
  state: 'inactive',
  query: 'error_ratio over 1m above 0.05, min_requests 100',
  duration: 30,
  keepFiringFor: 0,
  labels: {},
  annotations: {},
  health: 'ok',
  lastEvaluation: null,
  mode: 'enforce',
  alerts: [],
};
export const aGroup: RuleGroupView = { name: 'group', file: 'rules/fraud.yaml', model: 'fraud-detector', interval: 5, rules: [aRule] };

/** @param onList told of each filter for rollbacks */
export function pageQueries(
  { models = [aModel], groups = [aGroup], status = aStatus, detail, episode }: PageWorld,
  onList: (filter: unknown) => void = () => undefined,
): Queries {
  return {
    models: async () => models,
    model: async (name) => (detail?.name === undefined && name !== 'fraud-detector' ? null : { ...aDetail, ...detail }),
    rollbacks: async (filter) => {
      onList(filter);
      return [anEpisode(episode)];
    },
    rollback: async (id) => (id === 'rb_gone' ? null : anEpisode(episode)),
    decisionOf: async (of) => ({ ...aDecision, detail: of.id === 'rb_01JDEXAMPLE' ? aDecision.detail : of.detail }),
    decisions: async () => [{ ...aDecision, ...(episode?.model === undefined ? {} : { detail: episode.model, rule: episode.model }) }],
    rules: async () => groups,
    alerts: async () => [],
    status: async () => status,
  };
}

/** Each tries to be more than text in a page. */
export const evilTexts = [
  '<script>alert(1)</script>',
  '"><img src=x onerror=alert(1)>',
  "' onmouseover='alert(1)",
  '</title><script>alert(1)</script>',
  '</main><main data-gist="x">',
  '<!--',
  'javascript:alert(1)',
  '&lt;b&gt;',
  '../../../etc/passwd',
  '\u202e7\u2066\u0000\u009b',
  '__proto__',
];

/** Every place where a name or a text from outside is shown. */
export function aWorldOf(text: string): PageWorld {
  const [version] = aModel.versions;
  const [test] = anEpisode().smokeTests;
  const [step] = anEpisode().steps;
  if (version === undefined || test === undefined || step === undefined) throw new Error('no version');
  const paused = { since: '2026-11-22T11:00:00.000Z', until: null, reason: text, by: text };
  const versions = [{ ...version, version: text, known_good_reason: text, role: 'candidate' as const }];
  const verdict = { rule: `${text}/${text}`, version: text, verdict: 'breach' as const, reason: text, value: 1, threshold: 1, requests: 1 };
  const model = { ...aModel, name: text, source: text, control_plane: text, versions, reason: text, error: text, paused, frozen: [text], pinned: true };
  return {
    models: [{ ...model, last_rollback: { id: text, at: '2026-11-22T11:00:00.000Z', outcome: text }, rollback_in_progress: text }],
    detail: { ...model, verdicts: [{ ...verdict, at: '2026-11-22T12:00:00.000Z' }] },
    status: {
      ...aStatus,
      leader: { leads: false, holder: text, lease: { up: false, since: '2026-11-22T11:00:00.000Z', last_success: null, error: text } },
      sources: [{ name: text, kind: text, up: false, since: '2026-11-22T11:00:00.000Z', last_success: null, error: text }],
      breakers: [{ name: text, since: '2026-11-22T11:00:00.000Z', detail: text }],
      freeze_windows: [{ name: text, active: true }],
      paused: [{ model: text, ...paused }],
      flap_locked: [text],
      config: { ...aStatus.config, last_reload_successful: false, faults: [text] },
    },
    groups: [{ ...aGroup, name: text, file: text, rules: [{ ...aRule, name: text, query: text }] }],
    episode: {
      ...{ id: text, model: text, from: text, to: text, rule: text, reason: text, detail: text, controlPlane: text, notes: [text], triedTargets: [text] },
      refusedTargets: [{ version: text, reason: text }],
      evidence: { signal: text, value: 1, threshold: 1, requests: 1, window: text, baseline: { version: text, value: 1 }, series: [text] },
      steps: [{ ...step, name: text, detail: text }],
      group: {
        name: text,
        kind: 'together',
        leader: text,
        members: [{ model: text, episode: text }],
        stays: [{ model: text, reason: text }],
        releasedMs: null,
      },
      smokeTests: [{ ...test, name: text, detail: text }],
      links: { [text]: text, page: text },
    },
  };
}
