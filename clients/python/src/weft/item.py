"""One event on its way: which rooms have it, who waits for it, and the space it takes in the buffer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, Callable, Protocol, Union

from .errors import Closed, Incomplete, PublishError
from .event import Prepared


@dataclass(frozen=True)
class Place:
    """Where a broker has stored an event in one room."""

    epoch: int
    seq: int


@dataclass(frozen=True)
class Ack:
    """A room has the event. No place where nothing is stored, and over HTTP."""

    place: Place | None = None
    #: Its id had been stored there before; also when an earlier attempt succeeded unnoticed.
    duplicate: bool = False


@dataclass(frozen=True)
class Stored:
    """An event that every room it reaches has."""

    id: str
    #: Its rooms, the first one first.
    rooms: tuple[str, ...]
    duplicate: bool = False


@dataclass(frozen=True)
class Again:
    """Not known to be stored: to be sent again, after the pause that was asked for, in seconds."""

    reason: str
    after: float | None = None


@dataclass(frozen=True)
class HeldBack:
    """Only held back by a failure before it."""


Fate = Union[Ack, Again, HeldBack, PublishError]


def held(events: int, reason: str, after: float | None = None) -> list[Fate]:
    """A batch that must be sent again as a whole."""
    return [Again(reason, after), *(HeldBack() for _ in range(events - 1))]


class Pending:
    """Resolves to :class:`Stored` once every room has the event, or raises why not. Dropping it cancels nothing."""

    def __init__(self, event_id: str, outcome: asyncio.Future[Stored | PublishError]) -> None:
        #: The event's id, as clients will see it.
        self.id = event_id
        self._outcome = outcome

    def done(self) -> bool:
        """Whether it is decided."""
        return self._outcome.done()

    def __await__(self) -> Generator[Any, None, Stored]:
        outcome = yield from asyncio.shield(self._outcome).__await__()
        if isinstance(outcome, PublishError):
            raise outcome
        return outcome


class Item:
    """An event in the buffer. It stands in the lane of each of its rooms."""

    def __init__(
        self,
        event: Prepared,
        rooms: Sequence[str],
        lanes: int,
        share: int,
        on_end: Callable[[Item, PublishError | None], None],
    ) -> None:
        self.event = event
        #: As the broker names them.
        self.rooms = rooms
        self.share = share
        self.enqueued = time.monotonic()
        self._acks: list[Ack | None] = [None] * len(rooms)
        self._lanes = lanes
        self._failure: Incomplete | None = None
        self._on_end = on_end
        # An error is its result and no exception: whoever dropped the `Pending` did not want to know.
        self.outcome: asyncio.Future[Stored | PublishError] = asyncio.get_running_loop().create_future()

    @property
    def age(self) -> float:
        """Seconds since it was enqueued."""
        return time.monotonic() - self.enqueued

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to do in any lane."""
        return self.outcome.done()

    def is_ready(self, index: int) -> bool:
        """Whether the room at ``index`` may have it: copies wait until the first room has answered."""
        return index == 0 or self._acks[0] is not None

    @property
    def first(self) -> str | None:
        """What a copy says of where the event was stored first."""
        place = self._acks[0].place if self._acks[0] else None
        return f"{self.rooms[0]} {place.epoch:x} {place.seq}" if place else None

    def stored(self, index: int, ack: Ack) -> None:
        """The room at ``index`` has it."""
        self._acks[index] = ack
        self._lane_ended()

    def failed(self, index: int, failure: PublishError) -> None:
        """The room at ``index`` will never have it. Without its first room an event has no others."""
        if index == 0:
            self._resolve(failure)
            return
        self._failure = self._failure or Incomplete(self.rooms[index], str(failure))
        self._lane_ended()

    def abandon(self) -> None:
        """Gives it up, wherever it stands."""
        self._resolve(Closed())

    def _lane_ended(self) -> None:
        self._lanes -= 1
        if self._lanes <= 0:
            first = self._acks[0]
            duplicate = first is not None and first.duplicate
            self._resolve(self._failure or Stored(self.event.id, self.event.rooms, duplicate))

    def _resolve(self, outcome: Stored | PublishError) -> None:
        if self.outcome.done():
            return
        self.outcome.set_result(outcome)
        self._on_end(self, outcome if isinstance(outcome, PublishError) else None)


@dataclass(frozen=True)
class Entry:
    """An event in one of its lanes; ``index`` says which of its rooms that is."""

    item: Item
    index: int


class Sink(Protocol):
    """Where the batches of lanes go."""

    #: Batches under way at once, of all lanes.
    at_once: int

    async def open(self) -> None:
        """Connects; raises :class:`~weft.errors.WeftError` where that cannot be."""

    async def close(self) -> None:
        """Lets go of every connection."""

    def lanes(self, rooms: int) -> int:
        """How many of an event's rooms have a lane of their own."""

    async def send(self, room: str, batch: Sequence[Entry]) -> list[Fate]:
        """Sends a batch of one lane and answers for each event, in order."""
