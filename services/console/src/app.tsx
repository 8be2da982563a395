/** What all pages have around them, and which page is shown. */
import { useWeft } from '@weft/client/react';
import { type ReactNode, useEffect, useRef, useState } from 'react';
import { useRoute } from './hooks.js';
import { ExecutionPage } from './pages/execution.js';
import { ExecutionsPage } from './pages/executions.js';
import { FleetPage } from './pages/fleet.js';
import { Badge } from './parts/badge.js';
import { SignIn, SignOut, useIsExpiring, useTokenCount } from './parts/sign-in.js';
import type { Route } from './route.js';
import { keepTheme, nextTheme, theme } from './theme.js';
import { token } from './token.js';

export function App(): ReactNode {
  const route = useRoute();
  // With another token everything is asked anew.
  const asked = useTokenCount();
  const main = useRef<HTMLElement>(null);
  const place = 'id' in route ? route.id : route.page;
  const first = useRef(place);
  useEffect(() => {
    // Another page: readers of the screen begin at its heading, as they would on a new document.
    if (first.current !== place) main.current?.querySelector('h1')?.focus();
    first.current = place;
    scrollTo(0, 0);
  }, [place]);
  return (
    <>
      <button type="button" className="skip" onClick={() => main.current?.focus()}>
        Skip to the content
      </button>
      <header className="top">
        <a className="brand" href="#/">
          Weft
        </a>
        <nav aria-label="Pages">
          <Link to="#/" current={route.page === 'executions' || route.page === 'execution'}>
            Executions
          </Link>
          <Link to="#/fleet" current={route.page === 'fleet'}>
            Fleet
          </Link>
        </nav>
        <div className="top-end">
          <Badge />
          <SignOut />
          <ThemeButton />
        </div>
      </header>
      <Notices />
      <main ref={main} tabIndex={-1}>
        <Page key={asked} route={route} />
      </main>
    </>
  );
}

function Page({ route }: { route: Route }): ReactNode {
  switch (route.page) {
    case 'executions':
      return <ExecutionsPage />;
    case 'execution':
      return <ExecutionPage key={route.id} id={route.id} />;
    case 'fleet':
      return <FleetPage />;
    case 'nowhere':
      return (
        <>
          <h1 tabIndex={-1}>There is no such page</h1>
          <p>
            Nothing is at <code>{route.path}</code>. <a href="#/">To the executions</a>
          </p>
        </>
      );
  }
}

function Link({ to, current, children }: { to: string; current: boolean; children: ReactNode }): ReactNode {
  return (
    <a href={to} aria-current={current ? 'page' : undefined}>
      {children}
    </a>
  );
}

/** What concerns the whole page. */
function Notices(): ReactNode {
  const { state, degraded, error } = useWeft();
  const isExpiring = useIsExpiring();
  if (error?.code === 'unauthenticated')
    return <SignIn why={token() === '' ? undefined : `The gateway does not take this token: ${error.message}`} />;
  if (isExpiring) return <SignIn why="The token expires within 30 seconds." />;
  if (state === 'failed')
    return (
      <p className="notice bad" role="alert">
        The gateway does not let this page connect: {error?.message}
      </p>
    );
  if (!degraded) return null;
  return (
    <p className="notice" role="alert">
      The gateway has lost its broker. Nothing new comes for the moment; nothing is lost.
    </p>
  );
}

const THEME_NAMES = { system: 'as the system', light: 'light', dark: 'dark' };
const THEME_SIGNS = { system: '◐', light: '☀', dark: '☾' };

function ThemeButton(): ReactNode {
  const [chosen, setChosen] = useState(theme);
  const turn = () => {
    const next = nextTheme(chosen);
    keepTheme(next);
    setChosen(next);
  };
  const name = `Colours: ${THEME_NAMES[chosen]}`;
  return (
    <button type="button" className="plain" onClick={turn} title={name} aria-label={name}>
      <span aria-hidden="true">{THEME_SIGNS[chosen]}</span>
    </button>
  );
}
