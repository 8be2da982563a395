/** How the connection is. */
import type { State } from '@weft/client';
import { useWeft } from '@weft/client/react';
import type { ReactNode } from 'react';

const WORDS: Readonly<Record<State, string>> = {
  connected: 'Live',
  connecting: 'Connecting',
  reconnecting: 'Reconnecting',
  disconnected: 'Offline',
  failed: 'Refused',
};
const COLOURS: Readonly<Record<State, string>> = {
  connected: 'green',
  connecting: 'yellow',
  reconnecting: 'yellow',
  disconnected: 'grey',
  failed: 'red',
};

export function Badge(): ReactNode {
  const { state, degraded, latencyMs, transport, isConnected, reconnect } = useWeft();
  const isAway = isConnected && degraded;
  const way = transport === undefined || transport === 'websocket' ? '' : ` by ${transport}`;
  return (
    <div className={`badge ${isAway ? 'yellow' : COLOURS[state]}`} data-state={state}>
      <span className="dot" aria-hidden="true" />
      <span role="status">{isAway ? 'Broker away' : WORDS[state] + way}</span>
      {isConnected && latencyMs !== undefined && (
        <span className="figure" title="Round trip to the gateway">
          {latencyMs < 10 ? latencyMs.toFixed(1) : Math.round(latencyMs)} ms
        </span>
      )}
      {!isConnected && state !== 'connecting' && (
        <button type="button" className="plain" onClick={reconnect}>
          Retry
        </button>
      )}
    </div>
  );
}
