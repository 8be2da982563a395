"""Has a gateway bring the record of an execution up to date, after its events went straight to a broker.

The record is folded from what is stored, by gateways only. What makes a gateway do that is an event of the execution
that reaches it; so the last one that changed its state is shown to it once more, under its id, which stores nothing.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict

from .clock import Backoff, within
from .errors import WeftError
from .event import TERMINAL, Prepared
from .http import Gateway

log = logging.getLogger("weft")

#: The types after which a record is behind.
_CHANGES = TERMINAL | {"execution:started", "execution:updated"}
#: Seconds in which changes of one execution are gathered.
GATHER = 0.2
#: Seconds after which an event is shown no more: well within the time in which its id is remembered.
SHOWN_FOR = 45.0
#: Executions that wait; a further one stays behind until somebody follows it.
WAITING_MAX = 10_000
BATCH = 100


class Records:
    """The executions whose records are behind."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._waiting: OrderedDict[str, tuple[Prepared, float]] = OrderedDict()
        self._task: asyncio.Task[None] | None = None

    def stored(self, event: Prepared) -> None:
        """All rooms have this event."""
        if event.kind not in _CHANGES or event.execution_id is None:
            return
        self._waiting[event.execution_id] = (event, time.monotonic())
        if len(self._waiting) > WAITING_MAX:
            self._waiting.popitem(last=False)
            log.warning("too many executions change at once; the record of one stays behind until somebody follows it")
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._show_all())

    async def open(self) -> None:
        """Makes the connections' pool."""
        await self._gateway.open()

    async def close(self, timeout: float) -> None:
        """Shows what waits, for so long."""
        if self._task is not None:
            try:
                await within(asyncio.shield(self._task), timeout)
            except asyncio.TimeoutError:
                log.warning("the records of %d executions stay behind until somebody follows them", len(self._waiting))
                self._task.cancel()
                await asyncio.gather(self._task, return_exceptions=True)
        await self._gateway.close()

    async def _show_all(self) -> None:
        backoff = Backoff(base=0.2, cap=2.0)
        while True:
            await asyncio.sleep(GATHER)
            self._forget_old()
            batch = list(self._waiting.items())[:BATCH]
            if not batch:
                # No await since the look, so that nobody can have missed the end of this task.
                self._task = None
                return
            if not await self._show([event for _, (event, _) in batch]):
                await asyncio.sleep(backoff.next())
                continue
            backoff = Backoff(base=0.2, cap=2.0)
            for execution, shown in batch:
                # A later change that came meanwhile is still to be shown.
                if self._waiting.get(execution) == shown:
                    del self._waiting[execution]

    def _forget_old(self) -> None:
        old = [each for each, (_, since) in self._waiting.items() if time.monotonic() - since > SHOWN_FOR]
        for execution in old:
            del self._waiting[execution]
        if old:
            log.warning("the records of %d executions stay behind until somebody follows them", len(old))

    async def _show(self, events: list[Prepared]) -> bool:
        """Whether that is done with, one way or the other."""
        body = b"\n".join(event.body for event in events)
        try:
            answer = await self._gateway.request(
                "POST", "/api/events", content=body, content_type="application/x-ndjson"
            )
        except WeftError as error:
            log.info("a record could not be brought up to date yet: %s", error)
            return False
        if answer.status_code >= 500 or answer.status_code == 429:
            return False
        if not answer.is_success:
            log.warning("records are not brought up to date: the gateway answered %d", answer.status_code)
        return True
