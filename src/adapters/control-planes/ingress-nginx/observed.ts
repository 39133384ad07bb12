import type { EndpointObservation, Share } from '../../../domain/observation.ts';
import type { GitOpsState } from '../../kubernetes/gitops-state.ts';
import { type CanarySettings, canaryRules } from './canary-rules.ts';

/** One Ingress with what it leads to. */
export type Side = { readonly name: string; readonly uid: string; readonly service: string; readonly version: string };

/** `EndpointObservation.config` of this plane: nothing in it moves by itself. */
export type IngressTruth = {
  readonly namespace: string;
  readonly primary: Side & { readonly is_sticky: boolean };
  /** `null`: there is none, or the controller makes nothing of it. */
  readonly canary: (Side & { readonly settings: CanarySettings; readonly covers_all: boolean; readonly marks: Readonly<Record<string, string | null>> }) | null;
  /** Why there is no canary, where an Ingress of its name is there. */
  readonly no_canary: string | null;
  /** Of the canary Ingress; `null`: there is none. */
  readonly gitops: GitOpsState | null;
  /** For the plan's notes. */
  readonly notes: readonly string[];
};

export function truthOf(endpoint: EndpointObservation): IngressTruth {
  return endpoint.config as IngressTruth;
}

/** What is shown for a canary that only a header or a cookie leads to: how many send it is not known, and that it serves must be. */
const shareByException = 0.01;

export function sharesOf({ primary, canary }: IngressTruth): Share[] {
  if (canary === null) return [{ version: primary.version, share: 1 }];
  const { share, exceptions } = canaryRules(canary.settings);
  const canaryShare = share === 0 && exceptions.length > 0 ? shareByException : share;
  const shares = [
    { version: primary.version, share: 1 - canaryShare },
    { version: canary.version, share: canaryShare },
  ];
  return shares.filter((entry) => entry.share > 0);
}
