"""Runs a gateway and an executor under the rights of deploy/brokers, and tries what those rights are to forbid.

    python3 brokers.py [--bites] [directory with the programs]       default: target/debug

On NATS (the current one, and Debian's where it is) and on Redis, with passwords, and with TLS and client certificates
besides: a workflow is ordered, an execution is cancelled, an event comes by HTTP, a Socket.IO client follows, a token is
revoked; events must come, and the broker must have refused nothing. Then what each user must not do is tried, and must be refused. With --bites also
that a right too few and a right too many are noticed. Under a minute; needs nats-server, redis-server and openssl.
"""

import base64
import hashlib
import hmac
import json
import os
import re
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from lab import ROOT, Lab, free_port, nats_server

BROKERS = ROOT / "deploy" / "brokers"
PASSWORDS = {"setup": "s-secret", "gateway": "g-secret", "executor": "e-secret"}


class Problem(Exception):
    """Something is not as the rights promise."""


def encoded(content):
    return base64.urlsafe_b64encode(content).rstrip(b"=")


def token(secret, **claims):
    """A JSON Web Token."""
    claims = {"iat": int(time.time()), "exp": int(time.time()) + 600, **claims}
    head, body = (encoded(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims))
    return b".".join([head, body, encoded(hmac.digest(secret, head + b"." + body, "sha256"))]).decode()


class Gateway:
    """A gateway as its clients see it; they bring a token."""

    def __init__(self, port, bearer):
        self.port, self.bearer = port, bearer

    def ask(self, path, body=None, bearer=None, port=None):
        headers = {"Authorization": f"Bearer {bearer or self.bearer}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{port or self.port}{path}", data, headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read() or b"null")

    def follow(self, *messages):
        client = WebSocket(self.port, "/api/ws", self.bearer)
        for message in messages:
            client.send(json.dumps(message))
        return client


class WebSocket:
    """Enough of a client."""

    def __init__(self, port, path, bearer):
        self.stream = socket.create_connection(("127.0.0.1", port), timeout=20)
        key = base64.b64encode(os.urandom(16)).decode()
        self.stream.sendall(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nAuthorization: Bearer {bearer}\r\n\r\n".encode()
        )
        self.reader = self.stream.makefile("rb")
        while self.reader.readline().strip():
            pass

    def send(self, text):
        body, mask = text.encode(), os.urandom(4)
        length = bytes([0x80 | len(body)]) if len(body) < 126 else bytes([0xFE]) + struct.pack(">H", len(body))
        self.stream.sendall(b"\x81" + length + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(body)))

    def texts(self):
        while True:
            first, size = self.reader.read(2)
            if size >= 126:
                size = int.from_bytes(self.reader.read(2 if size == 126 else 8), "big")
            payload = self.reader.read(size)
            if first & 15 == 1:
                yield payload.decode()
            elif first & 15 == 8:
                raise Problem(f"the gateway closed: {payload!r}")

    def until(self, is_it):
        for text in self.texts():
            if is_it(text):
                return text


def of_type(*types):
    def is_it(text):
        kind = json.loads(text)["type"]
        if kind == "error":
            raise Problem(f"a client was refused: {text}")
        return kind in types

    return is_it


