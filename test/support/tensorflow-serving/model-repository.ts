import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { BEHAVIOUR_FILE, type Behaviour } from './core/behaviour.ts';

/** Models, their versions, and how each behaves; `{}` is a version that works. */
export type ModelVersions = Record<string, Record<string | number, Behaviour>>;

/** A model of a configuration, in short. */
export interface ModelEntry {
  name: string;
  /** Policy `specific` with these versions; left out: the default policy, the latest one. */
  versions?: (string | number)[];
  labels?: Record<string, string | number>;
  /** Default: the model's folder in the repository. */
  basePath?: string;
  /** Default `tensorflow`. */
  platform?: string;
  /** More fields, in text format. */
  more?: string;
}

/** A folder of models as TensorFlow Serving wants it: `<model>/<version>/`. */
export interface ModelRepository {
  /** Absolute path of the folder. */
  dir: string;
  /** What goes into `base_path`. */
  basePath: (model: string) => string;
  /** Adds a version or changes how it behaves, at once and never half, while servers run on it. */
  setBehaviour: (model: string, version: string | number, behaviour: Behaviour) => Promise<void>;
  removeVersion: (model: string, version: string | number) => Promise<void>;
  /** Removes a model's whole folder. */
  removeModel: (model: string) => Promise<void>;
  /** A `ModelServerConfig` in text format, for `--model_config_file`. */
  configText: (models: ModelEntry[]) => string;
}

/** Writes a repository of models into a folder, which is made if need be. A model without versions gets an empty folder. */
export async function makeModelRepository(dir: string, models: ModelVersions): Promise<ModelRepository> {
  const root = resolve(dir);
  const basePath = (model: string): string => join(root, model);
  const setBehaviour = async (model: string, version: string | number, behaviour: Behaviour): Promise<void> => {
    const folder = join(basePath(model), String(version));
    await mkdir(folder, { recursive: true });
    const staging = join(folder, `${BEHAVIOUR_FILE}.new`);
    await writeFile(staging, JSON.stringify(behaviour));
    await rename(staging, join(folder, BEHAVIOUR_FILE));
  };
  for (const [model, versions] of Object.entries(models)) {
    await mkdir(basePath(model), { recursive: true });
    for (const [version, behaviour] of Object.entries(versions)) await setBehaviour(model, version, behaviour);
  }
  return {
    dir: root,
    basePath,
    setBehaviour,
    removeVersion: (model, version) => rm(join(basePath(model), String(version)), { recursive: true, force: true }),
    removeModel: (model) => rm(basePath(model), { recursive: true, force: true }),
    configText: (entries) => `model_config_list {\n${entries.map((entry) => entryText(entry, basePath(entry.name))).join('')}}\n`,
  };
}

function entryText({ name, versions, labels = {}, basePath, platform = 'tensorflow', more = '' }: ModelEntry, folder: string): string {
  const fields = [
    `name: ${JSON.stringify(name)}`,
    `base_path: ${JSON.stringify(basePath ?? folder)}`,
    ...(platform === '' ? [] : [`model_platform: ${JSON.stringify(platform)}`]),
    ...(versions === undefined ? [] : [`model_version_policy { specific { ${versions.map((version) => `versions: ${version}`).join(' ')} } }`]),
    ...Object.entries(labels).map(([label, version]) => `version_labels { key: ${JSON.stringify(label)} value: ${version} }`),
    ...(more === '' ? [] : [more]),
  ];
  return `  config {\n${fields.map((field) => `    ${field}\n`).join('')}  }\n`;
}
