/** Places for streams, which all pages of a browser share that are connected to the same gateway. */

/** The part of `navigator.locks` that is used. */
interface Locks {
  request(
    name: string,
    options: { ifAvailable: true },
    held: (lock: unknown) => Promise<void> | undefined,
  ): Promise<void>;
}

/**
 * One of `max` places; the answer gives it back, and so does the end of the page. `undefined` if other pages have them all.
 * Where there are no locks, outside of browsers and on pages that came by plain HTTP, each page has places of its own.
 */
export async function takePlace(gateway: string, max: number): Promise<(() => void) | undefined> {
  const { document, navigator } = globalThis as { document?: unknown; navigator?: { locks?: Locks } };
  const locks = document === undefined ? undefined : navigator?.locks;
  if (!locks) return () => {};
  for (let n = 0; n < max; n++) {
    const free = await tryLock(locks, `weft-stream ${gateway} ${n}`);
    if (free) return free;
  }
  return undefined;
}

const tryLock = (locks: Locks, name: string): Promise<(() => void) | undefined> =>
  new Promise(resolve => {
    const held = (lock: unknown) => {
      if (lock) return new Promise<void>(free => resolve(free));
      resolve(undefined);
      return undefined;
    };
    // A page that may not lock has places of its own.
    locks.request(name, { ifAvailable: true }, held).catch(() => resolve(() => {}));
  });
