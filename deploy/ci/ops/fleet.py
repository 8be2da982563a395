"""Gateways on one broker that are started, asked to leave, killed and started again, each on its own ports."""

import os
import re
import signal
import threading
import time
import urllib.error
from collections import Counter

from lab import Lab, get, nats_server, post, steady_port

# All clients come from one address here.
UNLIMITED = {
    "WEFT_CONNECTIONS_PER_ADDRESS_MAX": "0",
    "WEFT_CONNECTS_PER_ADDRESS": "0",
}
# How long an event may wait for its acknowledgement; a repeat is known as one for two minutes.
PATIENCE_SECS = 60
SERIES = re.compile(r"^(\w+)(?:\{(.*)\})? ([0-9.eE+-]+|NaN)$", re.M)


class Problem(Exception):
    """Something is not as it should be."""


class Gateway:
    """One place in a fleet; the process in it may change."""

    def __init__(self, number):
        self.name = f"gateway-{number}"
        self.http, self.admin, self.peers = steady_port(), steady_port(), steady_port()
        self.url = f"http://127.0.0.1:{self.http}"


class Fleet(Lab):
    """A broker and gateways on it."""

    def __init__(self, programs, count, bus="nats", **settings):
        super().__init__(programs)
        self.gateways = [Gateway(number + 1) for number in range(count)]
        self.settings = {"WEFT_LOG": "info", **UNLIMITED, **settings}
        self.bus_port = steady_port()
        self.start_broker(bus)
        self.settings["WEFT_BUS"] = f"{bus}://127.0.0.1:{self.bus_port}"
        key = self.directory / "fleet-key"
        key.write_text(os.urandom(32).hex())
        self.settings["WEFT_FLEET_KEY_FILE"] = str(key)

    def start_broker(self, bus):
        if bus == "redis":
            self.start("broker", "redis-server", "--port", self.bus_port, "--bind", "127.0.0.1", "--appendonly", "yes", "--dir", self.directory)
        else:
            self.start("broker", nats_server(), "--addr", "127.0.0.1", "--port", self.bus_port, "--jetstream", "--store_dir", self.directory / "nats")
        time.sleep(1)

    def up(self, gateway, programs=None, **settings):
        """Starts a gateway and waits until it is ready."""
        own = {
            "WEFT_LISTEN": f"127.0.0.1:{gateway.http}",
            "WEFT_ADMIN_LISTEN": f"127.0.0.1:{gateway.admin}",
            "WEFT_PEER_LISTEN": f"127.0.0.1:{gateway.peers}",
            "WEFT_INSTANCE": f"{gateway.name}-{os.urandom(2).hex()}",
        }
        self.start(gateway.name, (programs or self.programs) / "gateway", **{**self.settings, **own, **settings})
        self.wait(gateway.name, f"http://127.0.0.1:{gateway.admin}/readyz")

    def all_up(self, *numbers):
        for gateway in [self.gateways[number] for number in numbers] if numbers else self.gateways:
            self.up(gateway)

    def metrics(self, gateway):
        """Its series by name and labels; None once it does not answer."""
        try:
            text = get(f"http://127.0.0.1:{gateway.admin}/metrics", 5).decode()
        except (OSError, urllib.error.URLError):
            return None
        return {(name, labels): float(value) for name, labels, value in SERIES.findall(text)}

    def metric(self, gateway, name, **labels):
        """The sum over the series of a metric that have these labels."""
        found = self.metrics(gateway) or {}
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        return sum(value for (one, has), value in found.items() if one == name and all(each in has for each in wanted))

    def connections(self, gateway):
        return int(self.metric(gateway, "weft_gateway_connections"))

    def passages(self, gateway):
        """WebSockets that it only passes through; their sessions are elsewhere."""
        return int(self.metric(gateway, "weft_gateway_passages"))

    def ask_to_leave(self, gateway):
        self.processes[gateway.name].send_signal(signal.SIGTERM)

    def gone(self, gateway, seconds):
        """Waits until a gateway has left. Its exit code, and the closes by code that it counted last."""
        process, deadline, last = self.processes[gateway.name], time.monotonic() + seconds, {}
        while process.poll() is None:
            if time.monotonic() > deadline:
                raise Problem(f"{gateway.name} has not left after {seconds} s:\n{self.log(gateway.name)[-1500:]}")
            last = self.metrics(gateway) or last
            time.sleep(0.1)
        closes = Counter()
        for (name, labels), value in last.items():
            if name == "weft_gateway_closes_total" and value:
                closes[re.search(r'code="(\w+)"', labels)[1]] += int(value)
        return process.returncode, dict(closes)

    def kill_broker(self):
        self.processes["broker"].kill()
        self.processes["broker"].wait()


class Publisher:
    """Publishes one event a room in turns, by HTTP, until each is acknowledged; a repeat has the same id."""

    def __init__(self, url, rooms, rate):
        self.url, self.rooms, self.rate = url, rooms, rate
        self.last = dict.fromkeys(rooms, -1)
        self.over, self.retries, self.slowest = False, 0, 0.0
        self.going, self.problem = threading.Event(), None
        self.going.set()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        try:
            self.publish_all()
        except OSError as error:
            self.problem = error

    def finish(self):
        """The counter of the last event of each room."""
        self.over = True
        self.thread.join(PATIENCE_SECS + 10)
        if self.problem or self.thread.is_alive():
            raise Problem(f"events cannot be published: {self.problem or 'no answer'}")
        return self.last

    def publish_all(self):
        began, count = time.monotonic(), 0
        while not self.over:
            self.going.wait()
            room = self.rooms[count % len(self.rooms)]
            self.publish(room, self.last[room] + 1)
            self.last[room] += 1
            count += 1
            time.sleep(max(0.0, began + count / self.rate - time.monotonic()))

    def pause(self):
        """Nothing is under way a little later."""
        self.going.clear()

    def go_on(self):
        self.going.set()

    def publish(self, room, counter):
        event = {"id": f"{room}-{counter}", "type": "log", "executionId": room}
        event["data"] = {"level": "info", "message": f"{room} {counter} {int(time.time() * 1000)}"}
        began = time.monotonic()
        while True:
            try:
                post(self.url + "/api/events", event, timeout=5)
                break
            except OSError:
                self.retries += 1
                if time.monotonic() - began > PATIENCE_SECS:
                    raise
                time.sleep(0.1)
        self.slowest = max(self.slowest, time.monotonic() - began)
