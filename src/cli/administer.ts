import { clientFor, type DaemonFlags } from './daemon-flags.ts';

/** Asks a running daemon to act (it needs a role, or `--web.enable-admin-api`). @returns what was done, in words */
export async function administer(
  what: string,
  subject: string,
  options: DaemonFlags & { reason: string; by: string; for?: string; to?: string },
): Promise<string> {
  const client = clientFor(options, 90_000);
  const request = { reason: options.reason, by: options.by };
  try {
    switch (what) {
      case 'unpin':
        return (await client.unpin(subject, request)).detail;
      case 'pause': {
        const pause = await client.pause(subject, { ...request, for: options.for });
        return `paused ${pause.until === null ? 'until resumed' : `until ${pause.until}`}`;
      }
      case 'resume':
        await client.resume(subject, request);
        return 'resumed';
      case 'rollback': {
        const episode = await client.rollBack(subject, { ...request, to: options.to });
        if (episode.mode === 'dry_run')
          return `${episode.id}: recorded only (--dry-run): would roll ${episode.model} back from ${episode.from} to ${episode.to}`;
        return `${episode.id}: rolling ${episode.model} back from ${episode.from} to ${episode.to}${episode.detail === '' ? '' : ` (${episode.detail})`}; follow it by: rollbackd describe rollback ${episode.id}`;
      }
      case 'approve':
        return `${(await client.approve(subject, request)).id} approved`;
      default:
        return `${(await client.reject(subject, request)).id} rejected`;
    }
  } finally {
    client.close();
  }
}
