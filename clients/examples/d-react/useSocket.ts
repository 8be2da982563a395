import { useEffect, useState } from 'react';
import { io, type Socket } from 'socket.io-client';

export interface Event {
  type: string;
  executionId: string;
  nodeId?: string;
  agentId?: string;
  // biome-ignore lint/suspicious/noExplicitAny: every type of event has data of its own
  data: any;
}

export interface Answer {
  ok: boolean;
  code?: string;
  message?: string;
}

/** A connection in the main namespace that follows these channels. */
export function useSocket(address: string, channels: string[]) {
  const [socket, setSocket] = useState<Socket>();
  const [connection, setConnection] = useState('connecting');
  const [refused, setRefused] = useState<string>();
  const names = channels.join(' ');

  useEffect(() => {
    const socket = io(address);
    socket.on('connect', () => {
      setConnection(socket.recovered ? 'recovered' : 'connected');
      for (const channel of names.split(' ')) {
        socket.emit('subscribe', channel, (answer: Answer) => {
          if (!answer.ok) setRefused(`${channel}: ${answer.message}`);
        });
      }
    });
    socket.on('disconnect', () => setConnection('lost'));
    setSocket(socket);
    return () => void socket.disconnect();
  }, [address, names]);

  return { socket, connection, refused };
}

/** Calls back for every event of these types, in order. */
export function useEvents(socket: Socket | undefined, types: string[], onEvent: (event: Event) => void) {
  const names = types.join(' ');
  // biome-ignore lint/correctness/useExhaustiveDependencies: what is called back only sets state, and so may be an older one
  useEffect(() => {
    const listened = names.split(' ');
    for (const name of listened) socket?.on(name, onEvent);
    return () => {
      for (const name of listened) socket?.off(name, onEvent);
    };
  }, [socket, names]);
}
