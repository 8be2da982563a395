"""Real gateways that ask for tokens."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

import weft
from rig import Gateway, Rig, in_loop, log_event, until_async

SECRET = "a secret of these tests, longer than thirty-two bytes"
QUICK = {"base": 0.02, "cap": 0.2}


def _part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def token_of(subject: str, seconds: float = 3600, *, secret: str = SECRET, **claims: Any) -> str:
    """A user's token, as whoever issues them would sign it."""
    now = int(time.time())
    text = (
        f"{_part({'alg': 'HS256', 'typ': 'JWT'})}.{_part({'sub': subject, 'iat': now, 'exp': now + seconds, **claims})}"
    )
    mark = hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest()
    return f"{text}.{base64.urlsafe_b64encode(mark).rstrip(b'=').decode()}"


def service() -> str:
    """Of an executor: it publishes for everybody, and takes commands."""
    return token_of("worker", scope="events:publish executions:run")


@pytest.fixture
def asking(rig: Rig, tmp_path: Path) -> dict[str, str]:
    """Settings of a gateway that asks for tokens."""
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    return {"WEFT_AUTH": "jwt", "WEFT_JWT_SECRET_FILE": str(secret)}


def texts(events: list[weft.Event]) -> list[str]:
    return [event.data["message"] for event in events if event.type == "log"]


def knows(gateway: Gateway, execution: str, token: str) -> bool:
    """Whether it has heard whose the execution is, a moment after its first event."""
    headers = {"authorization": f"Bearer {token}"}
    request = urllib.request.Request(f"{gateway.http}/api/executions/{execution}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return bool(answer.status == 200)
    except urllib.error.HTTPError:
        return False


def test_an_executor_publishes_and_takes_commands_with_a_token(rig: Rig, asking: dict[str, str]) -> None:
    gateway = rig.gateway("memory:", None, **asking)

    async def executor(publisher: weft.Publisher, commands: weft.Commands) -> object:
        async with publisher.execution("ask", user="ada", commands=commands) as run:
            return await run.ask("Go on?", request_id="r1")

    @in_loop
    async def run() -> None:
        async with (
            weft.Publisher(gateway.http, token=service) as publisher,
            weft.Commands(gateway.http, "worker", token=service) as commands,
            weft.follow(gateway.http, "ask", offset="0", token=token_of("ada")) as ada,
            weft.follow(gateway.http, "ask", token=token_of("bob", rooms=["execution:ask"])) as bob,
        ):
            work = asyncio.create_task(executor(publisher, commands))
            async for event in ada.events():
                if event.type == "user_input:required":
                    with pytest.raises(weft.WeftError) as refused:
                        await bob.provide_input("ask", "r1", "no")
                    assert refused.value.code == "forbidden"
                    await ada.provide_input("ask", "r1", "yes")
            assert await work == "yes"

    run()


@pytest.mark.parametrize("token", ["wrong", "expired", "none"])
def test_a_refused_token_ends_the_iterator_with_its_reason(rig: Rig, asking: dict[str, str], token: str) -> None:
    gateway = rig.gateway("memory:", None, **asking)
    given = {
        "wrong": token_of("ada", secret="the secret of somebody else, just as long"),
        "expired": token_of("ada", -1),
        "none": None,
    }[token]

    @in_loop
    async def run() -> None:
        async with weft.follow(gateway.http, "e", token=given) as subscriber:
            with pytest.raises(weft.WeftError) as refused:
                await subscriber.__anext__()
        assert refused.value.code == "unauthenticated"
        async with weft.Publisher(gateway.http, token=given) as publisher:
            with pytest.raises(weft.WeftError):
                await publisher.publish(log_event("e", "never"))

    run()


@pytest.mark.parametrize("renews", [True, False])
def test_tokens_expire_again_and_again_and_nothing_is_lost_or_doubled(
    rig: Rig, asking: dict[str, str], renews: bool
) -> None:
    """Renewed on the connection; or, where the source keeps one until it has expired, by another connection."""
    broker = rig.broker("nats")
    gateways = [rig.gateway(broker.url, None, **asking) for _ in range(2)]
    lives, issued = 4, 0
    kept, until = "", 0.0

    def token() -> str:
        nonlocal kept, until, issued
        if renews or time.monotonic() >= until:
            issued += 1
            kept, until = token_of("ada", lives, jti=str(issued)), time.monotonic() + lives - 1
        return kept

    @in_loop
    async def run() -> None:
        urls = [gateway.http for gateway in gateways]
        seen: list[weft.Event] = []
        async with weft.Publisher(gateways[1].http, token=service) as publisher:
            await publisher.publish({"type": "execution:started", "executionId": "e", "userId": "ada"})
        # What is not known yet waits, and that is another matter.
        await until_async(lambda: all(knows(each, "e", token_of("ada")) for each in gateways), "it is known")
        async with (
            weft.Publisher(gateways[1].http, token=service) as publisher,
            weft.Subscriber(urls, rooms={"execution:e": "0"}, token=token, backoff=weft.Backoff(**QUICK)) as subscriber,
        ):

            async def publish() -> None:
                for at in range(500):
                    await publisher.publish(log_event("e", str(at), userId="ada"))
                    await asyncio.sleep(0.02)
                await publisher.publish({"type": "execution:completed", "executionId": "e"})

            publishing = asyncio.create_task(publish())
            async for message in subscriber:
                assert not isinstance(message, weft.Gap)
                if isinstance(message, weft.Event):
                    seen.append(message)
                    if message.is_terminal:
                        break
            await publishing
            assert texts(seen) == [str(at) for at in range(500)]
            assert subscriber.reconnects >= 2

    run()


def test_a_token_that_does_not_change_is_shown_once_however_long_the_gateway_warns(
    rig: Rig, asking: dict[str, str]
) -> None:
    gateway: Gateway = rig.gateway("memory:", None, **asking)
    only, asked = token_of("ada", 6), 0

    def token() -> str:
        nonlocal asked
        asked += 1
        return only

    @in_loop
    async def run() -> None:
        follower = weft.follow(gateway.http, "e", token=token)
        async with follower as subscriber:
            with pytest.raises(weft.WeftError) as refused:
                while True:
                    await subscriber.__anext__()
        assert refused.value.code == "unauthenticated"
        # Before each of the connections (one, and after its end those that are refused), and once when it was warned.
        assert asked <= 1 + 3 + 1, asked

    run()
