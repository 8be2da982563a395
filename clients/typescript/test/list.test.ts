/** The list of executions, page by page, against a real gateway. */
import { afterEach, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { connect } from '../src/index.js';
import { ListView, type ListViewOptions } from '../src/view/list-view.js';
import { endAll, ends, gateway, lists, until } from './rig/index.js';
import { type GatewayProcess, startGateway } from './rig/processes.js';

afterEach(endAll);

const name = (n: number) => `run-${n}`;
const named = (from: number, to: number) => Array.from({ length: to - from }, (_, n) => name(from + n));

/** One after the other, so that each has a time of its own. A gateway lists them as running a moment after it has stored the event. */
async function begin(gateway: GatewayProcess, from: number, to: number): Promise<void> {
  for (const executionId of named(from, to)) await gateway.publish({ type: 'execution:started', executionId });
  await until(async () => {
    const answer = await fetch(`${gateway.http}/api/executions?limit=200&status=running`);
    return ((await answer.json()) as { executions: unknown[] }).executions.length === to;
  }, 'all are listed as running');
}

function look(gateway: { http: string }, options: ListViewOptions) {
  const weft = ends(connect(gateway.http, { WebSocket }), it => it.close());
  const list = new ListView(weft, { refreshMs: 50, ...options });
  ends(
    list.subscribe(() => {}),
    leave => leave(),
  );
  const ids = () => list.getState().executions.map(({ executionId }) => executionId);
  const shows = (wanted: string[]) =>
    until(
      () => JSON.stringify(ids()) === JSON.stringify(wanted),
      () => `${ids()}, not ${wanted}`,
    );
  return { list, ids, shows };
}

test('older ones are listed on request, all stay up to date, and what is new stands first', async () => {
  const gateway = await startGateway();
  await begin(gateway, 0, 53);
  const { list, shows } = look(gateway, { limit: 10 });
  await shows(named(43, 53).reverse());
  for (let from = 33; list.getState().hasMore; from = Math.max(0, from - 10)) {
    await list.more();
    await shows(named(from, 53).reverse());
  }
  await shows(named(0, 53).reverse());
  await begin(gateway, 53, 60);
  await shows(named(0, 60).reverse());
  // One that is far down, and not followed.
  await gateway.publish({ type: 'execution:failed', executionId: name(1), data: { error: 'x' } });
  const status = () => list.getState().executions.find(({ executionId }) => executionId === name(1))?.status;
  await until(() => status() === 'failed', 'the old one has failed');
  await shows(named(0, 60).reverse());
  expect(list.getState().hasMore).toBe(false);
});

test('of one status, those that have it no more leave the list, also far down', async () => {
  const gateway = await startGateway();
  await begin(gateway, 0, 40);
  const { list, shows } = look(gateway, { limit: 10, status: 'running' });
  await until(() => list.getState().executions.length === 10, 'the first page');
  await list.more();
  await list.more();
  await list.more();
  await shows(named(0, 40).reverse());
  for (const n of [2, 17, 39]) await gateway.publish({ type: 'execution:completed', executionId: name(n) });
  await shows(
    named(0, 40)
      .filter(id => ![2, 17, 39].map(name).includes(id))
      .reverse(),
  );
});

test('where more are new than a page has, it begins anew', async () => {
  const server = await gateway();
  const listed = named(0, 25).reverse();
  lists(server, listed);
  const { list, shows } = look({ http: `http://${server.address}` }, { limit: 10 });
  await shows(named(15, 25).reverse());
  await list.more();
  await shows(named(5, 25).reverse());
  listed.unshift(...named(25, 55).reverse());
  await shows(named(45, 55).reverse());
  expect(list.getState().hasMore).toBe(true);
});
