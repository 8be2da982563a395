"""The publisher for code without an event loop: Celery tasks, threads, scripts. A thread does the sending."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Mapping
from types import TracebackType
from typing import Any, TypeVar

from .item import Pending as AsyncPending
from .item import Stored
from .parts import KnowledgeBase
from .publisher import Losses
from .publisher import Publisher as AsyncPublisher
from .run import Execution

T = TypeVar("T")


class Pending:
    """Resolves to :class:`~weft.item.Stored` once every room has the event. Dropping it cancels nothing."""

    def __init__(self, pending: AsyncPending, loop: asyncio.AbstractEventLoop) -> None:
        #: The event's id, as clients will see it.
        self.id = pending.id
        self._pending = pending
        self._loop = loop

    def result(self, timeout: float | None = None) -> Stored:
        """Waits; raises why the event could not be stored, or ``concurrent.futures.TimeoutError``."""

        async def wait() -> Stored:
            return await self._pending

        return asyncio.run_coroutine_threadsafe(wait(), self._loop).result(timeout)


class Publisher:
    """As :class:`weft.Publisher`, for any thread. Make it in the process that uses it: threads do not survive a fork.

    Where the buffer is full, publishing waits.
    """

    def __init__(self, url: Any, **options: Any) -> None:
        self._url, self._options = url, options
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._publisher: AsyncPublisher | None = None
        self._lock = threading.Lock()

    def open(self) -> Publisher:
        """Begins the thread and connects."""
        with self._lock:
            if self._loop is None:
                publisher = AsyncPublisher(self._url, **self._options)
                loop = asyncio.new_event_loop()
                thread = threading.Thread(target=loop.run_forever, name="weft-publisher", daemon=True)
                thread.start()
                self._loop, self._thread = loop, thread
                try:
                    self._publisher = self._call(publisher.open())
                except BaseException:
                    self._end()
                    raise
        return self

    def close(self, timeout: float | None = None) -> None:
        """Waits until everything is stored, as :meth:`weft.Publisher.close` does."""
        with self._lock:
            try:
                if self._publisher is not None:
                    self._call(self._publisher.close(timeout))
            finally:
                self._publisher = None
                self._end()

    def __enter__(self) -> Publisher:
        return self.open()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def enqueue(self, event: Mapping[str, Any]) -> Pending:
        """Checks an event and puts it into the buffer; waits while that is full."""
        publisher = self._opened()
        loop = self._loop
        if loop is None:
            raise RuntimeError("the publisher is not open: use `with`, or call open()")
        return Pending(self._call(publisher.enqueue_wait(event)), loop)

    def publish(self, event: Mapping[str, Any], timeout: float | None = None) -> Stored:
        """Waits until the event is stored in every room it reaches."""
        return self.enqueue(event).result(timeout)

    def execution(
        self,
        execution_id: str,
        *,
        workflow: str | None = None,
        user: str | None = None,
        name: str | None = None,
        traceparent: str | None = None,
    ) -> Execution[Pending]:
        """An execution as a context; leaving it waits until its end is stored."""
        return Execution(
            self.enqueue,
            execution_id,
            workflow=workflow,
            user=user,
            name=name,
            traceparent=traceparent,
            settle=lambda pending: pending.result(),
        )

    def knowledge_base(self, knowledge_base_id: str, *, user: str | None = None) -> KnowledgeBase[Pending]:
        """Writes the events of a knowledge base."""
        return KnowledgeBase(self.enqueue, knowledge_base_id, user=user)

    def flush(self, timeout: float | None = None) -> None:
        """Waits until nothing is under way."""
        self._call(self._opened().flush(timeout))

    @property
    def losses(self) -> Losses:
        """What could not be kept so far."""
        return self._opened().losses

    def _opened(self) -> AsyncPublisher:
        if self._publisher is None:
            raise RuntimeError("the publisher is not open: use `with`, or call open()")
        return self._publisher

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        if self._loop is None:
            work.close()
            raise RuntimeError("the publisher is not open: use `with`, or call open()")
        if threading.current_thread() is self._thread:
            work.close()
            raise RuntimeError("the blocking publisher must not be used from its own thread")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _end(self) -> None:
        loop, thread, self._loop, self._thread = self._loop, self._thread, None, None
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()
