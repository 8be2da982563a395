/** The gateways that are alive, and what they do. */
import { type ReactNode, useEffect, useId, useState } from 'react';
import { curve, FIGURES, type Figure, type Gateway, remember, type Sample, short, topOf, totalsOf } from '../fleet.js';
import { useAsked, useNow } from '../hooks.js';
import type { Workflow } from '../inputs.js';
import { Refused } from '../parts/status.js';
import { took, tookFrom } from '../times.js';

/** Gateways tell of themselves every ten seconds. */
const EVERY_MS = 5000;

const NAMES: Readonly<Record<Figure, string>> = {
  connections: 'Connections',
  rooms: 'Rooms',
  eventsPerSecond: 'Events / s',
  deliveriesPerSecond: 'Deliveries / s',
};

export function FleetPage(): ReactNode {
  const [samples, setSamples] = useState<readonly Sample[]>([]);
  const { value, error } = useAsked<{ gateways: Gateway[] }>('/api/fleet', EVERY_MS, ({ gateways }) =>
    setSamples(before => remember(before, { at: Date.now(), totals: totalsOf(gateways) })),
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
        <Tile name="Gateways" value={value ? `${gateways.length}` : '–'} />
        {FIGURES.map(figure => (
          <Tile key={figure} name={NAMES[figure]} value={value ? short(totalsOf(gateways)[figure]) : '–'}>
            {samples.length > 1 && <Curve samples={samples} figure={figure} />}
          </Tile>
        ))}
      </div>
      <Gateways gateways={gateways} isAsked={value !== undefined} now={now} />
      <Offered />
    </>
  );
}

function Tile({ name, value, children }: { name: string; value: string; children?: ReactNode }): ReactNode {
  return (
    <div className="panel tile">
      <span className="quiet">{name}</span>
      <strong className="figure">{value}</strong>
      {children}
    </div>
  );
}

/** A figure since the page is looked at, between the ends of its scale. */
function Curve({ samples, figure }: { samples: readonly Sample[]; figure: Figure }): ReactNode {
  const values = samples.map(({ totals }) => totals[figure]);
  const top = topOf(values);
  const span = took((samples.at(-1)?.at ?? 0) - (samples[0]?.at ?? 0));
  const [least, most] = [Math.min(...values), Math.max(...values)].map(short);
  return (
    <div className="curve" role="img" aria-label={`${NAMES[figure]} in the last ${span}: ${least} to ${most}`}>
      <svg viewBox="0 0 100 40" preserveAspectRatio="none" aria-hidden="true">
        <path d="M0 1H100M0 39H100" vectorEffect="non-scaling-stroke" />
        <polyline points={curve(samples, figure, top)} vectorEffect="non-scaling-stroke" />
      </svg>
      <span className="top-mark">{short(top)}</span>
      <span className="zero-mark">0</span>
      <span className="since">{span} ago</span>
      <span className="now">now</span>
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
          <table className="gateways">
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
                  <td className="state">
                    {gateway.draining ? (
                      <span className="status pending">◌ draining</span>
                    ) : (
                      <span className="status completed">● alive</span>
                    )}
                  </td>
                  <td className="address">
                    <code>{gateway.address}</code>
                  </td>
                  <td className="wide figure">{gateway.version}</td>
                  {FIGURES.map(figure => (
                    <td key={figure} className="end figure" data-name={NAMES[figure]}>
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
