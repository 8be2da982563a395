/** Tokens as whoever issues them would sign them, and gateways that ask for them. */
import { createHmac } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { folder } from './processes.js';

const SECRET = 'a secret of these tests, longer than thirty-two bytes';

const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');

/** Signs claims, by HS256. `iat` is now. */
export function signed(claims: object, secret = SECRET): string {
  const text = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ iat: now(), ...claims })}`;
  return `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`;
}

/** Seconds since 1970. */
export const now = (): number => Math.floor(Date.now() / 1000);

/** A user's token, good for so many seconds. */
export const tokenOf = (sub: string, secs = 3600, claims: object = {}): string =>
  signed({ sub, exp: now() + secs, ...claims });

/** Of a service that publishes for everybody. */
export const publisher = (): string => tokenOf('service', 3600, { scope: 'events:publish' });

/** Settings of a gateway that asks for tokens. */
export function asking(): Record<string, string> {
  const file = join(folder(), 'secret');
  writeFileSync(file, `${SECRET}\n`);
  return { WEFT_AUTH: 'jwt', WEFT_JWT_SECRET_FILE: file };
}
