import { realClock } from '../adapters/clock/real-clock.ts';
import { backUpAndKeep } from '../adapters/journal/index.ts';
import { AppActions } from '../app/actions.ts';
import { createApp } from '../app/create.ts';
import { startJobs } from '../app/jobs.ts';
import { AppQueries } from '../app/queries.ts';
import { Reloader } from '../app/reloader.ts';
import { Retention } from '../app/retention.ts';
import type { Config } from '../config/config.ts';
import { loadConfig } from '../config/load.ts';
import type { Log } from '../domain/ports.ts';
import { createLog, type LogFormat, type LogLevel } from '../telemetry/log.ts';
import { Metrics } from '../telemetry/metrics.ts';
import { Login } from '../web/login.ts';
import { createWebServer } from '../web/server.ts';
import { exitCodes } from './exit.ts';
import { registries } from './registries.ts';
import { loadSettings } from './settings.ts';
import { readVersion } from './version.ts';
import { loadWebSettings, watchWebConfig } from './web-config.ts';

/** How often the files of TLS and of the users are looked at. */
const webConfigIntervalMs = 15_000;

/** Flags of `run`: the part that a reload does not change. */
export type RunFlags = {
  readonly configFile: string;
  readonly autoReload: boolean;
  readonly autoReloadIntervalMs: number;
  readonly listenAddress: string;
  /** Where people reach the pages, without a slash at its end; `null`: no message links them. */
  readonly externalUrl: string | null;
  /** `null`: http, and nobody signs in. */
  readonly webConfigFile: string | null;
  readonly enableAdminApi: boolean;
  readonly enableLifecycle: boolean;
  readonly dryRun: boolean;
  readonly logLevel: LogLevel;
  readonly logFormat: LogFormat;
  /** How long a stop waits for episodes in hand, ms. */
  readonly shutdownGraceMs: number;
};

export type Daemon = {
  readonly url: string;
  readonly stop: (graceMs: number) => Promise<void>;
  readonly hurry: () => void;
  readonly reload: () => Promise<{ readonly faults: readonly string[] }>;
};

/** Brings the daemon up: files, journal, loops, web. @throws {CommandFailed} for faulty files, {JournalError} */
export async function startDaemon(flags: RunFlags, log: Log): Promise<Daemon> {
  const config = await loadSettings(flags.configFile);
  const webConfig = flags.webConfigFile === null ? null : await loadWebSettings(flags.webConfigFile);
  const metrics = new Metrics({ version: readVersion() });
  const created = await createApp(config, { log, metrics, forceDryRun: flags.dryRun, externalUrl: flags.externalUrl });
  const { app } = created;
  const stopping = new AbortController();
  const reloader = new Reloader(config, { load: async () => await loadConfig(config.file, registries), apply: created.apply, clock: realClock, log, metrics });
  const retention = new Retention(app, { clock: realClock, log: log.child({ component: 'retention' }) });
  const login = webConfig === null || webConfig.users.size === 0 ? null : new Login(webConfig.users, { nowMs: () => realClock.nowMs() });
  const web = createWebServer({
    queries: new AppQueries(app, realClock, { settings: () => reloader.status, messagesWaiting: () => created.outbox.waiting }),
    actions: new AppActions(app, { clock: realClock, teller: created.teller, metrics, log: log.child({ component: 'actions' }) }),
    retention,
    metrics,
    health: { ready: async () => ({ reasons: stopping.signal.aborted ? ['stopping'] : created.unready() }) },
    adminApi: { enabled: flags.enableAdminApi },
    lifecycle: { enabled: flags.enableLifecycle, reload: async () => await reloader.reload() },
    login,
    tls: webConfig?.tls ?? null,
    log: log.child({ component: 'web' }),
  });
  try {
    const { host, port } = await web.listen(flags.listenAddress);
    created.start();
    const jobs = startJobs({
      app,
      retention,
      clock: realClock,
      log,
      sink: created.outbox,
      retentionMs: () => reloader.config.journal.retentionMs,
      backup: backupJob(config),
    });
    const polling = flags.autoReload ? reloader.poll(flags.autoReloadIntervalMs, stopping.signal) : Promise.resolve();
    const watching =
      flags.webConfigFile === null || webConfig === null
        ? Promise.resolve()
        : watchWebConfig(flags.webConfigFile, webConfig, {
            everyMs: webConfigIntervalMs,
            apply: (next) => {
              if (next.tls !== null) web.replaceTls(next.tls);
              login?.replace(next.users);
            },
            clock: realClock,
            log: log.child({ component: 'web' }),
            signal: stopping.signal,
          });
    const url = `${webConfig?.tls == null ? 'http' : 'https'}://${host.includes(':') ? `[${host}]` : host}:${port}`;
    if (login !== null && webConfig?.tls === null && !/^(?:127\.|::1$)/.test(host))
      log.warn({ url }, 'passwords cross the network in the clear; add tls_server_config, or let a proxy do TLS');
    log.info({ url, models: config.models.length, dry_run: flags.dryRun }, 'rollbackd is up');
    return {
      url,
      reload: async () => await reloader.reload(),
      hurry: () => app.hurry(),
      stop: async (graceMs) => {
        // Readiness turns red first.
        stopping.abort();
        await jobs.stop();
        await polling;
        await watching;
        await created.close(graceMs);
        await web.close();
        log.info({}, 'rollbackd is down');
      },
    };
  } catch (error) {
    await created.close(0);
    await web.close();
    throw error;
  }
}

/** Copies of an embedded journal, where the settings want them. */
function backupJob({ journal }: Config): Parameters<typeof startJobs>[0]['backup'] {
  if (journal.kind !== 'sqlite' || journal.backup === null) return null;
  const { path, backup } = journal;
  return { schedule: backup.schedule, run: async () => await backUpAndKeep(path, backup, realClock.nowMs()) };
}

/** `run`: until SIGTERM or SIGINT. The first finishes what is in hand, the second hurries. */
export async function run(flags: RunFlags): Promise<number> {
  const log = createLog({ level: flags.logLevel, format: flags.logFormat, version: readVersion() });
  const daemon = await startDaemon(flags, log);
  const stopped = Promise.withResolvers<void>();
  let signals = 0;
  const onStop = (signal: NodeJS.Signals): void => {
    signals += 1;
    log.info({ signal }, signals === 1 ? 'stopping: finishing what is in hand' : 'stopping at once');
    if (signals === 1) daemon.stop(flags.shutdownGraceMs).then(stopped.resolve, stopped.reject);
    else daemon.hurry();
  };
  const onReload = (): void => void daemon.reload();
  process
    .on('SIGTERM', onStop)
    .on('SIGINT', onStop)
    .on('SIGQUIT', () => {
      onStop('SIGQUIT');
      daemon.hurry();
    });
  process.on('SIGHUP', onReload);
  await stopped.promise;
  return exitCodes.ok;
}