def certificates(directory):
    """An authority, a server's certificate for 127.0.0.1, and a client's."""
    run = lambda *command: subprocess.run(["openssl", *command], cwd=directory, check=True, capture_output=True)
    run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=authority",
        "-keyout", "ca.key", "-out", "ca.crt", "-addext", "keyUsage=critical,keyCertSign")
    for name, more in (("server", "subjectAltName=IP:127.0.0.1"), ("client", "extendedKeyUsage=clientAuth")):
        (directory / f"{name}.ext").write_text(f"basicConstraints=CA:FALSE\n{more}\n")
        run("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        run("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-days", "2", "-extfile", f"{name}.ext", "-out", f"{name}.crt")


class Broker(Lab):
    """A server with our files, and programs that use it."""

    def __init__(self, programs, is_tls, change):
        super().__init__(programs)
        self.is_tls, self.change, self.port = is_tls, change, free_port()
        if is_tls:
            certificates(self.directory)

    def file(self, name, *replacements):
        """A copy of one of our files, for this machine."""
        text = self.change((BROKERS / name).read_text())
        text = re.sub(r"/etc/(nats|redis)/tls/", f"{self.directory}/", text).replace("tls.crt", "server.crt").replace("tls.key", "server.key")
        for old, new in replacements:
            text = text.replace(old, new)
        (self.directory / name).write_text(text)
        return self.directory / name

    def url(self, user):
        scheme = self.schemes[self.is_tls]
        return f"{scheme}://weft-{user}:{PASSWORDS[user]}@127.0.0.1:{self.port}"

    def run(self, program, user, **variables):
        """Starts a program and waits until it is ready; its port."""
        http, admin = free_port(), free_port()
        listen = "WEFT_LISTEN" if program == "gateway" else "WEFT_EXECUTOR_LISTEN"
        variables |= {listen: f"127.0.0.1:{http}", "WEFT_ADMIN_LISTEN": f"127.0.0.1:{admin}", "WEFT_BUS": self.url(user), "WEFT_DRAIN_SECS": "1"}
        if self.is_tls:
            files = {"CA": "ca.crt", "CERT": "client.crt", "KEY": "client.key"}
            variables |= {f"WEFT_BUS_TLS_{name}_FILE": str(self.directory / file) for name, file in files.items()}
        self.start(user, self.programs / program, **variables)
        try:
            self.wait(user, f"http://127.0.0.1:{admin}/readyz", 20)
        except SystemExit as reason:
            raise Problem(str(reason)) from None
        return http

    def leave(self, user):
        process = self.processes.pop(user)
        process.terminate()
        if process.wait(20) != 0:
            raise Problem(f"{user} ended with {process.returncode}:\n{(self.directory / f'{user}.log').read_text()[-2000:]}")

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=5)

    def listens(self):
        """Waits for the server; nothing is left behind where it does not come up."""
        for _ in range(100):
            try:
                return self.connect().close()
            except OSError:
                time.sleep(0.1)
        said = (self.directory / "broker.log").read_text()
        self.end()
        raise Problem(f"the broker does not listen:\n{said[-1000:]}")

    def secured(self, stream, with_certificate=True):
        if not self.is_tls:
            return stream
        context = ssl.create_default_context(cafile=self.directory / "ca.crt")
        if with_certificate:
            context.load_cert_chain(self.directory / "client.crt", self.directory / "client.key")
        return context.wrap_socket(stream, server_hostname="127.0.0.1")


