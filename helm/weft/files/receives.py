"""Opens a WebSocket to a gateway, publishes an event over HTTP and waits until the event comes back.

    python3 receives.py http://gateway:80 [seconds]

Nothing but the standard library. Where clients authenticate, the file that WEFT_TEST_TOKEN_FILE names holds a token. Exit
code 0: the event came.
"""

import base64
import json
import os
import socket
import ssl
import struct
import sys
import time
import urllib.request
from urllib.parse import urlsplit


# Inside the cluster a gateway has another name than its certificate says: what is tried is that events come.
TLS = ssl.create_default_context()
TLS.check_hostname = False
TLS.verify_mode = ssl.CERT_NONE


def authorization():
    path = os.environ.get("WEFT_TEST_TOKEN_FILE")
    if not path:
        return {}
    with open(path) as file:
        return {"Authorization": f"Bearer {file.read().strip()}"}


def connect(url, deadline):
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    stream = socket.create_connection((parts.hostname, port), timeout=max(1, deadline - time.monotonic()))
    if parts.scheme == "https":
        stream = TLS.wrap_socket(stream, server_hostname=parts.hostname)
    key = base64.b64encode(os.urandom(16)).decode()
    headers = "".join(f"{name}: {value}\r\n" for name, value in authorization().items())
    stream.sendall(
        f"GET /api/ws HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n{headers}\r\n".encode()
    )
    reader = stream.makefile("rb")
    status = reader.readline().decode().strip()
    while reader.readline().strip():
        pass
    if " 101 " not in status + " ":
        raise ConnectionError(f"no upgrade: {status}")
    return stream, reader


def send(stream, opcode, payload):
    mask = os.urandom(4)
    body = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else bytes([0x80 | 126]) + struct.pack(">H", size)
    stream.sendall(bytes([0x80 | opcode]) + length + mask + body)


def read_exactly(reader, size):
    data = reader.read(size)
    if len(data) < size:
        raise ConnectionError("the connection ended")
    return data


def messages(stream, reader, deadline):
    while True:
        stream.settimeout(max(0.1, deadline - time.monotonic()))
        first, second = read_exactly(reader, 2)
        size = second & 0x7F
        if size == 126:
            (size,) = struct.unpack(">H", read_exactly(reader, 2))
        elif size == 127:
            (size,) = struct.unpack(">Q", read_exactly(reader, 8))
        payload = read_exactly(reader, size)
        opcode = first & 0x0F
        if opcode == 8:
            code = struct.unpack(">H", payload[:2])[0] if size >= 2 else "without a code"
            raise ConnectionError(f"closed {code}")
        if opcode == 9:
            send(stream, 10, payload)
        elif opcode in (0, 1):
            yield json.loads(payload)


def publish(url, execution, mark):
    event = {"type": "log", "executionId": execution, "data": {"level": "info", "message": mark}}
    request = urllib.request.Request(
        f"{url}/api/events", json.dumps(event).encode(), {"Content-Type": "application/json", **authorization()}
    )
    with urllib.request.urlopen(request, timeout=10, context=TLS) as answer:
        if answer.status not in (200, 202):
            raise ConnectionError(f"publishing was answered {answer.status}")


def receive(url, seconds):
    deadline = time.monotonic() + seconds
    mark = f"test-{os.urandom(6).hex()}"
    stream, reader = connect(url, deadline)
    subscribe = {"type": "subscribe", "room": f"execution:{mark}", "ref": "1"}
    send(stream, 1, json.dumps(subscribe).encode())
    for message in messages(stream, reader, deadline):
        if message.get("type") == "error":
            raise ConnectionError(f"refused: {message}")
        if message.get("type") == "subscribed":
            # What is published from here on must come, also on a bus that stores nothing.
            publish(url, mark, mark)
        elif message.get("type") == "log" and message.get("data", {}).get("message") == mark:
            send(stream, 8, struct.pack(">H", 1000))
            return


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    url = sys.argv[1].rstrip("/")
    began = time.monotonic()
    try:
        receive(url, float(sys.argv[2]) if len(sys.argv) > 2 else 30)
    except (OSError, ValueError) as error:
        sys.exit(f"{url}: {error}")
    print(f"{url}: an event was published and received in {time.monotonic() - began:.2f} s")


main()
