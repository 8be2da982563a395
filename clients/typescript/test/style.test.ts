/** The looks of the ready-made components: what can be told without a browser. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

const css = readFileSync(new URL('../src/style.css', import.meta.url), 'utf8');
const rule = (text: string, selector: string): string => {
  const found = text.split(`${selector} {`)[1]?.split('}')[0];
  if (found === undefined) throw new Error(`no rule of ${selector}`);
  return found;
};
const dark = css.split('@media (prefers-color-scheme: dark)')[1] ?? '';

/** Relative luminance by WCAG 2.2. */
function luminance(hex: string): number {
  const [red = 0, green = 0, blue = 0] = [1, 3, 5].map(at => {
    const part = Number.parseInt(hex.slice(at, at + 2), 16) / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

function contrast(one: string, other: string): number {
  const [less = 0, more = 0] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (more + 0.05) / (less + 0.05);
}

test.each([
  ['light', css],
  ['dark', dark],
])('%s: text and the borders of controls can be told from what is behind them', (_, text) => {
  const colours = Object.fromEntries(
    [...rule(text, '.weft').matchAll(/--weft-(\w+): (#\w{6})/g)].map(([, name, hex]) => [name, hex]),
  ) as Record<string, string>;
  const border = /border: 1px solid var\(--weft-(\w+)\)/.exec(
    rule(css, '.weft button,\n.weft select,\n.weft input'),
  )?.[1];
  for (const behind of ['ground', 'panel'] as const) {
    const from = (name: string) => contrast(colours[name] as string, colours[behind] as string);
    for (const name of ['text', 'muted', 'blue', 'green', 'yellow', 'red'])
      expect(from(name), `${name} on ${behind}`).toBeGreaterThanOrEqual(4.5);
    expect(from(border ?? ''), `borders on ${behind}`).toBeGreaterThanOrEqual(3);
  }
});

test('controls and scroll bars follow the scheme of the page', () => {
  expect(rule(css, '.weft')).toContain('color-scheme: light dark;');
});
