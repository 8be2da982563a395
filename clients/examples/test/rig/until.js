export const sleep = ms => new Promise(resolve => setTimeout(resolve, ms));

/** Waits until it holds; fails with what there was instead. */
export async function until(holds, what, ms = 30_000) {
  const end = Date.now() + ms;
  for (;;) {
    const answer = await holds();
    if (answer) return answer;
    if (Date.now() > end)
      throw new Error(`waited ${ms} ms in vain for ${typeof what === 'string' ? what : await what()}`);
    await sleep(20);
  }
}
