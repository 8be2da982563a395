"""Clients in a process of their own (clients.mjs), and what they saw."""

import json
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent


class Swarm:
    """Clients of three kinds: native, Socket.IO on a WebSocket, Socket.IO that begins by polling."""

    def __init__(self, lab, urls, rooms, **counts):
        self.rooms, self.count = rooms, sum(counts.get(kind, 0) for kind in ("native", "socketio", "polling"))
        plan = json.dumps({"urls": urls, "rooms": rooms, **counts})
        log = open(lab.directory / "clients.log", "a")
        self.process = subprocess.Popen(["node", str(HERE / "clients.mjs"), plan], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
        lab.processes["clients"] = self.process
        self.lab = lab

    def ask(self, **order):
        try:
            self.process.stdin.write(json.dumps(order) + "\n")
            self.process.stdin.flush()
            return json.loads(self.process.stdout.readline())
        except (OSError, ValueError):
            sys.exit(f"the clients have ended:\n{self.lab.log('clients')[-2000:]}")

    def report(self):
        return self.ask(order="report")

    def until(self, what, count, seconds):
        """Waits until so many clients are ready, or have had an event."""
        deadline = time.monotonic() + seconds
        while (report := self.report())[what] < count:
            if time.monotonic() > deadline:
                refused = {kind: seen["refused"][:3] + seen["errors"] for kind, seen in report["kinds"].items()}
                sys.exit(f"only {report[what]} of {count} clients are {what}: {refused}\n{self.lab.log('clients')[-2000:]}")
            time.sleep(0.3)
        return report

    def finish(self, last):
        return self.ask(order="finish", last=last)


def together(report, what):
    """A list that is kept for each kind, of all kinds."""
    return [one for kind in report["kinds"].values() for one in kind[what]]


def peak(times, width=1000):
    """The most of these times (in milliseconds) within any second, wherever it begins."""
    times, most, first = sorted(times), 0, 0
    for index, at in enumerate(times):
        while at - times[first] >= width:
            first += 1
        most = max(most, index - first + 1)
    return most


def second_by_second(times, begin, count, left_out=(), width=1000):
    """How many of these times lie in each second from `begin` on; None for one that touches a span left out, or the second after one."""
    starts = [begin + number * width for number in range(count)]
    is_left_out = lambda start: any(first < start + width and start < last + width for first, last in left_out)
    return [None if is_left_out(start) else sum(start <= at < start + width for at in times) for start in starts]


def by(values):
    counts = {}
    for value in values:
        counts[str(value)] = counts.get(str(value), 0) + 1
    return counts


def unsound(report):
    """What no client may see, as sentences."""
    for kind, seen in report["kinds"].items():
        for what in ("lost", "doubled", "misordered", "told_gaps", "given_up", "unrecovered"):
            if seen[what]:
                yield f"{kind}: {what.replace('_', ' ')} {seen[what]}"
        yield from (f"{kind}: {error}" for error in seen["errors"])
