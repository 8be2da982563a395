"""Rooms and ids: what events are about, and the names that clients and brokers call them by."""

from __future__ import annotations

import re

from .errors import Invalid

_ID = re.compile(r"[A-Za-z0-9_.:~@-]+\Z")
_TENANT = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_ID_BYTES_MAX = 128


def check_id(field: str, value: str) -> str:
    """Checks an id: 1 to 128 bytes of ``A-Z a-z 0-9 _ - . : ~ @``."""
    if not isinstance(value, str):
        raise Invalid(field, "must be a string")
    if not value:
        raise Invalid(field, "must not be empty")
    if not _ID.match(value):
        raise Invalid(field, "may hold only A-Z a-z 0-9 _ - . : ~ @")
    if len(value) > _ID_BYTES_MAX:
        raise Invalid(field, "must be at most 128 bytes")
    return value


def check_agent_id(field: str, value: str) -> str:
    """Checks an agent's id, in which ``:`` cannot occur."""
    check_id(field, value)
    if ":" in value:
        raise Invalid(field, "must not contain ':'")
    return value


def check_tenant(value: str) -> str:
    """Checks a tenant's name."""
    if not _TENANT.match(value):
        raise Invalid("tenant", "must be 1 to 64 bytes of A-Z a-z 0-9 _ -")
    return value


def execution_room(execution_id: str) -> str:
    """``execution:<id>``"""
    return f"execution:{check_id('executionId', execution_id)}"


def user_room(user_id: str) -> str:
    """``user:<id>``"""
    return f"user:{check_id('userId', user_id)}"


def agent_room(agent_id: str, execution_id: str) -> str:
    """``agent:<agent>:<execution>``"""
    return f"agent:{check_agent_id('agentId', agent_id)}:{check_id('executionId', execution_id)}"


def kb_room(knowledge_base_id: str) -> str:
    """``kb:<id>``"""
    return f"kb:{check_id('knowledgeBaseId', knowledge_base_id)}"


def check_room(name: str) -> str:
    """Checks a room's name: a wrong one would have a whole subscription refused."""
    kind, colon, rest = name.partition(":")
    if not colon or kind not in ("execution", "user", "agent", "kb"):
        rule = "must be execution:<id>, user:<id>, agent:<agentId>:<executionId> or kb:<id>"
        raise Invalid("room", rule)
    if kind == "agent":
        agent, colon, execution = rest.partition(":")
        if not colon:
            raise Invalid("room", "an agent room is agent:<agentId>:<executionId>")
        check_agent_id("room", agent)
        check_id("room", execution)
    else:
        check_id("room", rest)
    return name


def nats_token(text: str) -> str:
    """Any text as one token of a NATS subject; in ids only ``.`` is written otherwise, as ``%2E``."""
    return re.sub(r"[^A-Za-z0-9_\-:~@/]", lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode()), text)
