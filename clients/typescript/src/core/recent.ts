/** The last events seen, to tell repeats: as many as `max`, the oldest forgotten first. */
export class Recent {
  readonly #keys = new Set<string>();
  readonly #max: number;

  constructor(max: number) {
    this.#max = max;
  }

  /** Notes a key; false if it is known already. */
  add(key: string): boolean {
    if (this.#keys.has(key)) return false;
    this.#keys.add(key);
    if (this.#keys.size > this.#max) {
      for (const oldest of this.#keys) {
        this.#keys.delete(oldest);
        break;
      }
    }
    return true;
  }
}

/**
 * What tells an event from all others of its room. Every stored event has an `id` (its offset, if nobody gave one); an
 * offset alone would not do, because the same event's may be told anew while a session follows several rooms.
 */
export const keyOf = (event: { id?: string; offset?: string }): string | undefined => event.id ?? event.offset;
