"""Prints what happens in an execution until it has ended.

python follow.py <execution> [--gateway http://127.0.0.1:3001] [--from-start] [--forgetful]

Each frame has an `offset`; passed back as `?offset=`, the next connection goes on where the last one ended, at any
gateway. With --forgetful it is not passed back, as by clients that know nothing of it: they get the state again.
"""

import argparse
import asyncio
import json
import random

import websockets


async def frames(address: str, offset: str | None, forgetful: bool):
    while True:
        try:
            async with websockets.connect(address + (f"?offset={offset}" if offset else "")) as socket:
                print("connected", flush=True)
                async for text in socket:
                    frame = json.loads(text)
                    if not forgetful:
                        offset = frame.get("offset", offset)
                    yield frame
        except (OSError, websockets.WebSocketException) as error:
            print("lost", type(error).__name__, flush=True)
        await asyncio.sleep(random.uniform(0.1, 1))


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("execution")
    parser.add_argument("--gateway", default="http://127.0.0.1:3001")
    parser.add_argument("--from-start", action="store_true")
    parser.add_argument("--forgetful", action="store_true")
    given = parser.parse_args()
    address = f"{given.gateway.replace('http', 'ws', 1)}/api/ws/executions/{given.execution}"
    async for frame in frames(address, "0" if given.from_start else None, given.forgetful):
        match frame:
            case {"type": "status", "status": status, "data": {"progress": progress}}:
                print("status", status, progress, flush=True)
            case {"type": "node_update", "node_id": node, "node_state": {"status": status}}:
                print("node", node, status, flush=True)
            case {"type": "log", "log": {"message": message}}:
                print("log", message, flush=True)
            case {"type": "completion", "result": {"output": output}}:
                print("completion", json.dumps(output), flush=True)
                return
            case {"type": "error", "execution_id": _, "error": error}:
                print("error", error, flush=True)
                return


asyncio.run(main())
