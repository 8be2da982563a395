"""A rolling restart of four gateways behind a real proxy, under load, and what its clients see of it.

    PYTHONPATH=deploy/ci python -m ops.rolling [nginx] [haproxy] [envoy] [--programs DIR] [--clients N] [--polling N] [--window S] [--age S]

Clients of our own library, and socket.io-client as npm has it with five attempts to come back, on WebSockets and by its default of
polling first. Each gateway in turn is asked to leave (SIGTERM), ends by itself, and is started again on its ports. Nothing
may be lost, doubled or out of order; no client may give up or be away for longer than three seconds; no handshake may be refused;
gateways close by 1012 alone, and through the proxy clients hear nothing else either (1006 would be a cut); and the most clients
that come back in one second are at most 1.5 times the connections of the gateway over its window. WebSockets that a gateway
only passes through are connections of it as well: their clients come back too. After the last restart one gateway is nearly empty:
within a maximum age of connections, which is longer than all restarts take, the largest and the smallest may differ by a fifth of
the mean at most.

Seconds are counted from when the gateway begins to send clients away. The most within any second, wherever it begins, is printed
and not judged: of so few it is chance. Clients of Socket.IO choose their moment within a second by themselves, so that with a
gateway that is perfectly even it comes to 1.3 times, and to more than 1.5 once in a hundred times; of the seconds counted here,
to 1.2 and in 99 of a hundred cases to less than 1.4 (simulated: 400 to 600 connections, half of them Socket.IO's, 10 s). Seconds that
a standstill of the clients' own process touches are left out: what comes then has come together in it, not at the gateways. Where
less than half of them are left nothing can be said, which is a failure.
"""

import argparse
import sys
import time

from lab import ROOT

from . import proxies
from .fleet import Fleet, Problem, Publisher
from .swarm import Swarm, by, peak, second_by_second, together, unsound

GATEWAYS = 4
ROOMS = [f"ops-{number}" for number in range(40)]
RATE = 40
# Proxies look at gateways every second.
DELAY_SECS = 3
MARGIN_SECS = 15
PEAK_TIMES_MAX = 1.5
# Of fewer a second one more or less is chance.
PEAK_LEAST = 12
# Of the seconds, so much must be left to look at.
SEEN_LEAST = 0.5
# The last of a window come back a second or two after it.
LATE_SECS = 3
# How long a client may be away.
AWAY_MS_MAX = 3000
# (largest - smallest) / mean, in the end.
IMBALANCE_MAX = 0.2
# Clients of Socket.IO wait for 0.5 to 1.5 s before they come back.
SETTLE_SECS = 4


def restart(fleet, swarm, gateway, window, programs=None):
    """One gateway leaves and comes back. A row of the table, and what was wrong."""
    passed, since = fleet.passages(gateway), len(together(swarm.report(), "opens"))
    held = fleet.connections(gateway) + passed
    began = time.time()
    fleet.ask_to_leave(gateway)
    code, closes = fleet.gone(gateway, DELAY_SECS + window + MARGIN_SECS)
    took = time.time() - began
    fleet.up(gateway, programs)
    time.sleep(SETTLE_SECS)
    report = swarm.report()
    opens = sorted(together(report, "opens"))[since:]
    stood = [[at - late, at] for at, late in report["still"]]
    seconds = second_by_second(opens, (began + DELAY_SECS) * 1000, window + LATE_SECS, stood)
    unseen = seconds.count(None)
    most, bound = max((count for count in seconds if count is not None), default=0), max(PEAK_LEAST, PEAK_TIMES_MAX * held / window)
    times = window / max(1, held)
    row = f"{gateway.name:10} {held:5} connections ({passed} passed through), left in {took:4.1f} s, closes sent {closes}, {len(opens)} came back, "
    row += f"at most {most} a second of {bound:.0f}: {most * times:.2f} times connections / window ({peak(opens) * times:.2f} within any second)"
    print(row + (f", {unseen} s left out for standstills" if unseen else ""), flush=True)
    if code != 0:
        yield f"{gateway.name}: exit code {code}"
    if set(closes) != {"1012"}:
        yield f"{gateway.name}: closes {closes}, not 1012 alone"
    if unseen > (1 - SEEN_LEAST) * len(seconds):
        yield f"{gateway.name}: the clients' own process stood still in {unseen} s of {len(seconds)}, so that nothing can be said of the most in one"
    if most > bound:
        for kind, seen in report["kinds"].items():
            print(f"{gateway.name:10} {kind} came back, second by second: {course(seen['opens'], began, window)}", flush=True)
        yield f"{gateway.name}: {most} reconnects in a second, more than {bound:.0f}"
    if len(opens) < held:
        yield f"{gateway.name}: {held} connections, {len(opens)} came back"


