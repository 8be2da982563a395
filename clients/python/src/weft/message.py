"""What a subscriber is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Union

from .event import TERMINAL


@dataclass(frozen=True)
class Event:
    """Something happened."""

    type: str
    #: The room that it came by.
    room: str
    #: Where it stands in its room: what to keep to go on from there. None where the bus stores nothing.
    offset: str | None
    #: The whole event, as published.
    raw: Mapping[str, Any] = field(repr=False)

    @property
    def id(self) -> str | None:
        """Its unique id."""
        return self.raw.get("id")

    @property
    def execution_id(self) -> str | None:
        """Which execution."""
        return self.raw.get("executionId")

    @property
    def node_id(self) -> str | None:
        """Which node, where it is about one."""
        return self.raw.get("nodeId") or self.data.get("nodeId")

    @property
    def agent_id(self) -> str | None:
        """Which agent, where it is about one."""
        return self.raw.get("agentId") or self.data.get("agentId")

    @property
    def timestamp(self) -> str | None:
        """When it happened, for people."""
        return self.raw.get("timestamp")

    @property
    def data(self) -> Mapping[str, Any]:
        """What its type needs."""
        data = self.raw.get("data")
        return data if isinstance(data, dict) else {}

    @property
    def is_terminal(self) -> bool:
        """Whether its execution ends with it."""
        return self.type in TERMINAL


@dataclass(frozen=True)
class Snapshot:
    """The folded state of an execution; every event after ``offset`` follows."""

    room: str
    offset: str | None
    state: Mapping[str, Any]

    @property
    def status(self) -> str:
        """pending, running, completed, failed or cancelled."""
        return str(self.state.get("status", "pending"))


@dataclass(frozen=True)
class Gap:
    """Events of this room are gone: after ``missed_from`` up to ``missed_to``, where that is known.

    ``reason`` is retention, reset, unreadable, or live_only: the bus stores nothing, and the connection was lost.
    """

    room: str
    missed_from: str | None
    missed_to: str | None
    reason: str


@dataclass(frozen=True)
class Degraded:
    """The broker is away (``active``), or back. Nothing needs to be done."""

    active: bool


Message = Union[Event, Snapshot, Gap, Degraded]
