import type { AlertContent, AlertItem, ApprovalContent, DigestContent, EpisodeContent, MessageContent, NoticeContent } from '../../../domain/message.ts';
import { cut, escapePlain, link, escapeMrkdwn as safe } from './mrkdwn.ts';
import { evidenceWords, took, when } from './words.ts';

type Text = { readonly type: 'mrkdwn'; readonly text: string; readonly verbatim: true };
export type SlackBlock =
  | { readonly type: 'header'; readonly text: { readonly type: 'plain_text'; readonly text: string; readonly emoji: false } }
  | { readonly type: 'section'; readonly text: Text }
  | { readonly type: 'section'; readonly fields: readonly Text[] }
  | { readonly type: 'context'; readonly elements: readonly Text[] };
/** What is posted. `text` is for notifications and screen readers, and is all that is sent when Slack refuses the blocks. */
export type SlackPayload = { readonly text: string; readonly blocks: readonly SlackBlock[] };

/** Slack's limits, and our own for the sum (an undocumented one lies near 13,200). @see https://docs.slack.dev/reference/block-kit */
const limits = { header: 150, section: 3_000, field: 2_000, fields: 10, context: 2_000, text: 1_000, total: 12_000 } as const;
/** Alerts or lines told one by one. */
const listed = 10;

/** The draft of a message before limits. Texts are mrkdwn, escaped; `title` is plain. */
type Draft = {
  readonly title: string;
  readonly text: string;
  readonly sections: readonly string[];
  readonly fields: readonly (readonly [string, string])[];
  readonly context: readonly string[];
};

/** The Slack message of an outbox message; pure. Emoji and word, never the colour alone. */
export function slackMessage(message: MessageContent): SlackPayload {
  return layOut(draftOf(message));
}

function draftOf(message: MessageContent): Draft {
  switch (message.kind) {
    case 'episode_started':
      return startedDraft(message.content);
    case 'episode_finished':
      return finishedDraft(message.content);
    case 'approval_needed':
      return approvalDraft(message.content);
    case 'alert':
      return alertDraft(message.content);
    case 'digest':
      return digestDraft(message.content);
    case 'notice':
      return noticeDraft(message.content);
  }
}

/** Words for each way an episode can end. `title` and `text` are put before `model from → to`. */
type Ending = { readonly title: string; readonly text: string };

function endingOf(episode: EpisodeContent): Ending {
  if (episode.state === 'recorded') return { title: '📝 Dry run: would have rolled back', text: 'dry run: would have rolled back' };
  if (episode.state === 'rejected') return { title: '🚫 Rejected: rollback of', text: 'rollback rejected' };
  if (episode.outcome === 'success') return { title: '✅ Rolled back', text: 'rollback success' };
  if (episode.outcome === 'unknown') return { title: '⚠️ Rollback, outcome unknown:', text: 'rollback outcome unknown' };
  if (episode.state === 'aborted') return { title: '⏹️ Aborted: rollback of', text: 'rollback aborted' };
  return { title: '❌ Rollback failed:', text: 'rollback failure' };
}

function startedDraft(episode: EpisodeContent): Draft {
  return {
    title: `⏳ Rolling back ${arrow(episode, '→')}`,
    text: `rollback started: ${summary(episode)}`,
    sections: [breach(episode), `State: ${safe(episode.state)}.${episode.detail === '' ? '' : ` ${safe(episode.detail)}`}`, ...noteSections(episode)],
    fields: labelFields(episode.externalLabels),
    context: contextOf(episode),
  };
}

function finishedDraft(episode: EpisodeContent): Draft {
  const ending = endingOf(episode);
  const isFine = episode.outcome === 'success' || episode.state === 'recorded';
  const sections = [breach(episode)];
  if (!isFine) sections.push(...troubleSections(episode));
  else if (episode.detail !== '') sections.push(safe(episode.detail));
  if (episode.switched_at !== null) sections.push(...noteSections(episode));
  if (episode.pinned)
    sections.push(
      `📌 The control plane now holds version ${safe(episode.to)}: newer versions are not served until \`rollbackd unpin ${safe(episode.model)}\`.`,
    );
  return {
    title: `${ending.title} ${arrow(episode, '→')}`,
    text: `${ending.text}: ${summary(episode)}`,
    sections,
    fields: episodeFields(episode),
    context: contextOf(episode),
  };
}

