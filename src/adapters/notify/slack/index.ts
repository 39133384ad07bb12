import { defineReceiver } from '../receiver-kind.ts';
import { slackSchema } from './schema.ts';

/** Slack by incoming webhook. */
export const slack = defineReceiver({
  kind: 'slack',
  key: 'slack_configs',
  config: slackSchema,
  create: async (config, deps) => {
    const { SlackSender } = await import('./sender.ts');
    return new SlackSender(config, deps);
  },
});
