import { createApp, defineComponent, h, watchEffect } from 'vue';
import {
  ExecutionLogs,
  ExecutionStatus,
  ExecutionsView,
  FailureNotices,
  useWebSocketLogs,
  WorkflowExecutionMonitor,
  weftPlugin,
} from '../../src/vue/index.js';
import { given, keep } from './given.js';

const { gateways, executions, times } = given();

const Page = defineComponent({
  setup() {
    const executionId = executions[0] ?? '';
    const { logs } = useWebSocketLogs(executionId, { maxLogs: 100_000 });
    watchEffect(() => keep(logs.value));
    return () => [
      h('h1', 'Executions'),
      h(ExecutionStatus, { executionId }),
      h(ExecutionLogs, { executionId, maxLogs: 100_000 }),
      h(WorkflowExecutionMonitor, { executionIds: executions }),
      h(ExecutionsView),
      h(FailureNotices),
    ];
  },
});

createApp(Page).use(weftPlugin, { url: gateways, options: { times } }).mount('#app');
