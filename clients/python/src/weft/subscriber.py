"""Following rooms through any gateway: a lost connection goes on where it stood, each event is told once."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Callable, Literal

from . import rooms as names
from .answers import Answers
from .badge import Badge
from .clock import Backoff, within
from .errors import WeftError, missing
from .frames import messages, websocket_url
from .message import Event, Gap, Message
from .settings import Token, addresses
from .standing import Moved, Rooms
from .told import LATER, come_back

try:
    from websockets import exceptions as failures
    from websockets.asyncio.client import ClientConnection
    from websockets.asyncio.client import connect as open_websocket
    from websockets.typing import Subprotocol
except ImportError as error:
    raise missing("ws", error) from None

log = logging.getLogger("weft")

State = Literal["connecting", "connected", "reconnecting", "disconnected", "failed"]

#: Seconds.
OPEN_TIMEOUT = 10.0
#: Silent for so long a gateway is asked whether it is there, and after as long again taken for gone.
SILENCE = 20.0
COMMAND_TIMEOUT = 15.0
#: Messages that wait for the reader of the iterator; past them the socket is not read, and the gateway waits.
WAITING_MAX = 1024
#: While a command waits for its answer the socket is read on, up to here.
WAITING_HARD_MAX = 16 * WAITING_MAX
#: Largest message of a gateway.
MESSAGE_BYTES_MAX = 16 * 1024 * 1024


class Subscriber:
    """Follows rooms; an async iterator of :class:`~weft.message.Message`.

    ``async with Subscriber(url, rooms=["execution:e"]) as subscriber: async for message in subscriber: …``
    """

    def __init__(
        self,
        url: str | Sequence[str],
        *,
        rooms: Iterable[str] | Mapping[str, str | None] = (),
        token: Token = None,
        snapshot: bool = False,
        history: Literal["logs"] | None = None,
        types: Sequence[str] | None = None,
        conflate: bool = False,
        backoff: Backoff | None = None,
        on_state: Callable[[State], None] | None = None,
    ) -> None:
        """``url``: one gateway or several, ``http(s)://`` or ``ws(s)://``. ``rooms`` may map each room to the offset
        to go on after; ``"0"`` is the start of what the room holds."""
        self._urls = [websocket_url(each) for each in addresses(url, ("http", "https", "ws", "wss"))]
        self._badge = Badge(token)
        self._options: dict[str, Any] = {"batch": True}
        for name, value in (("snapshot", snapshot), ("conflate", conflate)):
            if value:
                self._options[name] = True
        if history is not None:
            self._options["history"] = history
        if types is not None:
            self._options["types"] = list(types)
        self._rooms = Rooms()
        offsets = rooms if isinstance(rooms, Mapping) else dict.fromkeys(rooms)
        for room, offset in offsets.items():
            self._rooms.add(room, offset)
        self._backoff = backoff or Backoff()
        self._on_state = on_state
        #: connecting, connected, reconnecting, disconnected or failed.
        self.state: State = "disconnected"
        #: The last offset told of each room: keep it, and another process goes on there.
        self.offsets: dict[str, str] = {room: offset for room, offset in offsets.items() if offset}
        #: How often a connection was lost.
        self.reconnects = 0
        self._waiting: deque[Message | Moved] = deque()
        self._news = asyncio.Event()
        self._space = asyncio.Event()
        self._socket: ClientConnection | None = None
        self._answers = Answers()
        self._failure: WeftError | None = None
        self._run: asyncio.Task[None] | None = None
        self._later: set[asyncio.Task[None]] = set()
        self._heard_at = 0.0
        self._is_full = False

    async def open(self) -> Subscriber:
        """Begins to connect, and goes on trying for ever; the first failure is no error."""
        if self._run is None:
            self._run = asyncio.get_running_loop().create_task(self._connect_for_ever())
        return self

    async def close(self) -> None:
        """Leaves; the iterator ends."""
        run, self._run = self._run, None
        for task in [run, *self._later]:
            if task is not None:
                task.cancel()
        if run is not None:
            await asyncio.gather(run, *self._later, return_exceptions=True)
        self._answers.lost(WeftError("closed", "the subscriber is closed"))
        self._tell("disconnected")
        self._news.set()

    async def __aenter__(self) -> Subscriber:
        return await self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __aiter__(self) -> AsyncIterator[Message]:
        return self

    async def __anext__(self) -> Message:
        while True:
            while self._waiting:
                message = self._waiting.popleft()
                self._space.set()
                if isinstance(message, Moved):
                    self.offsets.update(message.offsets)
                    continue
                offset = getattr(message, "offset", None) or getattr(message, "missed_to", None)
                room = getattr(message, "room", None)
                if offset is not None and room is not None and room in self._rooms.rooms:
                    self.offsets[room] = offset
                return message
            if self._failure is not None:
                raise self._failure
            if self._run is None:
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()

    async def events(self) -> AsyncIterator[Event]:
        """Only the events, until their execution ends; a gap is a warning in the log. For one execution's room."""
        async for message in self:
            if isinstance(message, Event):
                yield message
                if message.is_terminal:
                    return
            else:
                log.log(logging.WARNING if isinstance(message, Gap) else logging.INFO, "%s", message)

    async def follow(self, room: str, *, offset: str | None = None) -> None:
        """Follows one more room."""
        if room not in self._rooms.rooms:
            self._rooms.add(room, offset)
            await self._subscribe([room])

    async def unfollow(self, room: str) -> None:
        """Follows a room no more; returns once nothing more comes by it."""
        names.check_room(room)
        if room not in self._rooms.rooms or room in self._answers.left:
            return
        left = self._answers.leaving(room)
        try:
            if await self._send({"type": "unsubscribe", "room": room}):
                # Until then it still delivers what other rooms have left to it.
                await asyncio.wait([left], timeout=COMMAND_TIMEOUT)
        finally:
            del self._answers.left[room]
            self._rooms.rooms.pop(room, None)
            self.offsets.pop(room, None)

    async def provide_input(self, execution_id: str, request_id: str, value: Any) -> None:
        """Answers a prompt; returns once the executor has accepted, else raises why not."""
        message = {"type": "user_input:provide", "requestId": request_id, "value": value}
        await self._command({**message, "executionId": names.check_id("executionId", execution_id)})

    async def cancel(self, execution_id: str, reason: str | None = None) -> None:
        """Asks the executor to cancel; returns once it has accepted, else raises why not."""
        message: dict[str, Any] = {
            "type": "cancel",
            "executionId": names.check_id("executionId", execution_id),
        }
        await self._command({**message, "reason": reason} if reason is not None else message)

    async def _command(self, message: dict[str, Any]) -> None:
        ref, answer = self._answers.command()
        # The reader may have to read past its bound to find the answer.
        self._space.set()
        try:
            if not await self._send({**message, "ref": ref}):
                raise WeftError("disconnected", "there is no connection; nothing was asked")
            await within(answer, COMMAND_TIMEOUT)
        except asyncio.TimeoutError:
            raise WeftError("timeout", "no answer in time; whether it was done is unknown") from None
        finally:
            self._answers.forget(ref)

    # ── the connection ────────────────────────────────────────────────────────────────────────────────────────

    async def _connect_for_ever(self) -> None:
        at = 0
        try:
            while True:
                self._tell("connecting" if self.state == "disconnected" else "reconnecting")
                lasted, later = 0.0, False
                try:
                    lasted, later = await self._connection(self._urls[at % len(self._urls)])
                except (OSError, asyncio.TimeoutError, failures.WebSocketException) as met:
                    later = self._could_not_open(met)
                self._backoff.ended(lasted)
                self.reconnects += 1
                at += 1
                await asyncio.sleep(self._backoff.next(later=later))
        except WeftError as failure:
            self._failure = failure
            self._tell("failed")
        except asyncio.CancelledError:
            raise
        except Exception as surprise:
            log.exception("following has failed in an unforeseen way")
            self._failure = WeftError("internal", f"{type(surprise).__name__}: {surprise}")
            self._tell("failed")
        finally:
            self._answers.lost(WeftError("disconnected", "the connection is gone; whether it was done is unknown"))
            self._news.set()

    def _could_not_open(self, met: Exception) -> bool:
        """Whether to wait longer than after a connection that broke."""
        if isinstance(met, failures.InvalidStatus):
            status, after = met.response.status_code, met.response.headers.get("Retry-After")
            if status == 401:
                self._badge.refused("the gateway refuses the token")
            elif status in (400, 403, 404, 405):
                raise WeftError("forbidden" if status == 403 else "refused", f"the gateway answered {status}")
            if after is not None and after.strip().isdigit():
                self._backoff.hint(float(after))
            return True
        log.info("no connection: %s", met or type(met).__name__)
        return False

    async def _connection(self, url: str) -> tuple[float, bool]:
        """One connection from its beginning to its end: how long it lasted, and whether to come back later."""
        headers = await self._badge.begin()
        begun: float | None = None
        async with open_websocket(
            url,
            additional_headers=headers,
            subprotocols=[Subprotocol("weft.v1.json")],
            open_timeout=OPEN_TIMEOUT,
            close_timeout=2,
            # The silence is watched here, because a slow reader of the iterator must not look like a dead gateway.
            ping_interval=None,
            max_size=MESSAGE_BYTES_MAX,
            max_queue=16,
        ) as socket:
            self._socket = socket
            begun = self._heard_at = time.monotonic()
            watching = asyncio.get_running_loop().create_task(self._watch(socket))
            try:
                while True:
                    frame = await socket.recv()
                    self._heard_at = time.monotonic()
                    for message in messages(frame):
                        await self._heard(message)
                    await self._wait_for_space()
            except failures.ConnectionClosed as closed:
                return time.monotonic() - begun, self._closed(closed)
            finally:
                watching.cancel()
                self._socket = None
                self._answers.lost(WeftError("disconnected", "the connection is gone; whether it was done is unknown"))

    async def _watch(self, socket: ClientConnection) -> None:
        """Ends a connection whose gateway is gone without a word."""
        asked = False
        while True:
            await asyncio.sleep(SILENCE / 4)
            silent = time.monotonic() - self._heard_at
            if silent < SILENCE or self._is_full:
                asked = False
            elif not asked:
                asked = True
                await self._send({"type": "ping"})
            elif silent >= 2 * SILENCE:
                log.info("the gateway is silent")
                socket.transport.abort()
                return

    async def _wait_for_space(self) -> None:
        """Until the iterator's reader has caught up; nothing is read meanwhile, and the gateway keeps our place."""
        while len(self._waiting) >= (WAITING_HARD_MAX if self._answers.commands else WAITING_MAX):
            self._is_full = True
            self._space.clear()
            await self._space.wait()
        if self._is_full:
            self._is_full, self._heard_at = False, time.monotonic()

    def _closed(self, closed: failures.ConnectionClosed) -> bool:
        code = closed.rcvd.code if closed.rcvd is not None else 1006
        reason = closed.rcvd.reason if closed.rcvd is not None else "the connection broke"
        again = come_back(code)
        if again == "no":
            raise WeftError("forbidden" if code == 4403 else "refused", f"closed {code}: {reason}")
        if again == "token":
            self._badge.refused(f"closed {code}: {reason}")
        # For who has missed the message that says the same.
        if hint := re.search(r"come back after (\d+) ms", reason):
            self._backoff.hint(int(hint[1]) / 1000)
        log.info("the connection is lost (%d): %s", code, reason)
        return again == "later"

    # ── what a gateway says ───────────────────────────────────────────────────────────────────────────────────

    async def _heard(self, message: dict[str, Any]) -> None:
        kind = message.get("type")
        if kind == "connected":
            self._tell("connected")
            await self._subscribe([room for room in self._rooms.rooms if room not in self._answers.left])
        elif kind == "subscribed":
            self._badge.accepted()
            self._answers.subscribed(str(message.get("ref")), str(message.get("room")))
            self._put(self._rooms.subscribed(message))
        elif kind == "unsubscribed":
            self._answers.has_left(str(message.get("room")))
        elif kind == "ack":
            self._answers.answer(message, None)
        elif kind == "error":
            await self._refused(message)
        elif kind == "reconnect":
            after = message.get("afterMs")
            if isinstance(after, (int, float)):
                self._backoff.hint(after / 1000)
        else:
            self._put(self._rooms.take(message))

    def _put(self, messages: Sequence[Message | Moved]) -> None:
        self._waiting.extend(messages)
        if messages:
            self._news.set()

    async def _refused(self, message: dict[str, Any]) -> None:
        code, ref = str(message.get("code")), str(message.get("ref"))
        error = WeftError(code, str(message.get("message")), room=message.get("room"))
        if ref in self._answers.commands:
            self._answers.answer(message, error)
        elif code == "token_expired":
            # What gives tokens may take its time; what comes meanwhile is read.
            self._spawn(self._renew())
        elif error.room is not None and error.room in self._rooms.rooms:
            self._answers.subscribed(ref, error.room)
            await self._subscribe_refused([error.room], error)
        elif (rooms := self._answers.refused(ref)) is not None:
            await self._subscribe_refused(rooms, error)
        else:
            log.warning("the gateway says: %s: %s", code, error)

    async def _renew(self) -> None:
        """The token is about to expire: shows a newer one, or has the gateway close the connection when it does."""
        token = await self._badge.newer()
        if token is not None and await self._send({"type": "auth", "token": token}):
            self._badge.shown(token)

    async def _subscribe_refused(self, rooms: list[str], error: WeftError) -> None:
        if error.code in LATER:
            self._spawn(self._subscribe_later(rooms))
        elif error.room is None and len(rooms) > 1:
            # One wrong room has the whole message refused: ask for each by itself, and the others begin.
            for room in rooms:
                await self._subscribe([room])
        else:
            raise error

    async def _subscribe_later(self, rooms: list[str]) -> None:
        await asyncio.sleep(self._backoff.next(later=True))
        await self._subscribe([room for room in rooms if room in self._rooms.rooms])

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._later.add(task)
        task.add_done_callback(self._later.discard)

    async def _subscribe(self, rooms: list[str]) -> None:
        """All in one message, as they were followed together. Without a connection the next one does it."""
        if not rooms:
            return
        ref = self._answers.subscribe(rooms)
        await self._send({"type": "subscribe", "ref": ref, "rooms": self._rooms.wanted(rooms), **self._options})

    async def _send(self, message: Mapping[str, Any]) -> bool:
        socket = self._socket
        if socket is None or self.state != "connected":
            return False
        try:
            await socket.send(json.dumps(message, ensure_ascii=False))
        except failures.ConnectionClosed:
            return False
        return True

    def _tell(self, state: State) -> None:
        if state != self.state:
            self.state = state
            if self._on_state is not None:
                self._on_state(state)


def follow(
    url: str | Sequence[str],
    execution_id: str,
    *,
    offset: str | None = None,
    token: Token = None,
    snapshot: bool = False,
    history: Literal["logs"] | None = None,
    types: Sequence[str] | None = None,
    conflate: bool = False,
) -> Subscriber:
    """A subscriber of one execution."""
    return Subscriber(
        url,
        rooms={names.execution_room(execution_id): offset},
        token=token,
        snapshot=snapshot,
        history=history,
        types=types,
        conflate=conflate,
    )
