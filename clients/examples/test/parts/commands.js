/** Answers and cancels go to the executor that runs the execution, and are acknowledged. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { examples, python, start } from '../rig/processes.js';
import { until } from '../rig/until.js';

/** An execution that waits for a person. */
async function asked(pair) {
  const id = await pair.execute('ask');
  await until(
    async () => {
      const response = await fetch(`${pair.http}/api/executions/${id}`);
      return response.ok && (await response.json()).pendingInput.length === 1;
    },
    () => `${id} to ask`,
  );
  return id;
}

async function page({ open, pair }, name, more) {
  const show = async id => {
    const shown = await open(name, { gateway: pair.http, execution: id, ...more });
    if (name === 'b-page') await shown.page.click('text=Subscribe');
    await shown.until(now => now.question === 'Go on?', 'the prompt that waits');
    return shown;
  };
  const answering = await show(await asked(pair));
  await answering.page.fill('#answer', '"perhaps"');
  await answering.page.click('text=Answer');
  await answering.until(now => now.answered.startsWith('rejected'), 'the executor to reject what is no answer');
  await answering.page.fill('#answer', 'true');
  await answering.page.click('text=Answer');
  await answering.until(now => now.answered === 'accepted', 'the ack');
  const end = await answering.until(
    now => now.status === 'completed' && now.nodes.includes('apply completed'),
    'the end',
  );
  assert.deepEqual(end.logs, ['approved true']);
  await answering.page.click('text=Cancel');
  await answering.until(now => /^(no_executor|rejected)/.test(now.answered), 'a refusal, since it has ended');

  const cancelling = await show(await asked(pair));
  await cancelling.page.click('text=Cancel');
  await cancelling.until(now => now.answered === 'accepted', 'the ack');
  await cancelling.until(now => now.status === 'cancelled', 'the end');
}

async function script({ pair, ends }, program, args, acks) {
  const run = async (id, ...more) => {
    const child = ends(start(program, [...args, id, '--gateway', pair.http, ...more]), it => it.kill());
    assert.equal(await child.ended, 0, child.said);
    return child.lines;
  };
  /** Each once; in which order the end and the answer to what ended it come is not promised. */
  const once = (told, ...expected) => {
    for (const line of expected)
      assert.equal(told.filter(each => each === line).length, 1, `${line}:\n${told.join('\n')}`);
  };
  const answered = await run(await asked(pair), '--answer', 'true');
  once(answered, 'snapshot running', acks.answer, 'log approved true', 'execution:completed');
  const cancelled = await run(await asked(pair), '--cancel', 'enough');
  once(cancelled, 'snapshot running', acks.cancel, 'execution:cancelled');
}

const native = [process.execPath, [join(examples, 'b-node/follow.js')]];
const dScript = join(examples, 'd-python/follow.py');
const words = { answer: 'ack user_input:provide accepted', cancel: 'ack cancel accepted' };

export const commands = [
  ['b-page: answers and cancels', rig => page(rig, 'b-page', { snapshot: '1' })],
  ['d-react: answers and cancels', rig => page(rig, 'd-react')],
  ['b-node: answers and cancels', rig => script(rig, ...native, { answer: 'ack answer ', cancel: 'ack cancel ' })],
  ['d-python: answers and cancels', rig => script(rig, python(), [dScript], words)],
  ['d-python, polling: answers and cancels', rig => script(rig, python(), [dScript, '--polling'], words)],
];
