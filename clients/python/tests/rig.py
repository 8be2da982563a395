"""Real gateways and brokers, each on ports of its own, ended by process id."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Awaitable, Coroutine, Iterator
from pathlib import Path
from typing import Any, Callable

ROOT = Path(__file__).resolve().parents[3]


def program(what: str, variable: str, *places: str | Path | None) -> Path:
    """A variable that is set is meant: no falling back to another program."""
    named = os.environ.get(variable)
    looked = [Path(named)] if named else [Path(place) for place in places if place]
    for place in looked:
        if place.is_file():
            return place
    raise RuntimeError(f"no {what}: looked at {variable}, {', '.join(map(str, looked))}")


def free_port() -> int:
    """Of nobody, and below those that the kernel gives to who connects, which begin at 32,768."""
    while True:
        port = random.randrange(10_000, 32_000)
        with socket.socket() as listening, contextlib.suppress(OSError):
            listening.bind(("127.0.0.1", port))
            return port


def until(holds: Callable[[], object], what: str, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise AssertionError(f"in {seconds} s it did not come to this: {what}")
        time.sleep(0.02)


async def until_async(holds: Callable[[], object], what: str, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise AssertionError(f"in {seconds} s it did not come to this: {what}")
        await asyncio.sleep(0.01)


class Process:
    """A process that ends with the test."""

    def __init__(self, command: list[str], env: dict[str, str], directory: Path) -> None:
        self.command, self.env, self.directory = command, env, directory
        self.log = directory / "log"
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as out:
            self.child = subprocess.Popen(
                self.command,
                env={**os.environ, **self.env},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=self.directory,
            )

    def said(self) -> str:
        return self.log.read_text(errors="replace")[-3000:]

    def require_alive(self) -> None:
        if self.child.poll() is not None:
            raise RuntimeError(f"{self.command[0]} has ended: {self.said()}")

    def kill(self) -> None:
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGKILL)
        self.child.wait()

    def freeze(self) -> None:
        self.child.send_signal(signal.SIGSTOP)

    def terminate(self) -> None:
        self.child.send_signal(signal.SIGTERM)


class Gateway(Process):
    def __init__(self, bus: str, directory: Path, port: int | None = None, **settings: str) -> None:
        built = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug/gateway"
        found = program("gateway (cargo build --package weft-gateway)", "WEFT_TEST_GATEWAY", built)
        # Under a name of its own, so that a build that runs meanwhile does not pull it away.
        kept = directory / "gateway"
        try:
            os.link(found, kept)
        except OSError:
            shutil.copy2(found, kept)
        port, admin = port or free_port(), free_port()
        self.address = f"127.0.0.1:{port}"
        self.http = f"http://{self.address}"
        self.admin = f"http://127.0.0.1:{admin}"
        env = {
            "WEFT_LISTEN": self.address,
            "WEFT_ADMIN_LISTEN": f"127.0.0.1:{admin}",
            "WEFT_BUS": bus,
            "WEFT_LOG": "warn",
            **settings,
        }
        super().__init__([str(kept)], env, directory)

    def is_ready(self) -> bool:
        self.require_alive()
        try:
            with urllib.request.urlopen(f"{self.admin}/readyz", timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.http + path, timeout=10) as answer:
            return json.load(answer)

    def post(self, path: str, body: Any) -> Any:
        request = urllib.request.Request(
            self.http + path, json.dumps(body).encode(), {"content-type": "application/json"}, method="POST"
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)


class Broker(Process):
    def __init__(self, kind: str, directory: Path) -> None:
        self.kind = kind
        self.port = free_port()
        data = directory / "data"
        data.mkdir()
        if kind == "nats":
            server = program(
                "nats-server (make fetch gets it)",
                "WEFT_TEST_NATS_SERVER",
                ROOT / ".cache/natsvenv/bin/nats-server",
                "/opt/natsvenv/bin/nats-server",
            )
            command = [str(server), "--addr", "127.0.0.1", "--port", str(self.port), "--jetstream"]
            command += ["--store_dir", str(data)]
        else:
            search = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
            server = program(
                "redis-server (make fetch gets it)",
                "WEFT_TEST_REDIS_SERVER",
                shutil.which("redis-server", path=search),
            )
            command = [str(server), "--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(data)]
            command += ["--save", "", "--appendonly", "yes", "--appendfsync", "always"]
        super().__init__(command, {}, directory)

    @property
    def url(self) -> str:
        return f"{self.kind}://127.0.0.1:{self.port}"

    def is_up(self) -> bool:
        self.require_alive()
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as probe:
                if self.kind == "nats":
                    return probe.recv(4) == b"INFO"
                probe.sendall(b"PING\r\n")
                return probe.recv(5) == b"+PONG"
        except OSError:
            return False

    def restart(self) -> None:
        self.kill()
        self.start()
        until(self.is_up, f"{self.kind} is back")


class Rig:
    """Starts things, and ends them, last first."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()

    def _directory(self) -> Path:
        path = Path(tempfile.mkdtemp(prefix="weft-python-"))
        self._stack.callback(shutil.rmtree, path, ignore_errors=True)
        return path

    def gateway(self, bus: str = "memory:", port: int | None = None, **settings: str) -> Gateway:
        gateway = Gateway(bus, self._directory(), port, **settings)
        self._stack.callback(gateway.kill)
        until(gateway.is_ready, "the gateway is ready")
        return gateway

    def broker(self, kind: str) -> Broker:
        broker = Broker(kind, self._directory())
        self._stack.callback(broker.kill)
        until(broker.is_up, f"{kind} is up")
        return broker

    def end(self) -> None:
        self._stack.close()


@contextlib.contextmanager
def rig() -> Iterator[Rig]:
    begun = Rig()
    try:
        yield begun
    finally:
        begun.end()


def in_loop(
    test: Callable[..., Coroutine[Any, Any, None]], seconds: float = float(os.environ.get("WEFT_TEST_SECONDS", "60"))
) -> Callable[..., None]:
    """Runs an asynchronous test, with an end."""

    @functools.wraps(test)
    def run(*args: Any, **given: Any) -> None:
        asyncio.run(asyncio.wait_for(test(*args, **given), seconds))

    return run


def log_event(execution: str, message: str, **extra: Any) -> dict[str, Any]:
    return {
        "type": "log",
        "executionId": execution,
        "data": {"level": "info", "message": message},
        **extra,
    }


def stored(gateway: Gateway, room: str) -> list[dict[str, Any]]:
    """All events that a room holds."""
    events: list[dict[str, Any]] = []
    after = "0"
    while True:
        page = gateway.get(f"/api/rooms/{room}/events?limit=1000&after={after}")
        events += page["events"]
        after = page["next"]
        if page["complete"]:
            return events


async def drain(work: Awaitable[Any]) -> None:
    with contextlib.suppress(asyncio.CancelledError):
        await work
