/** Which page is shown: the fragment of the address, so that any server of files will do. */

export type Route =
  | { page: 'executions' }
  | { page: 'execution'; id: string }
  | { page: 'fleet' }
  | { page: 'nowhere'; path: string };

/** Reads the fragment of an address, with or without its `#`. */
export function routeOf(fragment: string): Route {
  const path = fragment.replace(/^#?\/?/, '').replace(/\/$/, '');
  if (path === '') return { page: 'executions' };
  if (path === 'fleet') return { page: 'fleet' };
  const id = /^executions\/([^/]+)$/.exec(path)?.[1];
  if (id !== undefined) {
    try {
      return { page: 'execution', id: decodeURIComponent(id) };
    } catch {
      // No legal escape: nothing that this page has written.
    }
  }
  return { page: 'nowhere', path };
}

/** The address of an execution's page. */
export const toExecution = (id: string): string => `#/executions/${encodeURIComponent(id)}`;

/** Ids as the protocol has them. */
export const isId = (text: string): boolean => /^[A-Za-z0-9_.:~@-]{1,128}$/.test(text);
