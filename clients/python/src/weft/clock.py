"""Ids, times, pauses, and waiting with an end."""

from __future__ import annotations

import asyncio
import os
import random
import threading
import time
import uuid
from collections.abc import Awaitable
from datetime import datetime, timezone
from typing import TypeVar

T = TypeVar("T")

_lock = threading.Lock()
_last_ms = 0
_count = 0


def uuid7() -> str:
    """A UUIDv7: in the order of time, also within a millisecond of this process."""
    global _last_ms, _count
    with _lock:
        now = time.time_ns() // 1_000_000
        if now > _last_ms:
            _last_ms, _count = now, 0
        else:
            # Twelve bits count within a millisecond; past them the id runs ahead of the clock.
            _count += 1
            if _count > 0xFFF:
                _last_ms, _count = _last_ms + 1, 0
        ms, count = _last_ms, _count
    value = ms << 80 | 0x7 << 76 | count << 64 | 0b10 << 62 | int.from_bytes(os.urandom(8), "big") >> 2
    return str(uuid.UUID(int=value))


def timestamp() -> str:
    """Now, as the protocol writes time: RFC 3339 UTC with milliseconds."""
    now = datetime.now(timezone.utc)
    return now.strftime("%Y-%m-%dT%H:%M:%S.") + f"{now.microsecond // 1000:03d}Z"


class Backoff:
    """How long a client waits before it comes back: full jitter, so that those lost together come back apart."""

    def __init__(self, base: float = 0.5, cap: float = 30.0, stable: float = 10.0) -> None:
        #: Seconds: the bound of the first pause, doubled with each attempt up to ``cap``.
        self.base, self.cap = base, cap
        #: How long a connection must have lasted to count as one.
        self.stable = stable
        self._attempts = 0
        self._hint: float | None = None

    def hint(self, seconds: float) -> None:
        """The service said when to come back: counts for the next pause."""
        if seconds >= 0:
            self._hint = min(seconds, 10 * self.cap)

    def ended(self, lasted: float) -> None:
        """A connection has ended."""
        if lasted >= self.stable:
            self._attempts = 0

    def next(self, *, later: bool = False) -> float:
        """The next pause, in seconds; ``later`` asks for one that may be long from the start."""
        hint, self._hint = self._hint, None
        if later:
            self._attempts = max(self._attempts, 3)
        bound = min(self.cap, self.base * 2 ** min(self._attempts, 30))
        self._attempts += 1
        return hint if hint is not None else random.random() * bound


async def within(work: Awaitable[T], seconds: float | None) -> T:
    """Waits so long, then raises ``asyncio.TimeoutError``.

    Unlike ``asyncio.wait_for`` before Python 3.12 it never swallows a cancellation that comes with the result.
    """
    task = asyncio.ensure_future(work)
    try:
        done, _ = await asyncio.wait({task}, timeout=seconds)
        if not done:
            task.cancel()
            await asyncio.wait({task})
    except asyncio.CancelledError:
        task.cancel()
        raise
    if task.cancelled():
        raise asyncio.TimeoutError
    return task.result()
