/** The words for what a gateway refuses, as a person can act on them. */
import type { WeftError } from '@weft/client';

const WORDS: Readonly<Record<string, string>> = {
  no_executor: 'No executor runs this at the moment.',
  timeout: 'The executor has not answered in time. It may still do it.',
  queue_full: 'Too many requests wait for the connection.',
  unreachable: 'The gateway cannot be reached.',
  unauthenticated: 'A token is needed.',
  forbidden: 'You may not see this, or it does not exist.',
  not_found: 'There is no such thing here.',
  not_durable: 'This bus keeps nothing, so that there is no list.',
  unavailable: 'The broker is away.',
};

export const wordsFor = ({ code, message }: WeftError): string => WORDS[code] ?? message;
