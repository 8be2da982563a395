"""Asks every query of dashboards and alerts of a real Prometheus that scrapes three real gateways and an executor on a real
NATS, under load, with the broker stopped for a while and clients that keep coming back.

    python live.py [directory with the programs]       default: target/debug

Every panel must show data, every rule must be healthy, and WeftBrokerDisconnected and WeftReconnectStorm must fire, and resolve
when their cause is gone. That the latter can be seen, its window is a minute here, and who comes back in its storm resumes nothing:
clients of other dialects than ours cannot. Panels whose description says "Empty until the first" may be empty, those of other
programs' exporters are not asked: metrics.py holds these to what the exporters say of themselves. What is exposed must please
promtool, and 1,000 more clients and 10,000 more events may not add one series; logs must be JSON without secrets. About six minutes; needs
prometheus (apt-get) and nats-server.
"""

import asyncio
import base64
import json
import os
import re
import signal
import struct
import subprocess
import sys
import time
import urllib.parse
from pathlib import Path

import yaml

import metrics
from lab import ROOT, Lab, free_port, get, nats_server, post, token

CLIENTS = 150
GATEWAYS = 3
# Of one gateway; a histogram has one for each bucket.
SERIES_MAX = 400
SHORTENED = "WeftReconnectStorm"
# What its rule looks at, and what instead.
WINDOWS = (("[5m]", "[1m]"), ("offset 5m", "offset 1m"))
# Between the two counts of series.
MORE_CLIENTS = 1000
MORE_EVENTS = 10_000
EMPTY_MARK = "Empty until the first"


class Fabric(Lab):
    """A broker, three gateways, an executor, and a Prometheus that watches them."""

    def begin(self):
        nats = free_port()
        self.start("nats", nats_server(), "--addr", "127.0.0.1", "--port", nats, "--jetstream", "--store_dir", self.directory / "nats")
        time.sleep(1)
        bus = {"WEFT_BUS": f"nats://127.0.0.1:{nats}", "WEFT_LOG": "info", "WEFT_LOG_FORMAT": "json"}
        self.secret = os.urandom(32).hex()
        (self.directory / "secret").write_text(self.secret)
        self.bearer = {"Authorization": f"Bearer {token(self.secret, 'publisher', scope='admin events:publish executions:run')}"}
        # Round trips are those of pings.
        doors = {"WEFT_AUTH": "jwt", "WEFT_JWT_SECRET_FILE": str(self.directory / "secret"), "WEFT_PING_SECS": "5"}
        self.gateways, targets = [], []
        for number in range(GATEWAYS):
            http, admin = free_port(), free_port()
            self.start(f"gateway-{number}", self.programs / "gateway", WEFT_LISTEN=f"127.0.0.1:{http}", WEFT_ADMIN_LISTEN=f"127.0.0.1:{admin}", **bus, **doors)
            self.wait(f"gateway-{number}", f"http://127.0.0.1:{admin}/readyz")
            self.gateways.append(http)
            targets.append(f"127.0.0.1:{admin}")
        self.instance, self.targets = targets[0], list(targets)
        http, admin = free_port(), free_port()
        self.start("executor", self.programs / "executor", WEFT_EXECUTOR_LISTEN=f"127.0.0.1:{http}", WEFT_ADMIN_LISTEN=f"127.0.0.1:{admin}",
                   WEFT_WORKFLOW_DIR="services/executor/workflows", **bus)
        self.wait("executor", f"http://127.0.0.1:{admin}/readyz")
        config = {
            "global": {"scrape_interval": "2s", "evaluation_interval": "2s"},
            "rule_files": [str(self.rules())],
            "scrape_configs": [
                {"job_name": "weft-gateway", "static_configs": [{"targets": targets}]},
                {"job_name": "weft-executor", "static_configs": [{"targets": [f"127.0.0.1:{admin}"]}]},
            ],
        }
        (self.directory / "prometheus.json").write_text(json.dumps(config))
        web = free_port()
        self.prometheus = f"http://127.0.0.1:{web}"
        self.start("prometheus", "prometheus", f"--config.file={self.directory / 'prometheus.json'}", f"--storage.tsdb.path={self.directory / 'tsdb'}",
                   f"--web.listen-address=127.0.0.1:{web}", "--log.level=warn")
        self.wait("prometheus", f"{self.prometheus}/-/ready")

    def rules(self):
        """The alerts, with a shorter window for the one that is to resolve."""
        rules = yaml.safe_load((metrics.FILES / "alerts.yaml").read_text())
        found = [rule for group in rules["groups"] for rule in group["rules"] if rule.get("alert") == SHORTENED]
        if len(found) != 1:
            sys.exit(f"there are {len(found)} rules {SHORTENED}")
        for window, shorter in WINDOWS:
            if window not in found[0]["expr"]:
                sys.exit(f"{SHORTENED} does not look at {window} any more: {found[0]['expr']}")
            found[0]["expr"] = found[0]["expr"].replace(window, shorter)
        path = self.directory / "alerts.yaml"
        path.write_text(yaml.safe_dump(rules))
        return path

    def ask(self, path, **parameters):
        return json.loads(get(f"{self.prometheus}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"))["data"]

    def firing(self):
        return {alert["labels"]["alertname"] for alert in self.ask("alerts")["alerts"] if alert["state"] == "firing"}


