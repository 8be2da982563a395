/** The client of a React tree. */
import {
  createContext,
  createElement,
  type ReactNode,
  useContext,
  useEffect,
  useMemo,
  useSyncExternalStore,
} from 'react';
import type { Options } from '../core/options.js';
import { connect, type Weft } from '../core/weft.js';
import { type Connection, clientView } from '../view/client-view.js';
import { defaultAddress, defaultClient, keepConnected } from '../view/default-client.js';
import type { View } from '../view/view.js';

const Context = createContext<Weft | undefined>(undefined);

export interface WeftProviderProps {
  /** A client made elsewhere; else one is made for `url`. */
  client?: Weft;
  /** The gateway, or several; by default `VITE_WS_URL`, else where the page came from. */
  url?: string | string[];
  /** Options of the client. Read when it is made. */
  options?: Options;
  children?: ReactNode;
}

/** Gives a client to all hooks and components below, connected for as long as it is shown. */
export function WeftProvider({ client, url, options, children }: WeftProviderProps): ReactNode {
  const key = [url].flat().join(' ');
  // biome-ignore lint/correctness/useExhaustiveDependencies: options are read once, or an object literal would reconnect.
  const weft = useMemo(
    () => client ?? connect(key === '' ? defaultAddress() : key.split(' '), { ...options, lazy: true }),
    [client, key],
  );
  useEffect(() => keepConnected(weft), [weft]);
  return createElement(Context.Provider, { value: weft }, children);
}

/** The client of this tree; without a provider one for the whole page. */
export function useClient(): Weft {
  return useContext(Context) ?? defaultClient();
}

/** Draws with the state of a view, once a frame however much has changed in it. */
export function useView<S>(view: View<S>): S {
  return useSyncExternalStore(view.subscribe, view.getState, view.getState);
}

/** The client kept connected, for hooks that use it. */
export function useKept(): Weft {
  const weft = useClient();
  useEffect(() => keepConnected(weft), [weft]);
  return weft;
}

/** The client, how its connection is, and what can be done about it. */
export function useWeft(): Connection & { client: Weft; connect(): void; disconnect(): void; reconnect(): void } {
  const weft = useKept();
  const connection = useView(clientView(weft));
  return useMemo(
    () => ({
      ...connection,
      client: weft,
      connect: () => weft.connect(),
      disconnect: () => weft.close(),
      reconnect: () => weft.reconnect(),
    }),
    [connection, weft],
  );
}
