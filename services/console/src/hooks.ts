/** What several pages need. */
import { WeftError } from '@weft/client';
import { useWeft } from '@weft/client/react';
import { useCallback, useEffect, useRef, useState, useSyncExternalStore } from 'react';
import { type Route, routeOf } from './route.js';

const onHash = (listener: () => void) => {
  addEventListener('hashchange', listener);
  return () => removeEventListener('hashchange', listener);
};

export function useRoute(): Route {
  return routeOf(useSyncExternalStore(onHash, () => location.hash));
}

/** The time, as often as this while `active`. */
export function useNow(active: boolean, everyMs = 500): number {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    if (!active) return;
    const timer = setInterval(() => setNow(Date.now()), everyMs);
    return () => clearInterval(timer);
  }, [active, everyMs]);
  return now;
}

export interface Asked<T> {
  value: T | undefined;
  error: WeftError | undefined;
  again: () => void;
}

/** What the gateway answers at a path, asked again now and then while the page is seen. */
export function useAsked<T>(path: string, everyMs?: number, heard?: (value: T) => void): Asked<T> {
  const { client, isConnected } = useWeft();
  const [value, setValue] = useState<T>();
  const [error, setError] = useState<WeftError>();
  const latest = useRef(heard);
  latest.current = heard;
  const ask = useCallback(
    async (signal?: AbortSignal) => {
      try {
        const answer = await client.request<T>(path, signal ? { signal } : {});
        if (signal?.aborted) return;
        setValue(answer);
        setError(undefined);
        latest.current?.(answer);
      } catch (refused) {
        if (!signal?.aborted) setError(errorOf(refused));
      }
    },
    [client, path],
  );
  // biome-ignore lint/correctness/useExhaustiveDependencies: asked anew when the connection has come back.
  useEffect(() => {
    const over = new AbortController();
    void ask(over.signal);
    const tick = () => {
      if (document.visibilityState === 'visible') void ask(over.signal);
    };
    const timer = everyMs === undefined ? undefined : setInterval(tick, everyMs);
    return () => {
      over.abort();
      clearInterval(timer);
    };
  }, [ask, everyMs, isConnected]);
  return { value, error, again: useCallback(() => void ask(), [ask]) };
}

export const errorOf = (thrown: unknown): WeftError =>
  thrown instanceof WeftError ? thrown : new WeftError('internal', String(thrown));

/** What a person has asked for, and how it goes. */
export function useAction<A extends unknown[]>(
  act: (...given: A) => Promise<void>,
): { run: (...given: A) => void; isBusy: boolean; error: WeftError | undefined; isDone: boolean } {
  const [state, setState] = useState<{ isBusy: boolean; isDone: boolean; error: WeftError | undefined }>({
    isBusy: false,
    isDone: false,
    error: undefined,
  });
  const isHere = useRef(true);
  useEffect(() => {
    isHere.current = true;
    return () => {
      isHere.current = false;
    };
  }, []);
  const run = (...given: A) => {
    if (state.isBusy) return;
    const tell = (told: Partial<typeof state>) => {
      if (isHere.current) setState({ isBusy: false, isDone: false, error: undefined, ...told });
    };
    tell({ isBusy: true });
    act(...given).then(
      () => tell({ isDone: true }),
      (thrown: unknown) => tell({ error: errorOf(thrown) }),
    );
  };
  return { run, ...state };
}
