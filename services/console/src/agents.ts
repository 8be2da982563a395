/** What agents say, folded from their events. */
import type { OtherEvent, WeftEvent } from '@weft/client';

export interface Call {
  tool: string;
  arguments: unknown;
  status: string;
}

export interface Agent {
  id: string;
  name: string;
  text: string;
  isStreaming: boolean;
  calls: readonly Call[];
  error: string | undefined;
}

/** Text kept of one answer; past it the beginning is left out. */
const TEXT_MAX = 200_000;
const CALLS_MAX = 200;
const AGENTS_MAX = 200;

interface Speaker {
  agent: Agent;
  /** Joined when it is read: a long text must not be copied for each of its tokens. */
  tokens: string[];
  seen: Agent | undefined;
}

export class Agents {
  readonly #speakers = new Map<string, Speaker>();

  /** Those that have begun to say something, in the order in which they began. The same objects until they change. */
  read(): readonly Agent[] {
    return [...this.#speakers.values()].map(speaker => {
      speaker.seen ??= settled(speaker);
      return speaker.seen;
    });
  }

  /** Folds an event in; whether it changed anything. */
  take(event: WeftEvent | OtherEvent): boolean {
    const id = (event as OtherEvent).agentId ?? (event.data as { agentId?: string } | undefined)?.agentId;
    if (typeof id !== 'string' || !event.type.startsWith('agent:')) return false;
    const data = { ...(event.data as Record<string, unknown>) };
    const name = typeof data.agentName === 'string' ? data.agentName : undefined;
    switch (event.type) {
      case 'agent:started':
        return this.#set(id, { name, isStreaming: false, error: undefined });
      case 'agent:streaming_start':
        return this.#say(id, []) && this.#set(id, { name, isStreaming: true, error: undefined });
      case 'agent:token':
        if (typeof data.response === 'string') this.#say(id, [data.response]);
        else this.#speaker(id)?.tokens.push(typeof data.token === 'string' ? data.token : '');
        return this.#set(id, { isStreaming: true });
      case 'agent:streaming_end':
        if (typeof data.response === 'string') this.#say(id, [data.response]);
        return this.#set(id, { isStreaming: false });
      case 'agent:tool_call':
        return this.#call(id, {
          tool: String(data.tool ?? ''),
          arguments: data.arguments,
          status: String(data.status ?? ''),
        });
      case 'agent:completed':
        return this.#set(id, { isStreaming: false });
      case 'agent:failed':
        return this.#set(id, { isStreaming: false, error: String(data.error ?? 'failed') });
      default:
        return false;
    }
  }

  /** The execution is over: nobody says anything any more. */
  end(): void {
    for (const id of this.#speakers.keys()) this.#set(id, { isStreaming: false });
  }

  clear(): void {
    this.#speakers.clear();
  }

  #speaker(id: string): Speaker | undefined {
    let speaker = this.#speakers.get(id);
    if (!speaker && this.#speakers.size < AGENTS_MAX) {
      const agent = { id, name: id, text: '', isStreaming: false, calls: [], error: undefined };
      speaker = { agent, tokens: [], seen: undefined };
      this.#speakers.set(id, speaker);
    }
    return speaker;
  }

  #say(id: string, tokens: string[]): boolean {
    const speaker = this.#speaker(id);
    if (speaker) speaker.tokens = tokens;
    return speaker !== undefined;
  }

  #set(id: string, { name, ...change }: Partial<Agent>): boolean {
    const speaker = this.#speaker(id);
    if (!speaker) return false;
    Object.assign(speaker.agent, change, name === undefined ? undefined : { name });
    speaker.seen = undefined;
    return true;
  }

  /** A call that goes on takes the place of its beginning. */
  #call(id: string, call: Call): boolean {
    const calls = [...(this.#speaker(id)?.agent.calls ?? [])];
    const open = calls.findLastIndex(({ tool, status }) => tool === call.tool && status === 'started');
    if (call.status !== 'started' && open >= 0)
      calls[open] = { ...call, arguments: call.arguments ?? calls[open]?.arguments };
    else calls.push(call);
    return this.#set(id, { calls: calls.slice(-CALLS_MAX) });
  }
}

function settled(speaker: Speaker): Agent {
  const text = speaker.tokens.join('');
  speaker.tokens = [text.slice(-TEXT_MAX)];
  return { ...speaker.agent, text: speaker.tokens[0] as string };
}
