"""What conformance.sh needs of Python: counting the suite's results, and a client that others wrote.

    python3 conformance.py count autobahn/index.json
    python3 conformance.py differ target/release/gateway
"""

import asyncio
import collections
import json
import os
import random
import socket
import subprocess
import sys
import urllib.request

GOOD = {"OK", "NON-STRICT", "INFORMATIONAL"}
# Every offer of these groups demands a window of 9 bits of the server. We decline it, and stay uncompressed.
DECLINED = ("13.3.", "13.5.")


def count(path):
    """Prints how many cases of each section ended how; fails unless all are good."""
    with open(path, encoding="utf-8") as file:
        (cases,) = json.load(file).values()
    sections = collections.defaultdict(collections.Counter)
    bad = []
    for name, case in cases.items():
        sections[int(name.split(".")[0])][case["behavior"]] += 1
        is_declined = case["behavior"] == "UNIMPLEMENTED" and name.startswith(DECLINED)
        if not (is_declined or case["behavior"] in GOOD) or case["behaviorClose"] not in GOOD:
            bad.append(f"{name}: {case['behavior']}, close {case['behaviorClose']}")
    for section, results in sorted(sections.items()):
        print(f"section {section}: " + ", ".join(f"{number} {result}" for result, number in sorted(results.items())))
    print(f"{len(cases)} cases, {len(bad)} failed")
    print("\n".join(bad))
    return not bad


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def publish(port, events):
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/events", json.dumps(events).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 202, answer.status


def events(number, rng):
    """Events of all sizes, of text that compresses and text that does not, some of it beyond ASCII."""
    for n in range(number):
        size = rng.choice([0, 10, 125, 126, 190, 210, 1000, 65_000, 66_000, 300_000])
        letters = rng.choice(["abc ", "äöü☃🦀", [chr(code) for code in range(0x20, 0x2000)]])
        text = "".join(rng.choice(letters) for _ in range(size // 3))
        yield {"type": "log", "executionId": "e", "data": {"level": "info", "message": text, "n": n}}


async def hear(client, number):
    heard = []
    while len(heard) < number:
        message = await asyncio.wait_for(client.recv(), 30)
        heard += [frame for frame in map(json.loads, message.split("\n")) if frame["type"] == "log"]
    return heard


async def talk(port, rng):
    from websockets.asyncio.client import connect

    url = f"ws://127.0.0.1:{port}/api/ws"
    options = {"deflate": {}, "plain": {"compression": None}, "batch": {}, "two rooms": {}}
    clients = {name: await connect(url, max_size=None, **kwargs) for name, kwargs in options.items()}
    for name, client in clients.items():
        assert json.loads(await client.recv())["type"] == "connected"
        rooms = [{"room": "execution:e"}] + [{"room": "user:u"}] * (name == "two rooms")
        await client.send(json.dumps({"type": "subscribe", "rooms": rooms, "batch": name == "batch"}))
        for _ in rooms:
            assert json.loads(await client.recv())["type"] == "subscribed", name
    sent = list(events(200, rng))
    reading = {name: asyncio.create_task(hear(client, len(sent))) for name, client in clients.items()}
    for some in range(0, len(sent), 20):
        await asyncio.to_thread(publish, port, sent[some : some + 20])
    for name, task in reading.items():
        heard = await task
        assert [frame["data"] for frame in heard] == [event["data"] for event in sent], name
        print(f"{name}: {len(heard)} events as they were published")
    for size in [0, 1, 125, 126, 1000, 65_535, 65_536, 500_000]:
        for name, client in clients.items():
            # In one frame and in several, compressed where that was agreed.
            text = json.dumps({"type": "ping", "ref": str(size), "padding": "x" * size})
            for message in (text, [text[:5], text[5:6], text[6:]]):
                await client.send(message)
                assert json.loads(await client.recv())["ref"] == str(size), name
            await asyncio.wait_for(await client.ping(), 10)
    for name, client in clients.items():
        await client.close(4000, "done")
        assert client.close_code == 4000, (name, client.close_code)
    print("pings of every size, in one frame and in several; closed with the code given")


def differ(gateway):
    seed = int(os.environ.get("WEFT_TEST_SEED", random.randrange(2**32)))
    print(f"seed {seed}")
    port = free_port()
    env = {
        **os.environ,
        "WEFT_LISTEN": f"127.0.0.1:{port}",
        "WEFT_ADMIN_LISTEN": f"127.0.0.1:{free_port()}",
        "WEFT_AUTH": "off",
        "WEFT_BUS": "memory:",
        "WEFT_LOG": "warn",
    }
    server = subprocess.Popen([gateway], env=env)
    try:
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                asyncio.run(asyncio.sleep(0.1))
        asyncio.run(talk(port, random.Random(seed)))
    finally:
        server.kill()
        server.wait()
    return True


if __name__ == "__main__":
    sys.exit(0 if {"count": count, "differ": differ}[sys.argv[1]](sys.argv[2]) else 1)
