"""A fourth gateway beside three: what it carries with a maximum age of connections, and without.

    PYTHONPATH=deploy/ci python -m ops.scaleout [--programs DIR] [--proxy NAME]

With one it carries 0.8 of the mean within 1.2 times that age. Without, the same measurement shows that it does not, which
shows that the measurement sees it. Nobody loses anything either way.
"""

import argparse
import sys
import time

from lab import ROOT

from . import proxies
from .fleet import Fleet, Problem, Publisher
from .swarm import Swarm, by, together, unsound

CLIENTS = 600
ROOMS = [f"ops-{number}" for number in range(20)]
RATE = 20
AGE_SECS = 30
SHARE_MIN = 0.8
WITHIN_AGES = 1.2


def scale(programs, proxy, age):
    """The course of connections, the share of the fourth in the end, and what was wrong."""
    fleet = Fleet(programs, 4, WEFT_CONNECTION_AGE_MAX_SECS=str(age))
    try:
        fleet.all_up(0, 1, 2)
        url = proxies.start(fleet, proxy, fleet.gateways)
        publisher = Publisher(url, ROOMS, RATE)
        swarm = Swarm(fleet, [url], ROOMS, native=CLIENTS // 2, socketio=CLIENTS // 4, polling=CLIENTS // 4)
        swarm.until("ready", swarm.count, 60)
        swarm.until("followers", swarm.count, 30)
        fleet.up(fleet.gateways[3])
        began, share = time.monotonic(), 0.0
        while (after := time.monotonic() - began) < WITHIN_AGES * AGE_SECS:
            time.sleep(min(6, WITHIN_AGES * AGE_SECS - after))
            counts = [fleet.connections(gateway) for gateway in fleet.gateways]
            share = counts[3] / max(1, sum(counts) / 4)
            print(f"age {age} s, {time.monotonic() - began:4.0f} s after: {counts}, the fourth has {share:.2f} of the mean", flush=True)
        report = swarm.finish(publisher.finish())
        closes = by(code for _, code in together(report, "closes"))
        gaps = sorted(together(report, "gaps"))
        print(f"age {age} s: closes received {closes}, worst time away {gaps[-1] if gaps else 0} ms")
        wrong = list(unsound(report))
        if set(closes) - {"1012"}:
            wrong.append(f"closes {closes}")
        return share, wrong
    finally:
        fleet.end()


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--programs", default=ROOT / "target" / "debug")
    arguments.add_argument("--proxy", default="envoy", choices=proxies.NAMES)
    given = arguments.parse_args()
    failures = []
    for age in (AGE_SECS, 0):
        try:
            share, wrong = scale(given.programs, given.proxy, age)
        except Problem as problem:
            share, wrong = 0.0, [str(problem)]
        failures += [f"age {age} s: {each}" for each in wrong]
        if age and share < SHARE_MIN:
            failures.append(f"age {age} s: the fourth has {share:.2f} of the mean, not {SHARE_MIN}")
        if not age and share >= SHARE_MIN:
            failures.append(f"without an age the fourth has {share:.2f} of the mean: the check sees nothing")
    print("\n".join(failures), end="\n" if failures else "")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
