import { MlflowError } from './failure.ts';

/**
 * A text as MLflow's filters take one. MLflow keeps a backslash before a quote as part of the text, and one at its end swallows the quote and what follows, so
 * nothing is escaped: the other quote is used.
 * @throws {MlflowError} permanent, for a text that no filter can hold
 * @see sqlparse/keywords.py, SQL_REGEX, and mlflow/utils/search_utils.py, _strip_quotes
 */
export function filterText(text: string): string {
  if (!text.endsWith('\\')) for (const quote of ["'", '"']) if (!text.includes(quote)) return `${quote}${text}${quote}`;
  throw new MlflowError('permanent', `MLflow: ${JSON.stringify(text.slice(0, 100))} cannot be searched for: it holds both quotes, or ends with a backslash`);
}
