"""Asks every query of dashboards and alerts of a real Prometheus that scrapes three real gateways and an executor on a real
NATS, under load, with the broker stopped for a while and clients that keep coming back.

    python live.py [directory with the programs]       default: target/debug

Every panel must show data, every rule must be healthy, and WeftBrokerDisconnected and WeftReconnectStorm must fire. Panels
whose description says "Empty until the first" may be empty, those of other programs' exporters are not asked. About four
minutes; needs prometheus (apt-get) and nats-server.
"""

import asyncio
import base64
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from pathlib import Path

import metrics

ROOT = metrics.ROOT
CLIENTS = 150
GATEWAYS = 3
EMPTY_MARK = "Empty until the first"


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def get(url, timeout=10):
    with urllib.request.urlopen(url, timeout=timeout) as answer:
        return answer.read()


def post(url, body):
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


class Lab:
    """Processes that end with this one."""

    def __init__(self, programs):
        self.directory = Path(tempfile.mkdtemp(prefix="weft-live-"))
        self.programs, self.processes = Path(programs).resolve(), {}

    def start(self, name, *command, **variables):
        log = open(self.directory / f"{name}.log", "w")
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.directory), **variables}
        self.processes[name] = subprocess.Popen([str(part) for part in command], stdout=log, stderr=log, env=environment, cwd=ROOT)

    def wait(self, name, url, seconds=60):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.processes[name].poll() is not None:
                break
            try:
                return get(url, 2)
            except OSError:
                time.sleep(0.2)
        sys.exit(f"{name} is not ready:\n{(self.directory / f'{name}.log').read_text()[-2000:]}")

    def end(self):
        for process in reversed(self.processes.values()):
            process.send_signal(signal.SIGCONT)
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)


def nats_server():
    for place in (os.environ.get("WEFT_TEST_NATS_SERVER"), ROOT / ".cache/natsvenv/bin/nats-server", "/opt/natsvenv/bin/nats-server"):
        if place and os.access(place, os.X_OK):
            return place
    return shutil.which("nats-server") or shutil.which("nats-server", path="/usr/sbin") or sys.exit("nats-server not found: make fetch")


