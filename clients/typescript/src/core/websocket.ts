/** The WebSocket to a gateway. */
import type { Socket } from './options.js';
import type { Incoming, Link, LinkEvents } from './wire.js';

/** Opens one. It is lost (1006) if nothing has been heard after `openMs`. */
export function webSocketLink(
  url: string,
  WebSocketClass: new (url: string, protocols?: string[]) => Socket,
  openMs: number,
  events: LinkEvents,
): Link {
  const socket = new WebSocketClass(url, ['weft.v1.json']);
  let over = false;
  const end = () => {
    over = true;
    clearTimeout(timer);
    try {
      socket.close(1000);
    } catch {
      // It was never open: there is nothing to close.
    }
  };
  const lose = (code: number, reason?: string) => {
    if (over) return;
    end();
    events.closed(code, reason);
  };
  const timer = setTimeout(() => lose(1006), openMs);
  socket.onopen = () => over || events.open();
  socket.onmessage = ({ data }: { data: unknown }) => {
    clearTimeout(timer);
    // A frame may hold several objects; within one there is no line break.
    for (const line of String(data).split('\n')) {
      if (over) return;
      const message = read(line);
      // What cannot be read may have been an event: come back with the offsets and have it sent again.
      if (message) events.message(message);
      else if (line) return lose(1006);
    }
  };
  socket.onclose = ({ code, reason }: { code?: number; reason?: string }) => lose(code ?? 1006, reason);
  // What went wrong is told by the close that follows.
  socket.onerror = () => {};
  return { send: message => socket.send(JSON.stringify(message)), close: end };
}

function read(line: string): Incoming | undefined {
  try {
    return JSON.parse(line) as Incoming;
  } catch {
    return undefined;
  }
}
