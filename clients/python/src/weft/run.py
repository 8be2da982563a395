"""What an executor tells about an execution, a node, an agent or a knowledge base: one method an event type."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Callable, Generic, Literal

from . import rooms as names
from .clock import within
from .errors import ExecutionCancelled, PublishError
from .event import TERMINAL
from .item import Pending
from .parts import Agent, Enqueue, Level, Node, P, is_cancellation, present, told

if TYPE_CHECKING:
    from .commands import Commands, Serving

Status = Literal["pending", "running", "completed", "failed", "cancelled"]


class Run(Generic[P]):
    """Writes the events of one execution. Each method enqueues one event and returns at once."""

    def __init__(
        self,
        enqueue: Enqueue[P],
        execution_id: str,
        *,
        workflow: str | None = None,
        user: str | None = None,
        traceparent: str | None = None,
    ) -> None:
        names.check_id("executionId", execution_id)
        self._enqueue = enqueue
        #: The execution's id.
        self.id = execution_id
        self._top = {"executionId": execution_id}
        for field, value in (("workflowId", workflow), ("userId", user), ("traceparent", traceparent)):
            if value is not None:
                self._top[field] = value
        #: Whether a terminal event was told by this handle.
        self.has_ended = False
        #: The node whose block an exception has left.
        self.failed_node: str | None = None

    def event(
        self,
        type: str,
        data: Mapping[str, Any] | None = None,
        *,
        node: str | None = None,
        agent: str | None = None,
        id: str | None = None,
        **further: Any,
    ) -> P:
        """Any event of this execution; ``further`` fields stand at the top level."""
        return self._enqueue(self.draft(type, data, node=node, agent=agent, id=id, **further))

    def draft(
        self,
        type: str,
        data: Mapping[str, Any] | None = None,
        *,
        node: str | None = None,
        agent: str | None = None,
        id: str | None = None,
        **further: Any,
    ) -> dict[str, Any]:
        """The same event, not yet enqueued."""
        inner = dict(data or {})
        event: dict[str, Any] = {"type": type, **self._top, **further}
        if id is not None:
            event["id"] = id
        # In both places, because older clients look for them in `data`.
        for field, value in (("nodeId", node), ("agentId", agent)):
            if value is not None:
                event[field] = value
                inner.setdefault(field, value)
        event["data"] = inner
        if type in TERMINAL:
            self.has_ended = True
        return event

    def log(
        self,
        message: str,
        level: Level = "info",
        *,
        node: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        step_name: str | None = None,
        step_type: str | None = None,
        input_data: Any = None,
        output_data: Any = None,
        duration_ms: int | None = None,
    ) -> P:
        """``log``"""
        data = present(
            level=level,
            message=message,
            metadata=metadata,
            step_name=step_name,
            step_type=step_type,
            input_data=input_data,
            output_data=output_data,
            duration_ms=duration_ms,
        )
        return self.event("log", data, node=node)

    def started(
        self,
        *,
        name: str | None = None,
        status: Status | None = None,
        agent_count: int | None = None,
        started_at: str | None = None,
    ) -> P:
        """``execution:started``"""
        data = present(workflow_name=name, status=status, agent_count=agent_count, started_at=started_at)
        return self.event("execution:started", data)

    def updated(
        self, *, status: Status | None = None, current_node: str | None = None, progress: float | None = None
    ) -> P:
        """``execution:updated``"""
        return self.event("execution:updated", present(status=status, current_node=current_node, progress=progress))

    def progress(self, percent: float, *, current_node: str | None = None, current_agent: str | None = None) -> P:
        """``execution:progress``, 0 to 100."""
        data = present(progress=percent, current_node=current_node, current_agent=current_agent)
        return self.event("execution:progress", data)

    def completed(
        self,
        result: Any = None,
        *,
        outputs: Any = None,
        duration: float | None = None,
        nodes_completed: int | None = None,
        nodes_failed: int | None = None,
    ) -> P:
        """``execution:completed``, which ends the execution; ``duration`` in seconds."""
        return self._enqueue(
            self._completion(
                result,
                outputs=outputs,
                duration=duration,
                nodes_completed=nodes_completed,
                nodes_failed=nodes_failed,
            )
        )

    def _completion(self, result: Any, **data: Any) -> dict[str, Any]:
        return self.draft("execution:completed", present(result=result, **data))

    def failed(self, error: str, *, failed_node: str | None = None) -> P:
        """``execution:failed``, which ends the execution."""
        return self.event("execution:failed", present(error=error, failed_node=failed_node))

    def cancelled(self, reason: str | None = None) -> P:
        """``execution:cancelled``, which ends the execution."""
        return self.event("execution:cancelled", present(reason=reason))

    def user_input_required(
        self,
        request_id: str,
        prompt: str,
        *,
        input_type: str | None = None,
        validation: Mapping[str, Any] | None = None,
        node: str | None = None,
    ) -> P:
        """``user_input:required``"""
        data = present(request_id=request_id, prompt=prompt, input_type=input_type, validation=validation)
        return self.event("user_input:required", data, node=node)

    def user_input_provided(self, request_id: str) -> P:
        """``user_input:provided``: an answer was accepted."""
        return self.event("user_input:provided", {"requestId": request_id})

    def user_input_timeout(self, request_id: str, timeout_ms: int) -> P:
        """``user_input:timeout``: nobody answered."""
        return self.event("user_input:timeout", {"requestId": request_id, "timeoutMs": timeout_ms})

    def node(self, node_id: str, *, node_type: str | None = None, input: Any = None) -> Node[P]:
        """A node: a handle, and as a context one that tells its beginning and its end."""
        return Node(self, node_id, node_type=node_type, input=input)

    def agent(self, agent_id: str, *, name: str | None = None) -> Agent[P]:
        """An agent: a handle, and as a context one that tells its beginning and its end."""
        return Agent(self, agent_id, name=name)


class Execution(Run[P]):
    """A run as a context. Entered it tells ``execution:started``, left ``execution:completed`` with :attr:`result`,
    or ``execution:failed`` after an exception, or ``execution:cancelled``; unless its block has told an end itself.

    ``async with`` also waits until the end is stored, and takes commands where it was given ``commands``.
    """

    def __init__(
        self,
        enqueue: Enqueue[P],
        execution_id: str,
        *,
        workflow: str | None = None,
        user: str | None = None,
        name: str | None = None,
        traceparent: str | None = None,
        commands: Commands | None = None,
        enqueue_wait: Callable[[Mapping[str, Any]], Awaitable[Pending]] | None = None,
        settle: Callable[[P], Any] | None = None,
    ) -> None:
        super().__init__(enqueue, execution_id, workflow=workflow, user=user, traceparent=traceparent)
        #: What came out of it, told with ``execution:completed``.
        self.result: Any = None
        self._name = name
        self._commands = commands
        self._enqueue_wait = enqueue_wait
        self._settle = settle
        self._serving: Serving | None = None
        self._begun = time.monotonic()

    def __enter__(self) -> Execution[P]:
        if self._commands is not None:
            raise RuntimeError("commands: are taken by `async with` only")
        self._begun = time.monotonic()
        self.started(name=self._name)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.has_ended:
            return
        pending = None
        try:
            pending = self._enqueue(self._end(error))
        except PublishError:
            # Counted and told by the publisher; an exception of the block comes first.
            if error is None:
                raise
        if self._settle is not None and pending is not None:
            try:
                self._settle(pending)
            except PublishError:
                if error is None:
                    raise

    async def __aenter__(self) -> Execution[P]:
        self._begun = time.monotonic()
        if self._commands is not None:
            self._serving = await self._commands.serve(self)
        self.started(name=self._name)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        cancelled: ExecutionCancelled | None = None
        if self._serving is not None:
            cancelled = await self._serving.end(error)
            self._serving = None
        error = cancelled or error
        try:
            if not self.has_ended:
                event = self._end(error)
                if self._enqueue_wait is not None:
                    await (await self._enqueue_wait(event))
                else:
                    self._enqueue(event)
        except PublishError:
            if error is None:
                raise
        if cancelled is not None:
            raise cancelled from None

    async def ask(
        self,
        prompt: str,
        *,
        request_id: str | None = None,
        input_type: str | None = None,
        validation: Mapping[str, Any] | None = None,
        node: str | None = None,
        timeout: float | None = None,
        check: Callable[[Any], None] | None = None,
    ) -> Any:
        """Asks whoever watches, and waits for the answer; ``TimeoutError`` after ``timeout`` seconds.

        ``check`` may raise :class:`~weft.errors.Rejected`; the sender is told, and the question stays open.
        """
        if self._serving is None:
            raise RuntimeError("ask: needs `async with` and `commands`")
        request_id, answer = self._serving.open_prompt(request_id, check)
        self.user_input_required(request_id, prompt, input_type=input_type, validation=validation, node=node)
        try:
            value = await within(answer, timeout)
        except asyncio.TimeoutError:
            self.user_input_timeout(request_id, int((timeout or 0) * 1000))
            raise
        finally:
            self._serving.close_prompt(request_id)
        self.user_input_provided(request_id)
        return value

    def _end(self, error: BaseException | None) -> dict[str, Any]:
        if error is None:
            return self._completion(self.result, duration=round(time.monotonic() - self._begun, 3))
        if is_cancellation(error):
            reason = error.reason if isinstance(error, ExecutionCancelled) else told(error)
            return self.draft("execution:cancelled", present(reason=reason))
        return self.draft("execution:failed", present(error=told(error), failed_node=self.failed_node))
