"""Following: resume on another gateway, gaps, refusals, slow readers, commands."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Callable

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

import weft
from rig import Broker, Gateway, Rig, in_loop, log_event, stored, until_async
from weft.standing import Rooms

QUICK = {"base": 0.02, "cap": 0.2}


def numbers(events: list[weft.Event]) -> list[int]:
    return [int(event.data["message"]) for event in events if event.type == "log"]


async def begun(subscriber: weft.Subscriber) -> None:
    await until_async(lambda: all(room.begun for room in subscriber._rooms.rooms.values()), "all rooms are followed")


@pytest.mark.parametrize("kind", ["nats", "redis"])
def test_a_killed_gateway_loses_and_doubles_nothing(kind: str, rig: Rig) -> None:
    """Killed, told to leave, killed, under a subscriber of two rooms; each time it goes on at the other gateway."""
    broker = rig.broker(kind)
    gateways = [rig.gateway(broker.url, WEFT_DRAIN_SECS="1") for _ in range(2)]
    execution, user = "execution:killed", "user:ada"

    @in_loop
    async def run() -> None:
        urls = [gateway.http for gateway in gateways]
        seen: list[weft.Message] = []
        async with (
            weft.Publisher(broker.url) as publisher,
            weft.Subscriber(urls, rooms=[execution, user], backoff=weft.Backoff(**QUICK)) as subscriber,
        ):
            await begun(subscriber)

            async def publish() -> None:
                for at in range(1500):
                    await publisher.enqueue_wait(log_event("killed", str(at), userId="ada"))
                    # Of another execution: only the user's room has it.
                    await publisher.enqueue_wait(log_event("other", str(at), userId="ada"))
                    await asyncio.sleep(0.002)
                await publisher.enqueue_wait({"type": "execution:completed", "executionId": "killed"})
                await publisher.enqueue_wait({"type": "execution:completed", "executionId": "other", "userId": "ada"})

            async def kill() -> None:
                for which, leaves in ((0, False), (1, True), (0, False)):
                    before = len(seen)
                    await until_async(lambda before=before: len(seen) > before + 200, "events come")  # type: ignore[misc]
                    gateway = gateways[which]
                    if leaves:
                        gateway.terminate()
                        await asyncio.to_thread(gateway.child.wait, 20)
                    gateway.kill()
                    gateway.start()
                    await until_async(gateway.is_ready, "the gateway is back")

            work = asyncio.gather(publish(), kill())
            ends = 0
            async for message in subscriber:
                seen.append(message)
                ends += isinstance(message, weft.Event) and message.is_terminal
                if ends == 2:
                    break
            await work
        assert subscriber.reconnects >= 2
        assert all(isinstance(message, weft.Event) for message in seen), seen
        events = [message for message in seen if isinstance(message, weft.Event)]
        for which in ("killed", "other"):
            assert numbers([each for each in events if each.execution_id == which]) == list(range(1500))
        ids = [event.id for event in events]
        assert len(ids) == len(set(ids))

    run()


def test_a_gateway_that_stands_still_is_left(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its sockets stay open, and nothing comes of them."""
    import weft.subscriber

    monkeypatch.setattr(weft.subscriber, "SILENCE", 0.3)
    monkeypatch.setattr(weft.subscriber, "OPEN_TIMEOUT", 1.0)
    broker = rig.broker("redis")
    still, other = (rig.gateway(broker.url) for _ in range(2))

    @in_loop
    async def run() -> None:
        backoff = weft.Backoff(**QUICK)
        rooms = ["execution:still"]
        async with (
            weft.Publisher(broker.url) as publisher,
            weft.Subscriber([still.http, other.http], rooms=rooms, backoff=backoff) as subscriber,
        ):
            await begun(subscriber)
            await publisher.publish(log_event("still", "0"))
            first = await subscriber.__anext__()
            still.freeze()
            for at in range(1, 50):
                publisher.enqueue(log_event("still", str(at)))
            publisher.enqueue({"type": "execution:completed", "executionId": "still"})
            rest = [event async for event in subscriber.events()]
        assert isinstance(first, weft.Event)
        assert numbers([first, *rest]) == list(range(50))

    run()


