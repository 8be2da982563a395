"""What an executor tells about an execution, a node, an agent or a knowledge base: one method an event type."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Callable, Generic, Literal, TypeVar

from . import rooms as names
from .clock import within
from .errors import ExecutionCancelled, PublishError
from .event import TERMINAL
from .item import Pending

if TYPE_CHECKING:
    from .commands import Commands, Serving

#: What enqueueing answers: :class:`~weft.item.Pending`, or its twin for threads.
P = TypeVar("P")
Enqueue = Callable[[Mapping[str, Any]], P]
Level = Literal["debug", "info", "warning", "error"]
Status = Literal["pending", "running", "completed", "failed", "cancelled"]

#: Longest text of an exception that is told, in characters.
ERROR_MAX = 8 * 1024


def _present(**data: Any) -> dict[str, Any]:
    """The keys that have a value, as the protocol writes them: ``started_at`` becomes ``startedAt``."""
    found = {}
    for name, value in data.items():
        if value is not None:
            head, *rest = name.split("_")
            found[head + "".join(word.title() for word in rest)] = value
    return found


def _told(error: BaseException) -> str:
    text = str(error)
    return f"{type(error).__name__}: {text}"[:ERROR_MAX] if text else type(error).__name__


def _is_cancellation(error: BaseException) -> bool:
    return isinstance(error, (asyncio.CancelledError, ExecutionCancelled, KeyboardInterrupt, SystemExit))


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
        data = _present(
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
        data = _present(workflow_name=name, status=status, agent_count=agent_count, started_at=started_at)
        return self.event("execution:started", data)

    def updated(
        self, *, status: Status | None = None, current_node: str | None = None, progress: float | None = None
    ) -> P:
        """``execution:updated``"""
        return self.event("execution:updated", _present(status=status, current_node=current_node, progress=progress))

    def progress(self, percent: float, *, current_node: str | None = None, current_agent: str | None = None) -> P:
        """``execution:progress``, 0 to 100."""
        data = _present(progress=percent, current_node=current_node, current_agent=current_agent)
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
        return self.draft("execution:completed", _present(result=result, **data))

    def failed(self, error: str, *, failed_node: str | None = None) -> P:
        """``execution:failed``, which ends the execution."""
        return self.event("execution:failed", _present(error=error, failed_node=failed_node))

    def cancelled(self, reason: str | None = None) -> P:
        """``execution:cancelled``, which ends the execution."""
        return self.event("execution:cancelled", _present(reason=reason))

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
        data = _present(request_id=request_id, prompt=prompt, input_type=input_type, validation=validation)
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
        #: The node whose block an exception has left.
        self.failed_node: str | None = None
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
        if _is_cancellation(error):
            reason = error.reason if isinstance(error, ExecutionCancelled) else _told(error)
            return self.draft("execution:cancelled", _present(reason=reason))
        return self.draft("execution:failed", _present(error=_told(error), failed_node=self.failed_node))


class Node(Generic[P]):
    """Writes the events of one node. As a context it tells ``node:started`` and how its block ended."""

    def __init__(self, run: Run[P], node_id: str, *, node_type: str | None, input: Any) -> None:
        self._run = run
        self.id = node_id
        self._node_type = node_type
        self._input = input
        #: What came out of it, told with ``node:completed``.
        self.output: Any = None
        self._begun = time.monotonic()

    def event(self, type: str, data: Mapping[str, Any] | None = None, **further: Any) -> P:
        """Any event of this node."""
        return self._run.event(type, data, node=self.id, **further)

    def log(self, message: str, level: Level = "info", *, metadata: Mapping[str, Any] | None = None) -> P:
        """``log``, with this node's id."""
        return self._run.log(message, level, node=self.id, metadata=metadata)

    def started(self, *, node_type: str | None = None, input: Any = None, started_at: str | None = None) -> P:
        """``node:started``"""
        return self.event("node:started", _present(node_type=node_type, input=input, started_at=started_at))

    def progress(self, percent: float, *, step: str | None = None) -> P:
        """``node:progress``, 0 to 100."""
        return self.event("node:progress", _present(progress=percent, step=step))

    def completed(self, output: Any = None, *, outputs: Any = None, duration_ms: int | None = None) -> P:
        """``node:completed``"""
        return self.event("node:completed", _present(output=output, outputs=outputs, duration_ms=duration_ms))

    def failed(self, error: str, *, retry: Mapping[str, Any] | None = None) -> P:
        """``node:failed``"""
        return self.event("node:failed", _present(error=error, retry=retry))

    def __enter__(self) -> Node[P]:
        self._begun = time.monotonic()
        self.started(node_type=self._node_type, input=self._input)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            took = int((time.monotonic() - self._begun) * 1000)
            self.completed(self.output, duration_ms=took)
            return
        if isinstance(self._run, Execution) and self._run.failed_node is None:
            self._run.failed_node = self.id
        try:
            self.failed(_told(error))
        except PublishError:
            # Counted and told by the publisher; what happened in the block comes first.
            return