def course(times, began, window):
    """How many in each second since the gateway was asked to leave."""
    seconds = [int(at / 1000 - began) for at in times if at / 1000 >= began]
    return [seconds.count(second) for second in range(DELAY_SECS + window + 4)]


def imbalance(fleet):
    counts = [fleet.connections(gateway) for gateway in fleet.gateways]
    return (max(counts) - min(counts)) * len(counts) / max(1, sum(counts)), counts


def evened_out(fleet, age):
    """Waits until all gateways have much the same, for one maximum age; what was wrong."""
    began, (at_first, counts) = time.monotonic(), imbalance(fleet)
    last = at_first
    while last > IMBALANCE_MAX and time.monotonic() - began < age:
        time.sleep(1)
        last, counts = imbalance(fleet)
    took = time.monotonic() - began
    print(f"imbalance {at_first:.2f} after the last restart, {last:.2f} {took:.0f} s later, of a maximum age of {age} s: {counts}", flush=True)
    if last > IMBALANCE_MAX:
        yield f"imbalance {last:.2f} after a maximum age: {counts}"


def roll(programs, proxy, clients, polling, window, age):
    fleet = Fleet(programs, GATEWAYS, WEFT_DRAIN_SECS=str(window), WEFT_DRAIN_DELAY_SECS=str(DELAY_SECS), WEFT_CONNECTION_AGE_MAX_SECS=str(age))
    try:
        fleet.all_up()
        url = proxies.start(fleet, proxy, fleet.gateways)
        publisher = Publisher(url, ROOMS, RATE)
        swarm = Swarm(fleet, [url], ROOMS, native=clients // 2, socketio=clients - clients // 2 - polling, polling=polling)
        swarm.until("ready", swarm.count, clients / 50 + 30)
        swarm.until("followers", swarm.count, 30)
        # Those that polled have their WebSocket.
        time.sleep(3)
        before = swarm.report()
        wrong = []
        for gateway in fleet.gateways:
            wrong += restart(fleet, swarm, gateway, window)
        if age:
            wrong += evened_out(fleet, age)
        report = swarm.finish(publisher.finish())
        return wrong + judged(proxy, before, report, publisher)
    finally:
        fleet.end()


def judged(proxy, before, report, publisher):
    wrong = list(unsound(report))
    for kind, seen in report["kinds"].items():
        earlier = before["kinds"][kind]
        closes, refused = seen["closes"][len(earlier["closes"]):], seen["refused"][len(earlier["refused"]):]
        gaps = sorted(seen["gaps"])
        print(f"{proxy}, {kind}: lost {seen['lost']}, doubled {seen['doubled']}, gave up {seen['given_up']}, refused {len(refused)}, "
              f"closes received {by(code for _, code in closes)}, away {gaps[len(gaps) // 2] if gaps else 0} ms (median), {gaps[-1] if gaps else 0} ms (worst), "
              f"latest event {seen['latest']} ms")
        # Whose WebSocket is not there yet hears the end of a poll, which has no code.
        if others := {str(code) for _, code in closes if not (kind == "polling" and str(code).startswith("polling: "))} - {"1012"}:
            wrong.append(f"{kind}: closes received that are not 1012: {by(code for _, code in closes if str(code) in others)}")
        if gaps and gaps[-1] > AWAY_MS_MAX:
            wrong.append(f"{kind}: a client was away for {gaps[-1]} ms")
        if refused:
            wrong.append(f"{kind}: {len(refused)} handshakes refused, such as {by(why for _, why in refused)}")
    # At the end of their age some are away at any time.
    if report["away_ms"] > AWAY_MS_MAX:
        wrong.append(f"{report['away']} clients are still away, for up to {report['away_ms']} ms")
    print(f"{proxy}: {sum(publisher.last.values()) + len(ROOMS)} events published, {publisher.retries} sent again, the slowest took {publisher.slowest:.1f} s")
    return wrong


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("proxy", nargs="*", default=list(proxies.NAMES))
    arguments.add_argument("--programs", default=ROOT / "target" / "debug")
    arguments.add_argument("--clients", type=int, default=1600)
    arguments.add_argument("--polling", type=int, default=400, help="of the clients, so many begin by polling")
    arguments.add_argument("--window", type=int, default=10)
    arguments.add_argument("--age", type=int, default=130, help="maximum age of connections in seconds; 0: they stay, and the end is not looked at")
    given = arguments.parse_args()
    failures = []
    for proxy in given.proxy:
        print(f"-- {proxy}", flush=True)
        try:
            failures += [f"{proxy}: {each}" for each in roll(given.programs, proxy, given.clients, given.polling, given.window, given.age)]
        except Problem as problem:
            failures.append(f"{proxy}: {problem}")
    print("\n".join(failures), end="\n" if failures else "")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
