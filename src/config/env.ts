/** The process's environment; the only place that reads it. Hand it on as a value. */
export function environment(): Readonly<Record<string, string | undefined>> {
  return process.env;
}

/** What a command of a smoke test starts from: where programs are found, and nothing that could hold a secret. */
export function commandEnvironment(): Readonly<Record<string, string>> {
  const { PATH, HOME, LANG } = process.env;
  return { ...(PATH !== undefined && { PATH }), ...(HOME !== undefined && { HOME }), ...(LANG !== undefined && { LANG }) };
}

/**
 * Replaces `${NAME}` by the environment's value, `$$` by `$`; any other `$` stays.
 * @returns the text and the names that are not set
 */
export function expandVariables(
  text: string,
  env: Readonly<Record<string, string | undefined>>,
): { readonly text: string; readonly missing: readonly string[] } {
  const missing: string[] = [];
  const expanded = text.replace(/\$(?:\$|\{([^}]*)\})/g, (whole, name: string | undefined) => {
    if (name === undefined) return '$';
    const value = env[name];
    if (value === undefined) missing.push(name);
    return value ?? whole;
  });
  return { text: expanded, missing };
}