class Agent(Generic[P]):
    """Writes the events of one agent. As a context it tells ``agent:started`` and how its block ended."""

    def __init__(self, run: Run[P], agent_id: str, *, name: str | None) -> None:
        self._run = run
        self.id = names.check_agent_id("agentId", agent_id)
        self._name = name
        #: What came out of it, told with ``agent:completed``.
        self.result: Any = None

    def event(self, type: str, data: Mapping[str, Any] | None = None, **further: Any) -> P:
        """Any event of this agent."""
        return self._run.event(type, data, agent=self.id, **further)

    def _step(self, type: str, **data: Any) -> P:
        return self.event(type, _present(agent_name=self._name, **data))

    def started(self, *, message: str | None = None) -> P:
        """``agent:started``"""
        return self._step("agent:started", message=message)

    def progress(self, percent: float | None = None, *, message: str | None = None) -> P:
        """``agent:progress``"""
        return self._step("agent:progress", progress=percent, message=message)

    def completed(self, result: Any = None, *, message: str | None = None) -> P:
        """``agent:completed``"""
        return self._step("agent:completed", result=result, message=message)

    def failed(self, error: str) -> P:
        """``agent:failed``"""
        return self._step("agent:failed", error=error)

    def tool_call(self, tool: str, arguments: Any = None, *, status: str = "started") -> P:
        """``agent:tool_call``"""
        return self.event("agent:tool_call", _present(tool=tool, arguments=arguments, status=status))

    def stream(self) -> TokenStream[P]:
        """The agent's text as it comes: a context, in which :meth:`TokenStream.token` is told."""
        return TokenStream(self)

    def __enter__(self) -> Agent[P]:
        self.started()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.completed(self.result)
            return
        try:
            self.failed(_told(error))
        except PublishError:
            return


class TokenStream(Generic[P]):
    """Tells ``agent:streaming_start``, each token, and ``agent:streaming_end`` with the whole text."""

    def __init__(self, agent: Agent[P]) -> None:
        self._agent = agent
        self._tokens: list[str] = []

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(self._tokens)

    def token(self, token: str) -> P:
        """``agent:token``: the next piece of the text."""
        self._tokens.append(token)
        return self._agent.event("agent:token", {"token": token, "index": len(self._tokens) - 1})

    def __enter__(self) -> TokenStream[P]:
        self._agent.event("agent:streaming_start")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._agent.event("agent:streaming_end", {"response": self.text, "tokenCount": len(self._tokens)})
        except PublishError:
            if error is None:
                raise


class KnowledgeBase(Generic[P]):
    """Writes the events of one knowledge base."""

    def __init__(self, enqueue: Enqueue[P], knowledge_base_id: str, *, user: str | None = None) -> None:
        self._enqueue = enqueue
        #: The knowledge base's id.
        self.id = names.check_id("knowledgeBaseId", knowledge_base_id)
        self._top = {"knowledgeBaseId": knowledge_base_id}
        if user is not None:
            self._top["userId"] = user

    def event(self, type: str, data: Mapping[str, Any] | None = None, **further: Any) -> P:
        """Any ``kb:*`` event."""
        return self._enqueue({"type": type, **self._top, **further, "data": dict(data or {})})

    def upload_started(self, file_name: str, *, file_size: int | None = None) -> P:
        """``kb:upload_started``"""
        return self.event("kb:upload_started", _present(file_name=file_name, file_size=file_size))

    def processing(self, step: str, progress: float | None = None, *, file_name: str | None = None) -> P:
        """``kb:processing``; ``step`` is extraction, chunking or embedding."""
        return self.event("kb:processing", _present(step=step, progress=progress, file_name=file_name))

    def upload_completed(
        self,
        document_id: str,
        *,
        file_name: str | None = None,
        chunk_count: int | None = None,
        embedding_count: int | None = None,
    ) -> P:
        """``kb:upload_completed``"""
        data = _present(
            document_id=document_id,
            file_name=file_name,
            chunk_count=chunk_count,
            embedding_count=embedding_count,
        )
        return self.event("kb:upload_completed", data)

    def upload_failed(self, error: str, *, file_name: str | None = None, failed_step: str | None = None) -> P:
        """``kb:upload_failed``"""
        return self.event("kb:upload_failed", _present(error=error, file_name=file_name, failed_step=failed_step))
