// @vitest-environment happy-dom
import { act, cleanup, fireEvent, render, renderHook, screen } from '@testing-library/react';
import { type ReactNode, StrictMode } from 'react';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { WebSocket } from 'ws';
import { useStore } from 'zustand';
import { connect } from '../src/index.js';
import * as weftReact from '../src/react/index.js';
import { createExecutionStore } from '../src/zustand.js';
import { endAll, ends, frames, lists, log, sleep, until } from './rig/index.js';
import { Scripted } from './rig/scripted.js';

const { WeftProvider } = weftReact;
let server: Scripted;
const times = { baseMs: 5, capMs: 50, lingerMs: 10 };

beforeEach(async () => {
  server = ends(await Scripted.start(), it => it.stop());
});
afterEach(async () => {
  cleanup();
  await sleep(5);
  await endAll();
});

function Tree({ children }: { children?: ReactNode }) {
  const options = { WebSocket, times };
  return (
    <StrictMode>
      <WeftProvider url={`http://${server.address}`} options={options}>
        {children}
      </WeftProvider>
    </StrictMode>
  );
}

function Notify({ told }: { told: () => void }) {
  weftReact.useFailures(told);
  weftReact.useExecution('e');
  return <weftReact.FailureNotices />;
}

/** Lets React draw until it holds. */
const drawn = (holds: () => unknown, what?: () => string) =>
  until(async () => {
    await act(() => sleep(10));
    return holds();
  }, what);
const subscribed = (rooms: number) =>
  drawn(
    () => server.connections.at(-1)?.rooms.size === rooms,
    () => `${rooms} rooms`,
  );
const publish = (event: object) => server.log.publish('execution:e', { executionId: 'e', ...event } as never);

