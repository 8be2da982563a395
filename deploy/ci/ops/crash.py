"""One of three gateways is killed with 5,000 clients on all of them, by the load generator's scenario `resume-storm`.

    PYTHONPATH=deploy/ci python -m ops.crash [--programs DIR] [--clients N] [--admitted N]

Twice: gateways that admit as many a second as they do by default, so that all come back as they please; and gateways that admit
so few (WEFT_CONNECTS_PER_SEC) that the storm has to wait, which the time that it takes must show. Each time nobody loses anything;
the 99th percentile of those whose gateway lives stays below twice what it was; no gateway ever has more memory than the chart's
limit; and all are back within what the settings allow: the second in which they come, and the time that two gateways take to
admit them.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import yaml

from lab import ROOT

GATEWAYS = 3
CLIENTS = 5000
# WEFT_CONNECTS_PER_SEC: the default, and one at which half of those who come back have to wait.
ADMITTED = (5000, 100)
# So many seconds of it at once (`BURST_SECS` of the gateway's admission).
BURST_SECS = 4
# Clients of the load generator come back within a second; then they have their next event, of a room with one a second.
COME_BACK_MS = 1000
NEXT_EVENT_MS = 1000
P99_TIMES_MAX = 2.0
ATTEMPTS = 3
# Below this the scheduler of a machine with everything on it decides, not a gateway.
P99_MS_LEAST = 10.0
LIMIT_MB = {"Mi": 1.048576, "Gi": 1073.741824}
LOOK_SECS = 0.2


def memory_limit_mb():
    """What the chart gives a gateway."""
    limit = yaml.safe_load((ROOT / "helm" / "weft" / "values.yaml").read_text())["gateway"]["resources"]["limits"]["memory"]
    return float(limit[:-2]) * LIMIT_MB[limit[-2:]]


class Highest(threading.Thread):
    """The most resident memory that each gateway of the load generator has had so far, as the kernel keeps it (VmHWM), in MB."""

    def __init__(self, process, program):
        super().__init__(daemon=True)
        self.process, self.program, self.over, self.of = process, str(program), threading.Event(), {}
        self.start()

    def run(self):
        while not self.over.wait(LOOK_SECS):
            for tasks in Path(f"/proc/{self.process.pid}/task").glob("*/children"):
                for pid in self.read(tasks).split():
                    self.look(pid)

    def look(self, pid):
        if self.read(Path(f"/proc/{pid}/cmdline")).split("\0")[0] != self.program:
            return
        for line in self.read(Path(f"/proc/{pid}/status")).splitlines():
            if line.startswith("VmHWM:"):
                self.of[pid] = float(line.split()[1]) * 1024 / 1e6

    @staticmethod
    def read(path):
        """Processes end while one looks."""
        try:
            return path.read_text()
        except OSError:
            return ""


def storm(programs, clients, admitted):
    """Exit code, what the load generator found, and the most memory of each gateway."""
    gateway = Path(programs).resolve() / "gateway"
    with tempfile.TemporaryDirectory(prefix="weft-ops-") as directory:
        path = Path(directory) / "storm.json"
        command = [Path(programs) / "loadtest", "run", "resume-storm", "--gateways", GATEWAYS, "--clients", clients, "--rooms", 100, "--rate", 100, "--duration", 20]
        command += ["--gateway", gateway, "--env", f"WEFT_CONNECTS_PER_SEC={admitted}", "--json", path]
        process = subprocess.Popen([str(part) for part in command])
        highest = Highest(process, gateway)
        code = process.wait()
        highest.over.set()
        highest.join()
        if not path.exists():
            sys.exit("the load generator found nothing")
        return code, json.loads(path.read_text())[0], highest.of


def admitting_ms(returned, per_second):
    """How long two gateways take to let them in, whose budget was whole."""
    return 1000 * max(0.0, returned / (GATEWAYS - 1) - BURST_SECS * per_second) / per_second


def judged(code, found, highest, clients, per_second):
    """What was wrong where a gateway admits so many a second."""
    further = found["further"]
    lost = {what: found[what] for what in ("lost", "duplicated", "misordered", "gaps", "errors", "connections_ended")}
    returned, back = further["clients returned"], further.get("outage ms max", 0.0)
    admitting = admitting_ms(returned, per_second)
    bound = COME_BACK_MS + NEXT_EVENT_MS + admitting
    before, after = further["p99 ms before, of all"], further["p99 ms after, of those who stayed"]
    memory, limit = max(highest.values(), default=0.0), memory_limit_mb()
    print(f"{per_second} admitted a second: {returned:.0f} of {clients} returned, the last had everything after {back:.0f} ms of {bound:.0f}; {lost}")
    print(f"p99 before {before:.1f} ms, of those who stayed {after:.1f} ms; the largest gateway had {memory:.0f} MB at most, of {limit:.0f}")
    print(f"the load was its own limit: {found['strained']}" if found["strained"] else "the load was not the limit")
    if code != 0 or any(lost.values()):
        yield f"exit code {code}, {lost}"
    if not clients / GATEWAYS - 1 <= returned <= clients / GATEWAYS + 1:
        yield f"{returned:.0f} returned, not a third of {clients}"
    if further["caught up again"] < returned:
        yield f"{returned - further['caught up again']:.0f} are not back"
    if back > bound:
        yield f"the last was back after {back:.0f} ms, more than {bound:.0f}"
    if back < admitting:
        yield f"all were back after {back:.0f} ms, which {per_second} a second do not allow: {admitting:.0f} ms"
    if after > max(P99_TIMES_MAX * before, P99_MS_LEAST):
        yield f"p99 of those who stayed {after:.1f} ms, more than twice {before:.1f}"
    if len(highest) != GATEWAYS:
        yield f"the memory of {len(highest)} gateways was seen, not of {GATEWAYS}"
    if memory > limit:
        yield f"a gateway had {memory:.0f} MB"


def storms(programs, clients, admitted):
    """What was wrong with the last of a few attempts."""
    for left in reversed(range(ATTEMPTS)):
        code, found, highest = storm(programs, clients, admitted)
        failures = list(judged(code, found, highest, clients, admitted))
        # Times of a load that was its own limit say nothing of the gateways; what was lost does.
        if not failures or not found["strained"] or code != 0 or not left:
            return [f"{admitted} admitted a second: {each}" for each in failures]
        print("once more")
    return []


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--programs", default=ROOT / "target" / "release")
    arguments.add_argument("--clients", type=int, default=CLIENTS)
    arguments.add_argument("--admitted", type=int, action="append", help="clients that a gateway admits a second, WEFT_CONNECTS_PER_SEC; may be repeated")
    given = arguments.parse_args()
    failures = [each for admitted in given.admitted or ADMITTED for each in storms(given.programs, given.clients, admitted)]
    print("\n".join(failures), end="\n" if failures else "")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
