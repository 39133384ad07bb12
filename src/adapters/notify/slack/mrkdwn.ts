/**
 * Texts from outside in Slack's mrkdwn: nothing in them may format, link or ping. Slack has no escape for its marks, so they give way to
 * look-alikes; `&`, `<`, `>` become entities, which also takes away `<!here>`, `<@U1>` and `<url|text>`.
 * @see https://docs.slack.dev/messaging/formatting-message-text (escaping)
 */
export function escapeMrkdwn(text: string): string {
  return (
    breakMentions(withoutControls(text))
      .replaceAll('&', '&amp;')
      .replaceAll('<', '&lt;')
      .replaceAll('>', '&gt;')
      .replaceAll('*', '∗')
      .replaceAll('~', '∼')
      .replaceAll('`', 'ˋ')
      // An underscore inside a word formats nothing, and names are full of them.
      .replaceAll(/(?<![\p{L}\p{N}_])_+|_+(?![\p{L}\p{N}_])/gu, (marks) => 'ˍ'.repeat(marks.length))
  );
}

/** For `plain_text`, where Slack formats nothing: entities would show, so the three characters give way to look-alikes. */
export function escapePlain(text: string): string {
  return breakMentions(withoutControls(text)).replaceAll('&', '＆').replaceAll('<', '‹').replaceAll('>', '›');
}

/** `<url|text>`, or the bare text when the URL is none that may be linked. */
export function link(url: string, text: string): string {
  const parsed = URL.parse(url);
  const label = escapeMrkdwn(text);
  if (parsed === null || (parsed.protocol !== 'http:' && parsed.protocol !== 'https:') || parsed.username !== '' || parsed.password !== '') return label;
  const href = parsed.href.replaceAll('&', '&amp;').replaceAll('<', '%3C').replaceAll('>', '%3E').replaceAll('|', '%7C');
  return href.length > 2000 ? label : `<${href}|${label.replaceAll('|', '¦')}>`;
}

/** At most `limit` characters, cut with `…`; never inside an entity, a link or a surrogate pair. */
export function cut(text: string, limit: number): string {
  if (text.length <= limit) return text;
  const kept = text
    .slice(0, Math.max(0, limit - 1))
    .replace(/[\uD800-\uDBFF]$/, '')
    .replace(/&[a-z]{0,4}$/, '')
    .replace(/<[^<>]*$/, '');
  return `${kept}…`;
}

/** `@here` and its like, with an invisible break behind the sign. */
function breakMentions(text: string): string {
  return text.replaceAll(/@(?=here|channel|everyone|group)/gi, '@\u200b');
}

function withoutControls(text: string): string {
  // oxlint-disable-next-line no-control-regex -- control characters are what is taken out
  return text.replaceAll(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g, ' ').toWellFormed();
}