class Nats(Broker):
    schemes = ("nats", "nats+tls")

    def __init__(self, programs, is_tls=False, change=lambda text: text, server=None):
        super().__init__(programs, is_tls, change)
        files = ["nats.conf"] + ["nats-tls.conf"] * is_tls
        for name in files:
            self.file(name)
        includes = "".join(f'include "{name}"\n' for name in files)
        whole = self.directory / "whole.conf"
        whole.write_text(f'{includes}listen: "127.0.0.1:{self.port}"\n')
        passwords = {f"WEFT_{user.upper()}_PASSWORD": password for user, password in PASSWORDS.items()}
        # -sd: the store's directory is not in the file.
        self.start("broker", server or nats_server(), "-c", whole, "-sd", self.directory / "store", **passwords)
        self.listens()

    def prepare(self):
        """The streams are made by the user who may."""
        self.run("gateway", "setup")
        self.leave("setup")

    def refused(self):
        return [line for line in (self.directory / "broker.log").read_text().splitlines() if "iolation" in line]

    def session(self, user, with_certificate=True):
        stream = self.connect()
        stream.recv(65536)
        stream = self.secured(stream, with_certificate)
        options = {"verbose": False, "pedantic": False, "user": f"weft-{user}", "pass": PASSWORDS.get(user, ""), "lang": "x", "version": "1", "protocol": 1}
        stream.sendall(f"CONNECT {json.dumps(options)}\r\n".encode())
        return stream

    def attempt(self, user, command):
        with self.session(user) as stream:
            stream.sendall(f"{command}\r\nPING\r\n".encode())
            answer = b""
            while b"PONG" not in answer and b"-ERR" not in answer:
                part = stream.recv(65536)
                if not part:
                    break
                answer += part
            return b"iolation" in answer

    def listen_in(self):
        """An executor that would like to hear what others are answered; what it hears."""
        stream = self.session("executor")
        stream.sendall(b"SUB _INBOX.> 1\r\nPING\r\n")
        while b"PONG" not in stream.recv(65536):
            pass
        return stream

    def heard(self, stream):
        heard = b""
        with stream:
            stream.sendall(b"PING\r\n")
            while b"PONG" not in heard:
                heard += stream.recv(65536) or b"PONG"
        if b"_INBOX.weft-gateway" in heard:
            raise Problem(f"an executor hears what gateways are answered: {heard[:300]!r}")
        if b"_INBOX." not in heard:
            raise Problem("an executor hears nothing at all: this check shows nothing")

    forbidden = [
        *((user, command) for user in ("gateway", "executor") for command in (
            "PUB $JS.API.STREAM.DELETE.WEFT_EVENTS 0\r\n", "PUB $JS.API.STREAM.PURGE.WEFT_EVENTS 0\r\n", "PUB $JS.API.STREAM.PURGE.WEFT_HEADS 0\r\n",
            "PUB $JS.API.STREAM.CREATE.OTHER 0\r\n", "PUB $JS.API.STREAM.UPDATE.WEFT_EVENTS 0\r\n", "PUB $JS.API.STREAM.LIST 0\r\n",
            "PUB $JS.API.STREAM.MSG.DELETE.WEFT_EVENTS 0\r\n", "PUB $JS.API.CONSUMER.CREATE.WEFT_EVENTS 0\r\n", "PUB other.subject 0\r\n",
            "PUB _INBOX.x 0\r\n", "PUB weft.live.execution:x 0\r\n", "PUB weft.head.a.b 0\r\n", "SUB > 1", "SUB weft.> 1", "SUB weft.* 1", "SUB weft.head.* 1", "SUB weft.journal.* 1", "SUB $JS.> 1",
        )),
        *(("executor", command) for command in (
            "PUB weft.journal.revocations 0\r\n", "PUB weft.record.recovery.x 0\r\n", "PUB weft.cmd.x 0\r\n", "PUB weft.present.gateway.x 0\r\n",
            "SUB weft.live.* 1", "SUB weft.live.execution:x 1", "SUB _INBOX.weft-gateway.> 1", "SUB _INBOX.weft-gateway.x.* 1",
            "PUB $JS.API.STREAM.MSG.GET.WEFT_JOURNALS 0\r\n", "PUB $JS.API.STREAM.MSG.GET.WEFT_RECORDS 0\r\n", "PUB $JS.API.STREAM.PURGE.WEFT_RECORDS 0\r\n",
        )),
        ("gateway", "SUB _INBOX.> 1"),
        ("setup", "PUB weft.execution:x 0\r\n"), ("setup", "PUB $JS.API.STREAM.DELETE.WEFT_EVENTS 0\r\n"), ("nobody", "PING"),
    ]


