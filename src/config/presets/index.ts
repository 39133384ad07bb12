import type { Preset } from './preset.ts';
import { tensorflowServing } from './tensorflow-serving.ts';

/** Every preset: one line each. */
const all: readonly Preset[] = [tensorflowServing];

/** Key under `models[].preset` → preset. */
export const presets: Readonly<Record<string, Preset>> = Object.fromEntries(all.map((preset) => [preset.name, preset]));
