// @vitest-environment happy-dom
/** Prompts: what they ask for, what an answer means, and that the ready-made monitors answer an executor. */
import { cleanup, fireEvent, render, screen } from '@testing-library/react';
import { mount } from '@vue/test-utils';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { connect, type Prompt, type Weft } from '../src/index.js';
import * as weftReact from '../src/react/index.js';
import { type Asked, askedBy, fieldOf, typed } from '../src/view/prompt.js';
import * as weftVue from '../src/vue/index.js';
import { endAll, ends, until } from './rig/index.js';
import { startExecutor, startGateway } from './rig/processes.js';
import { Scripted } from './rig/scripted.js';

afterEach(async () => {
  cleanup();
  await endAll();
});

const choices = ['a', 'b'];

test.each<[string | undefined, unknown, Partial<Asked>]>([
  ['text', { type: 'text', minLength: 2, maxLength: 5 }, { type: 'text', minLength: 2, maxLength: 5 }],
  ['password', undefined, { type: 'password' }],
  ['number', { min: 0, max: 9 }, { type: 'number', min: 0, max: 9 }],
  ['integer', undefined, { type: 'number' }],
  ['boolean', undefined, { type: 'boolean' }],
  ['confirm', undefined, { type: 'boolean' }],
  ['choice', { choices }, { type: 'choice', choices }],
  ['text', { type: 'text', choices: ['a', 'b', 3] }, { type: 'choice', choices }],
  ['choice', { enum: choices }, { type: 'choice', choices }],
  ['choice', { options: choices }, { type: 'choice', choices }],
  ['choice', undefined, { type: 'text', choices: [] }],
  ['choice', { choices: [] }, { type: 'text', choices: [] }],
  ['hologram', 'odd', { type: 'text' }],
  ['constructor', null, { type: 'text' }],
  [undefined, { type: 'number', min: 'odd' }, { type: 'number', min: undefined }],
  [undefined, undefined, { type: 'text' }],
])('inputType %s with validation %j', (inputType, validation, asked) => {
  expect(askedBy({ requestId: 'r', prompt: 'p', ...(inputType ? { inputType } : {}), validation })).toMatchObject(
    asked,
  );
});

test.each([
  ['text', '5', '5'],
  ['text', ' true ', ' true '],
  ['number', ' -0.5 ', -0.5],
  ['integer', '5', 5],
  ['number', 'five', 'five'],
  ['number', '', ''],
  ['number', 'Infinity', 'Infinity'],
  ['boolean', 'true', true],
  ['boolean', 'No', false],
  ['confirm', 'y', true],
  ['boolean', 'maybe', 'maybe'],
  ['choice', 'true', 'true'],
  [undefined, '1', '1'],
])('as %s, %j means %j', (type, text, value) => {
  expect(typed(type, text)).toBe(value);
});

test('a field has the bounds of its prompt', () => {
  const field = (inputType: string, validation?: object) =>
    fieldOf(askedBy({ requestId: 'r', prompt: 'p', inputType, validation }));
  expect(field('integer', { min: 1 })).toMatchObject({ type: 'number', min: 1, step: 'any', required: true });
  expect(field('text', { maxLength: 3 })).toMatchObject({ type: 'text', maxLength: 3, required: false });
  expect(field('choice')).toMatchObject({ type: 'text', maxLength: 16_000 });
});

/** Shows the monitor of either framework. */
const monitors = {
  react: (weft: Weft, executionId: string) =>
    void render(
      <weftReact.WeftProvider client={weft}>
        <weftReact.WorkflowExecutionMonitor executionId={executionId} />
      </weftReact.WeftProvider>,
    ),
  vue(weft: Weft, executionId: string) {
    const global = { plugins: [[weftVue.weftPlugin, { client: weft }] as [never, never]] };
    const shown = mount(weftVue.WorkflowExecutionMonitor, {
      props: { executionId },
      global,
      attachTo: document.body,
    });
    ends(shown, it => it.unmount());
  },
};
const times = { baseMs: 20, capMs: 500 };

describe.each(['react', 'vue'] as const)('the monitor of %s', framework => {
  test('draws what each prompt asks for, and sends its kind of value', async () => {
    const server = ends(await Scripted.start(), it => it.stop());
    monitors[framework](
      ends(connect(`http://${server.address}`, { WebSocket, times }), it => it.close()),
      'e',
    );
    const ask = (data: Prompt) =>
      server.log.publish('execution:e', { type: 'user_input:required', executionId: 'e', data } as never);
    const answer = (requestId: string) => server.received.find(message => message.requestId === requestId)?.value;
    const fill = async (requestId: string, text: string) => {
      const field = (await screen.findByLabelText(requestId)) as HTMLInputElement;
      fireEvent.change(field, { target: { value: text } });
      fireEvent.submit(field.form as HTMLFormElement);
      await until(() => answer(requestId) !== undefined, `the answer to ${requestId}`);
      return field;
    };
    await until(() => server.connections.at(-1)?.rooms.size === 1, 'followed');
    ask({ requestId: 'count', prompt: 'count', inputType: 'integer', validation: { min: 0, max: 9 } });
    const count = await fill('count', '7');
    expect([count.type, count.min, count.max, count.required]).toEqual(['number', '0', '9', true]);
    expect(answer('count')).toBe(7);
    ask({ requestId: 'pick', prompt: 'pick', inputType: 'choice', validation: { choices } });
    expect((await fill('pick', 'b')).tagName).toBe('SELECT');
    expect(answer('pick')).toBe('b');
    ask({ requestId: 'free', prompt: 'free', inputType: 'choice' });
    const free = await fill('free', '12');
    expect([free.type, free.maxLength, free.hasAttribute('min')]).toEqual(['text', 16_000, false]);
    expect(answer('free')).toBe('12');
    ask({ requestId: 'sure', prompt: 'sure', inputType: 'confirm' });
    fireEvent.click(await screen.findByText('No'));
    await until(() => answer('sure') === false, 'a refusal');
  });

  describe('with an executor', () => {
    let http = '';
    beforeEach(async () => {
      // The page comes from elsewhere; whom a gateway lets in is not what this is about.
      Object.assign((window as never as { happyDOM: { settings: { fetch: object } } }).happyDOM.settings.fetch, {
        disableSameOriginPolicy: true,
      });
      ({ http } = await startGateway());
      await startExecutor({ gateway: http });
    });

    test.each([
      ['Yes', 'completed'],
      ['No', 'failed'],
    ] as const)('answers the sample workflow approval: %s, and it is %s', async (button, status) => {
      const weft = ends(connect(http, { WebSocket, times }), it => it.close());
      const { executionId } = await weft.request<{ executionId: string }>('/api/workflows/approval/execute', {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ inputs: { change: 'Paint it blue' } }),
      });
      const run = weft.execution(executionId);
      monitors[framework](weft, executionId);
      const asked = () => screen.queryByRole('group', { name: /^Paint it blue\?/ });
      await until(asked, () => `a prompt is shown; the state is ${JSON.stringify(run.snapshot)}`);
      fireEvent.click(screen.getByText(button));
      const shown = () => document.body.textContent ?? '';
      await until(
        () => run.snapshot?.status === status,
        () => `${status}; the page says: ${shown()}`,
      );
    });
  });
});
