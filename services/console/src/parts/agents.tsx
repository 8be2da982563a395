/** What agents say, as it comes. */
import { readable } from '@weft/client/view/format.js';
import { memo, type ReactNode, useId, useLayoutEffect, useRef } from 'react';
import type { Agent } from '../agents.js';

export function AgentsPanel({ agents }: { agents: readonly Agent[] }): ReactNode {
  const title = useId();
  const speaking = agents.filter(({ text, calls, isStreaming }) => text !== '' || calls.length > 0 || isStreaming);
  if (speaking.length === 0) return null;
  return (
    <section className="panel" aria-labelledby={title}>
      <h2 id={title}>Agents</h2>
      <div className="agents">
        {speaking.map(agent => (
          <Speech key={agent.id} agent={agent} />
        ))}
      </div>
    </section>
  );
}

const Speech = memo(function Speech({ agent }: { agent: Agent }): ReactNode {
  const title = useId();
  const text = useRef<HTMLParagraphElement>(null);
  const isAtEnd = useRef(true);
  // biome-ignore lint/correctness/useExhaustiveDependencies: after each piece of text.
  useLayoutEffect(() => {
    const element = text.current;
    if (element && isAtEnd.current) element.scrollTop = element.scrollHeight;
  }, [agent.text]);
  const scrolled = () => {
    const element = text.current;
    if (element) isAtEnd.current = element.scrollHeight - element.scrollTop - element.clientHeight < 24;
  };
  return (
    <article aria-labelledby={title} aria-busy={agent.isStreaming}>
      <h3 id={title}>
        {agent.name} {agent.isStreaming && <span className="quiet">is speaking</span>}
      </h3>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, and keys must reach it. */}
      <p ref={text} className="speech" tabIndex={0} onScroll={scrolled}>
        {agent.text}
        {agent.isStreaming && <span className="caret" aria-hidden="true" />}
      </p>
      {agent.calls.length > 0 && (
        <ul className="calls">
          {agent.calls.map((call, index) => (
            // biome-ignore lint/suspicious/noArrayIndexKey: calls have no names, and stay where they are.
            <li key={index}>
              <code>{call.tool}</code> <span className="quiet">{call.status}</span>
              {call.arguments !== undefined && <code className="quiet">{readable(call.arguments)}</code>}
            </li>
          ))}
        </ul>
      )}
      {agent.error && <p className="bad">{agent.error}</p>}
    </article>
  );
});
