"""Follows an execution in the main namespace until it has ended.

python follow.py <execution> [--gateway http://127.0.0.1:3001] [--polling] [--answer <json>] [--cancel <reason>]

--answer answers the first prompt, --cancel cancels once the execution is followed.
"""

import argparse
import asyncio
import json

import socketio

parser = argparse.ArgumentParser()
parser.add_argument("execution")
parser.add_argument("--gateway", default="http://127.0.0.1:3001")
parser.add_argument("--polling", action="store_true")
parser.add_argument("--answer")
parser.add_argument("--cancel")
given = parser.parse_args()

client = socketio.AsyncClient(reconnection_delay=0.5)
ended = asyncio.Event()
asking = asyncio.Lock()


def say(*words: object) -> None:
    print(*words, flush=True)


async def command(name: str, body: dict[str, object]) -> None:
    async with asking:
        answer = await client.call(name, {"executionId": given.execution, **body})
    say("ack", name, "accepted" if answer["ok"] else answer["code"])


async def answer_prompt(request_id: str) -> None:
    if given.answer is not None:
        value, given.answer = json.loads(given.answer), None
        await command("user_input:provide", {"requestId": request_id, "value": value})


@client.event
async def connect() -> None:
    answer = await client.call("subscribe", f"execution:{given.execution}")
    say("subscribed", answer["outcome"])
    if given.cancel is not None:
        reason, given.cancel = given.cancel, None
        await command("cancel", {"reason": reason})


@client.event
async def disconnect(*_reason: object) -> None:
    if not ended.is_set():
        say("lost")


@client.event
async def snapshot(message: dict) -> None:
    state = message["snapshot"]
    say("snapshot", state["status"])
    if state["status"] in ("completed", "failed", "cancelled"):
        ended.set()
    for prompt in state["pendingInput"][:1]:
        await answer_prompt(prompt["requestId"])


@client.on("user_input:required")
async def required(event: dict) -> None:
    await answer_prompt(event["data"]["requestId"])


@client.event
async def log(event: dict) -> None:
    say("log", event["data"]["message"])


@client.on("*")
async def anything(name: str, event: dict) -> None:
    say(name)
    if name in ("execution:completed", "execution:failed", "execution:cancelled"):
        ended.set()


async def main() -> None:
    transports = ["polling"] if given.polling else ["polling", "websocket"]
    await client.connect(given.gateway, transports=transports)
    await ended.wait()
    # The end of an execution may come before the answer to what ended it.
    async with asking:
        await client.disconnect()


asyncio.run(main())
