import type { Decision } from '../../src/domain/decision.ts';
import type { Log } from '../../src/domain/ports.ts';
import { type Actions, ApiError, type ModelDetailView, type ModelView, type Queries, type StatusView } from '../../src/web/api.ts';
import { createWebServer, type WebDeps } from '../../src/web/server.ts';
import { anEpisode } from './an-episode.ts';

export const aModel: ModelView = {
  name: 'fraud-detector',
  mode: 'enforce',
  source: 'prom',
  control_plane: 'tfs',
  versions: [
    {
      version: '7',
      role: 'active',
      state: 'available',
      share: 1,
      known_good: false,
      known_good_reason: 'served well for 3m of 1h',
      quarantined_until: null,
      first_seen: null,
    },
  ],
  verdict: 'ok',
  reason: 'error ratio 0.1% (5 of 5771) ≤ 5%',
  paused: null,
  frozen: [],
  pinned: false,
  rollback_in_progress: null,
  last_rollback: null,
  observed_at: '2026-11-22T12:00:00.000Z',
  error: null,
};
export const aDetail: ModelDetailView = { ...aModel, verdicts: [] };
const wellSince = { up: true, since: '2026-11-22T12:00:00.000Z', last_success: '2026-11-22T12:05:00.000Z', error: null } as const;
export const aStatus: StatusView = {
  started: '2026-11-22T12:00:00.000Z',
  leader: { leads: true, holder: null, lease: null },
  journal: { kind: 'sqlite', epoch: 1, size_bytes: 118_784, ...wellSince },
  sources: [{ name: 'prom', kind: 'prometheus', ...wellSince }],
  control_planes: [{ name: 'tfs', kind: 'tensorflow_serving', ...wellSince, up: false, error: 'tfs-0:8500: connection refused' }],
  receivers: [{ name: 'ml-oncall', kind: 'slack', up: null, since: null, last_success: null, error: null }],
  messages_waiting: 0,
  breakers: [],
  freeze_windows: [],
  paused: [],
  flap_locked: [],
  config: { hash: 'ab12', loaded: '2026-11-22T12:00:00.000Z', last_reload_successful: true, faults: [] },
};
export const aDecision: Decision = {
  id: 'd1',
  atMs: Date.UTC(2026, 10, 22),
  model: 'fraud-detector',
  version: '7',
  rule: 'High',
  trigger: 'rule',
  decision: 'hold',
  reason: 'cooldown',
  detail: 'rolled back 3m ago, cooldown: 30m',
  held: [{ reason: 'cooldown', detail: 'rolled back 3m ago, cooldown: 30m' }],
  target: '6',
  episode: null,
  verdict: 'breach',
  value: 0.1,
  threshold: 0.05,
  requests: 100,
};

/** A web server over stand-ins that note what they were asked; `adminApi` and `lifecycle` are on. */
export function aServer(changes: Partial<WebDeps> = {}) {
  const asked: unknown[] = [];
  const logged: unknown[] = [];
  const note = <Answer>(call: readonly unknown[], answer: Answer): Answer => {
    asked.push(call);
    return answer;
  };
  const queries: Queries = {
    models: async () => [aModel],
    model: async (name) => (name === 'fraud-detector' ? aDetail : null),
    rollbacks: async (filter) => note(['rollbacks', filter], [anEpisode()]),
    rollback: async (id) => (id === 'rb_01JDEXAMPLE' ? anEpisode() : null),
    decisionOf: async () => null,
    decisions: async (filter) => note(['decisions', filter], [aDecision]),
    rules: async () => [],
    alerts: async () => [],
    status: async () => aStatus,
  };
  const actions: Actions = {
    pause: async (model, request) => note(['pause', model, request], { since: 'a', until: null, reason: request.reason, by: request.by }),
    resume: async (model, request) => note(['resume', model, request], null),
    unpin: async (model, request) => note(['unpin', model, request], { detail: 'latest 1' }),
    rollback: async (model, request) => note(['rollback', model, request], anEpisode({ trigger: 'manual', rule: null })),
    approve: async (id, request) => note(['approve', id, request], anEpisode()),
    reject: async () => {
      throw new ApiError('conflict', 'rb_01JDEXAMPLE does not wait for approval');
    },
  };
  const log: Log = {
    debug: () => undefined,
    info: () => undefined,
    warn: (...line) => logged.push(line),
    error: (...line) => logged.push(line),
    child: () => log,
  };
  const web = createWebServer({
    queries,
    actions,
    retention: {
      plan: async (model) => note(['plan retention', model], { model, mode: 'dry_run' as const, stores: [] }),
      run: async (model, request) => note(['run retention', model, request], { model, mode: 'dry_run' as const, stores: [] }),
    },
    metrics: { render: async () => ({ contentType: 'text/plain; version=0.0.4; charset=utf-8', body: 'up 1\n' }) },
    health: { ready: async () => ({ reasons: [] }) },
    adminApi: { enabled: true },
    lifecycle: { enabled: true, reload: async () => note(['reload'], { faults: [] }) },
    log,
    ...changes,
  });
  const post = async (
    url: string,
    payload: unknown = { reason: 'deploy gone wrong' },
    options: { headers?: Record<string, string>; remoteAddress?: string } = {},
  ) =>
    await web.app.inject({
      method: 'POST',
      url,
      payload: JSON.stringify(payload),
      headers: { 'content-type': 'application/json', ...options.headers },
      ...(options.remoteAddress === undefined ? {} : { remoteAddress: options.remoteAddress }),
    });
  return { app: web.app, web, asked, logged, post };
}
