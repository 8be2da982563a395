#!/usr/bin/env python3
"""Follows an execution from the terminal, with nothing but Python's standard library.

    python3 deploy/dev/follow.py <execution> [port…]

When its gateway goes away it continues on the next port, after the last event that it printed.
"""

import base64
import itertools
import json
import os
import socket
import struct
import sys
import time


def connect(port):
    stream = socket.create_connection(("127.0.0.1", port), timeout=5)
    key = base64.b64encode(os.urandom(16)).decode()
    stream.sendall(
        f"GET /api/ws HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    reader = stream.makefile("rb")
    status = reader.readline().decode().strip()
    while reader.readline().strip():
        pass
    if " 101 " not in status + " ":
        raise ConnectionError(status)
    # Pings come every 25 seconds.
    stream.settimeout(90)
    return stream, reader


def send(stream, opcode, payload):
    """Clients mask what they send, as the protocol wants."""
    mask = os.urandom(4)
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else bytes([0x80 | 126]) + struct.pack(">H", size)
    body = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
    stream.sendall(bytes([0x80 | opcode]) + length + mask + body)


def read_exactly(reader, size):
    data = reader.read(size)
    if len(data) < size:
        raise ConnectionError("the connection ended")
    return data


def frames(stream, reader):
    """Yields text messages and answers pings."""
    message = b""
    while True:
        first, second = read_exactly(reader, 2)
        size = second & 0x7F
        if size == 126:
            (size,) = struct.unpack(">H", read_exactly(reader, 2))
        elif size == 127:
            (size,) = struct.unpack(">Q", read_exactly(reader, 8))
        payload = read_exactly(reader, size)
        opcode = first & 0x0F
        if opcode == 8:
            raise ConnectionError(f"closed {payload[:2].hex() and struct.unpack('>H', payload[:2])[0]}")
        if opcode == 9:
            send(stream, 10, payload)
        elif opcode in (0, 1):
            message += payload
            if first & 0x80:
                yield message.decode()
                message = b""


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    room = f"execution:{sys.argv[1]}"
    ports = [int(port) for port in sys.argv[2:]] or [3001]
    offset = "0"
    for port in itertools.cycle(ports):
        try:
            stream, reader = connect(port)
            subscribe = {"type": "subscribe", "room": room, "offset": offset}
            send(stream, 1, json.dumps(subscribe).encode())
            for text in frames(stream, reader):
                event = json.loads(text)
                # Only events carry the position to go on from; the answer to a subscribe tells the room's tail.
                if ":" in event["type"] or event["type"] == "log":
                    offset = event.get("offset", offset)
                print(text, flush=True)
        except (OSError, ConnectionError) as error:
            print(f"port {port}: {error}; coming back", file=sys.stderr)
            time.sleep(1)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