describe('hooks', () => {
  test('every name that front ends use is there', () => {
    for (const name of [
      'useWeft useExecution useExecutionEvents useAgentStream useUserInput useWebSocket useExecutionStream',
      'useAgentStreaming useWebSocketLogs ExecutionStatus ExecutionLogs ExecutionLogViewer',
      'WorkflowExecutionMonitor ExecutionsView',
    ].flatMap(names => names.split(' '))) {
      expect(typeof (weftReact as Record<string, unknown>)[name], name).toBe('function');
    }
  });

  test('useExecution: state, log and commands; one connection and one subscription in strict mode; all ends with it', async () => {
    server.snapshots.set('execution:e', { executionId: 'e', status: 'running', nodes: {}, pendingInput: [] });
    publish(log('e', 'before'));
    const { result, unmount } = renderHook(() => weftReact.useExecution('e'), { wrapper: Tree });
    expect(result.current.isLoading).toBe(true);
    await drawn(
      () => result.current.logs.length === 1,
      () => JSON.stringify(result.current),
    );
    publish({ type: 'node:started', nodeId: 'n' });
    publish(log('e', 'after'));
    publish({ type: 'user_input:required', data: { requestId: 'r', prompt: 'Go on?' } });
    await drawn(
      () => result.current.pendingInput.length === 1,
      () => JSON.stringify([result.current, server.connections.length, server.received]),
    );
    expect(result.current).toMatchObject({ status: 'running', isLoading: false, nodes: { n: { status: 'running' } } });
    expect(result.current.logs.map(({ message }) => message)).toEqual(['before', 'after']);
    await act(() => result.current.provideInput('r', 'yes'));
    expect(server.received.find(({ type }) => type === 'user_input:provide')).toMatchObject({
      requestId: 'r',
      value: 'yes',
    });
    publish({ type: 'execution:completed', data: { result: 42 } });
    await drawn(() => result.current.status === 'completed');
    expect(result.current).toMatchObject({ result: 42, pendingInput: [] });
    expect(server.connections).toHaveLength(1);
    expect(server.received.filter(({ type }) => type === 'subscribe')).toHaveLength(1);
    unmount();
    await until(() => server.connections[0]?.socket.readyState === 3, 'the connection is closed');
  });

  test('a thousand events are drawn in a few frames', async () => {
    let drawings = 0;
    const { result } = renderHook(
      () => {
        drawings += 1;
        return weftReact.useExecution('e');
      },
      {
        wrapper: ({ children }) => (
          <WeftProvider url={`http://${server.address}`} options={{ WebSocket, times }}>
            {children}
          </WeftProvider>
        ),
      },
    );
    await subscribed(1);
    await drawn(() => !result.current.isLoading);
    drawings = 0;
    // Within `act` React would draw all at once, whatever we do.
    Object.assign(globalThis, { IS_REACT_ACT_ENVIRONMENT: false });
    ends('act', () => Object.assign(globalThis, { IS_REACT_ACT_ENVIRONMENT: true }));
    const counted = ends(frames(), it => it.stop());
    for (let n = 0; n < 1000; n++) {
      publish(log('e', `${n}`));
      if (n % 5 === 0) await sleep(1);
    }
    await until(
      () => result.current.logs.length === 1000,
      () => `${result.current.logs.length}`,
    );
    expect(drawings).toBeGreaterThan(1);
    expect(drawings).toBeLessThanOrEqual(counted.count + 1);
  });

  test('another id is another execution; without one there is nothing', async () => {
    const { result, rerender } = renderHook(({ id }: { id: string | null }) => weftReact.useExecution(id), {
      wrapper: Tree,
      initialProps: { id: 'e' as string | null },
    });
    await subscribed(1);
    publish(log('e', 'one'));
    await drawn(() => result.current.logs.length === 1);
    rerender({ id: 'f' });
    await drawn(() => server.last.rooms.has('execution:f') && !server.last.rooms.has('execution:e'));
    expect(result.current).toMatchObject({ executionId: 'f', logs: [] });
    rerender({ id: null });
    await drawn(() => server.last.rooms.size === 0);
    await expect(result.current.cancel()).rejects.toThrow('no execution');
  });

  test('useExecutionEvents: the last ones, of the wished types, and a callback for each', async () => {
    const called: string[] = [];
    const { result } = renderHook(
      () =>
        weftReact.useExecutionEvents('e', {
          types: ['node:*', 'log'],
          max: 3,
          onEvent: event => called.push(event.type),
        }),
      { wrapper: Tree },
    );
    await subscribed(1);
    for (const n of [1, 2]) publish({ type: 'node:started', nodeId: `n${n}` });
    publish({ type: 'execution:progress', data: { progress: 1 } });
    for (const n of [1, 2]) publish(log('e', `${n}`));
    await drawn(() => called.length === 4);
    await drawn(() => result.current.events.length === 3);
    expect(result.current.events.map(({ type }) => type)).toEqual(['node:started', 'log', 'log']);
    act(() => result.current.clear());
    await drawn(() => result.current.events.length === 0);
  });

  test('useAgentStream: all of the answer so far, then token by token; tool calls go on where they began', async () => {
    const room = 'agent:a:e';
    const say = (type: string, data: object = {}) =>
      server.log.publish(room, { type, executionId: 'e', agentId: 'a', data });
    say('agent:streaming_start');
    for (const token of ['Once', ' upon']) say('agent:token', { token });
    const { result } = renderHook(() => weftReact.useAgentStream('a', 'e'), { wrapper: Tree });
    await drawn(
      () => result.current.text === 'Once upon',
      () => JSON.stringify(result.current),
    );
    expect(result.current.isStreaming).toBe(true);
    say('agent:token', { token: ' a time' });
    say('agent:tool_call', { tool: 'search', arguments: { q: 1 }, status: 'started' });
    say('agent:tool_call', { tool: 'search', status: 'completed' });
    say('agent:streaming_end');
    await drawn(() => !result.current.isStreaming);
    expect(result.current).toMatchObject({
      text: 'Once upon a time',
      isIncomplete: false,
      toolCalls: [{ tool: 'search', arguments: { q: 1 }, status: 'completed' }],
    });
    say('agent:streaming_start');
    say('agent:token', { token: 'x', response: 'Anew' });
    await drawn(() => result.current.text === 'Anew');
  });

  test.each([
    ['with', 'e'],
    ['without', undefined],
  ])('useAgentStream %s an execution: nobody speaks any more once that has ended', async (_, executionId) => {
    const { result } = renderHook(
      () => {
        weftReact.useExecution('e');
        return weftReact.useAgentStream('a', executionId);
      },
      { wrapper: Tree },
    );
    await subscribed(executionId ? 2 : 1);
    const token = { id: 't', type: 'agent:token', executionId: 'e', agentId: 'a', data: { token: 'Hi' } };
    publish(token);
    if (executionId) server.log.publish('agent:a:e', token);
    await drawn(() => result.current.isStreaming && result.current.text === 'Hi');
    publish({ type: 'execution:cancelled', data: { reason: 'enough' } });
    await drawn(() => !result.current.isStreaming);
    expect(result.current).toMatchObject({ text: 'Hi', executionId: 'e', isIncomplete: false });
  });

  test('useAgentStream of an execution that has ended already speaks no more', async () => {
    const over = { executionId: 'e', status: 'cancelled', nodes: {}, pendingInput: [] };
    server.snapshots.set('execution:e', over);
    const event = { type: 'agent:token', executionId: 'e', agentId: 'a', data: { token: 'Hi' } };
    server.log.publish('agent:a:e', event);
    const { result, unmount } = renderHook(() => weftReact.useAgentStream('a', 'e'), { wrapper: Tree });
    await drawn(() => result.current.text === 'Hi' && !result.current.isStreaming);
    unmount();
    await drawn(() => server.last.socket.readyState === 3);
  });

  test('useAgentStreaming without an execution hears the agent wherever the page listens', async () => {
    const { result } = renderHook(
      () => {
        weftReact.useExecution('e');
        return weftReact.useAgentStreaming('a');
      },
      { wrapper: Tree },
    );
    await subscribed(1);
    publish({ type: 'agent:token', data: { agentId: 'a', token: 'Hi' } });
    publish({ type: 'agent:token', data: { agentId: 'b', token: 'no' } });
    await drawn(() => result.current.streamedText === 'Hi');
  });

  test('useAgentStreaming never mixes executions: the latest one wins, or the one that is named', async () => {
    const { result } = renderHook(
      () => {
        weftReact.useExecution('e');
        weftReact.useExecution('f');
        return { any: weftReact.useAgentStreaming('a'), first: weftReact.useAgentStreaming('a', 'e') };
      },
      { wrapper: Tree },
    );
    await subscribed(3);
    let count = 0;
    const say = (executionId: string, type: string, token?: string) => {
      const event = {
        id: `${count++}`,
        type,
        executionId,
        agentId: 'a',
        data: { agentId: 'a', ...(token === undefined ? {} : { token }) },
      };
      server.log.publish(`execution:${executionId}`, event);
      if (executionId === 'e') server.log.publish('agent:a:e', event);
    };
    say('e', 'agent:streaming_start');
    say('e', 'agent:token', 'One');
    await drawn(() => result.current.any.text === 'One' && result.current.any.executionId === 'e');
    say('f', 'agent:streaming_start');
    for (const [mine, its] of ['T', 'w', 'o'].entries()) {
      say('f', 'agent:token', its);
      say('e', 'agent:token', ` more${mine}`);
    }
    say('e', 'agent:streaming_start');
    say('e', 'agent:streaming_end');
    await drawn(
      () => result.current.any.text === 'Two',
      () => JSON.stringify(result.current),
    );
    expect(result.current.any).toMatchObject({ executionId: 'f', isStreaming: true });
    expect(result.current.first).toMatchObject({ executionId: 'e', isStreaming: false });
  });

  test('useUserInput: the oldest prompt, its answer, and why it was refused', async () => {
    const { result } = renderHook(() => weftReact.useUserInput('e'), { wrapper: Tree });
    await subscribed(1);
    publish({ type: 'user_input:required', data: { requestId: 'r', prompt: 'Name?' } });
    await drawn(() => result.current.prompt?.prompt === 'Name?');
    server.onMessage = (connection, { type, ref }) => {
      if (type === 'user_input:provide')
        connection.send({ type: 'error', code: 'rejected', message: 'too short', ref });
      return type === 'user_input:provide';
    };
    await act(() => result.current.provide('x').catch(() => {}));
    expect(result.current.error?.message).toBe('too short');
    server.onMessage = undefined;
    await act(() => result.current.provide('Ada'));
    expect(result.current).toMatchObject({ error: undefined, isSubmitting: false });
  });

  test('useExecutionStream: an execution with the state of the connection; what was missed is there when it is back', async () => {
    server.snapshots.set('execution:e', {
      executionId: 'e',
      status: 'running',
      progress: 10,
      nodes: { done: { status: 'completed', output: 1 } },
      pendingInput: [],
    });
    const { result, rerender } = renderHook(({ id }: { id: string | null }) => weftReact.useExecutionStream(id), {
      wrapper: Tree,
      initialProps: { id: 'e' as string | null },
    });
    expect(result.current).toMatchObject({ isConnected: false, isLoading: true });
    await drawn(() => result.current.isConnected && !result.current.isLoading);
    expect(result.current.nodeStates).toMatchObject({ done: { status: 'completed', output: 1 } });
    expect(result.current.nodeStates).toBe(result.current.nodes);
    publish({ type: 'node:started', nodeId: 'n' });
    publish({ type: 'execution:progress', data: { progress: 40 } });
    publish({ type: 'user_input:required', data: { requestId: 'r', prompt: 'Go on?' } });
    await drawn(() => result.current.pendingInput.length === 1);
    expect(result.current).toMatchObject({ progress: 40, nodeStates: { n: { status: 'running' } } });
    await act(() => result.current.provideInput('r', true));
    await act(() => result.current.cancel('enough'));
    expect(server.received.filter(({ type }) => /provide|cancel/.test(type))).toMatchObject([
      { type: 'user_input:provide', executionId: 'e', requestId: 'r', value: true },
      { type: 'cancel', executionId: 'e', reason: 'enough' },
    ]);
    server.greets = false;
    server.last.cut();
    await drawn(() => !result.current.isConnected);
    publish({ type: 'node:completed', nodeId: 'n', data: { output: 2 } });
    publish(log('e', 'missed'));
    publish({ type: 'execution:failed', data: { error: 'no disk' } });
    expect(result.current.status).toBe('running');
    server.greets = true;
    server.last.cut();
    await drawn(() => result.current.isConnected && result.current.status === 'failed');
    expect(result.current).toMatchObject({ error: 'no disk', nodeStates: { n: { status: 'completed', output: 2 } } });
    expect(result.current.logs.map(({ message }) => message)).toEqual(['missed']);
    act(() => result.current.clearLogs());
    await drawn(() => result.current.logs.length === 0);
    rerender({ id: null });
    await drawn(() => server.last.rooms.size === 0);
    expect(result.current.nodeStates).toEqual({});
    expect(result.current).toMatchObject({ status: 'pending', isConnected: true });
    await expect(result.current.cancel()).rejects.toThrow('no execution');
  });

  test('useWebSocketLogs and useWeft: the log, the state of the connection, and coming back', async () => {
    const { result } = renderHook(() => ({ ...weftReact.useWebSocketLogs('e'), weft: weftReact.useWeft() }), {
      wrapper: Tree,
    });
    await drawn(() => result.current.connectionStatus === 'connected');
    publish(log('e', 'one'));
    await drawn(() => result.current.logs.length === 1);
    act(() => result.current.weft.disconnect());
    await drawn(() => result.current.connectionStatus === 'disconnected');
    publish(log('e', 'two'));
    act(() => result.current.reconnect());
    await drawn(() => result.current.logs.length === 2);
    expect(result.current.weft).toMatchObject({ isConnected: true, isReconnecting: false, transport: 'websocket' });
    act(() => result.current.clear());
    await drawn(() => result.current.logs.length === 0);
  });

  test('useWebSocket speaks as a Socket.IO client does', async () => {
    server.snapshots.set('execution:e', {
      executionId: 'e',
      status: 'running',
      nodes: { n: { status: 'completed', output: 1 } },
      pendingInput: [],
    });
    const heard: unknown[] = [];
    const acks: unknown[] = [];
    const { result } = renderHook(() => weftReact.useWebSocket(), { wrapper: Tree });
    for (const name of ['status', 'nodeStatus', 'log', 'result', 'error', 'node:started']) {
      result.current.on(name, payload => heard.push([name, payload]));
    }
    await drawn(() => result.current.isConnected);
    act(() => result.current.emit('subscribe', 'e', answer => acks.push(answer)));
    await drawn(() => heard.length === 2);
    publish({ type: 'node:started', nodeId: 'm' });
    publish(log('e', 'x'));
    publish({ type: 'execution:cancelled', data: { reason: 'enough' } });
    await drawn(
      () => heard.length === 7,
      () => JSON.stringify(heard),
    );
    expect(heard).toMatchObject([
      ['status', { executionId: 'e', status: 'running' }],
      ['nodeStatus', { nodeId: 'n', status: 'completed', output: 1 }],
      ['node:started', { type: 'node:started' }],
      ['nodeStatus', { nodeId: 'm', status: 'running' }],
      ['log', { executionId: 'e', log: { level: 'info', message: 'x' } }],
      ['status', { status: 'failed' }],
      ['error', { executionId: 'e', error: 'enough' }],
    ]);
    const room = 'execution:e';
    const over = { executionId: 'e', status: 'completed', result: 7, nodes: {}, pendingInput: [] };
    server.last.send(
      { type: 'gap', room, missedFrom: null, missedTo: null, reason: 'reset' },
      { type: 'snapshot', room, offset: server.log.offset(9), snapshot: over },
    );
    await drawn(
      () => heard.length === 10,
      () => JSON.stringify(heard),
    );
    expect(heard.slice(7)).toMatchObject([
      ['log', { executionId: 'e', log: { level: 'warning', message: 'Events are missing here (reset).' } }],
      ['status', { executionId: 'e', status: 'completed' }],
      ['result', { executionId: 'e', result: 7 }],
    ]);
    act(() => result.current.emit('cancel', { executionId: 'e' }, answer => acks.push(answer)));
    act(() => result.current.emit('nonsense', {}, answer => acks.push(answer)));
    await drawn(() => acks.length === 3);
    expect(acks).toMatchObject([{ ok: true }, { ok: false, code: 'unknown_type' }, { ok: true }]);
    act(() => result.current.emit('unsubscribe', { executionId: 'e' }));
    await drawn(() => server.last.rooms.size === 0);
  });
});

