import { mergeConfig } from 'vite';
import { defineConfig } from 'vitest/config';
import own from './vite.config.js';

export default mergeConfig(
  own,
  defineConfig({
    test: {
      include: ['test/**/*.test.ts'],
      // Others build on the same machine, and each page needs a gateway and a browser.
      maxWorkers: 1,
      testTimeout: 120_000,
      hookTimeout: 120_000,
    },
  }),
);
