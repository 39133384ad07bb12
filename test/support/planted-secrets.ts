/** How the secrets of tests begin (`planted-`, and the older ones), which nothing else does: whoever finds one in an output has found a leak. */
const words = ['planted-[a-z0-9]', 's3cr3t', 'pl4nted', 'hunter2'];
/** `planted-` in base64, as basic authentication sends it, wherever in the text it begins. */
const inBase64 = ['cGxhbnRlZC', 'BsYW50ZWQt', 'wbGFudGVkL'];
const planted = new RegExp([...words, ...inBase64].join('|'), 'g');

/** A secret where none may be. */
export type Leak = { readonly line: number /** How the line begins. */; readonly start: string /** What stands around the secret. */; readonly shown: string };

/** Every line of a text with a secret of a test in it, and what stands around it. */
export function findPlanted(text: string): readonly Leak[] {
  return text.split('\n').flatMap((line, index) => {
    planted.lastIndex = 0;
    const found = planted.exec(line);
    return found === null ? [] : [{ line: index + 1, start: line.slice(0, 200), shown: line.slice(Math.max(0, found.index - 100), found.index + 40) }];
  });
}