describe('components', () => {
  test('ExecutionStatus shows state, times, nodes, error and output', async () => {
    render(<weftReact.ExecutionStatus executionId="e" />, { wrapper: Tree });
    await subscribed(1);
    publish({ type: 'execution:started', timestamp: '2026-01-01T00:00:00.000Z' });
    publish({ type: 'node:started', nodeId: 'build', timestamp: '2026-01-01T00:00:00.000Z' });
    publish({
      type: 'node:failed',
      nodeId: 'build',
      timestamp: '2026-01-01T00:01:05.000Z',
      data: { error: 'no disk' },
    });
    publish({ type: 'node:started', nodeId: 'left', timestamp: '2026-01-01T00:57:55.000Z' });
    publish({ type: 'execution:failed', timestamp: '2026-01-01T01:00:00.000Z', data: { error: 'build failed' } });
    await drawn(() => screen.queryByRole('alert'));
    expect(screen.getByRole('row', { name: /^left/ }).textContent).toBe('leftUnfinished2:05');
    const shown = screen.getByLabelText('Execution e').textContent;
    for (const text of ['Failed', 'build', 'no disk', '1:05', '1:00:00', 'build failed']) expect(shown).toContain(text);
  });

  test('ExecutionLogs filters by level, clears, and comes back', async () => {
    render(<weftReact.ExecutionLogs executionId="e" />, { wrapper: Tree });
    await subscribed(1);
    publish(log('e', 'calm'));
    publish({ type: 'log', data: { level: 'error', message: 'grave' } });
    publish({ type: 'log', data: { level: 'info', message: '\u001b[32mone\u001b[0m\ntwo' } });
    await drawn(() => screen.queryByText('grave'));
    await drawn(() => screen.queryByText('one ⏎ two'));
    fireEvent.change(screen.getByLabelText(/From/), { target: { value: 'error' } });
    expect(screen.queryByText('calm')).toBeNull();
    expect(screen.getByText('grave').parentElement?.className).toContain('weft-level-error');
    fireEvent.click(screen.getByText('Clear'));
    await drawn(() => !screen.queryByText('grave'));
    server.greets = false;
    server.last.cut();
    await drawn(() => screen.queryByText('Reconnecting'));
    server.greets = true;
    fireEvent.click(screen.getByText('Reconnect'));
    await drawn(() => screen.queryByText('Live'));
  });

  test('WorkflowExecutionMonitor shows several, their prompts and their logs; and says what to do where there is none', async () => {
    const { rerender } = render(<weftReact.WorkflowExecutionMonitor executionIds={[]} />, { wrapper: Tree });
    expect(screen.getByText(/No executions to show yet/)).toBeTruthy();
    rerender(<weftReact.WorkflowExecutionMonitor executionIds={['e', 'f']} />);
    await subscribed(2);
    publish(log('e', 'inside'));
    publish({ type: 'execution:progress', data: { progress: 30 } });
    publish({ type: 'user_input:required', data: { requestId: 'r', prompt: 'Go on?' } });
    const field = await screen.findByLabelText('Go on?');
    expect(screen.getByLabelText('Progress of e: 30 %')).toBeTruthy();
    fireEvent.change(field, { target: { value: 'yes' } });
    fireEvent.submit(field.closest('form') as HTMLFormElement);
    await until(() => server.received.some(({ value }) => value === 'yes'), 'the answer');
    expect(screen.queryByText('inside')).toBeNull();
    fireEvent.click(screen.getAllByText('Show log')[0] as HTMLElement);
    await drawn(() => screen.queryByText('inside'));
    server.onMessage = (connection, { type, ref }) => {
      if (type === 'cancel') connection.send({ type: 'error', code: 'no_executor', message: 'Nobody runs it.', ref });
      return type === 'cancel';
    };
    fireEvent.click(screen.getAllByText('Cancel')[0] as HTMLElement);
    await drawn(() => screen.queryByText('Nobody runs it.'));
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
    render(<weftReact.ExecutionsView limit={10} />, { wrapper: Tree });
    const shown = () => screen.queryAllByText(/^run-\d+$/).map(({ textContent }) => textContent);
    const more = () => screen.queryByRole('button', { name: 'Load more' }) as HTMLButtonElement | null;
    await drawn(() => shown().length === 10);
    expect(screen.getByText('The newest 10 are listed.')).toBeTruthy();
    // Asked once, however often it is pressed while the answer is on its way.
    for (let n = 0; n < 3; n++) fireEvent.click(more() as HTMLElement);
    const asked = () => server.requests.filter(({ url }) => url.includes('cursor=10'));
    await drawn(() => more()?.disabled && asked().length > 0);
    answerMore();
    await drawn(() => shown().length === 20);
    expect(asked()).toHaveLength(1);
    await drawn(() => more()?.disabled === false);
    fireEvent.click(more() as HTMLElement);
    await drawn(() => shown().length === 23);
    expect(shown()).toEqual(ids);
    expect(more()).toBeNull();
    fireEvent.click(screen.getByText('run-0'));
    await drawn(() => screen.queryByLabelText('Execution run-0'));
  });

  test('FailureNotices tells of failures until they are dismissed', async () => {
    const told = vi.fn();
    render(<Notify told={told} />, { wrapper: Tree });
    await subscribed(1);
    publish({ type: 'execution:failed', data: { error: 'it broke' } });
    await drawn(() => screen.queryByText(/it broke/));
    expect(told).toHaveBeenCalledTimes(1);
    fireEvent.click(screen.getByLabelText('Dismiss'));
    await drawn(() => !screen.queryByText(/it broke/));
  });
});

test('a Zustand store of executions', async () => {
  const weft = ends(connect(`http://${server.address}`, { WebSocket, times }), it => it.close());
  const store = createExecutionStore(weft);
  ends(store, it => it.getState().close());
  const { result } = renderHook(() => useStore(store, state => state.executions.e));
  const leave = store.getState().follow('e');
  await subscribed(1);
  publish({ type: 'execution:started' });
  publish(log('e', 'one'));
  await drawn(() => result.current?.logs.length === 1);
  expect(result.current?.status).toBe('running');
  expect(store.getState().connection.isConnected).toBe(true);
  await store.getState().cancel('e');
  leave();
  leave();
  await drawn(() => result.current === undefined && server.last.rooms.size === 0);
});
