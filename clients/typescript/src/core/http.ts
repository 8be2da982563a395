/** Requests to the gateway, with the token, and its refusals as errors. Fetched with the first of them. */

import type { Site } from './tokens.js';
import { WeftError } from './told.js';

/** One page of a room's history. */
export interface Page<E> {
  events: E[];
  next: string;
  complete: boolean;
  gap?: { reason: string };
}

export class Http {
  readonly #site: Site;

  constructor(site: Site) {
    this.#site = site;
  }

  /** Sends a request; a refusal, or the lack of an answer, is a {@link WeftError}. */
  async request(path: string, init: RequestInit = {}, again = true): Promise<Response> {
    const { base, tokens } = this.#site;
    const token = tokens.current ?? (await tokens.renew());
    const headers = new Headers(init.headers);
    if (token) headers.set('authorization', `Bearer ${token}`);
    let response: Response;
    try {
      response = await (this.#site.fetch ?? fetch)(base + path, { ...init, headers });
    } catch (error) {
      if (init.signal?.aborted) throw error;
      throw new WeftError('unreachable', `${path}: ${String(error)}`);
    }
    if (response.ok) return response;
    if (response.status === 401 && again && tokens.renewable) {
      await tokens.renew();
      return this.request(path, init, false);
    }
    throw await refusal(response);
  }

  async json<T>(path: string, init?: RequestInit): Promise<T> {
    return (await (await this.request(path, init)).json()) as T;
  }

  /** A page of what a room holds after an offset. */
  page<E>(room: string, after: string, signal?: AbortSignal): Promise<Page<E>> {
    const query = new URLSearchParams({ after, limit: '1000' });
    return this.json<Page<E>>(`/api/rooms/${encodeURIComponent(room)}/events?${query}`, signal ? { signal } : {});
  }
}

/** A refusal over HTTP; how long to wait stands beside it, where the gateway has said so. */
export class HttpRefusal extends WeftError {
  readonly status: number;
  readonly afterMs: number | undefined;

  constructor(status: number, code: string, message: string, afterMs: number | undefined) {
    super(code, message);
    this.status = status;
    this.afterMs = afterMs;
  }
}

async function refusal(response: Response): Promise<HttpRefusal> {
  const told = (await response.json().catch(() => undefined)) as
    | { error?: { code?: string; message?: string } }
    | undefined;
  const seconds = Number(response.headers.get('retry-after') ?? Number.NaN);
  const code = told?.error?.code ?? (response.status === 401 ? 'unauthenticated' : `http_${response.status}`);
  return new HttpRefusal(
    response.status,
    code,
    told?.error?.message ?? `the gateway answered ${response.status}`,
    Number.isFinite(seconds) ? seconds * 1000 : undefined,
  );
}
