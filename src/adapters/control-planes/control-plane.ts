import type { z } from 'zod';
import type { ControlPlane, PlaneDeps } from '../../domain/ports.ts';

/**
 * A kind of control plane as the registry knows it: its schemas at once (the daemon's file is checked with them),
 * its code behind `create` (an `import()`), so that a kind nobody uses costs nothing.
 */
export type ControlPlaneKind<Config = unknown, Keys = unknown> = {
  /** Key under `control_planes[]` in the daemon's file. */
  readonly kind: string;
  /** What stands under that key; strict. */
  readonly config: z.ZodType<Config>;
  /** What stands under `models[].plane`; strict. */
  readonly planeKeys: z.ZodType<Keys>;
  /** Name of the plane that moves the traffic for this one (a registry); absent, or `null`: it moves it itself. */
  readonly actuator?: (config: Config) => string | null;
  /**
   * @param config as `config` parsed it
   * @throws {PlaneError} only for what can never work; a server that is away is found out by `observe`
   */
  readonly create: (config: Config, deps: PlaneDeps) => Promise<ControlPlane>;
};

/** A kind whose types only its own folder knows: what the registry holds. */
export type AnyControlPlaneKind = Omit<ControlPlaneKind, 'create' | 'actuator'> & {
  /** As above; `null` for a kind that always moves its traffic itself. */
  readonly actuator: ((config: unknown) => string | null) | null;
  /** `config` must be what this kind's own schema gave. */
  readonly create: (config: unknown, deps: PlaneDeps) => Promise<ControlPlane>;
};

/** Ties a kind's schemas to its code; the types of `create` follow from the schema. */
export function defineControlPlane<Config, Keys>(kind: ControlPlaneKind<Config, Keys>): AnyControlPlaneKind {
  // The loader hands over what `config` parsed: its output type, which the registry cannot name.
  const { actuator } = kind;
  return {
    ...kind,
    actuator: actuator === undefined ? null : (config) => actuator(config as Config),
    create: async (config, deps) => kind.create(config as Config, deps),
  };
}
