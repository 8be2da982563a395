/** The Rust program that the publisher's README shows: it is the example that is compiled, and it does what it says. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { root, start, startGateway } from './rig.js';

const folder = join(root, 'shared/publisher');
const readme = readFileSync(join(folder, 'README.md'), 'utf8');
const shown = [...readme.matchAll(/^```rust\n([\s\S]*?)^```$/gm)].map(([, body]) => body);
const source = name => readFileSync(join(folder, 'examples', name), 'utf8');

let gateway;
beforeAll(async () => {
  gateway = await startGateway();
});
afterAll(() => gateway?.stop());

it('shows the example as it is compiled', () => {
  expect(shown[0]).toBe(source('readme.rs').replace(/^\/\/!.*\n/, ''));
});

it('shows the way to a broker as the other example takes it', () => {
  const [, url] = shown[1].match(/parse\("([^"]+)"\)/);
  expect(readme).toContain(`--example publish -- ${url}`);
  expect(source('publish.rs')).toContain('Publisher::over_bus(Bus::connect(BusConfig::parse(&url)?).await?, config)');
});

it('is run', async () => {
  const program = join(process.env.CARGO_TARGET_DIR ?? join(root, 'target'), 'debug/examples/readme');
  if (!existsSync(program)) throw new Error(`${program} is not built: cargo build --package weft-publisher --examples`);
  const run = start(program, [], { env: { PATH: process.env.PATH, WEFT_GATEWAY_URL: gateway.url } });
  expect(await run.ended, run.said).toBe(0);
  const { events } = await (await fetch(`${gateway.url}/api/executions/exec-1/events`)).json();
  expect(events.map(({ type }) => type)).toEqual([
    'execution:started',
    'node:started',
    'log',
    'node:completed',
    'billing:charged',
    'execution:completed',
  ]);
  expect(events[4].cents).toBe(5);
});
