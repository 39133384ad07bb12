import { z } from 'zod';
import { httpConfigSchema } from '../../../config/http-config.ts';
import { exactlyOneOf } from '../../../config/key-rules.ts';
import { filePath, flag, httpUrl } from '../../../config/scalars.ts';

/** One entry of `receivers[].slack_configs`: an incoming webhook of Slack, or of anything that speaks the same. */
export const slackSchema = z
  .strictObject({
    api_url: httpUrl().optional().meta({ description: 'Address of the incoming webhook; it is a secret, better: api_url_file. Default: none.' }),
    api_url_file: filePath()
      .optional()
      .meta({ description: 'File that holds the address of the incoming webhook, read at each message and trimmed. Default: none.' }),
    send_resolved: flag().default(true).meta({ description: 'Tell also that alerts are resolved. Default: true.', default: true }),
    http_config: httpConfigSchema.optional().meta({ description: 'Authentication, TLS and headers. Default: none.' }),
  })
  .check(exactlyOneOf(['api_url', 'api_url_file'], { none: 'expected api_url or api_url_file', both: 'expected only one of api_url and api_url_file' }));

export type SlackConfig = z.infer<typeof slackSchema>;
