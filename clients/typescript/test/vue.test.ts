// @vitest-environment happy-dom
import { mount } from '@vue/test-utils';
import { createPinia } from 'pinia';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Component, defineComponent, h, nextTick, ref } from 'vue';
import { WebSocket } from 'ws';
import { connect } from '../src/index.js';
import { defineWeftStore, useExecutionStore } from '../src/pinia.js';
import * as weftVue from '../src/vue/index.js';
import { endAll, ends, frames, lists, log, sleep, until } from './rig/index.js';
import { Scripted } from './rig/scripted.js';

let server: Scripted;
const times = { baseMs: 5, capMs: 50, lingerMs: 10 };

beforeEach(async () => {
  server = ends(await Scripted.start(), it => it.stop());
});
afterEach(endAll);

const publish = (event: object) => server.log.publish('execution:e', { executionId: 'e', ...event } as never);
const subscribed = (rooms: number) => until(() => server.connections.at(-1)?.rooms.size === rooms, `${rooms} rooms`);
const plugins = () => [
  [weftVue.weftPlugin, { url: `http://${server.address}`, options: { WebSocket, times } }] as [never, never],
];

function show(component: Component, props: Record<string, unknown> = {}) {
  return ends(mount(component, { props, global: { plugins: plugins() }, attachTo: document.body }), it => it.unmount());
}

/** Runs composables in a component; answers what they give. */
function run<T>(setup: () => T): { given: T; unmount: () => void } {
  let given: T | undefined;
  const component = defineComponent({
    setup() {
      given = setup();
      return () => h('div');
    },
  });
  const wrapper = show(component);
  return { given: given as T, unmount: () => wrapper.unmount() };
}

