/** Who wants to be told what. */

/** Options of `on`. */
export interface ListenOptions {
  /** Ends the listening when aborted. */
  signal?: AbortSignal;
}

type Listener = (value: never) => void;

/** Listeners by name. One that throws does not keep the others from hearing. */
export class Listeners<M> {
  readonly #of = new Map<keyof M, Set<Listener>>();

  /** Adds a listener; the answer takes it away again. */
  on<K extends keyof M>(name: K, listener: (value: M[K]) => void, options?: ListenOptions): () => void {
    if (options?.signal?.aborted) return () => {};
    // A wrapper, so that the same function added twice can be taken away once.
    const own: Listener = (value: M[K]) => listener(value);
    let set = this.#of.get(name);
    if (!set) {
      set = new Set();
      this.#of.set(name, set);
    }
    set.add(own);
    const off = () => {
      set.delete(own);
      options?.signal?.removeEventListener('abort', off);
    };
    options?.signal?.addEventListener('abort', off);
    return off;
  }

  /** Tells everybody who listens to this name; whether somebody did. */
  tell<K extends keyof M>(name: K, value: M[K]): boolean {
    const set = this.#of.get(name);
    if (!set?.size) return false;
    for (const listener of [...set]) call(() => listener(value as never));
    return true;
  }
}

/** Runs what is not ours; an error in it is reported as uncaught, in a turn of its own. */
export function call(foreign: () => void): void {
  try {
    foreign();
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}