class Redis(Broker):
    schemes = ("redis", "rediss")

    def listen_in(self):
        """There are no rights on channels of replies that could be told apart."""

    def heard(self, stream):
        pass

    def __init__(self, programs, is_tls=False, change=lambda text: text):
        super().__init__(programs, is_tls, change)
        hashes = [(f"WEFT_{user.upper()}_SHA256", hashlib.sha256(password.encode()).hexdigest()) for user, password in PASSWORDS.items()]
        acl = self.file("redis.acl", *hashes)
        # For us alone: to read what was refused.
        self.admin = hashlib.sha256(b"admin").hexdigest()
        acl.write_text(acl.read_text() + f"user admin on #{self.admin} ~* &* +@all\n")
        main = self.file("redis.conf", ("/etc/redis/redis.acl", str(acl)))
        lines = [f"include {main}", "bind 127.0.0.1", f"dir {self.directory}"]
        lines += [f"include {self.file('redis-tls.conf')}", f"tls-port {self.port}"] if is_tls else [f"port {self.port}"]
        whole = self.directory / "whole.conf"
        whole.write_text("\n".join(lines) + "\n")
        server = os.environ.get("WEFT_TEST_REDIS_SERVER") or shutil.which("redis-server") or sys.exit("redis-server not found: make fetch")
        self.start("broker", server, whole)
        self.listens()

    def prepare(self):
        pass

    def session(self, user, with_certificate=True):
        stream = self.secured(self.connect(), with_certificate)
        if user != "nobody":
            name, password = ("admin", "admin") if user == "admin" else (f"weft-{user}", PASSWORDS[user])
            ask(stream, "AUTH", name, password)
        return stream

    def refused(self):
        with self.session("admin") as stream:
            answer = ask(stream, "ACL", "LOG")
        return [] if answer == b"*0\r\n" else [answer.decode(errors="replace")[:600]]

    def attempt(self, user, command):
        with self.session(user) as stream:
            answer = ask(stream, *command.split(" "))
            return answer.startswith((b"-NOPERM", b"-NOAUTH")) or b"can't" in answer

    forbidden = [
        *((user, command) for user in ("gateway", "executor") for command in (
            "FLUSHALL", "FLUSHDB", "KEYS *", "SCAN 0", "CONFIG GET *", "CLIENT LIST", "CLIENT KILL TYPE pubsub", "ACL LIST", "SHUTDOWN", "SCRIPT FLUSH", "SWAPDB 0 1",
            "MONITOR", "REPLICAOF NO ONE", "GET other:key", "SET other:key x", "PUBLISH other x", "PSUBSCRIBE *", "SUBSCRIBE weft:other:x", "PUBSUB CHANNELS",
            "FUNCTION LIST", "MODULE LIST", "EVAL return(redis.call('KEYS','*')) 0",
        )),
        *(("executor", command) for command in ("GET weft:record:recovery:x", "XRANGE weft:journal:revocations - +", "XADD weft:journal:revocations * d x", "DEL weft:record:recovery:x")),
        ("nobody", "GET weft:{execution:x}:h"), ("nobody", "PUBLISH execution:x x"), ("nobody", "PING"),
    ]


def ask(stream, *words):
    stream.sendall(f"*{len(words)}\r\n".encode() + b"".join(f"${len(word)}\r\n{word}\r\n".encode() for word in words))
    return stream.recv(65536)


def use(broker):
    """What clients, executors and operators do, once through."""
    broker.prepare()
    ear = broker.listen_in()
    secret, control = os.urandom(32).hex(), os.urandom(16).hex()
    files = {"WEFT_FLEET_KEY_FILE": os.urandom(32).hex(), "WEFT_JWT_SECRET_FILE": secret, "WEFT_CONTROL_TOKEN_FILE": control}
    for variable, content in files.items():
        (broker.directory / variable).write_text(content)
    settings = {variable: str(broker.directory / variable) for variable in files}
    control_port = free_port()
    bearer = token(secret.encode(), sub="operator", scope="admin events:publish")
    port = broker.run("gateway", "gateway", WEFT_AUTH="jwt", WEFT_CONTROL_LISTEN=f"127.0.0.1:{control_port}", **settings)
    broker.run("executor", "executor", WEFT_WORKFLOW_DIR=str(ROOT / "services/executor/workflows"))
    gateway = Gateway(port, bearer)
    gateway.ask("/api/workflows/demo/execute", {"executionId": "ordered"})
    client = gateway.follow({"type": "subscribe", "room": "execution:ordered", "offset": "0", "snapshot": True})
    client.until(of_type("execution:completed"))
    # An execution that waits for an answer is cancelled: a command to the executor that runs it.
    gateway.ask("/api/workflows/approval/execute", {"executionId": "waiting"})
    client = gateway.follow({"type": "subscribe", "room": "execution:waiting", "offset": "0"})
    client.until(of_type("user_input:required"))
    client.send(json.dumps({"type": "cancel", "executionId": "waiting", "ref": "c"}))
    # In any order.
    for _ in range(2):
        client.until(of_type("ack", "execution:cancelled"))
    gateway.ask("/api/events", {"type": "log", "executionId": "posted", "userId": "u", "data": {"level": "info", "message": "m"}})
    gateway.follow({"type": "subscribe", "room": "user:u", "offset": "0"}).until(of_type("log"))
    listed = gateway.ask("/api/executions")
    if not listed.get("executions"):
        raise Problem(f"no executions are listed: {listed}")
    if len(gateway.ask("/api/fleet")["gateways"]) != 1:
        raise Problem("the gateway is not announced")
    follow_by_socketio(gateway)
    revoke(gateway, control_port, control)
    broker.leave("executor")
    broker.leave("gateway")
    broker.heard(ear)
    if broker.refused():
        raise Problem("the broker refused what the programs need:\n" + "\n".join(broker.refused()))


