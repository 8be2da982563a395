"""The first duty of who publishes to a durable bus: an execution's record is there, with its owner, before its first
event, and an event with another owner is refused. Moving the record forward is left to gateways."""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from collections.abc import Awaitable
from typing import Any, Callable, Optional

from .errors import OwnerMismatch, PublishError, Refused, WeftError
from .event import Prepared
from .item import Again

#: Executions and knowledge bases whose owner is remembered; the least recently used is looked up again.
REMEMBERED_MAX = 50_000

#: Makes the record with this owner where there is none; answers the owner in force.
Ensure = Callable[[str, str, Optional[str]], Awaitable[Optional[str]]]


def new_head(tenant: str | None, execution_id: str, owner: str | None) -> tuple[bytes, int]:
    """The record of an execution that has just been seen for the first time, and its time in Unix milliseconds."""
    now = int(time.time() * 1000)
    snapshot: dict[str, Any] = {
        "executionId": execution_id,
        "workflowId": None,
        "userId": owner,
        "status": "pending",
        "progress": None,
        "currentNode": None,
        "error": None,
        "result": None,
        "startedAt": None,
        "endedAt": None,
        "nodes": {},
        "pendingInput": [],
        "valueBytes": 0,
    }
    head: dict[str, Any] = {} if tenant is None else {"tenant": tenant}
    head.update(
        executionId=execution_id,
        owner=owner,
        createdMs=now,
        updatedMs=now,
        snapshot=snapshot,
        at=None,
        incomplete=False,
    )
    return json.dumps(head, separators=(",", ":")).encode(), now


def owner_of(record: bytes | str) -> str | None:
    """The owner in a stored record."""
    try:
        owner = json.loads(record)["owner"]
    except (ValueError, KeyError, TypeError) as error:
        raise WeftError("refused", f"a stored record cannot be read: {error}") from None
    return owner if isinstance(owner, str) else None


class Owners:
    """The owners of what this process publishes to."""

    def __init__(self, ensure: Ensure, look_again: float = 6 * 3600) -> None:
        """``ensure`` is given the broker room, the id and the user; asked again after ``look_again`` seconds."""
        self._ensure = ensure
        self._look_again = look_again
        self._known: OrderedDict[str, tuple[str | None, float]] = OrderedDict()

    async def admit(self, event: Prepared, tenant: str | None) -> Again | PublishError | None:
        """Whether the event may be stored, and if not, why."""
        for kind, identity in (("execution", event.execution_id), ("kb", event.knowledge_base_id)):
            if identity is None:
                continue
            room = f"{kind}:{identity}" if tenant is None else f"{tenant}/{kind}:{identity}"
            owner, until = self._known.get(room, (None, 0.0))
            if time.monotonic() >= until:
                try:
                    owner = await self._ensure(room, identity, event.user_id)
                except Unavailable as error:
                    return Again(str(error))
                except WeftError as error:
                    return Refused(str(error))
                self._known[room] = (owner, time.monotonic() + self._look_again)
                if len(self._known) > REMEMBERED_MAX:
                    self._known.popitem(last=False)
            self._known.move_to_end(room)
            if owner is not None and event.user_id is not None and owner != event.user_id:
                return OwnerMismatch()
        return None


class Unavailable(Exception):
    """The broker is away or busy: worth another try."""
