/** What a gateway can tell a client, and whether to come back after it: `docs/PROTOCOL.md`, held against it by a test. */

/** Refused by the gateway, or by this client: `code` is the stable word to compare. */
export class WeftError extends Error {
  override name = 'WeftError';
  readonly code: string;
  /** The room it is about. */
  readonly room: string | undefined;

  constructor(code: string, message: string, room?: string) {
    super(message);
    this.code = code;
    this.room = room;
  }
}

/** Error codes after which the same may be asked again, after a pause. */
export const LATER: ReadonlySet<string> = new Set([
  'too_many_pending',
  'rate_limited',
  'no_executor',
  'timeout',
  'busy',
  'unavailable',
  'draining',
  'overloaded',
  'internal',
]);

/** What a close code asks for. */
export type ComeBack = 'yes' | 'later' | 'token' | 'no';

const CLOSES: Readonly<Record<number, ComeBack>> = {
  1002: 'no',
  1003: 'no',
  1007: 'no',
  1008: 'later',
  1009: 'no',
  1012: 'yes',
  1013: 'yes',
  4400: 'no',
  4401: 'token',
  4403: 'no',
  4408: 'yes',
  4409: 'yes',
};

/** Whether to come back after a close. Any code that the table lacks, 1006 above all, means yes. */
export const comeBack = (code: number): ComeBack => CLOSES[code] ?? 'yes';
