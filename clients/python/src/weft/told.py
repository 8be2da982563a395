"""What a gateway can tell a client, and whether to come back after it: the tables of ``docs/PROTOCOL.md``."""

from __future__ import annotations

from typing import Literal

#: Error codes after which the same may be asked again, after a pause.
LATER = frozenset(
    {
        "too_many_pending",
        "rate_limited",
        "no_executor",
        "timeout",
        "busy",
        "unavailable",
        "draining",
        "overloaded",
        "internal",
    }
)

ComeBack = Literal["yes", "later", "token", "no"]

CLOSES: dict[int, ComeBack] = {
    1002: "no",
    1003: "no",
    1007: "no",
    1008: "later",
    1009: "no",
    1012: "yes",
    1013: "later",
    4400: "no",
    4401: "token",
    4403: "no",
    4408: "yes",
    4409: "yes",
}


def come_back(code: int) -> ComeBack:
    """What a close code asks for. Any that the table lacks, 1006 above all, means yes."""
    return CLOSES.get(code, "yes")
