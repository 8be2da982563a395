/** Asks for a token, where the gateway wants one. */
import { useWeft } from '@weft/client/react';
import { type ReactNode, type SubmitEvent, useId, useState } from 'react';
import { keepToken } from '../token.js';

export function SignIn(): ReactNode {
  const { reconnect } = useWeft();
  const [text, setText] = useState('');
  const id = useId();
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    keepToken(text.trim());
    reconnect();
  };
  return (
    <form className="notice sign-in" onSubmit={submit}>
      <label htmlFor={id}>This gateway asks for a token. It is kept until this tab is closed.</label>
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
