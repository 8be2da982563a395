"""Commands for executors, by way of a gateway: ``cancel``, answers to prompts, and orders to run a workflow.

One stream (server-sent events) brings them, one request answers each. It needs a gateway's address, whatever way the
events go.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Callable, Protocol
from urllib.parse import quote

import httpx

from . import rooms as names
from .clock import Backoff, uuid7, within
from .errors import ExecutionCancelled, Invalid, Rejected, WeftError
from .http import Gateway, read_events, refusal
from .settings import Token, addresses

log = logging.getLogger("weft")

#: Seconds. A registration lives 30 s at the gateway, which sends a comment every 10 s.
RENEW_EVERY = 10.0
SILENCE_MAX = 30.0
REQUEST_TIMEOUT = 5.0
#: Longest that a reply is repeated; whoever asked has stopped waiting by then.
REPLY_FOR = 10.0
#: Answers remembered, so that a repeated command is answered as it was first.
REMEMBERED_MAX = 1000
#: Replies and orders under way at once; further commands wait in the stream.
AT_ONCE = 64
#: Prompts of one execution that are remembered after they were closed.
PROMPTS_MAX = 64


@dataclass(frozen=True)
class Order:
    """Somebody asks for a workflow to be run."""

    #: Its name, or None where the request brings a ``definition``.
    workflow: str | None
    inputs: Mapping[str, Any]
    execution_id: str | None
    #: The verified subject that asks, who then owns the execution.
    user: str | None
    definition: Any = None


#: Begins what was ordered and answers the execution's id; :class:`~weft.errors.Rejected` tells why not.
OnOrder = Callable[[Order], Awaitable[str]]


class _Served(Protocol):
    @property
    def id(self) -> str: ...


class Commands:
    """Takes commands for the executions of this process. Use it as ``async with Commands(url, "worker-1")``."""

    def __init__(
        self,
        url: str | Sequence[str],
        executor_id: str,
        *,
        token: Token = None,
        workflows: Sequence[Mapping[str, Any]] = (),
        on_order: OnOrder | None = None,
    ) -> None:
        """``executor_id`` names this process, and no other. ``workflows`` (``{"name","description"?,"inputs"?}``) are
        offered to whoever asks; ``on_order`` runs them."""
        self.executor_id = names.check_id("executor", executor_id)
        # One each: what is registered with a gateway must be registered with the one that streams.
        self._gateways = [Gateway(each, token=token) for each in addresses(url, ("http", "https"))]
        self._gateway = self._gateways[0]
        self._workflows = [dict(each) for each in workflows]
        self._on_order = on_order
        self._serving: dict[str, Serving] = {}
        self._answers: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._places = asyncio.Semaphore(AT_ONCE)
        self._turn = asyncio.Lock()
        self._runs: list[asyncio.Task[None]] = []
        self._streams = asyncio.Event()

    async def __aenter__(self) -> Commands:
        for gateway in self._gateways:
            await gateway.open()
        loop = asyncio.get_running_loop()
        self._runs = [loop.create_task(self._take()), loop.create_task(self._renew_in_time())]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=REPLY_FOR)
        ending = [*self._runs, *self._tasks]
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
        for gateway in self._gateways:
            await gateway.close()

    async def serve(self, run: _Served) -> Serving:
        """Makes an execution reachable; what it asks of its task goes to the task that calls this."""
        if run.id in self._serving:
            raise RuntimeError(f"{run.id} is served already")
        serving = Serving(self, run.id)
        self._serving[run.id] = serving
        try:
            await within(self._renew_now(), REQUEST_TIMEOUT)
        except (asyncio.TimeoutError, WeftError, httpx.HTTPError) as error:
            # It becomes reachable with the next renewal; its events matter more.
            log.warning("commands cannot reach %s yet: %s", run.id, error or type(error).__name__)
            self._changed.set()
        except BaseException:
            self._serving.pop(run.id, None)
            raise
        return serving

    def forget(self, execution_id: str) -> None:
        """The execution takes no more commands."""
        self._serving.pop(execution_id, None)
        self._changed.set()

    async def _renew_now(self) -> None:
        await self._streams.wait()
        await self._renew()

    async def _renew(self) -> None:
        # One at a time: an older list that arrives late must not take back what a newer one has said.
        async with self._turn:
            body = {"executions": sorted(self._serving), "workflows": self._workflows}
            path = f"/api/commands/{quote(self.executor_id, safe='')}"
            answer = await self._gateway.request(
                "PUT", path, content=json.dumps(body).encode(), timeout=REQUEST_TIMEOUT
            )
            if not answer.is_success:
                raise refusal(answer)

    async def _renew_in_time(self) -> None:
        was_away = False
        while True:
            try:
                await self._renew_now()
                was_away = False
            except (WeftError, httpx.HTTPError) as error:
                if not was_away:
                    log.warning("the gateway does not know what runs here: %s", error)
                was_away = True
            try:
                await within(self._changed.wait(), 1.0 if was_away else RENEW_EVERY)
            except asyncio.TimeoutError:
                continue
            finally:
                self._changed.clear()

    async def _take(self) -> None:
        """Reads commands for ever, from one gateway after the other."""
        backoff = Backoff(base=0.4, cap=5.0, stable=5.0)
        at = 0
        while True:
            self._gateway = self._gateways[at % len(self._gateways)]
            begun = time.monotonic()
            try:
                await self._stream()
            except (httpx.HTTPError, WeftError) as error:
                log.warning("no commands from the gateway: %s", error or type(error).__name__)
            self._streams.clear()
            at += 1
            backoff.ended(time.monotonic() - begun)
            await asyncio.sleep(backoff.next())

    async def _stream(self) -> None:
        gateway = self._gateway
        async with gateway.stream("/api/commands", {"executor": self.executor_id}, SILENCE_MAX) as answer:
            if answer.status_code != 200:
                await answer.aread()
                raise refusal(answer)
            self._streams.set()
            # A gateway that has begun again knows nothing of us.
            self._changed.set()
            async for name, data in read_events(answer):
                if name != "command":
                    continue
                try:
                    command = json.loads(data)
                    reference = str(command["ref"])
                except (ValueError, KeyError, TypeError) as error:
                    log.warning("the gateway sent what is no command: %s", error)
                    continue
                await self._places.acquire()
                await self._take_one(gateway, reference, command)

    async def _take_one(self, gateway: Gateway, reference: str, command: dict[str, Any]) -> None:
        address, kind = str(command.get("address")), str(command.get("kind"))
        # Clients choose refs for themselves: the same ref with anything else is another command.
        key = json.dumps([reference, address, kind, command.get("subject"), command.get("body")], sort_keys=True)
        if address.startswith("executor:"):
            self._spawn(self._obey_order(gateway, reference, key, kind, command))
            return
        # They take no time, and must not overtake each other: of two answers to a prompt the first one counts.
        answer = self._answers.get(key)
        if answer is None:
            execution = address.rpartition("/")[2].partition(":")[2]
            answer = _answer(lambda: self._obey(execution, kind, command.get("body")))
            self._remember(key, answer)
        self._spawn(self._reply(gateway, reference, answer))

    def _obey(self, execution: str, kind: str, body: Any) -> dict[str, Any]:
        serving = self._serving.get(execution)
        if serving is None:
            raise Rejected("not_running", "the execution does not run here any more")
        return serving.obey(kind, body)

    async def _obey_order(self, gateway: Gateway, reference: str, key: str, kind: str, command: dict[str, Any]) -> None:
        answer = self._answers.get(key)
        if answer is None:
            answer = await self._order(kind, command)
            self._remember(key, answer)
        await self._reply(gateway, reference, answer)

    async def _order(self, kind: str, command: dict[str, Any]) -> dict[str, Any]:
        body = command.get("body")
        if kind != "execute" or self._on_order is None or not isinstance(body, dict):
            return _rejection("unknown_command", f"this executor takes no command '{kind}'")
        subject = command.get("subject")
        inputs = body.get("inputs")
        order = Order(
            workflow=body.get("workflow"),
            inputs=inputs if isinstance(inputs, dict) else {},
            execution_id=body.get("executionId"),
            user=subject if isinstance(subject, str) else body.get("userId"),
            definition=body.get("definition"),
        )
        try:
            return {"outcome": "accepted", "body": {"executionId": await self._on_order(order)}}
        except Rejected as rejected:
            return _rejection(rejected.code, str(rejected))
        except Exception as error:
            log.exception("an order could not be carried out")
            return _rejection("unavailable", f"{type(error).__name__}: {error}")

    def _remember(self, key: str, answer: dict[str, Any]) -> None:
        self._answers[key] = answer
        if len(self._answers) > REMEMBERED_MAX:
            self._answers.popitem(last=False)

    def _spawn(self, work: Any) -> None:
        async def run() -> None:
            try:
                await work
            finally:
                self._places.release()

        task = asyncio.get_running_loop().create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _reply(self, gateway: Gateway, reference: str, answer: Mapping[str, Any]) -> None:
        """Again and again while the gateway cannot be reached and somebody may still wait."""
        path, body = f"/api/commands/{quote(reference, safe='')}/reply", json.dumps(answer).encode()
        until = time.monotonic() + REPLY_FOR
        backoff = Backoff(base=0.2, cap=2.0)
        while True:
            try:
                told = await gateway.request("POST", path, content=body, timeout=REQUEST_TIMEOUT)
                # 404 and 409: nobody waits any more, or a first attempt has arrived after all.
                if told.status_code < 500:
                    if not told.is_success and told.status_code not in (404, 409):
                        log.warning("a reply was refused: %s", refusal(told))
                    return
                reason: object = told.status_code
            except (WeftError, httpx.HTTPError) as error:
                reason = error
            pause = backoff.next()
            if time.monotonic() + pause > until:
                log.warning("a reply could not be sent: %s", reason)
                return
            await asyncio.sleep(pause)


class _Prompt:
    def __init__(self, check: Callable[[Any], None] | None) -> None:
        self.check = check
        self.answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.told: dict[str, Any] | None = None


class Serving:
    """One execution that takes commands."""

    def __init__(self, commands: Commands, execution_id: str) -> None:
        self._commands = commands
        self._id = execution_id
        self._task = asyncio.current_task()
        self._prompts: OrderedDict[str, _Prompt] = OrderedDict()
        self._cancelled: ExecutionCancelled | None = None

    def obey(self, kind: str, body: Any) -> dict[str, Any]:
        """Does what is asked; :class:`~weft.errors.Rejected` says why not."""
        given: Mapping[str, Any] = body if isinstance(body, dict) else {}
        if kind == "cancel":
            reason = given.get("reason")
            return self._cancel(reason if isinstance(reason, str) else None)
        if kind == "user_input:provide":
            return self._provide(str(given.get("requestId")), given.get("value"))
        raise Rejected("unknown_command", f"an execution takes no command '{kind}'")

    def open_prompt(
        self, request_id: str | None, check: Callable[[Any], None] | None
    ) -> tuple[str, asyncio.Future[Any]]:
        """Opens a question."""
        request_id = request_id or uuid7()
        if request_id in self._prompts:
            raise Invalid("requestId", "was asked before")
        prompt = self._prompts[request_id] = _Prompt(check)
        while len(self._prompts) > PROMPTS_MAX:
            closed = next((name for name, each in self._prompts.items() if each.answer.done()), None)
            if closed is None:
                break
            del self._prompts[closed]
        return request_id, prompt.answer

    def close_prompt(self, request_id: str) -> None:
        """Nobody waits for this answer any more."""
        prompt = self._prompts.get(request_id)
        if prompt is not None and not prompt.answer.done():
            prompt.answer.cancel()

    async def end(self, error: BaseException | None) -> ExecutionCancelled | None:
        """The execution has ended; whether that was by a command."""
        self._commands.forget(self._id)
        for request_id in list(self._prompts):
            self.close_prompt(request_id)
        if self._cancelled is None:
            return None
        if not isinstance(error, asyncio.CancelledError):
            # The task is about to be told what its block did not wait for any more.
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0)
        uncancel = getattr(self._task, "uncancel", None)
        if uncancel is not None:
            uncancel()
        return self._cancelled if error is None or isinstance(error, asyncio.CancelledError) else None

    def _cancel(self, reason: str | None) -> dict[str, Any]:
        if self._cancelled is None:
            self._cancelled = ExecutionCancelled(reason)
            if self._task is not None:
                self._task.cancel()
        return {}

    def _provide(self, request_id: str, value: Any) -> dict[str, Any]:
        prompt = self._prompts.get(request_id)
        if prompt is None:
            raise Rejected("unknown_request", "the execution has no such request")
        if prompt.told is not None:
            # Whoever answers again is told what the first was told.
            return prompt.told
        if prompt.answer.done():
            raise Rejected("timed_out", "nobody waits for this answer any more")
        if prompt.check is not None:
            prompt.check(value)
        prompt.told = {"requestId": request_id, "value": value}
        prompt.answer.set_result(value)
        return prompt.told


def _answer(obey: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return {"outcome": "accepted", "body": obey()}
    except Rejected as rejected:
        return _rejection(rejected.code, str(rejected))
    except Exception as error:
        log.exception("a command could not be carried out")
        return _rejection("invalid_value", f"{type(error).__name__}: {error}")


def _rejection(code: str, message: str) -> dict[str, Any]:
    return {"outcome": "rejected", "code": code, "message": message}
