/** The client of a page that has not made one of its own. */
import { connect, type Weft } from '../core/weft.js';

declare global {
  interface ImportMeta {
    /** Filled in by Vite. */
    readonly env?: Record<string, string | undefined>;
  }
}

/** Where the gateway is: what the build says in `VITE_WS_URL`, else where the page came from. */
export const defaultAddress = (): string => import.meta.env?.VITE_WS_URL || '/';

let client: Weft | undefined;

/** Made when it is first needed. It does not connect by itself: that is for those who look. */
export function defaultClient(): Weft {
  client ??= connect(defaultAddress(), { lazy: true });
  return client;
}

interface Use {
  count: number;
  /** Whether it was connected for us: a client that somebody has connected is theirs to close. */
  isOurs: boolean;
  leaving?: ReturnType<typeof setTimeout> | undefined;
}
const uses = new WeakMap<Weft, Use>();

/** Keeps a client connected while somebody uses it; the last one to end closes it, a moment later. */
export function keepConnected(weft: Weft): () => void {
  const use = uses.get(weft) ?? { count: 0, isOurs: weft.state === 'disconnected' };
  uses.set(weft, use);
  clearTimeout(use.leaving);
  use.count += 1;
  // One that has failed is left to people, or every part of a page that is drawn would try again.
  if (weft.state === 'disconnected') weft.connect();
  return () => {
    use.count -= 1;
    if (use.count > 0) return;
    // A page that is drawn anew ends and begins in one turn.
    use.leaving = setTimeout(() => {
      uses.delete(weft);
      if (use.isOurs) weft.close();
    }, 0);
  };
}
