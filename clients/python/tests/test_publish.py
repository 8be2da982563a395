"""Publishing: by HTTP, to NATS and to Redis, with the same promises."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from pathlib import Path
from typing import Any

import pytest

import weft
from rig import ROOT, Broker, Gateway, Rig, in_loop, log_event, stored, until_async
from weft.item import Ack, Again, Entry, Fate, HeldBack
from weft.lanes import Lanes


def messages(events: list[dict[str, Any]]) -> list[str]:
    return [event["data"]["message"] for event in events if event["type"] == "log"]


def test_the_scripts_are_the_gateways_own() -> None:
    ours = Path(weft.__file__).parent / "lua"
    theirs = ROOT / "shared/bus/src/redis/lua"
    for script in ours.glob("*.lua"):
        assert script.read_bytes() == (theirs / script.name).read_bytes(), script.name
    assert len(list(ours.glob("*.lua"))) == 4


@pytest.fixture(params=["http", "broker"])
def target(request: pytest.FixtureRequest, on_broker: tuple[Broker, Gateway]) -> tuple[str, Gateway]:
    """Where to publish to, and a gateway that shows what arrived."""
    broker, gateway = on_broker
    return (gateway.http if request.param == "http" else broker.url), gateway


@in_loop
async def test_an_execution_arrives_in_all_its_rooms_in_order(target: tuple[str, Gateway]) -> None:
    url, gateway = target
    name = f"order.a~b@c:{weft.uuid7()}"
    async with (
        weft.Publisher(url) as publisher,
        publisher.execution(name, workflow="nightly", user=f"ada-{name}", name="Nightly") as run,
    ):
        with run.node("build", node_type="command", input={"n": 1}) as node:
            for at in range(300):
                node.log(f"line {at}")
            node.progress(50, step="half")
            node.output = {"files": 42}
        with run.agent("writer", name="Writer").stream() as stream:
            for token in ["Hello", ", ", "world.é"]:
                stream.token(token)
        run.event("billing:charged", {"cents": 5}, mine=1)
        run.result = {"ok": True}
    assert publisher.losses.total == 0
    events = stored(gateway, f"execution:{name}")
    kinds = [event["type"] for event in events if event["type"] != "log"]
    assert kinds == [
        "execution:started",
        "node:started",
        "node:progress",
        "node:completed",
        "agent:streaming_start",
        *["agent:token"] * 3,
        "agent:streaming_end",
        "billing:charged",
        "execution:completed",
    ]
    assert messages(events) == [f"line {at}" for at in range(300)]
    assert all(event["workflowId"] == "nightly" and event["userId"] == f"ada-{name}" for event in events)
    assert events[-1]["data"]["result"] == {"ok": True}
    assert [event["id"] for event in stored(gateway, f"user:ada-{name}")] == [event["id"] for event in events]
    assert len(stored(gateway, f"agent:writer:{name}")) == 5
    state = gateway.get(f"/api/executions/{name}")
    assert (state["status"], state["nodes"]["build"]["output"]) == ("completed", {"files": 42})
    listed = [each for each in gateway.get("/api/executions?limit=200")["executions"] if each["executionId"] == name]
    assert [each["userId"] for each in listed] == [f"ada-{name}"]


@in_loop
async def test_a_repeated_id_is_stored_once(target: tuple[str, Gateway]) -> None:
    url, gateway = target
    name = f"twice-{weft.uuid7()}"
    async with weft.Publisher(url) as first:
        answer = await first.publish(log_event(name, "once", id=f"{name}.id"))
        assert (answer.id, answer.rooms) == (f"{name}.id", (f"execution:{name}",))
    async with weft.Publisher(url) as second:
        await second.publish(log_event(name, "twice", id=f"{name}.id"))
        await second.publish(log_event(name, "other"))
    assert messages(stored(gateway, f"execution:{name}")) == ["once", "other"]


@in_loop
async def test_another_owner_is_refused_and_others_go_on(target: tuple[str, Gateway]) -> None:
    url, gateway = target
    name = f"owner-{weft.uuid7()}"
    kb = f"kb-{name}"
    async with weft.Publisher(url) as publisher:
        pending = [
            publisher.enqueue(log_event(name, "ada's", userId="ada")),
            publisher.enqueue(log_event(name, "bob's", userId="bob")),
            publisher.enqueue(log_event(name, "anybody's")),
        ]
        outcomes = await asyncio.gather(*pending, return_exceptions=True)
        assert [type(each) for each in outcomes] == [weft.Stored, weft.OwnerMismatch, weft.Stored]
        assert (publisher.losses.refused, publisher.losses.total) == (1, 1)
        await publisher.knowledge_base(kb, user="ada").upload_started("a.pdf", file_size=3)
        with pytest.raises(weft.OwnerMismatch):
            await publisher.knowledge_base(kb, user="bob").processing("chunking", 10)
    assert messages(stored(gateway, f"execution:{name}")) == ["ada's", "anybody's"]
    assert [event["type"] for event in stored(gateway, f"kb:{kb}")] == ["kb:upload_started"]


@in_loop
async def test_a_follower_of_several_rooms_gets_each_event_once(
    target: tuple[str, Gateway], on_broker: tuple[Broker, Gateway]
) -> None:
    """Copies say where the event was stored first, in the words that gateways read."""
    (url, gateway), (broker, _) = target, on_broker
    name = f"rooms-{weft.uuid7()}"
    rooms = [f"execution:{name}", f"user:u-{name}"]
    seen: list[dict[str, Any]] = []
    # A client without any memory of its own: what it gets twice was sent twice.
    import websockets

    async with websockets.connect(f"ws://{gateway.address}/api/ws") as socket:
        await socket.send(json.dumps({"type": "subscribe", "rooms": [{"room": room} for room in rooms]}))
        begun = 0
        while begun < 2:
            begun += json.loads(await socket.recv())["type"] == "subscribed"
        async with weft.Publisher(url) as publisher:
            async with publisher.execution(name, user=f"u-{name}") as run:
                for at in range(20):
                    run.log(str(at))
            await publisher.publish({"type": "log", "executionId": f"{name}-2", "userId": f"u-{name}"})
        while not seen or seen[-1]["executionId"] == name:
            seen.append(json.loads(await socket.recv()))
    ids = [event["id"] for event in seen]
    assert len(ids) == len(set(ids)) == 23
    # What each copy says on the broker is where the first one stands.
    places = {each["id"]: each["offset"].split(".") for each in stored(gateway, rooms[0])}
    copies = await firsts_of(broker, rooms[1])
    assert len(copies) == 23
    for identity, first in copies.items():
        if identity in places:
            epoch, seq, _ = places[identity]
            assert first == f"{rooms[0]} {epoch} {seq}"


async def firsts_of(broker: Broker, room: str) -> dict[str, str]:
    """What the copies in a room say of where their events were stored first, by id."""
    found: dict[str, str] = {}
    if broker.kind == "redis":
        import redis.asyncio

        connection: Any = redis.asyncio.Redis(port=broker.port)
        for _, fields in await connection.xrange(f"weft:{{{room}}}:s"):
            found[json.loads(fields[b"d"])["id"]] = fields[b"f"].decode()
        await connection.aclose()
        return found
    import nats

    client = await nats.connect(broker.url)
    reader = await client.jetstream().subscribe(f"weft.{room}", ordered_consumer=True)
    with contextlib.suppress(asyncio.TimeoutError):
        while True:
            message = await reader.next_msg(timeout=0.5)
            found[json.loads(message.data)["id"]] = (message.headers or {})["Weft-First"]
    await client.close()
    return found


@in_loop
async def test_what_the_gateway_refuses_is_told_by_its_item(memory: Gateway) -> None:
    """Gateways refuse more than this library does, were theirs newer; the others of the batch are stored."""
    name = f"refused-{weft.uuid7()}"
    async with weft.Publisher(memory.http) as publisher:
        # Two keys that differ here and are the same there.
        doubled = {**log_event(name, "b")}
        prepared = weft.prepare(doubled)
        body = prepared.body[:-1] + b',"executionId":"x"}'
        pending = [publisher.enqueue(log_event(name, "a"))]
        share = 10
        pending.append(publisher._admit(weft.Prepared(**{**prepared.__dict__, "body": body}), share))
        pending.append(publisher.enqueue(log_event(name, "c")))
        outcomes = await asyncio.gather(*pending, return_exceptions=True)
    assert isinstance(outcomes[1], weft.Refused)
    assert "executionId" in str(outcomes[1])
    assert messages(stored(memory, f"execution:{name}")) == ["a", "c"]


@in_loop
async def test_the_record_of_what_nobody_follows_is_kept(on_broker: tuple[Broker, Gateway]) -> None:
    """Straight to the broker, with a gateway beside it that is told what has changed."""
    broker, gateway = on_broker
    name = f"unseen-{weft.uuid7()}"

    def status(which: str) -> str | None:
        listed = gateway.get("/api/executions?limit=200")["executions"]
        return next((each["status"] for each in listed if each["executionId"] == which), None)

    async with weft.Publisher(broker.url, gateway=gateway.http) as publisher:
        async with publisher.execution(f"{name}-a", user="ada") as run:
            run.log("once")
            await until_async(lambda: status(f"{name}-a") == "running", "it is listed as running")
        await until_async(lambda: status(f"{name}-a") == "completed", "it is listed as completed")
        with publisher.execution(f"{name}-b", user="ada") as run:
            run.failed("no")
    # Closing has waited for the last change to be shown; the gateway then reads what is stored.
    await until_async(lambda: status(f"{name}-b") == "failed", "it is listed as failed")
    for which, count in (("a", 3), ("b", 2)):
        assert len(stored(gateway, f"execution:{name}-{which}")) == count


@in_loop
async def test_a_tenants_events_stand_in_its_own_rooms(on_broker: tuple[Broker, Gateway]) -> None:
    broker, gateway = on_broker
    name = f"tenant-{weft.uuid7()}"
    async with weft.Publisher(broker.url, tenant="acme") as publisher:
        answer = await publisher.publish(log_event(name, "1", userId=name))
        with pytest.raises(weft.OwnerMismatch):
            await publisher.publish(log_event(name, "2", userId="bob"))
    # To who publishes they are named without it.
    assert answer.rooms == (f"execution:{name}", f"user:{name}")
    (first,) = (await firsts_of(broker, f"acme/user:{name}")).values()
    assert first.startswith(f"acme/execution:{name} ")
    assert stored(gateway, f"user:{name}") == []


class Slow:
    """A sink that does as a test says."""

    at_once = 8

    def __init__(self) -> None:
        self.open_ = asyncio.Event()
        self.batches: list[tuple[str, list[str]]] = []
        self.under_way: dict[str, int] = {}
        self.fates: list[list[Fate]] = []

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    def lanes(self, rooms: int) -> int:
        return rooms

    async def send(self, room: str, batch: Any) -> list[Fate]:
        entries: list[Entry] = list(batch)
        self.under_way[room] = self.under_way.get(room, 0) + 1
        assert self.under_way[room] == 1, "one batch in flight a room"
        await self.open_.wait()
        await asyncio.sleep(0)
        self.under_way[room] -= 1
        self.batches.append((room, [entry.item.event.id for entry in entries]))
        return self.fates.pop(0) if self.fates else [Ack() for _ in entries]


def slow_publisher(sink: Slow, **options: Any) -> weft.Publisher:
    publisher = weft.Publisher("http://127.0.0.1:1", **options)
    publisher._sink = sink
    publisher._lanes = Lanes(sink, publisher._retry_age)
    return publisher


@in_loop
async def test_the_buffer_is_bounded_and_those_who_wait_come_in_order() -> None:
    sink = Slow()
    losses: list[str] = []
    publisher = slow_publisher(sink, buffer_bytes=3000, on_loss=lambda event, why: losses.append(why.code))
    for at in range(4):
        publisher.enqueue(log_event("e", "x", id=f"a{at}"))
    with pytest.raises(weft.Full):
        publisher.enqueue(log_event("e", "x" * 2000))
    assert (publisher.losses.full, losses) == (1, ["full"])
    waiting = [asyncio.create_task(publisher.publish(log_event("e", "x" * 500, id=f"b{at}"))) for at in range(6)]
    await asyncio.sleep(0.01)
    waiting[2].cancel()
    assert publisher.pending == 4
    sink.open_.set()
    await asyncio.gather(*waiting, return_exceptions=True)
    await publisher.close()
    stored_ids = [each for _, ids in sink.batches for each in ids]
    assert stored_ids == ["a0", "a1", "a2", "a3", "b0", "b1", "b3", "b4", "b5"]
    assert publisher._taken == 0
    with pytest.raises(weft.Closed):
        publisher.enqueue(log_event("e", "late"))


@in_loop
async def test_a_failed_batch_is_sent_again_in_order_and_copies_wait_for_the_first() -> None:
    sink = Slow()
    sink.open_.set()
    sink.fates = [[Ack(), Again("away"), HeldBack()]]
    publisher = slow_publisher(sink)
    pending = [publisher.enqueue(log_event("e", "x", id=f"a{at}", userId="u")) for at in range(3)]
    await asyncio.gather(*pending)
    await publisher.close()
    firsts = [ids for room, ids in sink.batches if room == "execution:e"]
    assert firsts == [["a0", "a1", "a2"], ["a1", "a2"]]
    # No copy is sent before its first room has it.
    assert [ids for room, ids in sink.batches if room == "user:u"] == [["a0"], ["a1", "a2"]]


@in_loop
async def test_what_becomes_too_old_or_is_abandoned_is_told() -> None:
    sink = Slow()
    sink.open_.set()
    sink.fates = [[Again("away")] for _ in range(100)]
    publisher = slow_publisher(sink, retry_age=0.2)
    with pytest.raises(weft.Expired) as expired:
        await publisher.publish(log_event("e", "x"))
    assert "away" in str(expired.value)
    sink.open_.clear()
    sink.fates = []
    pending = publisher.enqueue(log_event("e", "y"))
    with pytest.raises(weft.Unfinished):
        await publisher.close(0.05)
    with pytest.raises(weft.Closed):
        await pending
    assert (publisher.losses.expired, publisher.losses.abandoned) == (1, 1)


@in_loop
async def test_an_execution_tells_how_its_block_ended(memory: Gateway) -> None:
    name = f"ends-{weft.uuid7()}"
    async with weft.Publisher(memory.http) as publisher:
        with pytest.raises(ZeroDivisionError):
            async with publisher.execution(f"{name}-a") as run:
                with run.node("divide"):
                    raise ZeroDivisionError("by zero")
        cancelled = asyncio.create_task(asyncio.sleep(0))

        async def body() -> None:
            async with publisher.execution(f"{name}-b"):
                await asyncio.sleep(60)

        cancelled = asyncio.create_task(body())
        await asyncio.sleep(0.05)
        cancelled.cancel()
        await asyncio.gather(cancelled, return_exceptions=True)
        with publisher.execution(f"{name}-c") as run:
            run.failed("said so itself", failed_node="x")
        await publisher.flush()
    last = [stored(memory, f"execution:{name}-{which}")[-1] for which in "abc"]
    assert last[0]["data"] == {"error": "ZeroDivisionError: by zero", "failedNode": "divide"}
    assert last[1]["type"] == "execution:cancelled"
    assert last[2]["data"] == {"error": "said so itself", "failedNode": "x"}
    assert memory.get(f"/api/executions/{name}-a")["nodes"]["divide"]["status"] == "failed"


def test_threads_publish_through_one_blocking_publisher(memory: Gateway) -> None:
    name = f"threads-{weft.uuid7()}"
    with weft.blocking.Publisher(memory.http) as publisher:

        def work(which: int) -> None:
            with publisher.execution(f"{name}-{which}", user="ada") as run:
                for at in range(50):
                    run.node("n").log(str(at))

        threads = [threading.Thread(target=work, args=(which,)) for which in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        # Leaving the block has waited for the end to be stored.
        for which in range(4):
            events = stored(memory, f"execution:{name}-{which}")
            assert messages(events) == [str(at) for at in range(50)]
            assert events[-1]["type"] == "execution:completed"
        with pytest.raises(weft.Invalid):
            publisher.publish({"type": "log"})
        assert publisher.losses.total == 0


def test_one_execution_by_itself(memory: Gateway) -> None:
    name = f"alone-{weft.uuid7()}"
    with weft.execution(memory.http, name) as run:
        run.node("x").log("from a thread")

    async def alone() -> None:
        async with weft.execution(memory.http, f"{name}-2") as run:
            run.node("x").log("from a loop")

    asyncio.run(alone())
    for which, said in ((name, "from a thread"), (f"{name}-2", "from a loop")):
        events = stored(memory, f"execution:{which}")
        assert [event["type"] for event in events] == ["execution:started", "log", "execution:completed"]
        assert messages(events) == [said]


@pytest.mark.parametrize("kind", ["nats", "redis"])
@pytest.mark.parametrize("way", ["http", "broker"])
def test_a_broker_that_is_killed_loses_and_doubles_nothing(kind: str, way: str, rig: Rig) -> None:
    broker = rig.broker(kind)
    gateway = rig.gateway(broker.url)
    name = f"restart-{kind}"

    @in_loop
    async def run() -> None:
        async with weft.Publisher(gateway.http if way == "http" else broker.url) as publisher:
            sent = 0

            async def send_until(stop: asyncio.Event) -> None:
                nonlocal sent
                while not stop.is_set():
                    await publisher.enqueue_wait(log_event(name, str(sent), userId="ada"))
                    sent += 1
                    await asyncio.sleep(0.002)

            stop = asyncio.Event()
            sending = asyncio.create_task(send_until(stop))
            await until_async(lambda: sent > 100, "some are sent")
            await asyncio.to_thread(broker.restart)
            at_restart = sent
            await until_async(lambda: sent > at_restart + 200, "more are sent")
            stop.set()
            await sending
            await publisher.flush()
            assert publisher.losses.total == 0
        for room in (f"execution:{name}", "user:ada"):
            assert messages(stored(gateway, room)) == [str(at) for at in range(sent)], room

    run()


@pytest.mark.parametrize("kind", ["nats", "redis"])
def test_fire_and_forget_reaches_who_is_there(kind: str, rig: Rig) -> None:
    broker = rig.broker(kind)
    scheme = {"nats": "nats+core", "redis": "redis+pubsub"}[kind]
    url = f"{scheme}://127.0.0.1:{broker.port}"
    gateway = rig.gateway(url)

    @in_loop
    async def run() -> None:
        async with weft.follow(gateway.http, "live") as follower, weft.Publisher(url) as publisher:
            await until_async(lambda: follower._rooms.rooms["execution:live"].begun, "it follows")
            async with publisher.execution("live") as run:
                run.log("there")
            seen = [event.type async for event in follower.events()]
        assert seen == ["execution:started", "log", "execution:completed"]

    run()


@in_loop
async def test_an_address_where_nobody_is_is_told() -> None:
    for url in ("nats://127.0.0.1:1", "redis://127.0.0.1:1"):
        publisher = weft.Publisher(url)
        from weft import nats as nats_sink

        nats_sink.CONNECT_TIMEOUT = 0.5
        try:
            with pytest.raises(weft.WeftError) as away:
                await publisher.open()
        finally:
            nats_sink.CONNECT_TIMEOUT = 10.0
        assert away.value.code == "unavailable"
