"""Publish and follow workflow events through Weft.

An executor publishes with :class:`Publisher` (or :func:`execution` for one run), takes commands with :class:`Commands`,
and anybody follows with :func:`follow` or :class:`Subscriber`. Code without an event loop uses :mod:`weft.blocking`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import blocking
from .clock import Backoff, uuid7
from .errors import (
    Closed,
    ExecutionCancelled,
    Expired,
    Full,
    Incomplete,
    Invalid,
    OwnerMismatch,
    PublishError,
    Refused,
    Rejected,
    TooLarge,
    Unfinished,
    WeftError,
)
from .event import Prepared, prepare
from .item import Pending, Stored
from .message import Degraded, Event, Gap, Message, Snapshot
from .parts import Agent, KnowledgeBase, Node, TokenStream
from .publisher import Losses, Publisher
from .run import Execution, Run
from .settings import Retention
from .standalone import execution

if TYPE_CHECKING:
    from .commands import Commands, Order
    from .http import Gateway
    from .subscriber import Subscriber, follow

# Loaded when they are first asked for: each needs an optional dependency.
_LATER = {
    "Commands": "commands",
    "Order": "commands",
    "Gateway": "http",
    "Subscriber": "subscriber",
    "follow": "subscriber",
}


def __getattr__(name: str) -> Any:
    module = _LATER.get(name)
    if module is None:
        raise AttributeError(f"module 'weft' has no attribute '{name}'")
    import importlib

    return getattr(importlib.import_module(f".{module}", __name__), name)


__all__ = [
    "Agent",
    "Backoff",
    "Closed",
    "Commands",
    "Degraded",
    "Event",
    "Execution",
    "ExecutionCancelled",
    "Expired",
    "Full",
    "Gap",
    "Gateway",
    "Incomplete",
    "Invalid",
    "KnowledgeBase",
    "Losses",
    "Message",
    "Node",
    "Order",
    "OwnerMismatch",
    "Pending",
    "Prepared",
    "PublishError",
    "Publisher",
    "Refused",
    "Rejected",
    "Retention",
    "Run",
    "Snapshot",
    "Stored",
    "Subscriber",
    "TokenStream",
    "TooLarge",
    "Unfinished",
    "WeftError",
    "blocking",
    "execution",
    "follow",
    "prepare",
    "uuid7",
]
