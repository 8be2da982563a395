/** The gateways that are alive, and what they do. */
import { type ReactNode, useEffect, useId, useState } from 'react';
import { curve, FIGURES, type Figure, type Gateway, remember, short, type Totals, totalsOf } from '../fleet.js';
import { useAsked, useNow } from '../hooks.js';
import type { Workflow } from '../inputs.js';
import { Refused } from '../parts/status.js';
import { tookFrom } from '../times.js';

/** Gateways tell of themselves every ten seconds. */
const EVERY_MS = 5000;

const NAMES: Readonly<Record<Figure, string>> = {
  connections: 'Connections',
  rooms: 'Rooms',
  eventsPerSecond: 'Events / s',
  deliveriesPerSecond: 'Deliveries / s',
};

export function FleetPage(): ReactNode {
  const [samples, setSamples] = useState<readonly Totals[]>([]);
  const { value, error } = useAsked<{ gateways: Gateway[] }>('/api/fleet', EVERY_MS, ({ gateways }) =>
    setSamples(before => remember(before, totalsOf(gateways))),
  );
  const now = useNow(true, 1000);
  useEffect(() => {
    document.title = 'Fleet · Weft';
  }, []);
  const gateways = value?.gateways ?? [];
  return (
    <>
      <h1 tabIndex={-1}>Fleet</h1>
      <Refused error={error} />
      <div className="tiles">
        <Tile name="Gateways" value={value ? `${gateways.length}` : '–'} values={[]} />
        {FIGURES.map(figure => (
          <Tile
            key={figure}
            name={NAMES[figure]}
            value={value ? short(totalsOf(gateways)[figure]) : '–'}
            values={samples.map(totals => totals[figure])}
          />
        ))}
      </div>
      <Gateways gateways={gateways} isAsked={value !== undefined} now={now} />
      <Offered />
    </>
  );
}

function Tile({ name, value, values }: { name: string; value: string; values: readonly number[] }): ReactNode {
  return (
    <div className="panel tile">
      <span className="quiet">{name}</span>
      <strong className="figure">{value}</strong>
      {values.length > 1 && (
        <svg viewBox="0 0 100 24" preserveAspectRatio="none" aria-hidden="true">
          <polyline points={curve(values)} vectorEffect="non-scaling-stroke" />
        </svg>
      )}
    </div>
  );
}

function Gateways({
  gateways,
  isAsked,
  now,
}: {
  gateways: readonly Gateway[];
  isAsked: boolean;
  now: number;
}): ReactNode {
  const title = useId();
  const sorted = gateways.toSorted((one, other) => one.id.localeCompare(other.id));
  return (
    <section className="panel" aria-labelledby={title}>
      <h2 id={title}>Gateways</h2>
      {isAsked && gateways.length === 0 && <p className="quiet">None has announced itself yet.</p>}
      {gateways.length > 0 && (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, and keys must reach it.
        <div className="scroll-x" tabIndex={0} role="group" aria-labelledby={title}>
          <table>
            <thead>
              <tr>
                <th scope="col">Gateway</th>
                <th scope="col">State</th>
                <th scope="col">Address</th>
                <th scope="col" className="wide">
                  Version
                </th>
                {FIGURES.map(figure => (
                  <th key={figure} scope="col" className="end">
                    {NAMES[figure]}
                  </th>
                ))}
                <th scope="col" className="end wide">
                  Up for
                </th>
              </tr>
            </thead>
            <tbody>
              {sorted.map(gateway => (
                <tr key={gateway.id}>
                  <th scope="row">{gateway.id}</th>
                  <td>
                    {gateway.draining ? (
                      <span className="status pending">◌ draining</span>
                    ) : (
                      <span className="status completed">● alive</span>
                    )}
                  </td>
                  <td>
                    <code>{gateway.address}</code>
                  </td>
                  <td className="wide figure">{gateway.version}</td>
                  {FIGURES.map(figure => (
                    <td key={figure} className="end figure">
                      {short(Number(gateway[figure]) || 0)}
                    </td>
                  ))}
                  <td className="end wide figure">{tookFrom(gateway.startedAt, null, now)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </section>
  );
}

/** What executors offer: the list says nothing of the executors themselves. */
function Offered(): ReactNode {
  const title = useId();
  const { value, error } = useAsked<{ workflows: Workflow[] }>('/api/workflows', 2 * EVERY_MS);
  return (
    <section className="panel" aria-labelledby={title}>
      <h2 id={title}>Workflows that executors offer</h2>
      <Refused error={error} />
      {value?.workflows.length === 0 && <p className="quiet">No executor offers one at the moment.</p>}
      <dl className="offered">
        {value?.workflows.map(({ name, description }) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd className="quiet">{description}</dd>
          </div>
        ))}
      </dl>
    </section>
  );
}
