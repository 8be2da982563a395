/** Figures that the questions and the README repeat are those of PERFORMANCE.md, each from its own cell, with its command. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { root } from './rig.js';

const read = path => readFileSync(join(root, path), 'utf8');
const flat = text => text.replaceAll(/\s+/g, ' ');
const [faq, readme] = [read('docs/faq.md'), read('README.md')];
const performance = read('docs/PERFORMANCE.md').replaceAll('*', '');
const operations = read('docs/OPERATIONS.md');

const cells = row =>
  row
    .split('|')
    .slice(1, -1)
    .map(cell => cell.trim());
const rows = text =>
  text
    .split('\n')
    .filter(line => line.startsWith('|') && !line.includes('---'))
    .map(cells);

function section(text, heading) {
  const from = text.indexOf(`\n## ${heading}`);
  expect(from, heading).toBeGreaterThan(0);
  const to = text.indexOf('\n## ', from + 1);
  return text.slice(from, to < 0 ? undefined : to);
}

/** A cell of the first table of a section, by the beginning of its row and by its column; there must be one. */
function cell(heading, row, column, text = performance) {
  const [head, ...body] = rows(section(text, heading));
  const found = body.filter(([name]) => name.startsWith(row));
  expect(found.length, `${heading}: ${row}`).toBe(1);
  const at = head.findIndex(name => name.startsWith(column));
  expect(at, `${heading}: ${column}`).toBeGreaterThan(0);
  return found[0][at];
}

/** What a sentence of a section says where the pattern has its brackets. */
function said(heading, pattern) {
  const found = flat(section(performance, heading)).match(pattern);
  expect(found, `${heading}: ${pattern}`).not.toBeNull();
  return found.slice(1);
}

const room = row => cell('One room, 5,000 clients', row, '× floor, median');
const bytes = (row, column = 'that follows a room') => cell('Connections', row, column);
const beside = (row, column) => cell('Beside others', row, column);
const memory = rows(section(performance, 'A million connections')).find(([name]) => name.startsWith('user memory'))[1];
const [gateways] = said('A million connections', /(\d+) gateways and \d+ client processes on one machine/);
const [returned, seconds, of] = said(
  'A gateway dies with',
  / ([\d,]+) returned and caught up .*?([\d.]+) s(?:econds)?\b.*; 0 lost, 0 duplicated, 0 misordered of ([\d,]+);/,
);
const [slow] = said(
  'Clients that hardly read',
  /every tenth client reading 4 KB a second the others' latency was ([\d.]+) ms in the median/,
);
const [agents, each] = said('Tokens', /(\d+) agents, (\d+) tokens a second each/);
const [median, most] = rows(section(performance, 'Tokens'))
  .find(([rate, bus]) => rate === '25,000' && bus === 'JetStream')[2]
  .split(', ');

/** What the questions say of what was measured, in words that are theirs and figures that are not. */
const SAID = [
  `Of ${returned} clients of a killed gateway all were back and had caught up within ${seconds} seconds, with nothing lost or doubled of ${of} events`,
  `With every tenth client reading 4 KB a second the others' median latency stayed at ${slow} ms`,
  `${agents} agents with ${each} tokens a second each, through JetStream`,
  `the median latency was ${median}, the 99th percentile ${most}`,
  `Measured, in the gateway's process: ${bytes('native, without (', 'idle')} bytes for an idle connection, ${bytes('native, without (')} with a room, ${bytes('native, with a token')} with a token as well`,
  `a million connections on one machine in ${gateways} gateways`,
  `${said('Beside others', /(5,000 clients of one room, events of 200 bytes)/)[0]}, two cores`,
];

/** Sentences that are not as measured, and figures beside a command that nothing here knows. */
function flaws(text) {
  const missing = SAID.filter(sentence => !flat(text).includes(sentence));
  const rest = SAID.reduce((left, sentence) => left.replace(sentence, ''), flat(text));
  const beside = [...rest.matchAll(/\(?`loadtest [^`]+`/g)].map(({ index }) => {
    const before = rest.slice(0, index);
    return before.slice(before.lastIndexOf('. ') + 1).replaceAll(/`[^`]*`/g, '');
  });
  return [...missing, ...beside.filter(sentence => /\d/.test(sentence))];
}

