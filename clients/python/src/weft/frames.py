"""Addresses of the native protocol, and what stands in its frames."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit, urlunsplit


def websocket_url(url: str) -> str:
    """``/api/ws`` of a gateway, unless the address has a path of its own."""
    parts = urlsplit(url)
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    path = parts.path if parts.path.strip("/") else "/api/ws"
    return urlunsplit((scheme, parts.netloc, path, parts.query, ""))


def messages(frame: str | bytes) -> list[dict[str, Any]]:
    """The messages of a frame, one a line."""
    found = []
    for line in frame.splitlines() if isinstance(frame, bytes) else frame.split("\n"):
        if line.strip():
            message = json.loads(line)
            if isinstance(message, dict):
                found.append(message)
    return found
