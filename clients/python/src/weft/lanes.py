"""One lane a room: events wait there in the order of enqueueing, and at most one batch is unacknowledged.

An event stands in the lanes of all of its rooms from the start, so that every room sees the order of enqueueing; a copy
is not sent before the event's first room has answered. Lanes of first rooms never wait for another lane, so no circle
can close.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from .clock import within
from .errors import Expired, PublishError
from .item import Ack, Again, Entry, Fate, HeldBack, Item, Sink

log = logging.getLogger("weft")

#: Most events sent to a room at once, and most bytes, passed by at most one event.
BATCH_EVENTS = 128
BATCH_BYTES = 512 * 1024
#: Without an answer for so long a batch is sent again: a bound on what drivers should bound themselves.
ATTEMPT_MAX = 30.0
#: The pause after a first failure, doubled up to the longest one.
PAUSE_MIN, PAUSE_MAX = 0.05, 2.0


@dataclass
class _Lane:
    queue: deque[Entry] = field(default_factory=deque)
    task: asyncio.Task[None] | None = None
    #: What the last attempt met, to be told with an event that has become too old.
    met: str | None = None


class Lanes:
    """All lanes of a publisher."""

    def __init__(self, sink: Sink, retry_age: float) -> None:
        self._sink = sink
        self._retry_age = retry_age
        self._lanes: dict[str, _Lane] = {}
        self._permits = asyncio.Semaphore(sink.at_once)
        self._ended = False
        self._told = 0.0

    def push(self, item: Item) -> None:
        """Puts an event into its lanes."""
        for index in range(self._sink.lanes(len(item.rooms))):
            lane = self._lanes.setdefault(item.rooms[index], _Lane())
            lane.queue.append(Entry(item, index))
            if index == 0:
                self._start(item.rooms[index], lane)

    def end(self) -> None:
        """Gives up everything that waits; a batch under way gets its answer, but is not sent again."""
        self._ended = True
        for lane in list(self._lanes.values()):
            for entry in list(lane.queue):
                entry.item.abandon()

    async def settle(self) -> None:
        """Ends what still runs."""
        running = [lane.task for lane in self._lanes.values() if lane.task]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _start(self, room: str, lane: _Lane) -> None:
        if lane.task is None:
            lane.task = asyncio.get_running_loop().create_task(self._run(room, lane))

    def _wake_copies(self, item: Item) -> None:
        """The first room has answered: its copies may go, or need not."""
        for room in item.rooms[1 : self._sink.lanes(len(item.rooms))]:
            if room in self._lanes:
                self._start(room, self._lanes[room])

    async def _run(self, room: str, lane: _Lane) -> None:
        """Sends the lane until nothing in it can be sent."""
        failures = 0
        while True:
            batch = self._take(lane)
            if not batch:
                # No await since the look into the queue, so that nobody can have missed the end of this task.
                lane.task = None
                if not lane.queue:
                    self._lanes.pop(room, None)
                return
            try:
                fates = await self._attempt(room, batch)
            except asyncio.CancelledError:
                for entry in batch:
                    entry.item.abandon()
                raise
            pause = self._settle(lane, batch, fates)
            if pause is None:
                failures = 0
                continue
            progress = any(isinstance(fate, (Ack, PublishError)) for fate in fates)
            failures = 1 if progress else failures + 1
            self._tell(room, pause.reason, failures)
            # Spread over its upper half, so that lanes do not come back together.
            wait = min(PAUSE_MIN * 2 ** min(failures - 1, 16), PAUSE_MAX) * random.uniform(0.5, 1.0)
            await asyncio.sleep(min(wait if pause.after is None else pause.after, self._retry_age))

    def _take(self, lane: _Lane) -> list[Entry]:
        batch: list[Entry] = []
        size = 0
        while lane.queue:
            entry = lane.queue[0]
            item = entry.item
            if item.is_over:
                lane.queue.popleft()
            elif item.age > self._retry_age:
                lane.queue.popleft()
                reason = lane.met or "waited behind earlier events"
                self._give_up(entry, Expired(item.age, reason))
            else:
                size += len(item.event.body)
                full = len(batch) >= BATCH_EVENTS or (size > BATCH_BYTES and batch)
                if full or not item.is_ready(entry.index):
                    break
                batch.append(lane.queue.popleft())
        return batch

    def _give_up(self, entry: Entry, failure: PublishError) -> None:
        entry.item.failed(entry.index, failure)
        if entry.index == 0:
            self._wake_copies(entry.item)

    def _settle(self, lane: _Lane, batch: Sequence[Entry], fates: Sequence[Fate]) -> Again | None:
        """Takes the answers. What must be sent again goes back to the front; then the pause before that."""
        again: list[Entry] = []
        pause: Again | None = None
        refused = False
        for entry, fate in zip(batch, fates):
            if isinstance(fate, Ack):
                entry.item.stored(entry.index, fate)
                if entry.index == 0:
                    self._wake_copies(entry.item)
            elif isinstance(fate, PublishError):
                refused = True
                self._give_up(entry, fate)
            else:
                if isinstance(fate, Again):
                    pause = pause or fate
                again.append(entry)
        if self._ended:
            for entry in again:
                entry.item.abandon()
            return None
        if not again:
            return None
        if pause is None and not refused:
            # Held back without a cause: a failure of its own, or this would spin.
            pause = Again("not stored, and nobody said why")
        lane.queue.extendleft(reversed(again))
        if pause is not None:
            lane.met = pause.reason
        return pause

    async def _attempt(self, room: str, batch: Sequence[Entry]) -> list[Fate]:
        async with self._permits:
            try:
                fates = await within(self._sink.send(room, batch), ATTEMPT_MAX)
            except asyncio.TimeoutError:
                fates = [Again(f"no answer within {ATTEMPT_MAX:.0f} s") for _ in batch]
            except asyncio.CancelledError:
                raise
            except Exception as error:
                log.exception("publishing to %s failed in an unforeseen way", room)
                fates = [Again(f"{type(error).__name__}: {error}") for _ in batch]
        return [*fates, *(HeldBack() for _ in range(len(batch) - len(fates)))]

    def _tell(self, room: str, reason: str, failures: int) -> None:
        """Once a second: what happens a thousand times a second is said once."""
        now = time.monotonic()
        if now - self._told >= 1.0:
            self._told = now
            log.warning("events of %s are not stored, and sent again (%d): %s", room, failures, reason)