describe('the questions', () => {
  it('say what was measured, and no figure beside a command but those', () => {
    expect(flaws(faq)).toEqual([]);
    // Each figure of them bites.
    for (const sentence of SAID) {
      const other = sentence.replace(/\d(?=\D*$)/, digit => `${(Number(digit) + 1) % 10}`);
      expect(flaws(flat(faq).replace(sentence, other)).length, other).toBeGreaterThan(0);
    }
    expect(flaws(`${faq} It took 17 ms (\`loadtest run idle\`).`)).toHaveLength(1);
  });

  it('name commands that stand beside figures', () => {
    const commands = [...flat(faq).matchAll(/`(loadtest [^`]+)`/g)].map(([, command]) => command);
    const known = ['loadtest compare --centrifugo PATH'];
    const written = performance.replaceAll(/ +#.*$/gm, '');
    expect(commands.filter(command => !written.includes(`${command}\n`) && !known.includes(command))).toEqual([]);
    expect(commands.length).toBeGreaterThan(6);
  });

  it('compare with what was measured', () => {
    const columns = ['× floor', 'bursts of 10', 'CPU-µs for each connect'];
    const told = rows(section(faq, 'Compared with')).filter(([name]) => name);
    for (const [name, ...figures] of told) expect(figures, name).toEqual(columns.map(column => beside(name, column)));
    expect(told.length).toBe(3);
    const connect = row => beside(row, 'CPU-µs for each connect');
    expect(flat(faq)).toContain(
      `for ${connect('nginx + nchan')} CPU-µs, where Weft takes ${connect('Weft, on NATS')}.`,
    );
    const nats = "NATS server's WebSocket";
    expect(flat(faq)).toContain(`${beside(nats, '× floor')} × the floor, ${connect(nats)} CPU-µs for each connect`);
  });

  it('plan by the rules of OPERATIONS.md', () => {
    const rule = row => cell('Sizing', row, 'rule', operations);
    const [, micros] = rule('CPU of a delivery').match(/^(\d+) µs/);
    const [, share] = operations.match(/processors to be used to (\d+) %/);
    const [, kilobytes] = rule('memory of a connection').match(/^(\d+ KB)/);
    const [, logs, own] = rule('memory of the logs').match(/^(\d+) MB, and (\d+) MB/);
    const deliveries = (share / 100 / micros) * 1e6;
    const megabytes = Math.floor((Number(logs) + Number(own)) / 100) * 100;
    expect(flat(faq)).toContain(
      `Plan ${deliveries.toLocaleString('en')} deliveries a second for a core and ${kilobytes} for a connection, plus ${megabytes} MB`,
    );
  });
});

describe('the README', () => {
  const told = rows(section(readme, 'What it costs')).slice(1);

  it('repeats each figure as it was measured', () => {
    const [idle, after] = memory.split('; ');
    const others = ['Weft, on NATS', 'Socket.IO with its Redis adapter'];
    const [once, tens] = ['× floor', 'bursts of 10'].map(column => others.map(row => beside(row, column)));
    expect(told.map(([what, figures]) => [what, figures])).toEqual([
      ['a delivery to each of 5,000 clients of a room', `${room('one event at a time')} × floor`],
      ['the same, ten events at once', `${room('ten at once')} × floor`],
      ['memory of a connection that follows a room, with a token', `${bytes('native, with a token')} bytes`],
      [
        'the same of an event stream; of Socket.IO in `/executions`',
        `${bytes('event stream, with a token')}; ${bytes('Socket.IO, `/executions`, with a token')} bytes`,
      ],
      [
        `a million connections, in ${gateways} gateways on one machine`,
        `${idle}, ${after} after an event to each; lost, duplicated, misordered 0`,
      ],
      [`a gateway dies with ${returned} clients`, `all back and caught up within ${seconds} seconds, 0 lost of ${of}`],
      [
        'beside Socket.IO with its Redis adapter',
        `${once.join(' against ')} × floor; ${tens.join(' against ')} in bursts of ten`,
      ],
    ]);
  });

  it('names commands that stand beside figures', () => {
    const commands = told.flatMap(([, , command]) => [...command.matchAll(/`([^`]+)`/g)].map(([, one]) => one));
    // One line there names several protocols.
    const parts = commands
      .flatMap(command => command.split('; '))
      .map(part => part.replace(/--protocol (sse|a|d)$/, '--protocol'));
    expect(parts.filter(part => !flat(performance).includes(part))).toEqual([]);
    expect(parts.length).toBeGreaterThan(6);
  });
});