async def converse(port, bearer, room, offset, stay):
    """One connection for `stay()` seconds, which may change meanwhile; the last offset seen."""
    began = time.monotonic()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        key = base64.b64encode(os.urandom(16)).decode()
        writer.write(f"GET /api/ws HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                     f"Authorization: Bearer {bearer}\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        body = json.dumps({"type": "subscribe", "room": room, **({} if offset is None else {"offset": offset})}).encode()
        mask = os.urandom(4)
        length = bytes([0x80 | len(body)]) if len(body) < 126 else bytes([0xFE]) + struct.pack(">H", len(body))
        writer.write(b"\x81" + length + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(body)))
        # Something comes twice a second, or at least pings do.
        while (left := began + stay() - time.monotonic()) > 0:
            head = await asyncio.wait_for(reader.readexactly(2), left)
            size = head[1]
            if size >= 126:
                size = int.from_bytes(await reader.readexactly(2 if size == 126 else 8), "big")
            payload = await reader.readexactly(size)
            if head[0] & 15 == 1:
                message = json.loads(payload)
                if ":" in message["type"] or message["type"] == "log":
                    offset = message.get("offset", offset)
            elif head[0] & 15 == 9:
                writer.write(b"\x8a" + bytes([0x80 | size]) + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload)))
    except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError):
        pass
    finally:
        writer.close()
    return offset


async def client(fabric, number, plan):
    """Follows one of ten rooms and goes to another gateway whenever its connection ends. Every other one resumes there."""
    resumes = number % 2 == 0
    offset, attempt = "0" if resumes else None, number
    bearer = token(fabric.secret, f"user-{number}", scope="admin")
    while not plan["over"]:
        stay = lambda: plan["stay" if resumes else "stay of others"] * (0.5 + (number % 10) / 10)
        try:
            last = await converse(fabric.gateways[attempt % GATEWAYS], bearer, f"execution:live-{number % 10}", offset, stay)
            offset = last if resumes else None
        except OSError:
            await asyncio.sleep(0.5)
        attempt += 1


async def publish(fabric, plan):
    count = 0
    while not plan["over"]:
        events = [{"type": "log", "executionId": f"live-{room}", "data": {"level": "info", "message": f"{count}"}} for room in range(10)]
        try:
            await asyncio.to_thread(post, f"http://127.0.0.1:{fabric.gateways[count % GATEWAYS]}/api/events", events, **fabric.bearer)
            if count % 40 == 0:
                await asyncio.to_thread(post, f"http://127.0.0.1:{fabric.gateways[0]}/api/workflows/demo/execute", {}, **fabric.bearer)
        except OSError:
            pass
        count += 1
        await asyncio.sleep(0.5)


async def see(fabric, name, seconds, fires=True):
    """Waits until an alert fires, or does not any more; whether it came to that."""
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        if (name in await asyncio.to_thread(fabric.firing)) == fires:
            print(f"{name} {'fired' if fires else 'resolved'} after {time.monotonic() - began:.0f} s", flush=True)
            return True
        await asyncio.sleep(2)
    return False


async def exercise(fabric):
    plan = {"over": False, "stay": 600, "stay of others": 600}
    tasks = [asyncio.create_task(client(fabric, number, plan)) for number in range(CLIENTS)]
    tasks.append(asyncio.create_task(publish(fabric, plan)))
    failures = []
    await asyncio.sleep(30)
    before = await asyncio.to_thread(series, fabric)
    done_before = await asyncio.to_thread(done, fabric)
    # Also that everybody comes at once is no storm.
    if early := await asyncio.to_thread(fabric.firing):
        failures.append(f"fire although all is well: {sorted(early)}")
    fabric.processes["nats"].send_signal(signal.SIGSTOP)
    if not await see(fabric, "WeftBrokerDisconnected", 110):
        failures.append("WeftBrokerDisconnected did not fire while the broker stood still")
    fabric.processes["nats"].send_signal(signal.SIGCONT)
    if not await see(fabric, SHORTENED, 10, fires=False):
        failures.append(f"{SHORTENED} fires although everybody stays")
    # Of those who resume nothing, nobody stays longer than a few seconds.
    resumed = await asyncio.to_thread(total, fabric, "weft_gateway_reconnects_total")
    plan["stay of others"] = 4
    if not await see(fabric, SHORTENED, 180):
        failures.append(f"{SHORTENED} did not fire while half of the clients kept coming back")
    if more := await asyncio.to_thread(total, fabric, "weft_gateway_reconnects_total") - resumed:
        failures.append(f"{more:.0f} connections resumed something in a storm of those who do not")
    if not await see(fabric, "WeftBrokerDisconnected", 10, fires=False):
        failures.append("WeftBrokerDisconnected still fires although the broker is back")
    # Everybody stays.
    plan["stay of others"] = 600
    if not await see(fabric, SHORTENED, 120, fires=False):
        failures.append(f"{SHORTENED} still fires although everybody stays")
    # Some movement, which panels show.
    plan["stay"] = plan["stay of others"] = 30
    await asyncio.sleep(25)
    failures += await asyncio.to_thread(shown, fabric)
    after = await asyncio.to_thread(series, fabric)
    clients, events = [now - then for now, then in zip(await asyncio.to_thread(done, fabric), done_before)]
    print(f"series of each gateway: {after}, after {clients:.0f} more clients and {events:.0f} more events")
    if clients < MORE_CLIENTS or events < MORE_EVENTS:
        failures.append(f"only {clients:.0f} clients and {events:.0f} events came meanwhile")
    if before != after:
        failures.append(f"more clients and events made more series: {before}, then {after}")
    failures += [*await asyncio.to_thread(lambda: [*unclean(fabric), *misspoken(fabric)])]
    plan["over"] = True
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return failures


