"""``weft.execution(url, id)``: an execution with a publisher of its own, for scripts and single tasks."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any

from . import blocking
from .item import Pending
from .publisher import Publisher
from .run import Execution

if TYPE_CHECKING:
    from .commands import Commands


class Standalone:
    """``with`` it in a thread, ``async with`` it in an event loop."""

    def __init__(
        self,
        url: str | Sequence[str],
        execution_id: str,
        *,
        workflow: str | None,
        user: str | None,
        name: str | None,
        traceparent: str | None,
        commands: Commands | None,
        options: dict[str, Any],
    ) -> None:
        self._url = url
        self._id = execution_id
        self._about: dict[str, Any] = {
            "workflow": workflow,
            "user": user,
            "name": name,
            "traceparent": traceparent,
        }
        self._commands = commands
        self._options = options
        self._stack = ExitStack()
        self._async_stack = AsyncExitStack()

    def __enter__(self) -> Execution[blocking.Pending]:
        if self._commands is not None:
            raise RuntimeError("commands: are taken by `async with` only")
        with ExitStack() as stack:
            publisher = stack.enter_context(blocking.Publisher(self._url, **self._options))
            run = stack.enter_context(publisher.execution(self._id, **self._about))
            self._stack = stack.pop_all()
        return run

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    async def __aenter__(self) -> Execution[Pending]:
        async with AsyncExitStack() as stack:
            publisher = await stack.enter_async_context(Publisher(self._url, **self._options))
            execution = publisher.execution(self._id, commands=self._commands, **self._about)
            run = await stack.enter_async_context(execution)
            self._async_stack = stack.pop_all()
        return run

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._async_stack.__aexit__(kind, error, trace)


def execution(
    url: str | Sequence[str],
    execution_id: str,
    *,
    workflow: str | None = None,
    user: str | None = None,
    name: str | None = None,
    traceparent: str | None = None,
    commands: Commands | None = None,
    **options: Any,
) -> Standalone:
    """An execution with a publisher of its own; ``options`` are those of :class:`weft.Publisher`."""
    return Standalone(
        url,
        execution_id,
        workflow=workflow,
        user=user,
        name=name,
        traceparent=traceparent,
        commands=commands,
        options=options,
    )
