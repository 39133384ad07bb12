import { createHmac } from 'node:crypto';

/** Seconds since 1970 in the header, and in what is signed: a receiver refuses what is old. */
const timestampHeader = 'X-Rollbackd-Timestamp';
const signatureHeader = 'X-Rollbackd-Signature';

/** Headers that let a receiver tell who sends: HMAC-SHA256 over `<timestamp>.<raw body>`, as `sha256=<hex>`. */
export function sign(secret: string, body: string, nowMs: number): Record<string, string> {
  const timestamp = String(Math.floor(nowMs / 1000));
  const signature = createHmac('sha256', secret).update(`${timestamp}.${body}`, 'utf8').digest('hex');
  return { [timestampHeader]: timestamp, [signatureHeader]: `sha256=${signature}` };
}