describe('composables', () => {
  test('every name that front ends use is there', () => {
    for (const name of [
      'useWebSocket useExecutionWebSocket useExecutionStream useExecution useAgentStream useExecutionEvents useUserInput',
      'useWeft useWebSocketLogs',
    ].flatMap(names => names.split(' '))) {
      expect(typeof (weftVue as Record<string, unknown>)[name], name).toBe('function');
    }
    for (const name of [
      'ExecutionStatus',
      'ExecutionLogs',
      'ExecutionLogViewer',
      'WorkflowExecutionMonitor',
      'ExecutionsView',
    ]) {
      expect(weftVue, name).toHaveProperty(name);
    }
  });

  test('useExecution: state, log and commands; follows its id; all ends with the component', async () => {
    server.snapshots.set('execution:e', { executionId: 'e', status: 'running', nodes: {}, pendingInput: [] });
    publish(log('e', 'before'));
    const id = ref<string | null>(null);
    const { given, unmount } = run(() => weftVue.useExecution(id));
    expect(given.isLoading.value).toBe(false);
    await expect(given.cancel()).rejects.toThrow('no execution');
    id.value = 'e';
    await until(() => given.logs.value.length === 1, 'history');
    publish(log('e', 'after'));
    publish({ type: 'node:started', nodeId: 'n' });
    publish({ type: 'user_input:required', data: { requestId: 'r', prompt: 'Go on?' } });
    await until(() => given.pendingInput.value.length === 1, 'the prompt');
    expect(given.logs.value.map(({ message }) => message)).toEqual(['before', 'after']);
    expect(given.nodes.value).toMatchObject({ n: { status: 'running' } });
    await given.provideInput('r', 'yes');
    await given.cancel('enough');
    expect(server.received.filter(({ type }) => type === 'subscribe')).toHaveLength(1);
    id.value = 'f';
    await until(() => server.last.rooms.has('execution:f') && !server.last.rooms.has('execution:e'), 'the other one');
    expect(given.state.value).toMatchObject({ executionId: 'f', logs: [] });
    unmount();
    await until(() => server.last.socket.readyState === 3, 'closed');
    expect(server.connections).toHaveLength(1);
  });

  test('a thousand events are drawn in a few frames', async () => {
    let drawings = 0;
    const component = defineComponent({
      setup() {
        const { logs } = weftVue.useExecution('e');
        return () => {
          drawings += 1;
          return h('b', logs.value.length);
        };
      },
    });
    const wrapper = show(component);
    await subscribed(1);
    await sleep(50);
    drawings = 0;
    const counted = ends(frames(), it => it.stop());
    for (let n = 0; n < 1000; n++) {
      publish(log('e', `${n}`));
      if (n % 5 === 0) await sleep(1);
    }
    await until(
      () => wrapper.text() === '1000',
      () => wrapper.text(),
    );
    expect(drawings).toBeGreaterThan(1);
    expect(drawings).toBeLessThanOrEqual(counted.count + 1);
  });

  test('useAgentStream, useUserInput, useExecutionEvents, useExecutionStream and useWebSocketLogs', async () => {
    server.log.publish('agent:a:e', { type: 'agent:token', executionId: 'e', agentId: 'a', data: { token: 'Hi' } });
    const { given } = run(() => ({
      agent: weftVue.useAgentStream('a', 'e'),
      input: weftVue.useUserInput('e'),
      events: weftVue.useExecutionEvents('e', { types: ['node:*'] }),
      stream: weftVue.useExecutionStream('e'),
      logs: weftVue.useWebSocketLogs('e'),
    }));
    await subscribed(2);
    await until(() => given.agent.text.value === 'Hi', 'the text');
    publish({ type: 'node:started', nodeId: 'n' });
    publish({ type: 'user_input:required', data: { requestId: 'r', prompt: 'Name?' } });
    publish(log('e', 'line'));
    await until(() => given.input.prompt.value?.prompt === 'Name?' && given.logs.logs.value.length === 1, 'all of it');
    expect(given.events.events.value.map(({ type }) => type)).toEqual(['node:started']);
    expect(given.stream.nodeStates.value).toHaveProperty('n');
    expect(given.stream.isConnected.value).toBe(true);
    await given.input.provide('Ada');
    expect(server.received.find(({ type }) => type === 'user_input:provide')).toMatchObject({
      value: 'Ada',
      requestId: 'r',
    });
    expect(given.logs.connectionStatus.value).toBe('connected');
    given.logs.clear();
    await until(() => given.logs.logs.value.length === 0, 'cleared');
  });

  test('useExecutionStream: an execution with the state of the connection; what was missed is there when it is back', async () => {
    server.snapshots.set('execution:e', {
      executionId: 'e',
      status: 'running',
      progress: 10,
      nodes: { done: { status: 'completed', output: 1 } },
      pendingInput: [],
    });
    const id = ref<string | null>('e');
    const { given } = run(() => weftVue.useExecutionStream(id));
    expect([given.isConnected.value, given.isLoading.value]).toEqual([false, true]);
    await until(() => given.isConnected.value && !given.isLoading.value, 'the state');
    expect(given.nodeStates.value).toMatchObject({ done: { status: 'completed', output: 1 } });
    publish({ type: 'node:started', nodeId: 'n' });
    publish({ type: 'execution:progress', data: { progress: 40 } });
    await until(() => given.progress.value === 40, 'the progress');
    expect(given.nodeStates.value).toMatchObject({ n: { status: 'running' } });
    await given.cancel('enough');
    expect(server.received.find(({ type }) => type === 'cancel')).toMatchObject({ executionId: 'e', reason: 'enough' });
    server.greets = false;
    server.last.cut();
    await until(() => !given.isConnected.value, 'lost');
    publish({ type: 'node:completed', nodeId: 'n', data: { output: 2 } });
    publish(log('e', 'missed'));
    publish({ type: 'execution:failed', data: { error: 'no disk' } });
    expect(given.status.value).toBe('running');
    server.greets = true;
    server.last.cut();
    await until(() => given.isConnected.value && given.status.value === 'failed', 'what was missed');
    expect([given.error.value, given.logs.value.map(({ message }) => message)]).toEqual(['no disk', ['missed']]);
    expect(given.nodeStates.value).toMatchObject({ n: { status: 'completed', output: 2 } });
    id.value = null;
    await until(() => server.last.rooms.size === 0, 'left');
    expect(given.nodeStates.value).toEqual({});
    await expect(given.cancel()).rejects.toThrow('no execution');
  });

  test('useWebSocket: connect, disconnect, emit, on, off, isConnected, isReconnecting', async () => {
    const { given } = run(() => weftVue.useWebSocket());
    const heard: string[] = [];
    const listener = ({ log: { message } }: { log: { message: string } }) => heard.push(message);
    given.on('log', listener);
    await until(() => given.isConnected.value, 'connected');
    given.emit('subscribe', 'e');
    await subscribed(1);
    publish(log('e', 'one'));
    await until(() => heard.length === 1, 'heard');
    given.off('log', listener);
    given.disconnect();
    await until(() => !given.isConnected.value, 'disconnected');
    given.on('log', listener);
    publish(log('e', 'two'));
    server.greets = false;
    given.connect();
    await until(() => given.isReconnecting.value, 'reconnecting');
    server.greets = true;
    server.last.cut();
    await until(() => heard.length === 2, 'resumed');
    expect(heard).toEqual(['one', 'two']);
  });

  test('useExecutionWebSocket feeds the Pinia store', async () => {
    const pinia = createPinia();
    const store = useExecutionStore(pinia);
    const { given } = run(() => weftVue.useExecutionWebSocket(store));
    given.initialize();
    given.subscribeToExecution('e');
    await subscribed(1);
    publish({ type: 'execution:started' });
    publish({ type: 'node:completed', nodeId: 'n', data: { output: 1 } });
    for (let n = 0; n < 100; n++) publish(log('e', `${n}`));
    publish({ type: 'execution:completed', data: { result: 'done' } });
    await until(
      () => store.executions.e?.logs.length === 100 && store.executions.e.result === 'done',
      () => JSON.stringify(store.executions),
    );
    expect(store.executions.e).toMatchObject({
      status: 'completed',
      nodeStatuses: { n: { status: 'completed', output: 1 } },
    });
    given.unsubscribeFromExecution('e');
    await until(() => server.last.rooms.size === 0, 'left');
    store.clearExecution('e');
    expect(store.executions).toEqual({});
  });

  test('useExecutionWebSocket: after a gap its store has the state that was told, and a line says that some are missing', async () => {
    const told = (status: string) => ({
      executionId: 'e',
      status,
      nodes: { n: { status, output: status === 'completed' ? 1 : null } },
      pendingInput: [],
      result: status === 'completed' ? 7 : null,
    });
    server.snapshots.set('execution:e', told('running'));
    const { given } = run(() => weftVue.useExecutionWebSocket());
    given.subscribeToExecution('e');
    await subscribed(1);
    publish(log('e', 'before'));
    await until(() => given.executions.e?.logs.length === 1, 'the first line');
    expect(given.executions.e).toMatchObject({ status: 'running', result: null });
    // The page was away for longer than anything is kept.
    server.snapshots.set('execution:e', told('completed'));
    server.onMessage = (connection, { type, ref }) => {
      if (type !== 'subscribe') return false;
      const [room, offset] = ['execution:e', server.log.offset(40)];
      connection.rooms.set(room, 40);
      connection.send({ type: 'subscribed', room, ref, outcome: 'gap', recovered: false, offset });
      connection.send({ type: 'gap', room, missedFrom: 'a.1.00000000', missedTo: offset, reason: 'retention' });
      connection.send({ type: 'snapshot', room, offset, snapshot: server.snapshots.get(room) });
      return true;
    };
    server.last.cut();
    await until(
      () => given.executions.e?.status === 'completed',
      () => JSON.stringify(given.executions),
    );
    publish(log('e', 'after'));
    await until(() => given.executions.e?.logs.length === 3, 'the last line');
    expect(given.executions.e).toMatchObject({ result: 7, nodeStatuses: { n: { status: 'completed', output: 1 } } });
    expect(given.executions.e?.logs.map(({ id, level, message }) => [id, level, message])).toEqual([
      ['execution:e#1', 'info', 'before'],
      ['gap:a.1.00000000:a.40.00000000', 'warning', 'Events are missing here (retention).'],
      ['execution:e#2', 'info', 'after'],
    ]);
  });

  test('useExecutionWebSocket tells its store once a frame, and no more once its component is gone', async () => {
    const counted = ends(frames(), it => it.stop());
    const told: string[] = [];
    const note =
      (what: string) =>
      (...given: unknown[]) =>
        void told.push(`${what} ${counted.count} ${given.join(' ')}`);
    const names = ['updateExecutionStatus', 'addExecutionLogs', 'setExecutionResult', 'setExecutionError'];
    const sink = Object.fromEntries([...names, 'updateNodeStatus'].map(name => [name, note(name)]));
    const { given, unmount } = run(() => weftVue.useExecutionWebSocket(sink as never));
    given.subscribeToExecution('e');
    await subscribed(1);
    for (let n = 0; n < 500; n++) {
      publish({ type: 'execution:updated', data: { status: 'running' } });
      publish({ type: 'node:progress', nodeId: 'n', data: { progress: n / 5 } });
      publish(log('e', `${n}`));
    }
    publish({ type: 'execution:completed', data: { result: 'done' } });
    await until(
      () => told.some(it => it.startsWith('setExecutionResult')),
      () => told.join('\n'),
    );
    // Each at most once a frame.
    const once = told.map(it => it.split(' ').slice(0, 2).join(' '));
    expect(new Set(once).size).toBe(once.length);
    expect(told.length).toBeLessThan(200);
    expect(told.filter(it => it.startsWith('updateExecutionStatus')).at(-1)).toContain('completed');
    // The next ones have come, and wait for a frame that is long in coming.
    counted.stop();
    ends(globalThis.requestAnimationFrame, it => {
      globalThis.requestAnimationFrame = it;
    });
    globalThis.requestAnimationFrame = () => 0;
    publish(log('e', 'late'));
    publish({ type: 'execution:updated', data: { status: 'running' } });
    await sleep(50);
    unmount();
    const before = told.length;
    given.subscribeToExecution('e');
    await sleep(500);
    expect(told.slice(before)).toEqual([]);
    await until(() => server.last.socket.readyState === 3, 'closed');
  });
});

