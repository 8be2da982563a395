/** `@weft/client/zustand`: executions in a Zustand store. */
import { createStore, type StoreApi } from 'zustand/vanilla';
import type { Weft } from './core/weft.js';
import { Collection, type ExecutionsState } from './view/collection.js';
import type { ExecutionViewOptions } from './view/execution-view.js';

export interface ExecutionStore extends ExecutionsState {
  /** Follows an execution; the answer leaves it. */
  follow(executionId: string): () => void;
  leave(executionId: string): void;
  clearLogs(executionId: string): void;
  cancel(executionId: string, reason?: string): Promise<void>;
  provideInput(executionId: string, requestId: string, value: unknown): Promise<void>;
  /** Leaves everything, and closes the client if nobody else uses it. */
  close(): void;
}

/** A store of executions, set once a frame however much has happened. Use it with `useStore` of Zustand, or without React. */
export function createExecutionStore(weft: Weft, options: ExecutionViewOptions = {}): StoreApi<ExecutionStore> {
  return createStore<ExecutionStore>()(set => {
    const collection = new Collection(weft, state => set(state), options);
    const { follow, leave, clear, cancel, provideInput, close } = collection;
    return { ...collection.state, follow, leave, clearLogs: clear, cancel, provideInput, close };
  });
}
