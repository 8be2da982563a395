"""Clients on which nothing happens, behind a proxy that cuts what is silent for long.

    PYTHONPATH=deploy/ci python -m ops.idle [--programs DIR]

nginx with a read timeout of 30 s instead of 75, and two minutes of silence: gateways that ping every 25 s keep all of them.
With pings every ten minutes the proxy cuts each at 30 s, which clients see as 1006: that is what the ping is for.
"""

import argparse
import sys
import time

from lab import ROOT

from . import proxies
from .fleet import Fleet
from .swarm import Swarm, by

CLIENTS = 60
READ_TIMEOUT_SECS = 30
# The timeout runs since the last word, which was before all were there.
EARLIER_SECS_MAX = 3
SECONDS = 120


def silent(programs, seconds, **settings):
    """What clients of our own saw end, by code, and after how many seconds at the earliest."""
    fleet = Fleet(programs, 1, **settings)
    try:
        fleet.all_up()
        url = proxies.start(fleet, "nginx", fleet.gateways, **{"proxy_read_timeout 75s": f"proxy_read_timeout {READ_TIMEOUT_SECS}s"})
        # Our own library says something every 25 s as well; Socket.IO's only answers.
        swarm = Swarm(fleet, [url], ["quiet"], socketio=CLIENTS)
        swarm.until("ready", CLIENTS, 30)
        began = time.time() * 1000
        time.sleep(seconds)
        closes = swarm.report()["kinds"]["socketio"]["closes"]
        return by(code for _, code in closes), (min(at for at, _ in closes) - began) / 1000 if closes else None
    finally:
        fleet.end()


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--programs", default=ROOT / "target" / "debug")
    given = arguments.parse_args()
    failures = []
    closes, _ = silent(given.programs, SECONDS)
    print(f"pings every 25 s: closes {closes} within {SECONDS} s of {CLIENTS} clients")
    if closes:
        failures.append(f"with pings: {closes}")
    closes, first = silent(given.programs, READ_TIMEOUT_SECS + 5, WEFT_PING_SECS="600")
    print(f"pings every 600 s: closes {closes}, the first after {first} s")
    if first is None or first < READ_TIMEOUT_SECS - EARLIER_SECS_MAX:
        failures.append(f"without pings: the first was cut after {first} s, not after {READ_TIMEOUT_SECS}")
    if closes != {"1006": CLIENTS}:
        failures.append(f"without pings: {closes}; {CLIENTS} times 1006 is what shows that the check sees it")
    print("\n".join(failures), end="\n" if failures else "")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
