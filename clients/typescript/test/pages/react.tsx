import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import {
  ExecutionLogs,
  ExecutionStatus,
  ExecutionsView,
  FailureNotices,
  useWebSocketLogs,
  WeftProvider,
  WorkflowExecutionMonitor,
} from '../../src/react/index.js';
import { given, keep } from './given.js';

const { gateways, executions, times } = given();

function Lines() {
  keep(useWebSocketLogs(executions[0], { maxLogs: 100_000 }).logs);
  return null;
}

createRoot(document.getElementById('app') as HTMLElement).render(
  <StrictMode>
    <WeftProvider url={gateways} options={{ times }}>
      <h1>Executions</h1>
      <Lines />
      <ExecutionStatus executionId={executions[0] ?? ''} />
      <ExecutionLogs executionId={executions[0] ?? ''} maxLogs={100_000} />
      <WorkflowExecutionMonitor executionIds={executions} />
      <ExecutionsView />
      <FailureNotices />
    </WeftProvider>
  </StrictMode>,
);
