import { connect } from '@weft/client';
import { WeftProvider } from '@weft/client/react';
// The client fetches these when they are needed first, which is at once here: two files less to wait for.
import '@weft/client/core/history.js';
import '@weft/client/core/http.js';
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { App } from './app.js';
import './style.css';
import { applyTheme, theme } from './theme.js';
import { token } from './token.js';

applyTheme(theme());

/** The gateway that the page came from, also behind a prefix. The heartbeat is quick, because its latency is shown. */
const client = connect('./', { token, lazy: true, times: { heartbeatMs: 10_000 } });

createRoot(document.getElementById('app') as HTMLElement).render(
  <StrictMode>
    <WeftProvider client={client}>
      <App />
    </WeftProvider>
  </StrictMode>,
);
