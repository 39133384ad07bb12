/** `warning`: a lint; the file is taken all the same. */
export type Severity = 'error' | 'warning';

/** One fault of a file, with its place. Neither `message` nor `sourceLine` ever holds a secret: `<secret>` stands there. */
export type Diagnostic = {
  /** As it is shown: relative to the working directory where it lies below it. */
  readonly file: string;
  /** 1-based. */
  readonly line: number;
  /** 1-based, UTF-16 units, as editors count. */
  readonly column: number;
  /** First column behind the fault, same line. */
  readonly endColumn: number;
  /** `groups[0].rules[2].condition.error_ratio.above`; empty for a fault of the whole file. */
  readonly path: string;
  /** `found "5 percent", expected a ratio between 0 and 1; write 5% or 0.05` */
  readonly message: string;
  /** Stable word for the kind of fault: `unknown_key`, `missing_key`, `invalid_value`, `yaml`, `promql`, `template` … */
  readonly code: string;
  readonly severity: Severity;
  /** The line of the file, secrets masked, cut when long; `caret` (0-based) is the faulty part of it. Empty when there is none. */
  readonly sourceLine: string;
  readonly caret: { readonly start: number; readonly length: number };
};

/** `file:line:col: path: message`, then the source line and a caret line. */
export function formatDiagnostic(diagnostic: Diagnostic): string {
  const { file, line, column, path, message, severity, sourceLine, caret } = diagnostic;
  const head = `${file}:${line}:${column}: ${severity === 'warning' ? 'warning: ' : ''}${path === '' ? '' : `${path}: `}${message}`;
  if (sourceLine.trim() === '') return head;
  const indent = sourceLine.slice(0, caret.start).replace(/[^\t]/g, ' ');
  return `${head}\n    ${sourceLine}\n    ${indent}${'^'.repeat(Math.max(1, caret.length))}`;
}

/** All of them, one after another, as they stand in the list. */
export function formatDiagnostics(diagnostics: readonly Diagnostic[]): string {
  return diagnostics.map(formatDiagnostic).join('\n');
}

/** By file in the order given, then by place; the same fault is told once. */
export function sortDiagnostics(diagnostics: readonly Diagnostic[]): Diagnostic[] {
  const files = [...new Set(diagnostics.map((diagnostic) => diagnostic.file))];
  const seen = new Set<string>();
  return diagnostics
    .toSorted((a, b) => files.indexOf(a.file) - files.indexOf(b.file) || a.line - b.line || a.column - b.column)
    .filter((diagnostic) => {
      const key = `${diagnostic.file}:${diagnostic.line}:${diagnostic.column}:${diagnostic.path}:${diagnostic.message}`;
      return !seen.has(key) && seen.add(key);
    });
}

/** Whether anything but lints is among them. */
export function hasErrors(diagnostics: readonly Diagnostic[]): boolean {
  return diagnostics.some((diagnostic) => diagnostic.severity === 'error');
}

/** `groups[0].labels.team`; keys that are no plain words stand in brackets. */
export function formatPath(path: readonly PropertyKey[]): string {
  let text = '';
  for (const step of path) {
    if (typeof step === 'number') text += `[${step}]`;
    else if (/^[\w-]+$/.test(String(step))) text += text === '' ? String(step) : `.${String(step)}`;
    else text += `[${JSON.stringify(String(step).slice(0, 80))}]`;
  }
  return text;
}
