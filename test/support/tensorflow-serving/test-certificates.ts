import { createPrivateKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';

/** A private key and its certificate, both PEM. */
export interface TestCertificate {
  key: string;
  cert: string;
}

/**
 * Makes a certificate for tests, valid for a day (or run out since an hour): an authority without `issuer`, else one for localhost and 127.0.0.1, or for
 * another host, signed by it.
 * Made anew each time, so that no key lies in the repository and none runs out.
 * @see https://www.rfc-editor.org/rfc/rfc5280#section-4.1 (the structure)
 */
export function makeTestCertificate(
  commonName: string,
  issuer?: TestCertificate & { commonName: string },
  { isExpired = false, host }: { readonly isExpired?: boolean; readonly host?: string } = {},
): TestCertificate {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const signer = issuer ? createPrivateKey(issuer.key) : privateKey;
  const extensions = issuer ? [host === undefined ? subjectAltNames('localhost', [127, 0, 0, 1]) : subjectAltNames(host)] : [IS_AUTHORITY];
  const body = sequence(
    tagged(0xa0, integer(2)),
    integer(Math.floor(Math.random() * 2 ** 30) + 1),
    ECDSA_WITH_SHA256,
    name(issuer?.commonName ?? commonName),
    isExpired ? sequence(time(-86_400_000), time(-3_600_000)) : sequence(time(-3_600_000), time(86_400_000)),
    name(commonName),
    publicKey.export({ type: 'spki', format: 'der' }),
    tagged(0xa3, sequence(...extensions)),
  );
  const certificate = sequence(body, ECDSA_WITH_SHA256, tagged(0x03, Buffer.from([0]), sign('sha256', body, signer)));
  return { key: pem(privateKey), cert: `-----BEGIN CERTIFICATE-----\n${lines(certificate.toString('base64'))}\n-----END CERTIFICATE-----\n` };
}

function tagged(tag: number, ...parts: Buffer[]): Buffer {
  const content = Buffer.concat(parts);
  const size = content.length;
  const length = size < 0x80 ? [size] : size < 0x100 ? [0x81, size] : [0x82, size >> 8, size & 0xff];
  return Buffer.concat([Buffer.from([tag, ...length]), content]);
}

function sequence(...parts: Buffer[]): Buffer {
  return tagged(0x30, ...parts);
}

/** DER wants the shortest form that does not look negative. */
function integer(value: number): Buffer {
  const hex = value.toString(16);
  const bytes = Buffer.from(hex.padStart(hex.length + (hex.length % 2), '0'), 'hex');
  return tagged(0x02, (bytes[0] ?? 0) < 0x80 ? bytes : Buffer.concat([Buffer.from([0]), bytes]));
}

/** @param encoded the identifier's bytes in hexadecimal */
function identifier(encoded: string): Buffer {
  return tagged(0x06, Buffer.from(encoded, 'hex'));
}

function name(commonName: string): Buffer {
  return sequence(tagged(0x31, sequence(identifier('550403'), tagged(0x0c, Buffer.from(commonName)))));
}

function time(offsetMs: number): Buffer {
  const text = new Date(Date.now() + offsetMs).toISOString().replace(/[-:T]|\.\d+/g, '');
  return tagged(0x18, Buffer.from(text));
}

const ECDSA_WITH_SHA256 = sequence(identifier('2a8648ce3d040302'));
const IS_AUTHORITY = sequence(identifier('551d13'), tagged(0x01, Buffer.from([0xff])), tagged(0x04, sequence(tagged(0x01, Buffer.from([0xff])))));

function subjectAltNames(host: string, address?: readonly number[]): Buffer {
  const addresses = address === undefined ? [] : [tagged(0x87, Buffer.from(address))];
  return sequence(identifier('551d11'), tagged(0x04, sequence(tagged(0x82, Buffer.from(host)), ...addresses)));
}

function pem(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }).toString();
}

function lines(base64: string): string {
  return base64.replace(/(.{64})(?!$)/g, '$1\n');
}
