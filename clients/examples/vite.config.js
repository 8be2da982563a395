import vue from '@vitejs/plugin-vue';
import { defineConfig } from 'vite';

const pages = ['a-vue', 'b-page', 'c-react', 'd-react', 'e-logs', 'f-events'];

export default defineConfig({
  plugins: [vue()],
  // The built pages work below any path.
  base: './',
  build: { rolldownOptions: { input: ['index.html', ...pages.map(page => `${page}/index.html`)] } },
});