def follow_by_socketio(gateway):
    """Its recovery record is written before the subscribe is answered."""
    client = WebSocket(gateway.port, "/socket.io/?EIO=4&transport=websocket", gateway.bearer)
    client.until(lambda text: text.startswith("0{"))
    client.send(f"40/executions,{json.dumps({'token': gateway.bearer})}")
    client.until(lambda text: text.startswith("40/executions,"))
    client.send('42/executions,1["subscribe","posted"]')
    answer = client.until(lambda text: text.startswith("43/executions,1"))
    if '"ok":true' not in answer:
        raise Problem(f"Socket.IO: {answer}")


def revoke(gateway, port, bearer):
    """A line in the journal, which the gateway reads again before the token is refused for good."""
    gateway.ask("/admin/revoke", {"subject": "operator"}, bearer, port)
    for _ in range(50):
        try:
            gateway.ask("/api/executions")
        except urllib.error.HTTPError as refused:
            if refused.code == 401:
                return
            raise Problem(f"a revoked token is answered {refused.code}") from None
        time.sleep(0.1)
    raise Problem("a revoked token still lets in")


def try_forbidden(broker):
    for user, command in broker.forbidden:
        if not broker.attempt(user, command):
            raise Problem(f"{user} may {command.strip()}")
    if broker.is_tls:
        try:
            with broker.session("gateway", with_certificate=False) as stream:
                answer = stream.recv(100)
            came_in = bool(answer) and not answer.startswith(b"-")
        except (ssl.SSLError, OSError):
            came_in = False
        if came_in:
            raise Problem("a client without a certificate came in")


def tried(make, *parts):
    broker = make()
    try:
        for part in parts:
            part(broker)
    finally:
        broker.end()


def main():
    words = [word for word in sys.argv[1:] if word != "--bites"]
    programs = words[0] if words else Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug"
    debian = os.environ.get("WEFT_TEST_NATS_SERVER_DEBIAN") or shutil.which("nats-server") or shutil.which("nats-server", path="/usr/sbin")
    cases = {
        "NATS": lambda: Nats(programs),
        "NATS, TLS": lambda: Nats(programs, is_tls=True),
        "Redis": lambda: Redis(programs),
        "Redis, TLS": lambda: Redis(programs, is_tls=True),
    }
    if debian and Path(debian) != Path(nats_server()):
        cases["NATS of Debian"] = lambda: Nats(programs, server=debian, change=lambda text: text.replace("sync_interval: 10s", ""))
    failures = 0
    for name, make in cases.items():
        try:
            tried(make, use, try_forbidden)
            print(f"{name}: what is needed is allowed, what is not is refused")
        except (Problem, OSError, ValueError) as problem:
            failures += 1
            print(f"{name}: {type(problem).__name__}: {problem}")
    # A right too few, a right too many.
    mutants = {
        "NATS without heads": (lambda: Nats(programs, change=lambda text: text.replace('"weft.head.*", ', "")), use),
        "NATS where executors hear all replies": (lambda: Nats(programs, change=lambda text: text.replace(', deny: ["_INBOX.weft-gateway.>"]', "")), use),
        "NATS with a right to purge": (lambda: Nats(programs, change=lambda text: text.replace("STREAM.PURGE.WEFT_PRESENCE", "STREAM.PURGE.*")), try_forbidden),
        "Redis without PTTL": (lambda: Redis(programs, change=lambda text: text.replace(" +pttl", "")), use),
        "Redis with all keys": (lambda: Redis(programs, change=lambda text: text.replace("~weft:*", "~*")), try_forbidden),
    }
    for name, (make, part) in mutants.items() if "--bites" in sys.argv else ():
        try:
            tried(make, part)
            failures += 1
            print(f"not noticed: {name}")
        except (Problem, OSError, ValueError):
            pass
    print(f"{len(cases)} brokers, {len(Nats.forbidden) + len(Redis.forbidden)} forbidden commands: {failures} problems")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