def test_another_process_goes_on_with_the_offset(on_broker: tuple[Broker, Gateway]) -> None:
    _, gateway = on_broker
    name = f"resume-{weft.uuid7()}"

    @in_loop
    async def run() -> None:
        async with weft.Publisher(gateway.http) as publisher:
            for at in range(100):
                publisher.enqueue(log_event(name, str(at)))
            await publisher.flush()
            kept: dict[str, str] = {}
            first: list[weft.Event] = []
            async with weft.follow(gateway.http, name, offset="0") as subscriber:
                async for message in subscriber:
                    assert isinstance(message, weft.Event)
                    first.append(message)
                    # The place of what was told here, not of what waits.
                    kept = dict(subscriber.offsets)
                    if len(first) == 40:
                        break
            assert kept == {f"execution:{name}": first[-1].offset}
            publisher.enqueue({"type": "execution:completed", "executionId": name})
            await publisher.flush()
            async with weft.Subscriber(gateway.http, rooms=kept) as subscriber:
                rest = [event async for event in subscriber.events()]
        assert numbers(first + rest) == list(range(100))

    run()


@in_loop
async def test_snapshot_history_and_types(memory: Gateway) -> None:
    name = f"options-{weft.uuid7()}"
    async with weft.Publisher(memory.http) as publisher:
        run = publisher.execution(name)
        run.started()
        run.node("a").completed(output=1)
        await run.log("before")
        async with weft.follow(memory.http, name, snapshot=True) as state:
            message = await state.__anext__()
        assert isinstance(message, weft.Snapshot)
        assert (message.status, message.state["nodes"]["a"]["output"]) == ("running", 1)
        logs = weft.follow(memory.http, name, history="logs")
        typed = weft.follow(memory.http, name, offset="0", types=["node:*", "execution:completed"])
        async with logs, typed:
            await begun(logs)
            await begun(typed)
            run.log("after")
            run.completed()
            heard = [event async for event in logs.events()]
            kinds = [event.type async for event in typed.events()]
        assert [event.data.get("message") for event in heard] == ["before", "after", None]
        assert kinds == ["node:completed", "execution:completed"]


@in_loop
async def test_rooms_come_and_go(memory: Gateway) -> None:
    name = f"rooms-{weft.uuid7()}"
    async with weft.Publisher(memory.http) as publisher, weft.Subscriber(memory.http) as subscriber:
        await until_async(lambda: subscriber.state == "connected", "it is connected")
        await subscriber.follow(f"execution:{name}")
        await begun(subscriber)
        await publisher.publish(log_event(name, "1"))
        assert numbers([await subscriber.__anext__()]) == [1]  # type: ignore[list-item]
        await subscriber.unfollow(f"execution:{name}")
        await publisher.publish(log_event(name, "2"))
        await subscriber.follow(f"execution:{name}-b")
        await begun(subscriber)
        await publisher.publish(log_event(f"{name}-b", "3"))
        assert numbers([await subscriber.__anext__()]) == [3]  # type: ignore[list-item]


def test_what_retention_took_is_a_gap(rig: Rig) -> None:
    broker = rig.broker("redis")
    gateway, other = (rig.gateway(broker.url, WEFT_RETENTION_EVENTS="50") for _ in range(2))

    @in_loop
    async def run() -> None:
        async with weft.Publisher(gateway.http) as publisher:
            first = None
            async with weft.follow(gateway.http, "gone", offset="0") as subscriber:
                await begun(subscriber)
                await publisher.publish(log_event("gone", "0"))
                first = await subscriber.__anext__()
            assert isinstance(first, weft.Event)
            for at in range(1, 200):
                publisher.enqueue(log_event("gone", str(at)))
            publisher.enqueue({"type": "execution:completed", "executionId": "gone"})
            await publisher.flush()
        # Where nobody has followed it, only the broker has its events.
        async with weft.follow(other.http, "gone", offset=first.offset) as subscriber:
            seen = []
            async for message in subscriber:
                seen.append(message)
                if isinstance(message, weft.Event) and message.is_terminal:
                    break
        gap = next(message for message in seen if isinstance(message, weft.Gap))
        assert (gap.reason, gap.missed_from) == ("retention", first.offset)
        assert numbers([each for each in seen if isinstance(each, weft.Event)])[-1] == 199

    run()


