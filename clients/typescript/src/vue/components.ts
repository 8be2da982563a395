/** Ready-made components. Their looks are in `@weft/client/style.css`. */
import {
  computed,
  defineComponent,
  h,
  onMounted,
  onUpdated,
  type PropType,
  ref,
  type VNode,
  type VNodeArrayChildren,
  watchEffect,
} from 'vue';
import type { Level, Status } from '../core/event.js';
import { isTerminal } from '../core/snapshot.js';
import { clientView } from '../view/client-view.js';
import type { ExecutionState } from '../view/execution-view.js';
import * as parts from '../view/parts.js';
import { ScrollView } from '../view/scroll-view.js';
import { onEnd, useClient, useView } from './client.js';
import { useExecution, useExecutions, useFailures } from './composables.js';

const make: parts.Make<VNode> = (tag, props, ...children) => h(tag, props, children.flat() as VNodeArrayChildren);

/** The time, once a second while something runs. */
function useNow(isRunning: () => boolean) {
  const now = ref(Date.now());
  let timer: ReturnType<typeof setInterval> | undefined;
  const stop = () => clearInterval(timer);
  onMounted(() =>
    watchEffect(() => {
      stop();
      now.value = Date.now();
      if (isRunning()) {
        timer = setInterval(() => {
          now.value = Date.now();
        }, 1000);
      }
    }),
  );
  onEnd(stop);
  return now;
}

const executionProps = {
  executionId: { type: String, required: true },
  history: { type: Boolean, default: true },
  maxLogs: { type: Number, default: 10_000 },
} as const;

/** How the connection is. */
export const ConnectionBadge = defineComponent({
  name: 'ConnectionBadge',
  setup() {
    const connection = useView(clientView(useClient()));
    return () => parts.connectionBadge(make, connection.value);
  },
});

/** State, id, times, nodes, error and output of an execution. */
export const ExecutionStatus = defineComponent({
  name: 'ExecutionStatus',
  props: { executionId: { type: String, required: true } },
  setup(props) {
    const { state } = useExecution(() => props.executionId, { history: false });
    const now = useNow(() => !isTerminal(state.value.status));
    return () => parts.executionStatus(make, state.value, now.value);
  },
});

const Log = defineComponent({
  name: 'WeftLog',
  props: { state: { type: Object as PropType<ExecutionState>, required: true } },
  emits: ['clear'],
  setup(props, { emit }) {
    const weft = useClient();
    const connection = useView(clientView(weft));
    const view = new ScrollView();
    const scroll = useView(view);
    const least = ref<Level>('debug');
    onMounted(view.settle);
    onUpdated(view.settle);
    return () =>
      parts.logViewer(make, props.state, connection.value, {
        scroll: scroll.value,
        least: least.value,
        attach: view.attach,
        onScroll: view.scrolled,
        onFollow: view.follow,
        onLevel: level => {
          least.value = level;
        },
        onClear: () => emit('clear'),
        onReconnect: () => weft.reconnect(),
      });
  },
});

/** The log of an execution: history and live, levels in colour, keeps to the end until the reader scrolls up. */
export const ExecutionLogs = defineComponent({
  name: 'ExecutionLogs',
  props: executionProps,
  setup(props) {
    const { history, maxLogs } = props;
    const { state, clearLogs } = useExecution(() => props.executionId, { history, maxLogs });
    return () => h(Log, { state: state.value, onClear: clearLogs });
  },
});

/** The same under its other name. */
export const ExecutionLogViewer = ExecutionLogs;

const Card = defineComponent({
  name: 'WeftCard',
  props: { ...executionProps, showLogs: Boolean },
  setup(props) {
    const { history, maxLogs } = props;
    const { state, cancel, provideInput, clearLogs } = useExecution(() => props.executionId, { history, maxLogs });
    const isOpen = ref(props.showLogs);
    const problem = ref('');
    const now = useNow(() => !isTerminal(state.value.status));
    const tell = (doing: Promise<void>) => {
      problem.value = '';
      doing.catch((error: Error) => {
        problem.value = error.message;
      });
    };
    return () =>
      parts.monitorCard(make, state.value, now.value, {
        isOpen: isOpen.value,
        toggle: () => {
          isOpen.value = !isOpen.value;
        },
        cancel: () => tell(cancel()),
        prompts: [
          ...state.value.pendingInput.map(prompt =>
            parts.promptForm(make, prompt, value => tell(provideInput(prompt.requestId, value))),
          ),
          problem.value !== '' && make('p', { key: 'problem', class: 'weft-error', role: 'alert' }, problem.value),
        ],
        log: isOpen.value && h(Log, { state: state.value, onClear: clearLogs }),
      });
  },
});

/** Executions as they run: progress, duration, prompts, and a log panel to show and hide. */
export const WorkflowExecutionMonitor = defineComponent({
  name: 'WorkflowExecutionMonitor',
  props: {
    executionId: { type: String as PropType<string | null>, default: null },
    executionIds: { type: Array as PropType<readonly string[]>, default: () => [] },
    history: executionProps.history,
    maxLogs: executionProps.maxLogs,
    showLogs: Boolean,
  },
  setup(props) {
    const ids = computed(() => [
      ...new Set([...props.executionIds, ...(props.executionId ? [props.executionId] : [])]),
    ]);
    return () =>
      ids.value.length === 0
        ? parts.emptyMonitor(make)
        : h(
            'div',
            { class: 'weft-monitor' },
            ids.value.map(id => {
              const { history, maxLogs, showLogs } = props;
              return h(Card, { key: id, executionId: id, history, maxLogs, showLogs });
            }),
          );
  },
});

/** The caller's executions, older ones on request (`limit` at a time), and of the chosen one its state and its log. */
export const ExecutionsView = defineComponent({
  name: 'ExecutionsView',
  props: { status: { type: String as PropType<Status> }, limit: { type: Number, default: 50 } },
  setup(props) {
    const { state, more } = useExecutions(() => ({
      limit: props.limit,
      ...(props.status ? { status: props.status } : {}),
    }));
    const selected = ref<string | null>(null);
    const now = useNow(() => state.value.executions.some(entry => !isTerminal(entry.status)));
    const select = (executionId: string) => {
      selected.value = executionId;
    };
    const controls = () => ({ selected: selected.value, select, more: () => void more() });
    return () =>
      h('div', { class: 'weft-executions' }, [
        parts.executionList(make, state.value, now.value, controls()),
        selected.value !== null && h(ExecutionStatus, { key: `status ${selected.value}`, executionId: selected.value }),
        selected.value !== null && h(ExecutionLogs, { key: `logs ${selected.value}`, executionId: selected.value }),
      ]);
  },
});

/** Failures of executions and of the connection, each until it is dismissed. */
export const FailureNotices = defineComponent({
  name: 'FailureNotices',
  setup() {
    const { failures, dismiss } = useFailures();
    return () => parts.failureList(make, failures.value, dismiss);
  },
});
