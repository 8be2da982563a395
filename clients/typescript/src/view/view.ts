/**
 * State for a screen: read by whoever draws, told to them once a frame however much has happened in it, and only kept
 * up to date while somebody looks.
 */

const due = new Set<() => void>();
let planned = false;

function flush(): void {
  if (due.size === 0) return;
  const now = [...due];
  due.clear();
  for (const run of now) run();
}

/** Runs it in the next frame, once, together with all others. A page that nobody sees has no frames; it gets four a second. */
export function nextFrame(run: () => void): void {
  due.add(run);
  if (planned) return;
  planned = true;
  let done = false;
  const once = () => {
    if (done) return;
    done = true;
    planned = false;
    clearTimeout(timer);
    flush();
  };
  const timer = setTimeout(once, typeof requestAnimationFrame === 'function' ? 250 : 16);
  if (typeof requestAnimationFrame === 'function') requestAnimationFrame(once);
}

export abstract class View<S> {
  #state: S | undefined;
  #isDue = false;
  #stop: (() => void) | undefined;
  #stopping: ReturnType<typeof setTimeout> | undefined;
  readonly #listeners = new Set<() => void>();

  /** Begins to look on; the answer ends it. The first who looks starts the view, the last one stops it. */
  readonly subscribe = (listener: () => void): (() => void) => {
    // The same function may look on twice; each is taken away by itself.
    const own = () => listener();
    this.#listeners.add(own);
    clearTimeout(this.#stopping);
    this.#stop ??= this.start();
    return () => {
      this.#listeners.delete(own);
      if (this.#listeners.size > 0) return;
      clearTimeout(this.#stopping);
      // Frameworks take a screen away and put it back within one turn; that is no reason to begin anew.
      this.#stopping = setTimeout(() => {
        this.#stop?.();
        this.#stop = undefined;
      }, 0);
    };
  };

  /** The state as of the last frame; the same object until it changes. */
  readonly getState = (): S => {
    this.#state ??= this.read();
    return this.#state;
  };

  /** Begins to keep the state up to date; the answer ends it. */
  protected abstract start(): () => void;

  /** A fresh object with the state as it is. */
  protected abstract read(): S;

  /** Something has changed: everybody is told in the next frame. */
  protected changed(): void {
    if (this.#isDue) return;
    this.#isDue = true;
    nextFrame(() => {
      this.#isDue = false;
      this.changedNow();
    });
  }

  /** The reader has changed something, and must see it at once: a checkbox would jump back until the next frame. */
  protected changedNow(): void {
    this.#state = this.read();
    for (const listener of [...this.#listeners]) listener();
  }
}
