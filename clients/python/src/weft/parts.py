"""What a run has parts of: nodes, agents, the text of an agent; and knowledge bases."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Callable, Generic, Literal, TypeVar

from . import rooms as names
from .errors import ExecutionCancelled, PublishError

if TYPE_CHECKING:
    from .run import Run

#: What enqueueing answers: :class:`~weft.item.Pending`, or its twin for threads.
P = TypeVar("P")
Enqueue = Callable[[Mapping[str, Any]], P]
Level = Literal["debug", "info", "warning", "error"]

#: Longest text of an exception that is told, in characters.
ERROR_MAX = 8 * 1024


def present(**data: Any) -> dict[str, Any]:
    """The keys that have a value, as the protocol writes them: ``started_at`` becomes ``startedAt``."""
    found = {}
    for name, value in data.items():
        if value is not None:
            head, *rest = name.split("_")
            found[head + "".join(word.title() for word in rest)] = value
    return found


def told(error: BaseException) -> str:
    text = str(error)
    return f"{type(error).__name__}: {text}"[:ERROR_MAX] if text else type(error).__name__


def is_cancellation(error: BaseException) -> bool:
    return isinstance(error, (asyncio.CancelledError, ExecutionCancelled, KeyboardInterrupt, SystemExit))


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
        return self.event("node:started", present(node_type=node_type, input=input, started_at=started_at))

    def progress(self, percent: float, *, step: str | None = None) -> P:
        """``node:progress``, 0 to 100."""
        return self.event("node:progress", present(progress=percent, step=step))

    def completed(self, output: Any = None, *, outputs: Any = None, duration_ms: int | None = None) -> P:
        """``node:completed``"""
        return self.event("node:completed", present(output=output, outputs=outputs, duration_ms=duration_ms))

    def failed(self, error: str, *, retry: Mapping[str, Any] | None = None) -> P:
        """``node:failed``"""
        return self.event("node:failed", present(error=error, retry=retry))

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
        if self._run.failed_node is None:
            self._run.failed_node = self.id
        try:
            self.failed(told(error))
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
        return self.event(type, present(agent_name=self._name, **data))

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
        return self.event("agent:tool_call", present(tool=tool, arguments=arguments, status=status))

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
            self.failed(told(error))
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
        return self.event("kb:upload_started", present(file_name=file_name, file_size=file_size))

    def processing(self, step: str, progress: float | None = None, *, file_name: str | None = None) -> P:
        """``kb:processing``; ``step`` is extraction, chunking or embedding."""
        return self.event("kb:processing", present(step=step, progress=progress, file_name=file_name))

    def upload_completed(
        self,
        document_id: str,
        *,
        file_name: str | None = None,
        chunk_count: int | None = None,
        embedding_count: int | None = None,
    ) -> P:
        """``kb:upload_completed``"""
        data = present(
            document_id=document_id,
            file_name=file_name,
            chunk_count=chunk_count,
            embedding_count=embedding_count,
        )
        return self.event("kb:upload_completed", data)

    def upload_failed(self, error: str, *, file_name: str | None = None, failed_step: str | None = None) -> P:
        """``kb:upload_failed``"""
        return self.event("kb:upload_failed", present(error=error, file_name=file_name, failed_step=failed_step))