def exposed(fabric, target):
    return get(f"http://{target}/metrics").decode()


def series(fabric):
    """How many series each gateway has."""
    return [counted(exposed(fabric, target)) for target in fabric.targets]


def total(fabric, name):
    """The sum of a metric over all gateways."""
    found = [line for target in fabric.targets for line in exposed(fabric, target).splitlines() if re.match(rf"{name}[{{ ]", line)]
    if not found:
        sys.exit(f"no gateway has {name}")
    return sum(float(line.rsplit(" ", 1)[1]) for line in found)


def done(fabric):
    """How many clients have come, and how many events they have been given."""
    return total(fabric, "weft_gateway_connections_opened_total"), total(fabric, "weft_gateway_deliveries_total")


def counted(text):
    return sum(bool(line) and not line.startswith("#") for line in text.splitlines())


def unclean(fabric):
    """What Prometheus' own linter, and we, would not have in what is exposed."""
    for target in fabric.targets:
        text = exposed(fabric, target)
        # Extended, it also says on standard output how many series each metric has.
        run = subprocess.run(["promtool", "check", "metrics", "--extended"], input=text, capture_output=True, text=True)
        if run.returncode or run.stderr.strip():
            yield f"{target}: promtool: {run.stderr.strip()} (code {run.returncode})"
        elif not re.search(r"^Total +\d+ ", run.stdout, re.M):
            yield f"{target}: promtool did not count the series: {run.stdout[-300:]}"
        if summaries := re.findall(r"^# TYPE (\w+) summary$", text, re.M):
            yield f"{target}: summaries, which cannot be added up: {summaries}"
        if (count := counted(text)) > SERIES_MAX:
            yield f"{target}: {count} series, more than {SERIES_MAX}"


def misspoken(fabric):
    """Lines of logs that are no JSON, lack what every line has, or hold a secret."""
    for name in fabric.processes:
        if not name.startswith(("gateway", "executor")):
            continue
        lines = fabric.log(name).splitlines()
        if not lines:
            yield f"{name}: says nothing"
        for line in lines:
            try:
                entry = json.loads(line)
            except ValueError:
                yield f"{name}: no JSON: {line[:200]}"
                continue
            if not {"timestamp", "level", "message"} <= set(entry):
                yield f"{name}: lacks a timestamp, a level or a message: {line[:200]}"
            if fabric.secret in line or "eyJ" in line:
                yield f"{name}: holds a secret: {line[:80]}"


def filled(query, fabric):
    values = {"__rate_interval": "30s", "namespace": ".*", "job": ".*", "instance": fabric.instance if 'instance="$instance"' in query else ".*"}
    return re.sub(r"\$(\w+)", lambda name: values[name[1]], query)


def shown(fabric):
    """Panels without data, and rules that are not healthy."""
    failures, empty, count, unasked, now = [], 0, 0, 0, time.time()
    others = metrics.foreign()
    for name, board in metrics.boards().items():
        for panel in metrics.panels(board):
            for one in panel.get("targets", []):
                if any(use[0] in others for use in metrics.USE.findall(one["expr"])):
                    unasked += 1
                    continue
                count += 1
                result = fabric.ask("query_range", query=filled(one["expr"], fabric), start=now - 60, end=now, step=5)["result"]
                if any(value[1] != "NaN" for series in result for value in series["values"]):
                    continue
                empty += 1
                if EMPTY_MARK not in panel["description"]:
                    failures.append(f"{name}, {panel['title']}: no data: {one['expr']}")
    rules = [rule for group in fabric.ask("rules")["groups"] for rule in group["rules"]]
    failures += [f"{rule['name']}: {rule['health']} {rule.get('lastError', '')}" for rule in rules if rule["health"] != "ok"]
    print(f"{count} queries of panels, {empty} of them without data; {unasked} more, of other programs' exporters, not asked; {len(rules)} rules")
    return failures


def main():
    fabric = Fabric(sys.argv[1] if len(sys.argv) > 1 else Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug")
    try:
        fabric.begin()
        failures = asyncio.run(exercise(fabric))
    finally:
        fabric.end()
    print("\n".join(failures), end="\n" if failures else "")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