class Fabric(Lab):
    """A broker, three gateways, an executor, and a Prometheus that watches them."""

    def begin(self):
        nats = free_port()
        self.start("nats", nats_server(), "--addr", "127.0.0.1", "--port", nats, "--jetstream", "--store_dir", self.directory / "nats")
        time.sleep(1)
        bus = {"WEFT_BUS": f"nats://127.0.0.1:{nats}", "WEFT_LOG": "warn"}
        self.gateways, targets = [], []
        for number in range(GATEWAYS):
            http, admin = free_port(), free_port()
            self.start(f"gateway-{number}", self.programs / "gateway", WEFT_LISTEN=f"127.0.0.1:{http}", WEFT_ADMIN_LISTEN=f"127.0.0.1:{admin}", **bus)
            self.wait(f"gateway-{number}", f"http://127.0.0.1:{admin}/readyz")
            self.gateways.append(http)
            targets.append(f"127.0.0.1:{admin}")
        self.instance = targets[0]
        http, admin = free_port(), free_port()
        self.start("executor", self.programs / "executor", WEFT_EXECUTOR_LISTEN=f"127.0.0.1:{http}", WEFT_ADMIN_LISTEN=f"127.0.0.1:{admin}",
                   WEFT_WORKFLOW_DIR="services/executor/workflows", **bus)
        self.wait("executor", f"http://127.0.0.1:{admin}/readyz")
        config = {
            "global": {"scrape_interval": "2s", "evaluation_interval": "2s"},
            "rule_files": [str(metrics.FILES / "alerts.yaml")],
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

    def ask(self, path, **parameters):
        return json.loads(get(f"{self.prometheus}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"))["data"]

    def firing(self):
        return {alert["labels"]["alertname"] for alert in self.ask("alerts")["alerts"] if alert["state"] == "firing"}


async def converse(port, room, offset, until):
    """One connection; the last offset seen."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        key = base64.b64encode(os.urandom(16)).decode()
        writer.write(f"GET /api/ws HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                     f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        body = json.dumps({"type": "subscribe", "room": room, "offset": offset}).encode()
        mask = os.urandom(4)
        length = bytes([0x80 | len(body)]) if len(body) < 126 else bytes([0xFE]) + struct.pack(">H", len(body))
        writer.write(b"\x81" + length + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(body)))
        while True:
            head = await asyncio.wait_for(reader.readexactly(2), max(0.1, until - time.monotonic()))
            size = head[1]
            if size >= 126:
                size = int.from_bytes(await reader.readexactly(2 if size == 126 else 8), "big")
            payload = await reader.readexactly(size)
            if head[0] & 15 == 1:
                message = json.loads(payload)
                if ":" in message["type"] or message["type"] == "log":
                    offset = message.get("offset", offset)
            elif head[0] & 15 == 9:
                writer.write(b"\x8a\x80" + os.urandom(4))
    except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError):
        return offset
    finally:
        writer.close()


async def client(fabric, number, plan):
    """Follows one of ten rooms and goes to another gateway whenever its connection ends."""
    offset, attempt = "0", number
    while not plan["over"]:
        stay = plan["stay"]() * (0.5 + (number % 10) / 10)
        try:
            offset = await converse(fabric.gateways[attempt % GATEWAYS], f"execution:live-{number % 10}", offset, time.monotonic() + stay)
        except OSError:
            await asyncio.sleep(0.5)
        attempt += 1


async def publish(fabric, plan):
    count = 0
    while not plan["over"]:
        events = [{"type": "log", "executionId": f"live-{room}", "data": {"level": "info", "message": f"{count}"}} for room in range(10)]
        try:
            await asyncio.to_thread(post, f"http://127.0.0.1:{fabric.gateways[count % GATEWAYS]}/api/events", events)
            if count % 40 == 0:
                await asyncio.to_thread(post, f"http://127.0.0.1:{fabric.gateways[0]}/api/workflows/demo/execute", {})
        except OSError:
            pass
        count += 1
        await asyncio.sleep(0.5)


async def see(fabric, name, seconds):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if name in await asyncio.to_thread(fabric.firing):
            print(f"{name} fired")
            return True
        await asyncio.sleep(2)
    return False


async def exercise(fabric):
    plan = {"over": False, "stay": lambda: 20}
    tasks = [asyncio.create_task(client(fabric, number, plan)) for number in range(CLIENTS)]
    tasks.append(asyncio.create_task(publish(fabric, plan)))
    failures = []
    await asyncio.sleep(30)
    early = await asyncio.to_thread(fabric.firing)
    if early - {"WeftReconnectStorm"}:
        failures.append(f"fire although all is well: {sorted(early)}")
    fabric.processes["nats"].send_signal(signal.SIGSTOP)
    if not await see(fabric, "WeftBrokerDisconnected", 110):
        failures.append("WeftBrokerDisconnected did not fire while the broker stood still")
    fabric.processes["nats"].send_signal(signal.SIGCONT)
    # Nobody stays longer than a few seconds.
    plan["stay"] = lambda: 4
    if not await see(fabric, "WeftReconnectStorm", 120):
        failures.append("WeftReconnectStorm did not fire while everybody kept coming back")
    if "WeftBrokerDisconnected" in await asyncio.to_thread(fabric.firing):
        failures.append("WeftBrokerDisconnected still fires although the broker is back")
    plan["stay"] = lambda: 30
    await asyncio.sleep(25)
    failures += await asyncio.to_thread(shown, fabric)
    plan["over"] = True
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return failures


def filled(query, fabric):
    values = {"__rate_interval": "30s", "namespace": ".*", "job": ".*", "instance": fabric.instance if 'instance="$instance"' in query else ".*"}
    return re.sub(r"\$(\w+)", lambda name: values[name[1]], query)


def shown(fabric):
    """Panels without data, and rules that are not healthy."""
    failures, count, now = [], 0, time.time()
    for name, board in metrics.boards().items():
        for panel in metrics.panels(board):
            for one in panel.get("targets", []):
                names = metrics.USE.findall(one["expr"])
                if any(metrics.FOREIGN.match(use[0]) and use[0] not in ("up", "ALERTS") for use in names):
                    continue
                count += 1
                result = fabric.ask("query_range", query=filled(one["expr"], fabric), start=now - 60, end=now, step=5)["result"]
                if not any(value[1] != "NaN" for series in result for value in series["values"]) and EMPTY_MARK not in panel["description"]:
                    failures.append(f"{name}, {panel['title']}: no data: {one['expr']}")
    rules = [rule for group in fabric.ask("rules")["groups"] for rule in group["rules"]]
    failures += [f"{rule['name']}: {rule['health']} {rule.get('lastError', '')}" for rule in rules if rule["health"] != "ok"]
    print(f"{count} queries of panels, {len(rules)} rules")
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
