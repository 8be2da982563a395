/** Light, dark, or as the system has it; remembered in this browser. */

export type Theme = 'system' | 'light' | 'dark';
const THEMES: readonly Theme[] = ['system', 'light', 'dark'];
const KEY = 'weft.theme';

export function theme(): Theme {
  try {
    const kept = localStorage.getItem(KEY) as Theme;
    return THEMES.includes(kept) ? kept : 'system';
  } catch {
    return 'system';
  }
}

/** Has the page drawn that way. */
export function applyTheme(chosen: Theme): void {
  const root = document.documentElement;
  if (chosen === 'system') delete root.dataset.theme;
  else root.dataset.theme = chosen;
}

export function keepTheme(chosen: Theme): void {
  applyTheme(chosen);
  try {
    localStorage.setItem(KEY, chosen);
  } catch {
    // Then it is for this page only.
  }
}

export const nextTheme = (now: Theme): Theme => THEMES[(THEMES.indexOf(now) + 1) % THEMES.length] as Theme;