describe('components', () => {
  test('ExecutionStatus and ExecutionLogs show what happens', async () => {
    const status = show(weftVue.ExecutionStatus, { executionId: 'e' });
    const logs = show(weftVue.ExecutionLogs, { executionId: 'e' });
    await until(
      () => server.connections.length === 2 && server.connections.every(({ rooms }) => rooms.size === 1),
      'subscribed',
    );
    publish({ type: 'node:started', nodeId: 'build', timestamp: '2026-01-01T00:00:00.000Z' });
    publish({
      type: 'node:failed',
      nodeId: 'build',
      timestamp: '2026-01-01T00:01:05.000Z',
      data: { error: 'no disk' },
    });
    publish(log('e', 'calm'));
    publish({ type: 'log', data: { level: 'error', message: '\u001b[31mgrave\u001b[0m\n  in a.py\n' } });
    publish({ type: 'node:started', nodeId: 'left', timestamp: '2026-01-01T00:01:00.000Z' });
    publish({ type: 'execution:failed', timestamp: '2026-01-01T00:03:05.000Z', data: { error: 'build failed' } });
    await until(
      () => status.text().includes('build failed') && logs.text().includes('grave'),
      () => status.text() + logs.text(),
    );
    for (const text of ['Failed', 'no disk', '1:05']) expect(status.text()).toContain(text);
    const left = status.findAll('.weft-nodes tbody tr').find(row => row.text().startsWith('left'));
    expect(left?.findAll('td').map(cell => cell.text())).toEqual(['Unfinished', '', '2:05', '']);
    expect(logs.find('.weft-level-error span').text()).toBe('grave ⏎   in a.py');
    expect(logs.find('.weft-level-error').attributes('title')).toBe('grave\n  in a.py\n');
    await logs.find('select').setValue('error');
    expect(logs.text()).not.toContain('calm');
    await logs
      .findAll('button')
      .find(button => button.text() === 'Clear')
      ?.trigger('click');
    await until(() => !logs.text().includes('grave'), 'cleared');
  });

  test('WorkflowExecutionMonitor shows several, their prompts and logs, and says what to do where there is none', async () => {
    const monitor = show(weftVue.WorkflowExecutionMonitor, { executionIds: [] });
    expect(monitor.text()).toContain('No executions to show yet');
    await monitor.setProps({ executionIds: ['e', 'f'] });
    await subscribed(2);
    publish(log('e', 'inside'));
    publish({ type: 'execution:progress', data: { progress: 30 } });
    publish({ type: 'user_input:required', data: { requestId: 'r', prompt: 'Go on?' } });
    await until(() => monitor.find('form').exists(), 'the prompt');
    expect(monitor.find('progress').attributes('aria-label')).toBe('Progress of e: 30 %');
    await monitor.find('form input').setValue('yes');
    await monitor.find('form').trigger('submit');
    await until(() => server.received.some(({ value }) => value === 'yes'), 'the answer');
    expect(monitor.text()).not.toContain('inside');
    await monitor
      .findAll('button')
      .find(button => button.text() === 'Show log')
      ?.trigger('click');
    await nextTick();
    expect(monitor.text()).toContain('inside');
  });

  test('ExecutionsView lists older executions on request, a page at a time, until there are none', async () => {
    const ids = Array.from({ length: 23 }, (_, n) => `run-${22 - n}`);
    let answerMore = () => {};
    lists(server, ids, cursor =>
      cursor === '10'
        ? new Promise(resolve => {
            answerMore = resolve;
          })
        : Promise.resolve(),
    );
    const view = show(weftVue.ExecutionsView, { limit: 10 });
    const shown = () => view.findAll('nav li code').map(it => it.text());
    const more = () => view.findAll('nav button').find(button => button.text() === 'Load more');
    const lets = () => more()?.attributes('disabled') === undefined;
    await until(() => shown().length === 10, 'the first page');
    expect(view.text()).toContain('The newest 10 are listed.');
    // Asked once, however often it is pressed while the answer is on its way.
    for (let n = 0; n < 3; n++) await more()?.trigger('click');
    const asked = () => server.requests.filter(({ url }) => url.includes('cursor=10'));
    await until(() => !lets() && asked().length > 0, 'it is being asked');
    answerMore();
    await until(() => shown().length === 20, 'the second page');
    expect(asked()).toHaveLength(1);
    await until(lets, 'more can be asked for');
    await more()?.trigger('click');
    await until(() => shown().length === 23, 'all of them');
    expect(shown()).toEqual(ids);
    expect(more()).toBeUndefined();
    await view.findAll('nav li button').at(-1)?.trigger('click');
    await until(() => view.find('section[aria-label="Execution run-0"]').exists(), 'the oldest one');
  });

  test('ExecutionsView lists, chooses and shows; FailureNotices tells', async () => {
    server.onRequest = (_request, response, url) => {
      if (url.pathname !== '/api/executions') return false;
      const entry = {
        executionId: 'e',
        workflowId: 'w',
        status: 'running',
        progress: 1,
        startedAt: null,
        endedAt: null,
      };
      server.json(response, 200, { executions: [entry], cursor: null });
      return true;
    };
    const both = defineComponent({ setup: () => () => [h(weftVue.ExecutionsView), h(weftVue.FailureNotices)] });
    const view = show(both);
    await until(() => view.find('nav li').exists(), 'the list');
    await subscribed(1);
    publish({ type: 'execution:progress', data: { progress: 55 } });
    await until(() => view.find('nav progress').attributes('value') === '55', 'live in the list');
    await view.find('nav li button').trigger('click');
    await until(() => view.find('.weft-logs').exists(), 'chosen');
    publish({ type: 'execution:failed', data: { error: 'it broke' } });
    await until(() => view.find('.weft-failures').text().includes('it broke'), 'told');
    await view.find('.weft-failures button').trigger('click');
    await until(() => view.find('.weft-failures').text() === '', 'dismissed');
  });
});

test('a Pinia store of executions', async () => {
  const weft = ends(connect(`http://${server.address}`, { WebSocket, times }), it => it.close());
  const store = defineWeftStore(weft)(createPinia());
  const leave = store.follow('e');
  await subscribed(1);
  publish(log('e', 'one'));
  await until(() => store.state?.executions.e?.logs.length === 1, 'the log');
  expect(store.state?.connection.isConnected).toBe(true);
  await store.provideInput('e', 'r', 1);
  leave();
  await until(() => server.last.rooms.size === 0, 'left');
  store.close();
});
