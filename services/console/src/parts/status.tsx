/** Small things that stand in many places. */
import type { Status as StatusWord, WeftError } from '@weft/client';
import { useWeft } from '@weft/client/react';
import type { ReactNode } from 'react';
import type { Shown } from '../gantt.js';
import { wordsFor } from '../words.js';
import { SignIn } from './sign-in.js';

const SIGNS: Readonly<Record<Shown, string>> = {
  pending: '○',
  running: '▶',
  completed: '✓',
  failed: '✕',
  cancelled: '⊘',
  unfinished: '◐',
};

export function Status({ of }: { of: Shown }): ReactNode {
  return (
    <span className={`status ${of}`}>
      <span aria-hidden="true">{SIGNS[of] ?? '?'}</span> <span className="word">{of}</span>
    </span>
  );
}

/** Progress in percent; nothing where it is not known. */
export function Progress({
  value,
  status,
  label,
}: {
  value: number | null;
  status: StatusWord;
  label: string;
}): ReactNode {
  const percent = status === 'completed' ? 100 : Number(value ?? Number.NaN);
  if (!Number.isFinite(percent)) return <span className="quiet">–</span>;
  const shown = Math.max(0, Math.min(100, percent));
  return (
    <span className={`progress ${status}`}>
      <progress max={100} value={shown} aria-label={label} />
      <span className="figure">{Math.round(shown)} %</span>
    </span>
  );
}

/** Why something was refused; where a token would help, the way to give one. */
export function Refused({ error }: { error: WeftError | undefined }): ReactNode {
  const { state } = useWeft();
  if (!error) return null;
  // Once the connection has ended for it, the top of the page asks.
  if (error.code === 'unauthenticated') return state === 'failed' ? null : <SignIn />;
  return (
    <p className="bad" role="alert">
      {wordsFor(error)}
    </p>
  );
}
