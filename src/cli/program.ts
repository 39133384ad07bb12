import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { environment } from '../config/env.ts';
import { parseDuration } from '../domain/duration.ts';
import { JournalError, PlaneError } from '../domain/ports.ts';
import { ApiClientError } from './api-client.ts';
import { asksDaemon, type DaemonFlags } from './daemon-flags.ts';
import { CommandFailed, exitCodes } from './exit.ts';
import { outputFormats } from './table.ts';
import { readVersion } from './version.ts';

const defaultConfigFile = 'config/rollbackd.yaml';
const exitCodeHelp = `
Exit codes: 0 done, 1 error, 2 an action is pending or the awaited thing failed, 3 lint findings with --lint-fatal.`;

type Client = DaemonFlags & { output: (typeof outputFormats)[number] };

/** Parses the arguments and runs a command. @returns the exit code; never throws */
export async function runProgram(argv: readonly string[]): Promise<number> {
  let exitCode: number = exitCodes.ok;
  const program = createProgram((code) => (exitCode = code));
  try {
    await program.parseAsync([...argv]);
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.ok : exitCodes.error;
    process.stderr.write(`${tellable(error)}\n`);
    return error instanceof CommandFailed ? error.exitCode : exitCodes.error;
  }
}

/** Errors that are meant for people are shown as they are; what we did not expect, with its stack. */
function tellable(error: unknown): string {
  if (error instanceof CommandFailed) return error.message;
  if (error instanceof ApiClientError || error instanceof JournalError || error instanceof PlaneError || error instanceof RangeError)
    return `rollbackd: ${error.message}`;
  if (error instanceof Error && 'code' in error && typeof error.code === 'string') return `rollbackd: ${error.message}`;
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

function createProgram(done: (exitCode: number) => void): Command {
  const program = new Command('rollbackd');
  program
    .description('Watches every served model version in Prometheus and rolls back the bad one, with proof.')
    .version(readVersion(), '--version', 'print the version')
    .addHelpText('after', exitCodeHelp)
    .showHelpAfterError('(see --help)')
    .exitOverride();
  addRun(program, done);
  addChecks(program, done);
  addTests(program, done);
  addExplain(program, done);
  addLooks(program, done);
  addAdministration(program);
  addJournal(program, done);
  addChangelog(program, done);
  addRetention(program, done);
  addRest(program, done);
  return program;
}

const configFileOption = (): Option => new Option('--config.file <file>', "the daemon's file").default(defaultConfigFile).env('ROLLBACKD_CONFIG_FILE');
const journalFileOption = (): Option => new Option('--file <file>', 'an SQLite journal, such as a backup, instead of the one that the settings name');
const outputOption = (): Option => new Option('-o, --output <format>', 'form of the answer').choices(outputFormats).default('table');

function addRun(program: Command, done: (exitCode: number) => void): void {
  program
    .command('run')
    .description('the daemon: watch, judge, roll back')
    .addOption(configFileOption())
    .option('--config.auto-reload', 'reload when a file changes (by hash, works on ConfigMaps)', false)
    .addOption(new Option('--config.auto-reload-interval <duration>', 'how often to look').default(30_000, '30s').argParser(readDuration))
    .addOption(new Option('--web.listen-address <host:port>', 'where to listen').default('127.0.0.1:9797').env('ROLLBACKD_WEB_LISTEN_ADDRESS'))
    .addOption(
      new Option('--web.external-url <url>', 'where people reach the web page; messages link it').env('ROLLBACKD_WEB_EXTERNAL_URL').argParser(readWebUrl),
    )
    .addOption(new Option('--web.config.file <file>', 'TLS, users and their roles; see docs/operations.md').env('ROLLBACKD_WEB_CONFIG_FILE'))
    .option('--web.enable-admin-api', 'allow POST under /api/v1, from this machine only; not needed with users', false)
    .option('--web.enable-lifecycle', 'allow POST /-/reload', false)
    .addOption(new Option('--dry-run', 'act nowhere: beats every mode: enforce').default(false).env('ROLLBACKD_DRY_RUN'))
    .addOption(new Option('--log.level <level>', 'least level that is logged').choices(['debug', 'info', 'warn', 'error']).default('info'))
    .addOption(new Option('--log.format <format>', 'ecs: JSON in Elastic Common Schema; pretty: for a terminal').choices(['ecs', 'pretty']))
    .addOption(new Option('--shutdown.grace <duration>', 'how long a stop waits for a rollback in hand').default(25_000, '25s').argParser(readDuration))
    .action(async (flags: Record<string, unknown>) => {
      const { run } = await import('./run.ts');
      done(
        await run({
          configFile: String(flags['config.file']),
          autoReload: flags['config.autoReload'] === true,
          autoReloadIntervalMs: Number(flags['config.autoReloadInterval']),
          listenAddress: String(flags['web.listenAddress']),
          externalUrl: (flags['web.externalUrl'] as string | undefined) ?? null,
          webConfigFile: (flags['web.config.file'] as string | undefined) ?? null,
          enableAdminApi: flags['web.enableAdminApi'] === true,
          enableLifecycle: flags['web.enableLifecycle'] === true,
          dryRun: flags['dryRun'] === true,
          logLevel: flags['log.level'] as 'info',
          logFormat: (flags['log.format'] as 'ecs' | undefined) ?? (process.stderr.isTTY ? 'pretty' : 'ecs'),
          shutdownGraceMs: Number(flags['shutdown.grace']),
        }),
      );
    });
}

function addChecks(program: Command, done: (exitCode: number) => void): void {
  const check = program.command('check').description('check files, or a running daemon');
  const textOrJson = (): Option => new Option('-o, --output <format>', 'form of the findings').choices(['text', 'json']).default('text');
  type CheckFlags = { lintFatal: boolean; output: 'text' | 'json' };
  check
    .command('config')
    .argument('[file]', "the daemon's file; ROLLBACKD_CONFIG_FILE, or config/rollbackd.yaml, unless given")
    .description("the daemon's file and everything it names")
    .option('--lint-fatal', 'exit 3 on warnings', false)
    .option('--rights', 'also ask the API servers of Kubernetes planes for the rights they need', false)
    .addOption(textOrJson())
    .action(async (file: string | undefined, flags: CheckFlags & { rights: boolean }) =>
      done(await (await import('./check.ts')).checkConfig(file ?? environment()['ROLLBACKD_CONFIG_FILE'] ?? defaultConfigFile, flags)),
    );
  check
    .command('rules')
    .argument('[files...]', 'rule files; standard input without any')
    .description('rule files alone')
    .option('--lint-fatal', 'exit 3 on warnings', false)
    .addOption(textOrJson())
    .action(async (files: string[], flags: CheckFlags) => done(await (await import('./check.ts')).checkRules(files, flags)));
  for (const what of ['healthy', 'ready'] as const) {
    asksDaemon(check.command(what).description(`whether the daemon is ${what}`)).action(async (flags: DaemonFlags) =>
      done(await (await import('./looks.ts')).probe(what, flags)),
    );
  }
}

function addTests(program: Command, done: (exitCode: number) => void): void {
  program
    .command('test')
    .description('try things out')
    .command('smoke')
    .argument('<model>')
    .description("run a model's smoke test now, against a version or what serves")
    .addOption(configFileOption())
    .option('--version-id <version>', 'version to test; what serves unless given')
    .addOption(outputOption())
    .action(async (model: string, flags: Record<string, unknown>) => {
      const { testSmoke } = await import('./test-smoke.ts');
      done(
        await testSmoke({
          model,
          configFile: String(flags['config.file']),
          version: (flags['versionId'] as string | undefined) ?? null,
          output: flags['output'] as 'table',
        }),
      );
    });
  program
    .command('plan')
    .description('evaluate once against the live sources and print what would be done; changes nothing; exit 2 when it would act')
    .addOption(configFileOption())
    .addOption(new Option('--for <duration>', 'how long to gather samples first; a scrape source needs a few scrapes').argParser(readDuration))
    .addOption(outputOption())
    .action(async (flags: Record<string, unknown>) => {
      const { plan } = await import('./plan.ts');
      done(
        await plan({ configFile: String(flags['config.file']), gatherMs: (flags['for'] as number | undefined) ?? null, output: flags['output'] as 'table' }),
      );
    });
}

function addExplain(program: Command, done: (exitCode: number) => void): void {
  program
    .command('explain')
    .argument('[model]', 'only of this model')
    .description('what each rule asks, needs and sees, how soon it acts and how often it errs at the present traffic; changes nothing')
    .addOption(configFileOption())
    .addOption(new Option('--for <duration>', 'how long to gather samples first; a scrape source needs a few scrapes').argParser(readDuration))
    .addOption(new Option('--requests-per-second <number>', 'reckon with this traffic instead of asking the sources').argParser(readPositive))
    .addOption(new Option('--bad-ratio <ratio>', 'beside --requests-per-second: share of them that is bad, such as 0.1%').argParser(readRatio))
    .addOption(outputOption())
    .action(async (model: string | undefined, flags: Record<string, unknown>) => {
      const { explain } = await import('./explain.ts');
      done(
        await explain({
          model: model ?? null,
          configFile: String(flags['config.file']),
          gatherMs: (flags['for'] as number | undefined) ?? null,
          assumed:
            flags['requestsPerSecond'] === undefined
              ? null
              : { requestsPerSecond: Number(flags['requestsPerSecond']), badShare: (flags['badRatio'] as number | undefined) ?? null },
          output: flags['output'] as 'table',
        }),
      );
    });
}

function addLooks(program: Command, done: (exitCode: number) => void): void {
  const get = program.command('get').description('list what the daemon knows');
  const lists = {
    models: 'models and what serves',
    versions: 'every known version of a model',
    rollbacks: 'episodes, newest first',
    decisions: 'decisions, also those not to act',
    alerts: 'alerts that pend or fire',
  } as const;
  for (const [what, description] of Object.entries(lists) as [keyof typeof lists, string][]) {
    asksDaemon(get.command(what).argument('[model]', 'only of this model').description(description))
      .addOption(outputOption())
      .option('--limit <count>', 'at most so many', '100')
      .action(async (model: string | undefined, flags: Client & { limit: string }) =>
        done(await (await import('./looks.ts')).list(what, { ...flags, model: model ?? null, limit: Number(flags.limit) })),
      );
  }
  asksDaemon(get.command('status').description('what the daemon talks to, and whether it works'))
    .addOption(outputOption())
    .action(async (flags: Client) => done(await (await import('./looks.ts')).showStatus(flags)));
  const describe = program.command('describe').description('everything about one thing');
  asksDaemon(describe.command('rollback').argument('<id>').description('an episode with its evidence, steps and tests'))
    .addOption(outputOption())
    .action(async (id: string, flags: Client) => done(await (await import('./looks.ts')).describeRollback(id, flags)));
}

function addAdministration(program: Command): void {
  const reason = (command: Command): Command =>
    asksDaemon(command).requiredOption('--reason <text>', 'why; journalled').addOption(new Option('--by <name>', 'who').default('cli'));
  type Flags = DaemonFlags & { reason: string; by: string };
  const act = async (what: string, subject: string, flags: Flags & { for?: string; to?: string }): Promise<void> => {
    const { administer } = await import('./administer.ts');
    process.stdout.write(`${await administer(what, subject, flags)}\n`);
  };
  reason(program.command('unpin').argument('<model>').description('give the control plane the policy back that it had before the rollback')).action(
    async (model: string, flags: Flags) => await act('unpin', model, flags),
  );
  reason(program.command('pause').argument('[model]').description('no rollbacks of a model, or of all'))
    .option('--all', 'all models')
    .option('--for <duration>', 'until resumed unless given')
    .action(async (model: string | undefined, flags: Flags & { all?: boolean; for?: string }) => await act('pause', scopeOf(model, flags.all), flags));
  reason(program.command('resume').argument('[model]').description('end a pause; of one model also its flap lock'))
    .option('--all', 'all models')
    .action(async (model: string | undefined, flags: Flags & { all?: boolean }) => await act('resume', scopeOf(model, flags.all), flags));
  reason(program.command('rollback').argument('<model>').description('roll back by hand'))
    .option('--to <version>', 'the last known good unless given')
    .action(async (model: string, flags: Flags & { to?: string }) => await act('rollback', model, flags));
  reason(program.command('approve').argument('<id>').description('let an episode that waits begin')).action(
    async (id: string, flags: Flags) => await act('approve', id, flags),
  );
  reason(program.command('reject').argument('<id>').description('end an episode that waits')).action(
    async (id: string, flags: Flags) => await act('reject', id, flags),
  );
}

function addJournal(program: Command, done: (exitCode: number) => void): void {
  const journal = program.command('journal').description('look into the journal, also while a daemon writes it');
  type Flags = { 'config.file': string; file?: string; output: 'text' | 'json' };
  const choice = (flags: Flags) => ({ file: flags.file ?? null, configFile: flags['config.file'] });
  journal
    .command('verify')
    .description('recompute the chain of hashes; exit 1 and the place when a row was changed, removed or put in')
    .addOption(configFileOption())
    .addOption(journalFileOption())
    .addOption(new Option('-o, --output <format>', 'form of the answer').choices(['text', 'json']).default('text'))
    .action(async (flags: Flags) => done(await (await import('./journal.ts')).verifyJournal(choice(flags), flags.output)));
  journal
    .command('export')
    .description('every event as a line of JSON with its hashes, oldest first, to stdout')
    .addOption(configFileOption())
    .addOption(journalFileOption())
    .action(async (flags: Flags) => done(await (await import('./journal.ts')).exportJournal(choice(flags))));
  journal
    .command('backup')
    .argument('<target>', 'file to write; must not be there yet')
    .description('copy an SQLite journal as it is now, and verify the copy; a daemon may go on writing')
    .addOption(configFileOption())
    .addOption(journalFileOption())
    .action(async (target: string, flags: Flags) => done(await (await import('./journal.ts')).backUp(target, choice(flags))));
}

function addChangelog(program: Command, done: (exitCode: number) => void): void {
  type Flags = { 'config.file': string; file?: string; output: 'markdown' | 'json' };
  program
    .command('changelog')
    .argument('<model>')
    .description('what became of each version, from the journal: service, rollbacks and why, impact, links')
    .addOption(configFileOption())
    .addOption(journalFileOption())
    .addOption(new Option('-o, --output <format>', 'form of the answer').choices(['markdown', 'json']).default('markdown'))
    .action(async (model: string, flags: Flags) =>
      done(await (await import('./changelog.ts')).changelog(model, { file: flags.file ?? null, configFile: flags['config.file'] }, flags.output)),
    );
}

function addRetention(program: Command, done: (exitCode: number) => void): void {
  const group = program.command('retention').description('old versions, where their plane keeps them');
  type Flags = Client & { reason?: string; by?: string };
  const act = async (what: 'plan' | 'run', model: string, flags: Flags): Promise<void> =>
    done(await (await import('./retention.ts')).retention(what, model, { ...flags, reason: flags.reason ?? '', by: flags.by ?? 'cli' }));
  asksDaemon(
    group
      .command('plan')
      .argument('<model>')
      .description('what would be deleted now, and why the rest stays; changes nothing; exit 2 when something would be deleted'),
  )
    .addOption(outputOption())
    .action(async (model: string, flags: Flags) => await act('plan', model, flags));
  asksDaemon(group.command('run').argument('<model>').description('delete it now, whatever the mode'))
    .addOption(outputOption())
    .requiredOption('--reason <text>', 'why; journalled')
    .addOption(new Option('--by <name>', 'who').default('cli'))
    .action(async (model: string, flags: Flags) => await act('run', model, flags));
}

function scopeOf(model: string | undefined, all: boolean | undefined): string {
  if ((model === undefined) === (all !== true)) throw new CommandFailed('rollbackd: name a model, or write --all (not both)');
  return model ?? '*';
}

function addRest(program: Command, done: (exitCode: number) => void): void {
  program
    .command('schema')
    .argument('<which>', 'rules or config')
    .description('JSON Schema (draft-07) of a file, to stdout')
    .action(async (which: string) => {
      const { printSchema } = await import('./schema.ts');
      printSchema(which);
    });
  program
    .command('demo')
    .description('see a bad version detected and rolled back, on this machine')
    .option('--once', 'end by itself once the rollback ended', false)
    .addOption(new Option('-o, --output <format>', 'text, or json for the episode').choices(['text', 'json']).default('text'))
    .option('--prometheus <path>', 'go through a real Prometheus: its program, or auto to find it')
    .addOption(new Option('--fault <fault>', 'what goes wrong with version 2').choices(['errors', 'latency']).default('errors'))
    .addOption(new Option('--port <port>', "the daemon's port; any free one unless given").default(0).argParser(Number))
    .action(async (flags: { once: boolean; output: 'text' | 'json'; prometheus?: string; fault: 'errors' | 'latency'; port: number }) => {
      const { demo } = await import('./demo/demo.ts');
      done(await demo({ ...flags, prometheus: flags.prometheus ?? null }));
    });
  program
    .command('version')
    .description('print the version')
    .action(() => void process.stdout.write(`rollbackd ${readVersion()} (node ${process.versions.node})\n`));
}

function readPositive(text: string): number {
  const number = Number(text);
  if (!(number > 0 && Number.isFinite(number))) throw new InvalidArgumentError('write a number above 0, such as 20');
  return number;
}

function readRatio(text: string): number {
  const number = text.endsWith('%') ? Number(text.slice(0, -1)) / 100 : Number(text);
  if (text.trim() === '' || !(number >= 0 && number <= 1)) throw new InvalidArgumentError('write a ratio from 0 to 1, or 0.1%');
  return number;
}

/** `https://rollbackd.example.org/ml/` → `https://rollbackd.example.org/ml` */
function readWebUrl(text: string): string {
  const url = URL.parse(text);
  const isPlain = url !== null && /^https?:$/.test(url.protocol) && url.username === '' && url.password === '' && url.search === '' && url.hash === '';
  if (!isPlain) throw new InvalidArgumentError('expected http(s)://host/path without user, query and fragment; write https://rollbackd.example.org/');
  return url.href.replace(/\/+$/, '');
}

function readDuration(text: string): number {
  const parsed = parseDuration(text);
  if (parsed === null) throw new InvalidArgumentError('write 30s, 5m or 1h30m');
  return parsed;
}