def test_a_slow_reader_loses_nothing_and_holds_little(rig: Rig) -> None:
    gateway = rig.gateway()

    @in_loop
    async def run() -> None:
        most = 0
        async with (
            weft.Publisher(gateway.http) as publisher,
            weft.follow(gateway.http, "slow") as subscriber,
        ):
            await begun(subscriber)
            for at in range(8000):
                await publisher.enqueue_wait(log_event("slow", str(at), mine="x" * 2000))
            publisher.enqueue({"type": "execution:completed", "executionId": "slow"})
            await publisher.flush()
            seen = []
            async for event in subscriber.events():
                most = max(most, len(subscriber._waiting))
                seen.append(event)
        assert numbers(seen) == list(range(8000))
        # A frame holds many events; what waits is about a thousand and one frame.
        assert most < 3000, most

    run()


@in_loop
async def test_a_command_is_answered_although_much_waits(memory: Gateway) -> None:
    name = f"busy-{weft.uuid7()}"
    async with weft.Publisher(memory.http) as publisher, weft.follow(memory.http, name) as subscriber:
        await begun(subscriber)
        for at in range(3000):
            publisher.enqueue(log_event(name, str(at)))
        await publisher.flush()
        async for _ in subscriber.events():
            with pytest.raises(weft.WeftError) as refused:
                await subscriber.cancel(name, "no longer needed")
            assert refused.value.code == "no_executor"
            break


class Scripted:
    """A gateway that says what a test has it say."""

    def __init__(self) -> None:
        self.connections: list[ServerConnection] = []
        self.received: list[dict[str, Any]] = []
        self.authorization: list[str | None] = []
        self.on_subscribe: Callable[[ServerConnection, dict[str, Any]], Any] | None = None

    async def handle(self, connection: ServerConnection) -> None:
        self.connections.append(connection)
        self.authorization.append(connection.request.headers.get("Authorization") if connection.request else None)
        await self.say(connection, type="connected", connectionId="c")
        with contextlib.suppress(ConnectionClosed):
            await self.listen(connection)

    async def listen(self, connection: ServerConnection) -> None:
        async for frame in connection:
            message = json.loads(frame)
            self.received.append(message)
            if message["type"] == "subscribe" and self.on_subscribe is not None:
                await self.on_subscribe(connection, message)
            elif message["type"] == "auth":
                await connection.close(4401)

    @staticmethod
    async def say(connection: ServerConnection, **message: Any) -> None:
        await connection.send(json.dumps(message))


