"""Publishing through gateways that refuse, fail, and go away."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Callable, Union

import pytest

import weft
from rig import Rig, in_loop, log_event, stored, until_async

#: Status, headers and body; or None to break the connection.
Answer = Union[tuple[int, dict[str, str], Any], None]


class Scripted:
    """A gateway that answers as a test says, and stores what it accepts."""

    def __init__(self, answer: Callable[[int, list[dict[str, Any]], dict[str, str]], Answer]) -> None:
        self.answer = answer
        self.requests = 0
        self.stored: list[str] = []
        self.url = ""

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readline():
                headers: dict[str, str] = {}
                while line := (await reader.readline()).decode().strip():
                    name, _, value = line.partition(":")
                    headers[name.lower()] = value.strip()
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                events = [json.loads(line) for line in body.splitlines()]
                self.requests += 1
                answered = self.answer(self.requests, events, headers)
                if answered is None:
                    return
                status, more, content = answered
                if status == 202 and content is None:
                    self.stored += [event["data"]["message"] for event in events]
                    content = {"accepted": len(events)}
                text = content if isinstance(content, str) else json.dumps(content)
                told = "".join(f"{name}: {value}\r\n" for name, value in more.items())
                writer.write(f"HTTP/1.1 {status} X\r\n{told}content-length: {len(text)}\r\n\r\n{text}".encode())
        finally:
            writer.close()


@asynccontextmanager
async def scripted(answer: Callable[[int, list[dict[str, Any]], dict[str, str]], Answer]) -> AsyncIterator[Scripted]:
    gateway = Scripted(answer)
    async with await asyncio.start_server(gateway.handle, "127.0.0.1", 0) as server:
        gateway.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield gateway


def refusal(code: str, **more: Any) -> dict[str, Any]:
    return {"error": {"code": code, "message": f"because {code}", **more}}


@in_loop
async def test_what_may_pass_is_sent_again() -> None:
    troubles: list[Answer] = [
        (503, {"retry-after": "0.1"}, refusal("draining")),
        (429, {}, refusal("rate_limited")),
        (502, {}, "<html>no JSON</html>"),
        None,
        (202, {}, {"accepted": 1}),
        (202, {}, "what?"),
    ]

    def answer(request: int, events: list[dict[str, Any]], headers: dict[str, str]) -> Answer:
        return troubles[request - 1] if request <= len(troubles) else (202, {}, None)

    async with scripted(answer) as gateway, weft.Publisher(gateway.url) as publisher:
        for at in range(5):
            publisher.enqueue(log_event("e", str(at)))
        await publisher.flush()
        assert (gateway.stored, publisher.losses.total) == (list("01234"), 0)
        assert gateway.requests == len(troubles) + 1


@in_loop
async def test_what_is_refused_for_good_is_found_and_the_others_go_on() -> None:
    def answer(request: int, events: list[dict[str, Any]], headers: dict[str, str]) -> Answer:
        said = [event["data"]["message"] for event in events]
        if "mismatch" in said:
            return 409, {}, refusal("owner_mismatch", index=said.index("mismatch"))
        if "nameless" in said:
            # Refused without saying which.
            return 400, {}, refusal("invalid")
        if "large" in said:
            return 413, {}, refusal("too_large")
        return 202, {}, None

    async with scripted(answer) as gateway, weft.Publisher(gateway.url) as publisher:
        said = ["a", "large", "b", "mismatch", "c", "nameless", "d", "e"]
        pending = [publisher.enqueue(log_event("e", each)) for each in said]
        outcomes = await asyncio.gather(*pending, return_exceptions=True)
        kinds = dict(zip(said, (type(each).__name__ for each in outcomes)))
    assert gateway.stored == ["a", "b", "c", "d", "e"]
    assert (kinds["large"], kinds["mismatch"], kinds["nameless"]) == ("TooLarge", "OwnerMismatch", "Refused")


@in_loop
async def test_a_token_is_asked_for_again_once_it_is_refused() -> None:
    tokens = iter(["old", "new", "wrong", "wrong too"])

    def answer(request: int, events: list[dict[str, Any]], headers: dict[str, str]) -> Answer:
        if headers["authorization"] != "Bearer new":
            return 401, {}, refusal("unauthenticated")
        return 202, {}, None

    async with scripted(answer) as gateway, weft.Publisher(gateway.url, token=lambda: next(tokens)) as publisher:
        await publisher.publish(log_event("e", "1"))
        with pytest.raises(weft.Refused, match="401"):
            await publisher.publish(log_event("e", "2"))
    assert gateway.stored == ["1"]


def test_gateways_that_are_killed_lose_and_double_nothing(rig: Rig) -> None:
    broker = rig.broker("redis")
    gateways = [rig.gateway(broker.url) for _ in range(2)]

    @in_loop
    async def run() -> None:
        sent = 0
        async with weft.Publisher([gateway.http for gateway in gateways]) as publisher:
            stop = asyncio.Event()

            async def send() -> None:
                nonlocal sent
                while not stop.is_set():
                    await publisher.enqueue_wait(log_event("e", str(sent), userId="ada"))
                    sent += 1
                    await asyncio.sleep(0.001)

            sending = asyncio.create_task(send())
            for gateway in (gateways[0], gateways[1], gateways[0]):
                goal = sent + 300
                await until_async(lambda goal=goal: sent > goal, "events are sent")  # type: ignore[misc]
                gateway.kill()
                gateway.start()
                await until_async(gateway.is_ready, "the gateway is back")
            stop.set()
            await sending
            await publisher.flush()
            assert publisher.losses.total == 0
        for room in ("execution:e", "user:ada"):
            assert [event["data"]["message"] for event in stored(gateways[0], room)] == [str(at) for at in range(sent)]

    run()