/** What is left for people to do, where the words before do not say it already. */
function noteSections({ notes = [], detail }: EpisodeContent): string[] {
  const left = notes.filter((note) => !detail.includes(note));
  return left.length === 0 ? [] : [left.map((note) => `⚠️ ${safe(note)}`).join('\n')];
}

/** A failure's reader must know what serves now and what to do. */
function troubleSections(episode: EpisodeContent): string[] {
  const reason = `*Why*: ${safe(episode.detail === '' ? 'no reason was recorded' : episode.detail)}`;
  const from = safe(episode.from);
  const to = safe(episode.to);
  // Only what is recorded: an unconfirmed write may have moved traffic all the same.
  const now =
    episode.switched_at === null
      ? `no switch of traffic was confirmed; version ${from} served when this began.`
      : `traffic was switched to version ${to} at ${when(episode.switched_at)}; rollbackd did not switch it back to ${from}.`;
  const steps = episode.steps
    .filter((step) => step.state !== 'pending')
    .map((step) => `${safe(step.name)} ${step.state}${step.state === 'failed' && step.detail !== '' ? ` (${safe(step.detail)})` : ''}`);
  const runbook = episode.links['runbook'];
  const act = [`\`rollbackd describe rollback ${safe(episode.id)}\` shows every step`, ...(runbook === undefined ? [] : [link(runbook, 'runbook')])];
  const advice =
    episode.state === 'rejected'
      ? 'Nothing to do unless the version is bad after all.'
      : `*What to do*: look which version serves (\`rollbackd get versions ${safe(episode.model)}\`) and decide by hand; ${act.join(', ')}.`;
  return [reason, `*Now*: ${now}${steps.length === 0 ? '' : `\nSteps: ${steps.join('; ')}`}`, advice];
}

function approvalDraft(episode: ApprovalContent): Draft {
  const id = safe(episode.id);
  return {
    title: `✋ Approval needed: roll back ${arrow(episode, '→')}?`,
    text: `approval needed: ${summary(episode)}`,
    sections: [
      breach(episode),
      `${episode.detail === '' ? '' : `${safe(episode.detail)}\n`}Version ${safe(episode.from)} still serves.${episode.expiresAt === null ? '' : ` Without an answer this is rejected at ${when(episode.expiresAt)}.`}`,
      `\`rollbackd approve ${id}\` or \`rollbackd reject ${id}\``,
    ],
    fields: labelFields(episode.externalLabels),
    context: contextOf(episode),
  };
}

function alertDraft(content: AlertContent): Draft {
  const [first] = content.alerts;
  const names = [...new Set(content.alerts.map(({ alert }) => alert))];
  const models = [...new Set(content.alerts.map(({ model }) => model))];
  const about = `${names.join(', ')}: ${models.join(', ')}${first !== undefined && content.alerts.length === 1 && first.version !== '' ? ` ${first.version}` : ''}`;
  const isFiring = content.status === 'firing';
  const more = content.alerts.length - listed;
  return {
    title: `${isFiring ? '🔥 Firing' : '✅ Resolved'}: ${about}`,
    text: `alert ${content.status}: ${safe(about)}${external(content.externalLabels)}`,
    sections: [
      ...content.alerts.slice(0, listed).map(alertSection),
      ...(more > 0 ? [`and ${more} more`] : []),
      ...(isFiring ? ['No rollback follows from this.'] : []),
    ],
    fields: labelFields(content.externalLabels),
    context: links(content.links ?? {}),
  };
}

