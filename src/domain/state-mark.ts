/** How a state is to be taken: its colour, on a terminal and on the page. */
export type Tone = 'good' | 'warn' | 'bad' | 'quiet';
/** Glyph and colour of a state; with its word beside it, since the colour alone tells nobody. */
export type StateMark = { readonly glyph: string; readonly tone: Tone };

const marks: ReadonlyMap<string, StateMark> = new Map(
  Object.entries({
    ok: { glyph: '✔', tone: 'good' },
    success: { glyph: '✔', tone: 'good' },
    succeeded: { glyph: '✔', tone: 'good' },
    passed: { glyph: '✔', tone: 'good' },
    pending: { glyph: '▲', tone: 'warn' },
    breach: { glyph: '✖', tone: 'bad' },
    firing: { glyph: '✖', tone: 'bad' },
    error: { glyph: '!', tone: 'bad' },
    failure: { glyph: '✖', tone: 'bad' },
    failed: { glyph: '✖', tone: 'bad' },
    aborted: { glyph: '✖', tone: 'bad' },
    rejected: { glyph: '✖', tone: 'warn' },
    unknown: { glyph: '?', tone: 'bad' },
    no_data: { glyph: '●', tone: 'warn' },
    suppressed: { glyph: '○', tone: 'quiet' },
    recorded: { glyph: '○', tone: 'quiet' },
  } satisfies Record<string, StateMark>),
);

/** `null`: a state that needs none. */
export function stateMark(state: string): StateMark | null {
  return marks.get(state) ?? null;
}
