import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vite';

const client = fileURLToPath(new URL('../../clients/typescript/src', import.meta.url));
/** Where the development server finds a gateway. */
const gateway = process.env.WEFT_GATEWAY_URL ?? 'http://127.0.0.1:3001';

export default defineConfig({
  // Relative, so that the page may be served behind a prefix.
  base: './',
  resolve: {
    // The client is used from its source; it must not bring a second React along.
    alias: { '@weft/client': client },
    dedupe: ['react', 'react-dom'],
  },
  build: {
    target: ['chrome123', 'firefox121', 'safari17.5'],
    // A strict content security policy allows no data URL but for images, and nothing inline.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: true,
    // `main.tsx` has what the client would fetch at once.
    rolldownOptions: { checks: { ineffectiveDynamicImport: false } },
  },
  server: {
    port: 5173,
    fs: { allow: ['.', client] },
    proxy: { '/api': { target: gateway, ws: true } },
  },
});
