/** The token that a person has given, for as long as this tab is open. */

const KEY = 'weft.token';

export const token = (): string => {
  try {
    return sessionStorage.getItem(KEY) ?? '';
  } catch {
    // A browser may forbid it; then there is none.
    return '';
  }
};

export function keepToken(text: string): void {
  try {
    if (text === '') sessionStorage.removeItem(KEY);
    else sessionStorage.setItem(KEY, text);
  } catch {
    // Then it is asked for again.
  }
}
