import { useEffect, useReducer, useState } from 'react';
import { webSockets } from '../given';

interface NodeState {
  status: string;
  output: unknown;
  error: string | null;
  started_at: string | null;
  completed_at: string | null;
}
type Frame =
  | { type: 'status'; status: string; data: { progress: number | null; current_node: string | null } }
  | { type: 'node_update'; node_id: string; node_state: NodeState }
  | { type: 'log'; log: { level: string; message: string; node_id: string | null } }
  | { type: 'completion'; result: { status: string; output: unknown } }
  | { type: 'error'; error: string }
  | { type: 'pong' };

const nothing = {
  status: 'pending',
  progress: 0,
  nodes: {} as Record<string, NodeState>,
  logs: [] as string[],
  output: undefined as unknown,
  error: undefined as string | undefined,
};

function fold(state: typeof nothing, frame: Frame): typeof nothing {
  switch (frame.type) {
    case 'status':
      return { ...state, status: frame.status, progress: frame.data.progress ?? state.progress };
    case 'node_update':
      return { ...state, nodes: { ...state.nodes, [frame.node_id]: frame.node_state } };
    case 'log':
      return { ...state, logs: [...state.logs, frame.log.message] };
    case 'completion':
      return { ...state, output: frame.result.output };
    case 'error':
      return { ...state, error: frame.error };
    case 'pong':
      return state;
  }
}

/** One execution, live, over a WebSocket of its own that is opened again until the execution has ended. */
export function useExecution(executionId: string) {
  const [state, dispatch] = useReducer(fold, nothing);
  const [connection, setConnection] = useState('connecting');

  useEffect(() => {
    let socket: WebSocket;
    let timer: ReturnType<typeof setTimeout>;
    let attempt = 0;
    let ended = false;
    const connect = () => {
      socket = new WebSocket(`${webSockets}/api/ws/executions/${executionId}`);
      socket.onopen = () => {
        attempt = 0;
        setConnection('connected');
      };
      socket.onmessage = ({ data }) => {
        const frame = JSON.parse(data) as Frame;
        dispatch(frame);
        if (frame.type !== 'completion' && frame.type !== 'error') return;
        ended = true;
        socket.close();
      };
      socket.onclose = () => {
        setConnection(ended ? 'closed' : 'lost');
        if (!ended) timer = setTimeout(connect, Math.min(30_000, 1000 * 2 ** attempt++));
      };
    };
    connect();
    const pings = setInterval(() => {
      if (socket.readyState === WebSocket.OPEN) socket.send('ping');
    }, 30_000);
    return () => {
      ended = true;
      clearInterval(pings);
      clearTimeout(timer);
      socket.close();
    };
  }, [executionId]);

  return { ...state, connection };
}