function alertSection(alert: AlertItem): string {
  const labels = Object.entries(alert.labels).filter(([name]) => name !== 'alertname' && name !== 'model' && name !== 'version');
  const time = alert.endsAt === null ? `since ${when(alert.startsAt)}` : `from ${when(alert.startsAt)} to ${when(alert.endsAt)}`;
  const lines = [
    `*${safe(alert.alert)}* ${alert.endsAt === null ? 'firing' : 'resolved'}: ${safe(alert.model)} ${safe(alert.version)}, ${time}`,
    safe(alert.summary),
    alert.reason === alert.summary ? '' : safe(alert.reason),
    labels.map(([name, value]) => `${safe(name)}=${safe(value)}`).join(', '),
  ];
  return cut(lines.filter((line) => line !== '').join('\n'), limits.section);
}

function digestDraft(content: DigestContent): Draft {
  const did = content.did.map(
    (item) =>
      `${item.outcome === 'success' ? '✅' : item.outcome === null ? '⏳' : '❌'} ${safe(item.model)} ${safe(item.from)} → ${safe(item.to)}: ${safe(item.outcome ?? 'under way')}${by(item.rule)}, ${safe(item.id)}`,
  );
  const would = content.wouldHave.map((item) => `📝 ${safe(item.model)} ${safe(item.from)} → ${safe(item.to)}${by(item.rule)}: ${safe(item.reason)}`);
  const counts = `${did.length} ${did.length === 1 ? 'rollback' : 'rollbacks'}, ${would.length} in dry run`;
  return {
    title: `📋 rollbackd on ${content.day}: ${counts}`,
    text: `digest ${safe(content.day)}: ${counts}${external(content.externalLabels)}`,
    sections: [
      ...list('*Rolled back*', did),
      ...list('*Would have rolled back*', would),
      ...(did.length + would.length === 0 ? ['Nothing was rolled back, and nothing would have been.'] : []),
    ],
    fields: labelFields(content.externalLabels),
    context: [],
  };
}

function list(title: string, lines: readonly string[]): string[] {
  if (lines.length === 0) return [];
  const more = lines.length - listed;
  return [[title, ...lines.slice(0, listed).map((line) => cut(line, 250)), ...(more > 0 ? [`and ${more} more`] : [])].join('\n')];
}

const noticeWords: Readonly<Record<NoticeContent['severity'], string>> = { info: 'ℹ️ Notice', warning: '⚠️ Warning', error: '❌ Error' };

function noticeDraft(content: NoticeContent): Draft {
  return {
    title: `${noticeWords[content.severity]}: ${content.title}`,
    text: `${content.severity}: ${safe(content.title)}${external(content.externalLabels)}`,
    sections: content.text === '' ? [] : [safe(content.text)],
    fields: labelFields(content.externalLabels),
    context: links(content.links ?? {}),
  };
}

function arrow(episode: EpisodeContent, sign: string): string {
  return `${episode.model} ${episode.from} ${sign} ${episode.to}`;
}

/** `fraud-detector 7 -> 6 (ModelErrorRatioHigh 10.2% > 5%), prod-eu1`, escaped. */
function summary(episode: EpisodeContent): string {
  const why = [episode.rule ?? 'by hand', evidenceWords(episode, (text) => text).short].filter((part) => part !== '').join(' ');
  return `${safe(arrow(episode, '->'))} (${safe(why)})${external(episode.externalLabels)}`;
}

/** What was wrong: rule, value against limit, on how many requests; the baseline; the verdict's own words. */
function breach(episode: EpisodeContent): string {
  const { sentence, baseline } = evidenceWords(episode, (text) => `*${text}*`);
  const by = episode.requestedBy ?? '';
  const who = episode.rule === null ? `*By hand*${by === '' ? '' : ` by ${safe(by)}`}` : `*${safe(episode.rule)}*`;
  return [
    sentence === '' ? who : `${who}: ${sentence}`,
    baseline === '' ? '' : `Baseline ${baseline}`,
    episode.reason === '' ? '' : `${episode.rule === null ? 'Reason' : 'Verdict'}: ${safe(episode.reason)}`,
  ]
    .filter((line) => line !== '')
    .join('\n');
}

