"""Commands: taken by way of a gateway, answered once, whatever happens to it."""

from __future__ import annotations

import asyncio

import pytest

import weft
from rig import Broker, Gateway, Rig, in_loop, stored, until_async


async def refused(work: object) -> str:
    with pytest.raises(weft.WeftError) as told:
        await work  # type: ignore[misc]
    return told.value.code


@in_loop
async def test_a_prompt_is_answered_once(on_broker: tuple[Broker, Gateway]) -> None:
    """The events go straight to the broker, the commands come through the gateway."""
    broker, gateway = on_broker
    name = f"ask-{weft.uuid7()}"
    answers: list[object] = []

    def check(value: object) -> None:
        if value not in ("yes", "no"):
            raise weft.Rejected("invalid_value", "the answer must be yes or no")

    async def executor(publisher: weft.Publisher, commands: weft.Commands) -> None:
        async with publisher.execution(name, commands=commands) as run:
            answers.append(await run.ask("Go on?", request_id="r1", input_type="choice", check=check))
            await run.log("going on")
            with pytest.raises(asyncio.TimeoutError):
                await run.ask("Still there?", request_id="r2", timeout=0.05)

    async with (
        weft.Commands(gateway.http, f"worker-{name}") as commands,
        weft.Publisher(broker.url) as publisher,
        weft.follow(gateway.http, name, offset="0") as watcher,
        weft.follow(gateway.http, name) as second,
    ):
        work = asyncio.create_task(executor(publisher, commands))
        async for event in watcher.events():
            if event.type == "user_input:required" and event.data["requestId"] == "r1":
                assert await refused(watcher.provide_input(name, "other", "yes")) == "rejected"
                assert await refused(watcher.provide_input(name, "r1", "perhaps")) == "rejected"
                await watcher.provide_input(name, "r1", "yes")
                # Whoever answers again is told what the first was told, and changes nothing.
                await second.provide_input(name, "r1", "no")
        await work
        assert answers == ["yes"]
        assert await refused(second.cancel(name)) in ("no_executor", "rejected")
    kinds = [event["type"] for event in stored(gateway, f"execution:{name}")]
    assert kinds == [
        "execution:started",
        "user_input:required",
        "user_input:provided",
        "log",
        "user_input:required",
        "user_input:timeout",
        "execution:completed",
    ]


@in_loop
async def test_a_cancel_ends_the_block_and_is_told(memory: Gateway) -> None:
    name = f"cancel-{weft.uuid7()}"
    ended: list[str | None] = []

    async def executor(publisher: weft.Publisher, commands: weft.Commands) -> str:
        try:
            async with publisher.execution(name, commands=commands) as run:
                with run.node("long"):
                    await asyncio.sleep(3600)
        except weft.ExecutionCancelled as cancelled:
            ended.append(cancelled.reason)
        # The task goes on: only its block was ended.
        await asyncio.sleep(0.01)
        return "after"

    async with (
        weft.Commands(memory.http, f"worker-{name}") as commands,
        weft.Publisher(memory.http) as publisher,
        weft.follow(memory.http, name, offset="0") as watcher,
    ):
        work = asyncio.create_task(executor(publisher, commands))
        async for event in watcher.events():
            if event.type == "node:started":
                await watcher.cancel(name, "no longer needed")
        assert await work == "after"
    assert ended == ["no longer needed"]
    last = stored(memory, f"execution:{name}")[-1]
    assert (last["type"], last["data"]) == ("execution:cancelled", {"reason": "no longer needed"})


@in_loop
async def test_a_cancel_that_comes_with_the_end_is_kept(memory: Gateway) -> None:
    """What was accepted is told, also where the block did not wait for anything any more."""
    name = f"late-{weft.uuid7()}"
    async with weft.Commands(memory.http, f"worker-{name}") as commands, weft.Publisher(memory.http) as publisher:
        with pytest.raises(weft.ExecutionCancelled):
            async with publisher.execution(name, commands=commands):
                commands._serving[name].obey("cancel", {"reason": "late"})
        await publisher.flush()
    assert stored(memory, f"execution:{name}")[-1]["type"] == "execution:cancelled"


@in_loop
async def test_workflows_are_offered_and_ordered(memory: Gateway) -> None:
    name = f"order-{weft.uuid7()}"

    async def begin(order: weft.Order) -> str:
        if order.inputs.get("n") != 1:
            raise weft.Rejected("invalid", "n: must be 1")
        execution = order.execution_id or weft.uuid7()
        async with publisher.execution(execution, workflow=order.workflow):
            pass
        return execution

    offered = {"name": f"w-{name}", "description": "a test"}
    async with (
        weft.Publisher(memory.http) as publisher,
        weft.Commands(memory.http, f"worker-{name}", workflows=[offered], on_order=begin),
        weft.Gateway(memory.http) as gateway,
    ):

        def is_offered() -> bool:
            return any(each["name"] == offered["name"] for each in memory.get("/api/workflows")["workflows"])

        while not await asyncio.to_thread(is_offered):
            await asyncio.sleep(0.02)
        assert await gateway.execute(offered["name"], {"n": 1}, execution_id=name) == name
        with pytest.raises(weft.WeftError, match="n: must be 1"):
            await gateway.execute(offered["name"], {"n": 2})
    assert stored(memory, f"execution:{name}")[-1]["workflowId"] == offered["name"]


@pytest.mark.parametrize("kind", ["nats"])
def test_commands_come_back_by_another_gateway(kind: str, rig: Rig) -> None:
    broker = rig.broker(kind)
    gateways = [rig.gateway(broker.url) for _ in range(2)]

    @in_loop
    async def run() -> None:
        async def executor() -> None:
            async with publisher.execution("moved", commands=commands):
                await asyncio.sleep(3600)

        async with (
            weft.Commands([each.http for each in gateways], "worker-1") as commands,
            weft.Publisher(broker.url) as publisher,
            weft.Gateway(gateways[1].http) as client,
        ):
            work = asyncio.create_task(executor())
            await until_async(lambda: commands._streams.is_set(), "commands are streamed")
            gateways[0].kill()
            while True:
                try:
                    await client.cancel("moved", "by the other one")
                    break
                except weft.WeftError as error:
                    assert error.code in ("no_executor", "timeout", "unavailable"), error
                    await asyncio.sleep(0.05)
            with pytest.raises(weft.ExecutionCancelled, match="by the other one"):
                await work

    run()
