/** Reading a `text/event-stream`. */

/** One event of a stream. */
export interface StreamEvent {
  event: string;
  data: string;
  id: string | undefined;
}

/**
 * Reads a stream to its end. `tell` gets each event; `at` an id without an event, which says where the stream stands; `retry`
 * the pause that the server asks for; `alive` is called for anything at all that comes, comments included. An event that is
 * cut off at the end is not told.
 */
export async function readStream(
  body: ReadableStream<Uint8Array>,
  told: { tell(event: StreamEvent): void; at(id: string): void; retry(ms: number): void; alive(): void },
): Promise<void> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = '';
  let event = '';
  let data: string[] = [];
  let id: string | undefined;
  const line = (text: string) => {
    if (text === '') {
      if (data.length > 0) told.tell({ event: event || 'message', data: data.join('\n'), id });
      else if (id) told.at(id);
      [event, data] = ['', []];
      return;
    }
    const [, field, value = ''] = /^([^:]*)(?:: ?(.*))?$/s.exec(text) ?? [];
    if (field === 'data') data.push(value);
    else if (field === 'event') event = value;
    else if (field === 'id' && !value.includes('\0')) id = value;
    else if (field === 'retry' && /^\d+$/.test(value)) told.retry(Number(value));
  };
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    told.alive();
    rest += decoder.decode(value, { stream: true });
    // A carriage return at the end may be half of a line break.
    const lines = rest.split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop() ?? '';
    for (const text of lines) line(text);
  }
}
