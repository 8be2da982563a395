/** How long things took, as operators compare them. */

/** `8 ms`, `2.1 s`, `46 s`, `3:07`, `1:02:03`; nothing where it is not known. */
export function took(ms: number): string {
  if (!Number.isFinite(ms) || ms < 0) return '';
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 9950) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  const [h, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  const two = (value: number) => String(value).padStart(2, '0');
  return h > 0 ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

/** From one time to another; to now, in whole seconds, where it goes on. */
export function tookFrom(from: string | null | undefined, to: string | null | undefined, now: number): string {
  const start = Date.parse(from ?? '');
  if (to) return took(Date.parse(to) - start);
  if (Number.isNaN(start)) return '';
  const seconds = Math.floor(Math.max(0, now - start) / 1000);
  return seconds < 10 ? `${seconds} s` : took(seconds * 1000);
}
