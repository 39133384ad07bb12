/** Where a version stands on the plane. */
export type VersionState = 'absent' | 'pending' | 'loading' | 'available' | 'draining' | 'unloaded' | 'failed';

export type VersionObservation = {
  readonly id: string;
  readonly state: VersionState;
  /** Why it failed, in the plane's words. */
  readonly detail?: string;
};

/** A version with its share (0..1) of the model's default traffic. */
export type Share = { readonly version: string; readonly share: number };

/** The applied state on one endpoint (replica), never the written wish alone. */
export type EndpointObservation = {
  readonly endpoint: string;
  readonly versions: readonly VersionObservation[];
  readonly serving: readonly Share[];
  /** Named routes (labels, aliases) → version. */
  readonly routes: Readonly<Record<string, string>>;
  /** The configuration that is the truth there, for people and for plan(): plane-native, JSON. */
  readonly config: unknown;
  /** Set when this endpoint could not be read. */
  readonly error?: string;
  /** Who wrote what decides about traffic there since rollbackd last did, in words for people; absent: nobody, or the plane cannot tell. */
  readonly writer?: string;
};

/** One consistent read of a model on its plane. */
export type Observation = {
  readonly atMs: number;
  readonly endpoints: readonly EndpointObservation[];
  /** Union over endpoints: the worst state of each version. */
  readonly versions: readonly VersionObservation[];
  /** Mean over endpoints; empty when nothing serves. */
  readonly serving: readonly Share[];
  /** Compare-and-set token, `null` where the plane has none. Equal tokens = nothing moved. */
  readonly token: string | null;
  /** Whether the plane holds on to a version on our account (TensorFlow Serving `specific`). */
  readonly pinned: boolean;
  /**
   * Where metrics know versions by other names (a revision, a scheduler's counter): such a name → version. A name that is neither in it nor a version is nobody's.
   * Absent: metrics say what the plane says.
   */
  readonly names?: Readonly<Record<string, string>>;
  /** What a registry beside the plane says: its routes are aliases; it moves no traffic, and its `serving` is only its opinion. */
  readonly registry?: EndpointObservation;
  /** Reasons why acting on this plane would not be safe now (the list is not what the server serves …); empty = safe. Only filled by a thorough observation. */
  readonly refusals: readonly string[];
  /** What people must know of a change made here now (somebody takes it back later …); only filled by a thorough observation. */
  readonly notes?: readonly string[];
};

/** Version with the biggest share, or `null` when nothing serves. */
export function mainVersion(observation: Observation): string | null {
  let best: Share | null = null;
  for (const share of observation.serving) if (best === null || share.share > best.share) best = share;
  return best?.version ?? null;
}
