"""The handle that an executor holds: checks events, keeps them in a bounded buffer until they are stored."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Callable

from . import rooms as names
from .errors import Closed, Full, PublishError, Unfinished
from .event import Prepared, prepare
from .item import Item, Pending, Sink, Stored
from .lanes import Lanes
from .parts import KnowledgeBase
from .run import Execution
from .settings import Retention, Token, records_for, sink_for

if TYPE_CHECKING:
    from .commands import Commands
    from .records import Records

log = logging.getLogger("weft")

#: What an event takes in the buffer beside its bytes.
OVERHEAD_BYTES = 512

#: Longest that closing waits for the records of executions, in seconds.
RECORDS_TIMEOUT = 5.0

#: Told what could not be kept: the event as it would have been published, and why.
OnLoss = Callable[[Prepared, PublishError], None]


@dataclass
class Losses:
    """Events that a publisher could not keep, by reason. Grows only."""

    full: int = 0
    expired: int = 0
    refused: int = 0
    abandoned: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.full + self.expired + self.refused + self.abandoned


class Publisher:
    """Publishes events through a gateway (``http://``), or straight to the broker (``nats://``, ``redis://``).

    Use it as ``async with Publisher(url) as publisher``; leaving the block waits until everything is stored. Belongs
    to one event loop; from threads use :class:`weft.blocking.Publisher`.
    """

    def __init__(
        self,
        url: str | Sequence[str],
        *,
        token: Token = None,
        tenant: str | None = None,
        prefix: str = "weft",
        retention: Retention | None = None,
        credentials_file: str | None = None,
        gateway: str | Sequence[str] | None = None,
        retry_age: float = 60.0,
        buffer_bytes: int = 64 * 1024 * 1024,
        on_loss: OnLoss | None = None,
    ) -> None:
        """``retry_age`` in seconds, below the broker's deduplication window of 120 s. ``gateway``, where events go
        straight to a broker: keeps the records of executions up to date, also of those that nobody follows.
        """
        if not 0 < retry_age <= 110:
            raise ValueError("retry_age: must be above 0 and at most 110 s, within the deduplication window")
        if buffer_bytes < 1:
            raise ValueError("buffer_bytes: must be at least 1")
        self._tenant = names.check_tenant(tenant) if tenant is not None else None
        self._sink: Sink = sink_for(
            url,
            token=token if gateway is None else None,
            tenant=tenant,
            prefix=prefix,
            retention=retention or Retention(),
            credentials_file=credentials_file,
        )
        self._records: Records | None = None
        if gateway is not None:
            self._records = records_for(self._sink, gateway, token)
        self._retry_age = retry_age
        self._buffer_bytes = buffer_bytes
        self._on_loss = on_loss
        self._lanes: Lanes | None = None
        self._items: set[Item] = set()
        self._taken = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._idle: list[asyncio.Future[None]] = []
        self._closed = False
        self._told = 0.0
        #: What could not be kept so far.
        self.losses = Losses()

    async def open(self) -> Publisher:
        """Connects; raises :class:`~weft.errors.WeftError` where nobody answers within 10 s."""
        if self._lanes is None:
            await self._sink.open()
            if self._records is not None:
                await self._records.open()
            self._lanes = Lanes(self._sink, self._retry_age)
        return self

    async def __aenter__(self) -> Publisher:
        return await self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.close()
        except Unfinished:
            # Losses are told by the log, `losses` and `on_loss`; an exception of the block comes first.
            if kind is None:
                raise

    def enqueue(self, event: Mapping[str, Any]) -> Pending:
        """Checks an event and puts it into the buffer; :class:`Full` where that has no room left.

        Events of one room are stored in the order of these calls. The answer may be awaited or dropped.
        """
        prepared, share = self._check(event)
        if self._waiting or not self._fits(share):
            self._lost(prepared, Full())
            raise Full
        return self._admit(prepared, share)

    async def enqueue_wait(self, event: Mapping[str, Any]) -> Pending:
        """The same, but waits while the buffer is full."""
        prepared, share = self._check(event)
        if self._waiting or not self._fits(share):
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append((share, turn))
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled() and turn.exception() is None:
                    self._give_back(share)
                raise
            self._taken -= share
        return self._admit(prepared, share)

    async def publish(self, event: Mapping[str, Any]) -> Stored:
        """Waits until the event is stored in every room it reaches; while the buffer is full, for that first."""
        return await (await self.enqueue_wait(event))

    def execution(
        self,
        execution_id: str,
        *,
        workflow: str | None = None,
        user: str | None = None,
        name: str | None = None,
        traceparent: str | None = None,
        commands: Commands | None = None,
    ) -> Execution[Pending]:
        """An execution as a context: begins with ``execution:started``, ends with how its block ends."""
        return Execution(
            self.enqueue,
            execution_id,
            workflow=workflow,
            user=user,
            name=name,
            traceparent=traceparent,
            commands=commands,
            enqueue_wait=self.enqueue_wait,
        )

    def knowledge_base(self, knowledge_base_id: str, *, user: str | None = None) -> KnowledgeBase[Pending]:
        """Writes the events of a knowledge base."""
        return KnowledgeBase(self.enqueue, knowledge_base_id, user=user)

    @property
    def pending(self) -> int:
        """Events that are not yet stored in all of their rooms."""
        return len(self._items)

    async def flush(self, timeout: float | None = None) -> None:
        """Waits until nothing is under way; :class:`Unfinished` after ``timeout`` seconds (default: the retry age)."""
        if self._items:
            idle: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._idle.append(idle)
            await asyncio.wait([idle], timeout=self._retry_age if timeout is None else timeout)
        if self._items:
            raise Unfinished(len(self._items))

    async def close(self, timeout: float | None = None) -> None:
        """Takes no more events and flushes; what is not stored within ``timeout`` is given up, told and counted."""
        self._closed = True
        for _, turn in self._waiting:
            if not turn.done():
                turn.set_exception(Closed())
        self._waiting.clear()
        try:
            await self.flush(timeout)
        finally:
            if self._lanes is not None:
                self._lanes.end()
                await self._lanes.settle()
            if self._records is not None:
                await self._records.close(RECORDS_TIMEOUT)
            await self._sink.close()

    def _check(self, event: Mapping[str, Any]) -> tuple[Prepared, int]:
        if self._closed:
            raise Closed
        if self._lanes is None:
            raise RuntimeError("the publisher is not open: use `async with`, or await open()")
        prepared = prepare(event)
        # Never more than the whole, so that a small buffer still passes one event.
        return prepared, min(len(prepared.body) + OVERHEAD_BYTES, self._buffer_bytes)

    def _fits(self, share: int) -> bool:
        return self._taken + share <= self._buffer_bytes

    def _admit(self, event: Prepared, share: int) -> Pending:
        if self._lanes is None:
            raise Closed
        self._taken += share
        rooms = event.rooms if self._tenant is None else [f"{self._tenant}/{room}" for room in event.rooms]
        item = Item(event, rooms, self._sink.lanes(len(rooms)), share, self._ended)
        self._items.add(item)
        self._lanes.push(item)
        return Pending(event.id, item.outcome)

    def _ended(self, item: Item, failure: PublishError | None) -> None:
        self._items.discard(item)
        self._give_back(item.share)
        if failure is not None:
            self._lost(item.event, failure)
        elif self._records is not None:
            self._records.stored(item.event)
        if not self._items:
            for idle in self._idle:
                if not idle.done():
                    idle.set_result(None)
            self._idle.clear()

    def _give_back(self, share: int) -> None:
        self._taken -= share
        while self._waiting and (self._waiting[0][1].done() or self._fits(self._waiting[0][0])):
            wanted, turn = self._waiting.popleft()
            if not turn.done():
                # Held for it until it runs, so that nobody overtakes it.
                self._taken += wanted
                turn.set_result(None)

    def _lost(self, event: Prepared, failure: PublishError) -> None:
        counted = {"full": "full", "expired": "expired", "closed": "abandoned"}.get(failure.code, "refused")
        setattr(self.losses, counted, getattr(self.losses, counted) + 1)
        now = time.monotonic()
        if now - self._told >= 1.0:
            self._told = now
            log.error(
                "an event (%s) could not be published: %s; lost so far: %d",
                event.kind,
                failure,
                self.losses.total,
            )
        if self._on_loss is not None:
            try:
                self._on_loss(event, failure)
            except Exception:
                log.exception("on_loss has failed")
