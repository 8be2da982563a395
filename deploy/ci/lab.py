"""Programs that are started for a check and end with it, on ports of loopback."""

import base64
import hashlib
import hmac
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Below those that the kernel gives to outgoing connections: a server that is started anew must have its port back.
STEADY_PORTS = range(12_000, 30_000)


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def steady_port():
    """One that no outgoing connection takes while its server is away."""
    while True:
        port = random.choice(STEADY_PORTS)
        with socket.socket() as one:
            try:
                one.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def get(url, timeout=10):
    with urllib.request.urlopen(url, timeout=timeout) as answer:
        return answer.read()


def post(url, body, timeout=10, **headers):
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json", **headers})
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        return json.load(answer)


def token(secret, subject, **claims):
    """HS256, for an hour."""
    claims = {"sub": subject, "iat": int(time.time()), "exp": int(time.time()) + 3600, **claims}
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in ({"alg": "HS256", "typ": "JWT"}, claims)]
    signature = hmac.new(secret.encode(), b".".join(parts), hashlib.sha256).digest()
    return b".".join([*parts, base64.urlsafe_b64encode(signature).rstrip(b"=")]).decode()


def nats_server():
    for place in (os.environ.get("WEFT_TEST_NATS_SERVER"), ROOT / ".cache/natsvenv/bin/nats-server", "/opt/natsvenv/bin/nats-server"):
        if place and os.access(place, os.X_OK):
            return place
    return shutil.which("nats-server") or shutil.which("nats-server", path="/usr/sbin") or sys.exit("nats-server not found: make fetch")


class Lab:
    """Processes that end with this one."""

    def __init__(self, programs):
        self.directory = Path(tempfile.mkdtemp(prefix="weft-live-"))
        self.programs, self.processes = Path(programs).resolve(), {}

    def start(self, name, *command, **variables):
        log = open(self.directory / f"{name}.log", "a")
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
        sys.exit(f"{name} is not ready:\n{self.log(name)[-2000:]}")

    def log(self, name):
        return (self.directory / f"{name}.log").read_text(errors="replace")

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
