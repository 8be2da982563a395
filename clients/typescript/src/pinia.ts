/** `@weft/client/pinia`: executions in a Pinia store. */
import { defineStore } from 'pinia';
import { onScopeDispose, reactive, shallowRef } from 'vue';
import type { Weft } from './core/weft.js';
import { Collection, type ExecutionsState } from './view/collection.js';
import { defaultClient } from './view/default-client.js';
import type { ExecutionViewOptions } from './view/execution-view.js';
import { executionSink, type StoredExecution } from './vue/execution-socket.js';

export interface StoreOptions extends ExecutionViewOptions {
  /** The name of the store. `weft` unless set. */
  id?: string;
}

/** Defines a store of followed executions, set once a frame however much has happened. */
export function defineWeftStore(weft: Weft = defaultClient(), { id = 'weft', ...options }: StoreOptions = {}) {
  return defineStore(id, () => {
    const state = shallowRef<ExecutionsState>();
    const collection = new Collection(
      weft,
      now => {
        state.value = now;
      },
      options,
    );
    state.value = collection.state;
    onScopeDispose(collection.close);
    const { follow, leave, clear: clearLogs, cancel, provideInput, close } = collection;
    return { state, follow, leave, clearLogs, cancel, provideInput, close };
  });
}

/** The store that `useExecutionWebSocket` feeds: executions with status, logs, result, error and nodes, by id. */
export const useExecutionStore = defineStore('weft-executions', () => {
  const executions = reactive<Record<string, StoredExecution>>({});
  const sink = executionSink(executions);
  const clearExecution = (executionId: string): void => {
    delete executions[executionId];
  };
  return { executions, ...sink, clearExecution };
});
