/** What a test gives its page in the address, and what the page gives back. */
import type { LogEntry } from '../../src/react/index.js';

export function given() {
  const query = new URLSearchParams(location.search);
  const times = { baseMs: 50, capMs: 1000, openMs: 3000, pollMs: 100, pongMs: 3000, heartbeatMs: 5000 };
  return { gateways: query.getAll('gateway'), executions: query.getAll('execution'), times };
}

export function keep(logs: readonly LogEntry[]): void {
  (globalThis as { lines?: string[] }).lines = logs.map(({ message }) => message);
}
