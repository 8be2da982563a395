"""The broker is killed for half a minute under gateways with clients of all kinds behind a proxy.

    PYTHONPATH=deploy/ci python -m ops.outage [--programs DIR] [--seconds N]

Once NATS, once Redis. Gateways stay live and ready and close nobody, metrics say that the broker is gone and that it came back
once, and five seconds after it was started, everybody has everything.
"""

import argparse
import sys
import time

from lab import ROOT, get

from . import proxies
from .fleet import Fleet, Problem, Publisher
from .swarm import Swarm, together, unsound

CLIENTS = 200
ROOMS = [f"ops-{number}" for number in range(10)]
RATE = 20
CAUGHT_UP_SECS = 5


def answers(fleet):
    """What gateways say of themselves that is not 200."""
    for gateway in fleet.gateways:
        for path in ("livez", "readyz"):
            try:
                get(f"http://127.0.0.1:{gateway.admin}/{path}", 5)
            except OSError as error:
                yield f"{gateway.name}: {path}: {error}"


def until(what, fleet, value, seconds):
    deadline = time.monotonic() + seconds
    while any(fleet.metric(gateway, what) != value for gateway in fleet.gateways):
        if time.monotonic() > deadline:
            raise Problem(f"{what} is not {value} after {seconds} s: {[fleet.metric(gateway, what) for gateway in fleet.gateways]}")
        time.sleep(0.05)


def outlive(programs, bus, seconds):
    fleet = Fleet(programs, 2, bus)
    try:
        fleet.all_up()
        url = proxies.start(fleet, "haproxy", fleet.gateways)
        publisher = Publisher(url, ROOMS, RATE)
        swarm = Swarm(fleet, [url], ROOMS, native=CLIENTS // 2, socketio=CLIENTS // 4, polling=CLIENTS // 4)
        swarm.until("ready", CLIENTS, 60)
        swarm.until("followers", CLIENTS, 30)
        # What a killed Redis has not written, it does not have; it writes once a second.
        publisher.pause()
        time.sleep(2)
        closes = len(together(swarm.report(), "closes"))
        reconnects = [fleet.metric(gateway, "weft_bus_reconnects_total") for gateway in fleet.gateways]
        fleet.kill_broker()
        publisher.go_on()
        until("weft_bus_up", fleet, 0, 15)
        wrong, deadline = [], time.monotonic() + seconds
        while time.monotonic() < deadline:
            wrong += answers(fleet)
            time.sleep(1)
        back = time.monotonic()
        fleet.start_broker(bus)
        until("weft_bus_up", fleet, 1, 30)
        up = time.monotonic() - back
        # The event that waited for the broker has come through, and everybody has it.
        report = swarm.finish(publisher.finish())
        caught_up = time.monotonic() - back
        more = [fleet.metric(gateway, "weft_bus_reconnects_total") - before for gateway, before in zip(fleet.gateways, reconnects)]
        ended = len(together(report, "closes")) - closes
        print(f"{bus}: away for {seconds} s, gateways had it back after {up:.1f} s, everybody everything after {caught_up:.1f} s; "
              f"connections closed {ended}, reconnects counted {more}, lost {sum(kind['lost'] for kind in report['kinds'].values())}", flush=True)
        wrong += unsound(report)
        if ended:
            wrong.append(f"{ended} connections were closed")
        if set(more) != {1.0}:
            wrong.append(f"weft_bus_reconnects_total rose by {more}")
        if caught_up > CAUGHT_UP_SECS:
            wrong.append(f"caught up after {caught_up:.1f} s")
        return wrong
    finally:
        fleet.end()


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--programs", default=ROOT / "target" / "debug")
    arguments.add_argument("--seconds", type=int, default=30)
    given = arguments.parse_args()
    failures = []
    for bus in ("nats", "redis"):
        try:
            failures += [f"{bus}: {each}" for each in outlive(given.programs, bus, given.seconds)]
        except Problem as problem:
            failures.append(f"{bus}: {problem}")
    print("\n".join(failures), end="\n" if failures else "")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