@asynccontextmanager
async def scripted() -> AsyncIterator[tuple[Scripted, str]]:
    gateway = Scripted()
    async with serve(gateway.handle, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        yield gateway, f"http://127.0.0.1:{port}"


@in_loop
async def test_hints_repeats_and_offsets_are_honoured() -> None:
    async with scripted() as (gateway, url):

        async def first(connection: ServerConnection, message: dict[str, Any]) -> None:
            room = message["rooms"][0]["room"]
            await gateway.say(connection, type="subscribed", ref=message["ref"], room=room, outcome="live", offset="t")
            for offset in ("o1", "o2"):
                await gateway.say(connection, type="log", executionId="e", id=offset, offset=offset, data={})
            gateway.on_subscribe = second
            await gateway.say(connection, type="reconnect", afterMs=30)
            await connection.close(1012)

        async def second(connection: ServerConnection, message: dict[str, Any]) -> None:
            assert message["rooms"] == [{"room": "execution:e", "offset": "o2"}]
            await gateway.say(
                connection, type="subscribed", ref=message["ref"], room="execution:e", outcome="resumed", offset="o2"
            )
            # The same event under another text of its offset, as sessions of several rooms have it.
            await gateway.say(connection, type="log", executionId="e", id="o2", offset="o2.7", data={})
            await gateway.say(connection, type="execution:failed", executionId="e", id="o3", offset="o3.7", data={})

        gateway.on_subscribe = first
        states: list[str] = []
        backoff = weft.Backoff(base=60, cap=60)
        async with weft.Subscriber(url, rooms=["execution:e"], backoff=backoff, on_state=states.append) as subscriber:
            seen = [event.offset async for event in subscriber.events()]
        assert seen == ["o1", "o2", "o3.7"]
        assert subscriber.offsets == {"execution:e": "o3.7"}
        assert states == ["connecting", "connected", "reconnecting", "connected", "disconnected"]


@in_loop
async def test_a_token_is_renewed_and_a_refused_one_is_asked_for_again() -> None:
    given = iter(["old", "fresh", "newer", "wrong", "wrong", "wrong"])
    # A second warning on the same connection finds no newer token asked for: it comes too soon.

    async def token() -> str:
        return next(given)

    async with scripted() as (gateway, url):

        async def expire(connection: ServerConnection, message: dict[str, Any]) -> None:
            if len(gateway.connections) == 1:
                await connection.close(4401)
            elif len(gateway.connections) == 2:
                await gateway.say(connection, type="subscribed", ref=message["ref"], room="execution:e", outcome="live")
                for _ in range(2):
                    await gateway.say(connection, type="error", code="token_expired", message="soon")
            else:
                await connection.close(4401)

        gateway.on_subscribe = expire
        follower = weft.Subscriber(url, rooms=["execution:e"], token=token, backoff=weft.Backoff(**QUICK))
        async with follower as subscriber:
            with pytest.raises(weft.WeftError) as refused:
                await subscriber.__anext__()
        assert refused.value.code == "unauthenticated"
        assert gateway.authorization == ["Bearer old", "Bearer fresh", "Bearer wrong", "Bearer wrong"]
        assert [each["token"] for each in gateway.received if each["type"] == "auth"] == ["newer"]
    async with scripted() as (gateway, url):
        gateway.on_subscribe = lambda connection, message: connection.close(4401)
        async with weft.follow(url, "e", token="static") as subscriber:
            with pytest.raises(weft.WeftError) as refused:
                await subscriber.__anext__()
        assert (refused.value.code, len(gateway.connections)) == ("unauthenticated", 1)


@in_loop
async def test_refusals_for_good_end_the_iterator_and_others_are_asked_again() -> None:
    async with scripted() as (gateway, url):
        asked = 0

        async def refuse(connection: ServerConnection, message: dict[str, Any]) -> None:
            nonlocal asked
            asked += 1
            code = "overloaded" if asked == 1 else "forbidden"
            await gateway.say(connection, type="error", code=code, message="no", ref=message["ref"], room="execution:e")

        gateway.on_subscribe = refuse
        follower = weft.Subscriber(url, rooms=["execution:e"], backoff=weft.Backoff(**QUICK))
        async with follower as subscriber:
            with pytest.raises(weft.WeftError) as refused:
                await subscriber.__anext__()
        assert (refused.value.code, refused.value.room, asked) == ("forbidden", "execution:e", 2)
    for code in (4403, 4400, 1009):
        async with scripted() as (gateway, url):
            gateway.on_subscribe = lambda connection, message, code=code: connection.close(code)
            async with weft.follow(url, "e") as subscriber:
                with pytest.raises(weft.WeftError, match=str(code)):
                    await subscriber.__anext__()


@in_loop
async def test_a_room_that_is_left_delivers_what_others_left_to_it() -> None:
    async with scripted() as (gateway, url):

        async def begin(connection: ServerConnection, message: dict[str, Any]) -> None:
            for each in message["rooms"]:
                answer = {"ref": message["ref"], "room": each["room"], "outcome": "live"}
                await gateway.say(connection, type="subscribed", **answer)

        gateway.on_subscribe = begin
        async with weft.Subscriber(url, rooms=["execution:e", "user:u"]) as subscriber:
            await begun(subscriber)
            leaving = asyncio.create_task(subscriber.unfollow("execution:e"))
            await until_async(lambda: gateway.received[-1]["type"] == "unsubscribe", "it leaves")
            connection = gateway.connections[0]
            await gateway.say(connection, type="log", executionId="e", userId="u", id="owed", data={})
            await gateway.say(connection, type="unsubscribed", room="execution:e")
            await leaving
            await gateway.say(connection, type="log", executionId="e", id="late", data={})
            await gateway.say(connection, type="log", executionId="e", room="user:u", id="next", data={})
            seen = [await subscriber.__anext__() for _ in range(2)]
        assert [message.id for message in seen if isinstance(message, weft.Event)] == ["owed", "next"]


@in_loop
async def test_one_room_of_several_is_asked_for_again() -> None:
    """The others have begun; that they are not asked for again is what keeps them from telling a gap."""
    async with scripted() as (gateway, url):

        async def begin(connection: ServerConnection, message: dict[str, Any]) -> None:
            refused = len([each for each in gateway.received if each["type"] == "subscribe"]) == 1
            for room in (each["room"] for each in message["rooms"]):
                if room == "user:u" and refused:
                    error = {"code": "overloaded", "message": "later", "ref": message["ref"], "room": room}
                    await gateway.say(connection, type="error", **error)
                else:
                    await gateway.say(connection, type="subscribed", ref=message["ref"], room=room, outcome="live")
            if not refused:
                await gateway.say(connection, type="execution:failed", executionId="e", id="1", data={})

        gateway.on_subscribe = begin
        rooms = ["user:u", "execution:e"]
        async with weft.Subscriber(url, rooms=rooms, backoff=weft.Backoff(**QUICK)) as subscriber:
            first = await subscriber.__anext__()
        assert isinstance(first, weft.Event)
        assert [[each["room"] for each in message["rooms"]] for message in gateway.received] == [rooms, ["user:u"]]


@in_loop
async def test_a_silent_gateway_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    import weft.subscriber

    monkeypatch.setattr(weft.subscriber, "SILENCE", 0.1)
    async with scripted() as (gateway, url):
        follower = weft.Subscriber(url, rooms=["execution:e"], backoff=weft.Backoff(**QUICK))
        async with follower:
            await until_async(lambda: len(gateway.connections) >= 2, "it came again")
        assert [each["type"] for each in gateway.received[:2]] == ["subscribe", "ping"]


@in_loop
async def test_nobody_there_is_no_error_and_closing_ends_the_iterator() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{held.getsockname()[1]}"
        async with weft.Subscriber(url, rooms=["execution:e"], backoff=weft.Backoff(**QUICK)) as subscriber:
            await until_async(lambda: subscriber.reconnects > 2, "it tries on")
            waiting = asyncio.create_task(subscriber.__anext__())
            await asyncio.sleep(0)
            await subscriber.close()
            with pytest.raises(StopAsyncIteration):
                await waiting


def test_a_room_that_is_not_stored_tells_what_a_lost_connection_may_have_missed() -> None:
    rooms = Rooms()
    rooms.add("execution:e", None)
    live = {"type": "subscribed", "room": "execution:e", "outcome": "live", "recovered": False}
    assert rooms.subscribed(live) == []
    assert rooms.subscribed(live) == [weft.Gap("execution:e", None, None, "live_only")]


def test_an_answer_to_a_second_room_moves_the_first() -> None:
    rooms = Rooms()
    rooms.add("execution:e", "a.1.0")
    rooms.add("user:u", None)
    answer = {
        "type": "subscribed",
        "room": "user:u",
        "outcome": "live",
        "offset": "b.1.0.1",
        "offsets": {"execution:e": "a.1.0.1"},
    }
    rooms.subscribed(answer)
    assert rooms.wanted(["execution:e", "user:u"]) == [
        {"room": "execution:e", "offset": "a.1.0.1"},
        {"room": "user:u", "offset": "b.1.0.1"},
    ]


@in_loop
async def test_the_gateway_by_http(memory: Gateway) -> None:
    name = f"http-{weft.uuid7()}"
    nobody = "http://127.0.0.1:1"
    async with weft.Publisher([nobody, memory.http]) as publisher:
        await publisher.publish(log_event(name, "1"))
        await publisher.publish(log_event(name, "2"))
    async with weft.Gateway([nobody, memory.http]) as gateway:
        page = await gateway.history(f"execution:{name}", limit=1)
        rest = await gateway.history(f"execution:{name}", after=page["next"])
        assert [each["data"]["message"] for each in page["events"] + rest["events"]] == ["1", "2"]
        assert (await gateway.snapshot(name))["status"] == "pending"
        assert name in [each["executionId"] for each in (await gateway.executions())["executions"]]
        with pytest.raises(weft.WeftError) as unknown:
            await gateway.snapshot("nothing-here")
        assert unknown.value.code == "not_found"
        with pytest.raises(weft.Invalid) as invalid:
            await gateway.snapshot("a b")
        assert invalid.value.field == "executionId"
        with pytest.raises(weft.WeftError) as refused:
            await gateway.cancel(name)
        assert refused.value.code == "no_executor"
    assert len(stored(memory, f"execution:{name}")) == 2
