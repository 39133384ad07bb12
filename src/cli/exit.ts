/** What the shell is told (design 9). */
export const exitCodes = {
  ok: 0,
  error: 1,
  /** An action is pending, or the awaited thing failed. */
  pending: 2,
  /** Lint findings, with `--lint-fatal`. */
  lint: 3,
} as const;

/** Ends a command with a code and a message for stderr; the top prints it. */
export class CommandFailed extends Error {
  override readonly name = 'CommandFailed';
  readonly exitCode: number;
  constructor(message: string, exitCode: number = exitCodes.error) {
    super(message);
    this.exitCode = exitCode;
  }
}
