"""Gateways of the last release and of this one in one fleet: clients come back from each to the other.

    PYTHONPATH=deploy/ci python -m ops.versions --previous DIR [--programs DIR]

Two gateways, one of each; clients of all kinds on one alone, which leaves, so that they resume on the other; then the way
back. Once on NATS and once on Redis. Nothing may be lost or doubled, and Socket.IO must recover each session.
"""

import argparse
import sys
import time
from pathlib import Path

from lab import ROOT

from . import proxies
from .fleet import Fleet, Problem, Publisher
from .swarm import Swarm, unsound

CLIENTS = 120
ROOMS = [f"ops-{number}" for number in range(10)]
RATE = 20
WINDOW_SECS = 3


def there_and_back(bus, first, second):
    """Clients begin on a gateway of `first`, go to one of `second`, and back to one of `first`."""
    fleet = Fleet(first, 2, bus, WEFT_DRAIN_SECS=str(WINDOW_SECS))
    one, two = fleet.gateways
    try:
        fleet.up(one, Path(first).resolve())
        url = proxies.start(fleet, "haproxy", fleet.gateways)
        publisher = Publisher(url, ROOMS, RATE)
        swarm = Swarm(fleet, [url], ROOMS, native=CLIENTS // 2, socketio=CLIENTS // 4, polling=CLIENTS // 4)
        swarm.until("ready", swarm.count, 60)
        swarm.until("followers", swarm.count, 30)
        time.sleep(3)
        for leaving, coming, programs in ((one, two, second), (two, one, first)):
            fleet.up(coming, Path(programs).resolve())
            # The proxy must know of it.
            time.sleep(2)
            fleet.ask_to_leave(leaving)
            fleet.gone(leaving, WINDOW_SECS + 30)
            time.sleep(3)
        report = swarm.finish(publisher.finish())
        recovered = sum(kind["recovered"] for kind in report["kinds"].values())
        print(f"{bus}: {sum(kind['lost'] for kind in report['kinds'].values())} lost, {sum(kind['doubled'] for kind in report['kinds'].values())} doubled, "
              f"{recovered} sessions of Socket.IO recovered of {CLIENTS}", flush=True)
        yield from unsound(report)
        if recovered < CLIENTS:
            yield f"only {recovered} of {CLIENTS} sessions of Socket.IO were recovered, {CLIENTS // 2} each way"
    finally:
        fleet.end()


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--programs", default=ROOT / "target" / "debug")
    arguments.add_argument("--previous", required=True)
    given = arguments.parse_args()
    failures = []
    for bus in ("nats", "redis"):
        for name, first, second in (("from the last release and back", given.previous, given.programs), ("from this one and back", given.programs, given.previous)):
            print(f"-- {bus}, {name}", flush=True)
            try:
                failures += [f"{bus}, {name}: {each}" for each in there_and_back(bus, first, second)]
            except Problem as problem:
                failures.append(f"{bus}, {name}: {problem}")
    print("\n".join(failures), end="\n" if failures else "")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
