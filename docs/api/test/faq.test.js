/** Figures that the questions and the README repeat are those of PERFORMANCE.md, with its commands. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { root } from './rig.js';

const read = name => readFileSync(join(root, 'docs', name), 'utf8');
const [faq, performance] = [read('faq.md'), read('PERFORMANCE.md')];
const cells = row =>
  row
    .split('|')
    .slice(1, -1)
    .map(cell => cell.replaceAll('*', '').trim());
const rows = text =>
  text
    .split('\n')
    .filter(line => line.startsWith('|') && !line.includes('---'))
    .map(cells);

it('compares with what was measured', () => {
  const measured = new Map(
    rows(performance.slice(performance.indexOf('## Beside others'))).map(([name, , ...figures]) => [name, figures]),
  );
  const told = rows(faq.slice(faq.indexOf('## Compared with'))).filter(([name]) => name);
  for (const [name, ...figures] of told) expect(figures, name).toEqual(measured.get(name));
  expect(told.length).toBe(3);
  const nats = measured.get("NATS server's WebSocket");
  expect(faq).toContain(`${nats[0]} × the floor, ${nats[2]} CPU-µs`);
});

it('names commands that stand beside figures', () => {
  const commands = [...faq.replaceAll('\n', ' ').matchAll(/`(loadtest [^`]+)`/g)].map(([, command]) => command);
  const known = ['loadtest compare --centrifugo PATH'];
  expect(commands.filter(command => !performance.includes(command) && !known.includes(command))).toEqual([]);
  expect(commands.length).toBeGreaterThan(6);
});

it.each([
  ['902 bytes', '| native, without | 902 | 1,093 |'],
  ['1,473 with a token', '| native, with a token (HS256) | 1,327 | 1,473 |'],
  ['of 380,000 events', 'misordered of 380,000'],
  ['Of 15,000 clients', '15,000 returned'],
  ['median latency stayed at 1.9 ms', '1.9 ms in the'],
])('says "%s" as it was measured', (told, measured) => {
  expect(faq.replaceAll('\n', ' ')).toContain(told);
  expect(performance.replaceAll('\n', ' ')).toContain(measured);
});

describe('the README', () => {
  const readme = readFileSync(join(root, 'README.md'), 'utf8');
  const told = rows(readme.slice(readme.indexOf('## What it costs'), readme.indexOf('## The bus'))).slice(1);
  const plain = performance.replaceAll('\n', ' ').replaceAll('*', '');

  it('names commands that stand beside figures', () => {
    const commands = told.flatMap(([, , command]) => [...command.matchAll(/`([^`]+)`/g)].map(([, one]) => one));
    const flat = plain.replaceAll(' \\ ', ' ').replaceAll(/ +/g, ' ');
    // One line there names several protocols.
    const parts = commands
      .flatMap(command => command.split('; '))
      .map(part => part.replace(/--protocol (sse|d)$/, '--protocol'));
    expect(parts.filter(part => !flat.includes(part))).toEqual([]);
    expect(parts.length).toBeGreaterThan(6);
  });

  it('repeats figures as they were measured', () => {
    const figures = told.flatMap(([, said]) => said.match(/\d[\d.,]*\d/g));
    expect(figures.filter(figure => !plain.includes(figure))).toEqual([]);
    expect(figures.length).toBeGreaterThan(10);
  });
});
