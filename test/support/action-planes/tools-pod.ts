import { existsSync } from 'node:fs';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import path from 'node:path';
import { parse } from 'yaml';

const root = path.resolve(import.meta.dirname, '../../..');
/** Where scripts/real-parts puts it. */
const python = path.join(process.env['XDG_CACHE_HOME'] ?? path.join(homedir(), '.cache'), 'rollbackd', 'grpcio', 'bin', 'python3');

/** The pod of config/examples/tensorflow-serving-exec, as far as `kubectl` beside this file knows it, on this machine. */
export type ToolsPod = {
  /** What the stand-in of kubectl takes for KUBECONFIG. */
  readonly kubeconfig: string;
  /** Makes the connection of the next `switch` break once it was started. */
  readonly loseSwitch: () => Promise<void>;
};

/**
 * @param folder a new one is made there
 * @param models the folder that holds models.config
 * @throws when the Python of real-parts is not there
 */
export async function makeToolsPod(folder: string, models: string): Promise<ToolsPod> {
  if (!existsSync(python)) throw new Error(`${python} is missing; run: npm run real-parts`);
  const pod = path.join(folder, 'cluster/ml/tfs-tools-0');
  await mkdir(path.join(pod, 'bin'), { recursive: true });
  // A link would hide from Python that it lives in a virtual environment.
  await writeFile(path.join(pod, 'bin/python3'), `#!/bin/sh\nexec '${python}' "$@"\n`, { mode: 0o755 });
  await symlink(path.join(root, 'config/examples/tensorflow-serving-exec'), path.join(pod, 'scripts'));
  await symlink(models, path.join(pod, 'models'));
  return { kubeconfig: path.join(folder, 'cluster'), loseSwitch: async () => await writeFile(path.join(pod, 'lost'), 'switch\n') };
}

type Command = { readonly argv: readonly string[] };
/** What stands under `exec`, as written. */
export type ExecSettings = Readonly<Record<string, unknown>> & { readonly observe: Command; readonly switch: Command };

/**
 * The settings that the README of `exec` shows, with this stand-in for kubectl.
 * @param endpoints instead of the one shown
 * @param more arguments of switch.py
 */
export function settingsOfReadme(readme: string, pod: ToolsPod, endpoints: readonly string[], more: readonly string[] = []): ExecSettings {
  const block = /```yaml config\n([\s\S]*?)```/.exec(readme)?.[1] ?? '';
  const { control_planes: planes } = parse(block) as { control_planes: { exec: ExecSettings }[] };
  const [settings] = planes.map((plane) => plane.exec);
  if (settings === undefined) throw new Error('the README of exec shows no settings');
  const here = ({ argv }: Command): Command => {
    const [program, ...args] = argv;
    if (program !== 'kubectl') throw new Error(`expected kubectl, found ${program}`);
    const at = args.indexOf('--endpoint');
    const told = endpoints.flatMap((endpoint) => ['--endpoint', endpoint]);
    return { argv: [path.join(import.meta.dirname, 'kubectl'), ...args.slice(0, at), ...told, ...args.slice(at + 2), ...more] };
  };
  return { ...settings, observe: here(settings.observe), switch: here(settings.switch), env: { KUBECONFIG: pod.kubeconfig } };
}