function episodeFields(episode: EpisodeContent): [string, string][] {
  const fields: [string, string][] = [['Smoke test', smokeWords(episode)]];
  const duration = took(episode.detected_at, episode.finished_at);
  if (duration !== null && episode.state !== 'recorded')
    fields.push(['Took', `${duration}${episode.replicas === null ? '' : ` (${episode.replicas} ${episode.replicas === 1 ? 'replica' : 'replicas'})`}`]);
  if (episode.quarantinedUntil !== null) fields.push([`Version ${episode.from}`, `quarantined until ${when(episode.quarantinedUntil)}`]);
  return [...fields, ...labelFields(episode.externalLabels)];
}

function smokeWords(episode: EpisodeContent): string {
  const { smoke_tests: tests } = episode;
  if (tests.length === 0) return episode.state === 'recorded' ? 'not run in a dry run' : 'none was run';
  const passed = tests.filter(({ outcome }) => outcome === 'passed').length;
  const totalMs = Math.round(tests.reduce((sum, test) => sum + test.duration_ms, 0));
  const failed = tests.find(({ outcome }) => outcome === 'failed');
  if (failed === undefined) return `passed, ${passed}/${tests.length}, ${totalMs} ms`;
  return `failed, ${passed}/${tests.length} passed; ${failed.name}: ${failed.detail}`;
}

/** External labels (`cluster: prod-eu1`) as fields. */
function labelFields(externalLabels: Readonly<Record<string, string>>): [string, string][] {
  return Object.entries(externalLabels).map(([name, value]) => [name.charAt(0).toUpperCase() + name.slice(1), value]);
}

function external(externalLabels: Readonly<Record<string, string>>): string {
  const values = Object.values(externalLabels);
  return values.length === 0 ? '' : `, ${safe(values.join(', '))}`;
}

function by(rule: string | null): string {
  return rule === null ? ' by hand' : ` (${safe(rule)})`;
}

function contextOf(episode: EpisodeContent): string[] {
  return [safe(episode.id), ...links(episode.links)];
}

function links(named: Readonly<Record<string, string>>): string[] {
  return Object.entries(named).map(([name, url]) => link(url, name.replaceAll('_', ' ')));
}

/** Blocks within all limits: each text at its own, then the sections in order until the sum is spent; header, fields and context come first. */
function layOut(draft: Draft): SlackPayload {
  const title = cut(escapePlain(draft.title), limits.header);
  const fields = draft.fields
    .slice(0, limits.fields)
    .map(([name, value]) => mrkdwn(cut(`*${safe(cut(name, 100))}*\n${safe(value)}`, draft.fields.length > 4 ? 300 : limits.field)));
  const context = draft.context.length === 0 ? '' : cut(draft.context.join(' | '), limits.context);
  const text = cut(draft.text, limits.text);
  let left = limits.total - title.length - context.length - text.length - fields.reduce((sum, field) => sum + field.text.length, 0);
  const sections: SlackBlock[] = [];
  for (const section of draft.sections) {
    const fitted = cut(section, Math.min(limits.section, left));
    if (fitted.length < 2) break;
    left -= fitted.length;
    sections.push({ type: 'section', text: mrkdwn(fitted) });
  }
  return {
    text,
    blocks: [
      { type: 'header', text: { type: 'plain_text', text: title, emoji: false } },
      ...sections,
      ...(fields.length === 0 ? [] : [{ type: 'section', fields } as const]),
      ...(context === '' ? [] : [{ type: 'context', elements: [mrkdwn(context)] } as const]),
    ],
  };
}

/** `verbatim`: Slack makes no links and no channel names out of our text. */
function mrkdwn(text: string): Text {
  return { type: 'mrkdwn', text, verbatim: true };
}
