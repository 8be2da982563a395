"""An event of the protocol: checked, completed and written as the bytes that every client will read."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from . import rooms as names
from .clock import timestamp, uuid7
from .errors import Invalid, TooLarge

#: Largest event in bytes, ``id`` and ``timestamp`` included.
EVENT_BYTES_MAX = 960 * 1024
#: Deepest nesting of objects and arrays.
DEPTH_MAX = 128

TERMINAL = frozenset({"execution:completed", "execution:failed", "execution:cancelled"})

_KIND = re.compile(r"(?:log|[A-Za-z0-9_.-]+:[A-Za-z0-9_.:-]+)\Z")
_KIND_BYTES_MAX = 64
_NAME_BYTES_MAX = 256
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)\Z")
_RESERVED = ("offset", "room", "first", "skipped")
_NEVER_NULL = ("executionId", "id", "timestamp")
_STRINGS = (
    "type",
    "executionId",
    "id",
    "timestamp",
    "workflowId",
    "userId",
    "nodeId",
    "agentId",
    "knowledgeBaseId",
    "traceparent",
)


@dataclass(frozen=True)
class Prepared:
    """A valid event on its way."""

    kind: str
    id: str
    #: One JSON object on one line.
    body: bytes
    #: The rooms that it reaches, its first room first, without tenant.
    rooms: tuple[str, ...]
    execution_id: str | None
    user_id: str | None
    knowledge_base_id: str | None
    traceparent: str | None

    @property
    def is_terminal(self) -> bool:
        """Whether the execution ends with it."""
        return self.kind in TERMINAL


def prepare(event: Mapping[str, Any]) -> Prepared:
    """Checks an event by every rule of the protocol and completes it with ``id`` and ``timestamp``.

    Raises :class:`Invalid`, which names the field, or :class:`TooLarge`.
    """
    if not isinstance(event, Mapping):
        raise Invalid("event", "must be one JSON object")
    if not all(isinstance(key, str) for key in event):
        raise Invalid("event", "must have strings as keys")
    for field in _RESERVED:
        if field in event:
            raise Invalid(field, "is reserved at the top level of an event")
    for field in _STRINGS:
        value = event.get(field)
        if value is None and field in event and field in _NEVER_NULL:
            raise Invalid(field, "must be left out where there is none, not null")
        if value is not None and not isinstance(value, str):
            raise Invalid(field, "must be a string")
    kind = _check_kind(event.get("type"))
    data = event.get("data")
    if data is not None and not isinstance(data, Mapping):
        raise Invalid("data", "must be an object")
    _check_strings(event)
    family = kind.partition(":")[0]
    inner: Mapping[str, Any] = (data or {}) if family in ("node", "agent") else {}
    node = _agreed(event, inner, "nodeId")
    agent = _agreed(event, inner, "agentId", is_agent=family == "agent")
    execution, user, kb = event.get("executionId"), event.get("userId"), event.get("knowledgeBaseId")
    _require(family, execution=execution, node=node, agent=agent, kb=kb)
    completed = dict(event)
    identity = completed.setdefault("id", uuid7())
    completed.setdefault("timestamp", timestamp())
    return Prepared(
        kind=kind,
        id=identity,
        body=_encode(completed),
        rooms=tuple(_rooms(family, execution, user, agent, kb)),
        execution_id=execution,
        user_id=user,
        knowledge_base_id=kb if family == "kb" else None,
        traceparent=event.get("traceparent"),
    )


def _check_kind(kind: str | None) -> str:
    if kind is None:
        raise Invalid("type", "is required")
    if len(kind) > _KIND_BYTES_MAX or not re.match(r"[A-Za-z0-9_.:-]*\Z", kind):
        raise Invalid("type", "must be at most 64 bytes of A-Z a-z 0-9 _ - . :")
    if kind == "user_input:provide":
        raise Invalid("type", "user_input:provide is a command, not an event")
    if not _KIND.match(kind):
        raise Invalid("type", "must be log or family:name")
    return kind


def _check_strings(event: Mapping[str, Any]) -> None:
    for field in ("executionId", "id", "userId", "knowledgeBaseId"):
        if event.get(field) is not None:
            names.check_id(field, event[field])
    if event.get("agentId") is not None:
        names.check_agent_id("agentId", event["agentId"])
    for field in ("workflowId", "nodeId", "traceparent"):
        if event.get(field) is not None:
            _check_name(field, event[field])
    at = event.get("timestamp")
    if at is not None:
        try:
            # Only as many digits of a fraction as every supported Python reads.
            legal = bool(_RFC3339.match(at)) and bool(datetime.fromisoformat(at[:19]))
        except ValueError:
            legal = False
        if not legal:
            raise Invalid("timestamp", "must be RFC 3339, as 2026-01-31T12:00:00.000Z")


def _check_name(field: str, value: str) -> None:
    if not 1 <= len(value.encode("utf-8", "surrogatepass")) <= _NAME_BYTES_MAX:
        raise Invalid(field, "must be 1 to 256 bytes")


def _agreed(event: Mapping[str, Any], inner: Mapping[str, Any], field: str, *, is_agent: bool = False) -> str | None:
    top, within = event.get(field), inner.get(field)
    if within is not None:
        if not isinstance(within, str):
            raise Invalid(f"data.{field}", "must be a string")
        if is_agent:
            names.check_agent_id(f"data.{field}", within)
        elif field == "nodeId":
            _check_name(f"data.{field}", within)
    if top is not None and within is not None and top != within:
        raise Invalid(field, "differs between the top level and data")
    return top if top is not None else within


def _require(family: str, **ids: str | None) -> None:
    if family == "kb":
        if ids["kb"] is None:
            raise Invalid("knowledgeBaseId", "is required for kb:* events")
        return
    if family == "node" and ids["node"] is None:
        raise Invalid("nodeId", "is required for node:* events")
    if family == "agent" and ids["agent"] is None:
        raise Invalid("agentId", "is required for agent:* events")
    if ids["execution"] is None:
        raise Invalid("executionId", "is required for all but kb:* events")


def _rooms(family: str, execution: str | None, user: str | None, agent: str | None, kb: str | None) -> list[str]:
    found = []
    if execution is not None:
        found.append(f"execution:{execution}")
    if family == "kb" and kb is not None:
        found.append(f"kb:{kb}")
    if user is not None:
        found.append(f"user:{user}")
    if family == "agent" and agent is not None and execution is not None:
        found.append(f"agent:{agent}:{execution}")
    return found


def _encode(event: dict[str, Any]) -> bytes:
    text = _dump("event", event)
    try:
        body = text.encode()
    except UnicodeEncodeError:
        raise Invalid("event", "must be UTF-8: a string holds half of a surrogate pair") from None
    if len(body) > EVENT_BYTES_MAX:
        raise TooLarge(f"{len(body)} bytes with id and timestamp, at most {EVENT_BYTES_MAX}")
    # Only then can it be too deep.
    if body.count(b"{") + body.count(b"[") > DEPTH_MAX and _depth(text) > DEPTH_MAX:
        raise Invalid("event", f"must nest at most {DEPTH_MAX} deep")
    return body


def _dump(field: str, value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        if field == "event":
            # Whose fault it is: one field after the other.
            for name, part in value.items():
                _dump(name, part)
        reason = "nests too deep" if isinstance(error, RecursionError) else str(error)
        raise Invalid(field, f"cannot be written as JSON: {reason}") from None


def _depth(text: str) -> int:
    deepest = depth = 0
    for token in re.finditer(r'"(?:[^"\\]|\\.)*"|[{\[]|[}\]]', text):
        if token[0] in "{[":
            depth += 1
            deepest = max(deepest, depth)
        elif token[0] in "}]":
            depth -= 1
    return deepest
