import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { kubernetesAccess, kubernetesAccessCheck } from './access.ts';

describe('kubernetesAccess', () => {
  const settings = z.strictObject({ ...kubernetesAccess.shape, own: z.string().optional() }).check(kubernetesAccessCheck);

  it('is the service account of the pod by default', () => {
    expect(settings.parse({})).toEqual({ exec_timeout: 30_000, allow_insecure: false, timeout: 5_000, apply_timeout: 10_000 });
  });

  it('refuses a context without a kubeconfig', () => {
    expect(settings.safeParse({ context: 'prod' }).error?.issues).toMatchObject([
      { path: ['context'], message: expect.stringContaining('without kubeconfig') },
    ]);
  });
});
