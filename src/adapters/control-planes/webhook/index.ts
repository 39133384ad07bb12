import { defineControlPlane } from '../control-plane.ts';
import { webhookConfig, webhookKeys } from './schema.ts';

/** A service of one’s own, over signed HTTP: see README.md. */
export const webhook = defineControlPlane({
  kind: 'webhook',
  config: webhookConfig,
  planeKeys: webhookKeys,
  create: async (config, deps) => {
    const [{ ActionPlane }, { WebhookTransport }] = await Promise.all([import('../action-plane.ts'), import('./transport.ts')]);
    return new ActionPlane(new WebhookTransport(config, deps), deps, { preSwitchSmoke: config.smoke_before_switch });
  },
});
