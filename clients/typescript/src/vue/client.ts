/** The client of a Vue app. */
import {
  type App,
  computed,
  getCurrentInstance,
  getCurrentScope,
  type InjectionKey,
  inject,
  type MaybeRefOrGetter,
  onMounted,
  onScopeDispose,
  type ShallowRef,
  shallowReadonly,
  shallowRef,
  toValue,
  watch,
} from 'vue';
import type { Options } from '../core/options.js';
import { connect, type Weft } from '../core/weft.js';
import { clientView } from '../view/client-view.js';
import { defaultAddress, defaultClient, keepConnected } from '../view/default-client.js';
import type { View } from '../view/view.js';

/** Where components find their client. */
export const weftKey: InjectionKey<Weft> = Symbol('weft');

/** `app.use(weftPlugin, { url, options })`, or with a client made elsewhere: `{ client }`. */
export const weftPlugin = {
  install(
    app: App,
    { client, url, options }: { client?: Weft; url?: string | string[]; options?: Options } = {},
  ): void {
    app.provide(weftKey, client ?? connect(url ?? defaultAddress(), { ...options, lazy: true }));
  },
};

/** The client of this app; without the plugin one for the whole page. */
export const useClient = (): Weft => (getCurrentInstance() ? inject(weftKey, undefined) : undefined) ?? defaultClient();

/** On a server nothing is mounted, and nothing is to be connected. */
const onBegin = (begin: () => void): void => {
  if (getCurrentInstance()) onMounted(begin);
  else begin();
};

/** Called when the scope ends; what is used outside of any lasts as long as the page. */
export const onEnd = (end: () => void): void => {
  if (getCurrentScope()) onScopeDispose(end);
};

/** The client kept connected, for as long as this scope lasts. */
export function useKept(): Weft {
  const weft = useClient();
  let stop: (() => void) | undefined;
  onBegin(() => {
    stop = keepConnected(weft);
  });
  onEnd(() => stop?.());
  return weft;
}

/** The state of a view, set once a frame however much has changed in it. The view may be another one each time. */
export function useView<S>(view: MaybeRefOrGetter<View<S>>): Readonly<ShallowRef<S>> {
  const state = shallowRef(toValue(view).getState());
  let stop: (() => void) | undefined;
  onBegin(() => {
    watch(
      () => toValue(view),
      of => {
        stop?.();
        state.value = of.getState();
        stop = of.subscribe(() => {
          state.value = of.getState();
        });
      },
      { immediate: true },
    );
  });
  onEnd(() => stop?.());
  return shallowReadonly(state) as Readonly<ShallowRef<S>>;
}

/** The client, how its connection is, and what can be done about it. */
export function useWeft() {
  const weft = useKept();
  const connection = useView(clientView(weft));
  return {
    client: weft,
    connection,
    state: computed(() => connection.value.state),
    isConnected: computed(() => connection.value.isConnected),
    isReconnecting: computed(() => connection.value.isReconnecting),
    latencyMs: computed(() => connection.value.latencyMs),
    connect: () => weft.connect(),
    disconnect: () => weft.close(),
    reconnect: () => weft.reconnect(),
  };
}
