/** Asks for a token, where the gateway wants one, or another one. */
import { useClient, useWeft } from '@weft/client/react';
import { type ReactNode, type SubmitEvent, useEffect, useId, useState, useSyncExternalStore } from 'react';
import { keepToken, onToken, token, tokenCount } from '../token.js';

/** A form for a token; `why` says what was wrong with the one before. */
export function SignIn({ why }: { why?: string | undefined }): ReactNode {
  const client = useClient();
  const [text, setText] = useState('');
  const id = useId();
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    keepToken(text.trim());
    client.reconnect();
  };
  return (
    <form className="notice sign-in" onSubmit={submit}>
      <label htmlFor={id}>
        {why ?? 'This gateway asks for a token.'} {why && 'Give a newer one.'} It is kept until this tab is closed.
      </label>
      <span className="row">
        <input
          id={id}
          type="password"
          autoComplete="off"
          spellCheck={false}
          required
          value={text}
          onChange={event => setText(event.target.value)}
        />
        <button type="submit" className="main">
          Connect
        </button>
      </span>
    </form>
  );
}

/** Forgets the token, where one is kept. */
export function SignOut(): ReactNode {
  const client = useClient();
  useTokenCount();
  if (token() === '') return null;
  const leave = () => {
    keepToken('');
    client.reconnect();
  };
  return (
    <button type="button" className="plain" onClick={leave} title="Forgets the token">
      Sign out
    </button>
  );
}

/** Changes with the token. */
export const useTokenCount = (): number => useSyncExternalStore(onToken, tokenCount);

/** Whether the token of this connection is about to expire, and there is no newer one. */
export function useIsExpiring(): boolean {
  const { client, isConnected } = useWeft();
  const [isExpiring, setExpiring] = useState(false);
  useEffect(() => client.on('error', ({ code }) => code === 'token_expired' && setExpiring(true)), [client]);
  useEffect(() => {
    if (!isConnected) setExpiring(false);
  }, [isConnected]);
  return isExpiring;
}
