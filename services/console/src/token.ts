/** The token that a person has given, for as long as this tab is open: in no address, no cookie, no lasting store. */

const KEY = 'weft.token';

let count = 0;
const listeners = new Set<() => void>();

export const token = (): string => {
  try {
    return sessionStorage.getItem(KEY) ?? '';
  } catch {
    // A browser may forbid it; then there is none.
    return '';
  }
};

/** Keeps another one, or with an empty text none. */
export function keepToken(text: string): void {
  try {
    if (text === '') sessionStorage.removeItem(KEY);
    else sessionStorage.setItem(KEY, text);
  } catch {
    // Then it is asked for again.
  }
  count += 1;
  for (const listener of [...listeners]) listener();
}

/** Calls whenever another one is kept; the answer ends it. */
export function onToken(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** How often it has changed: what was asked with another one must be asked anew. */
export const tokenCount = (): number => count;
