"""What was asked of a gateway, and is not answered yet: commands, subscribes, rooms that are being left."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from .errors import WeftError

#: Subscribes whose answer is waited for; the oldest are forgotten, which only costs knowing whom a refusal concerns.
SUBSCRIBES_MAX = 256


class Answers:
    """The open questions of one subscriber."""

    def __init__(self) -> None:
        self.commands: dict[str, asyncio.Future[None]] = {}
        self.left: dict[str, asyncio.Future[None]] = {}
        self._subscribes: dict[str, list[str]] = {}
        self._count = 0

    def ref(self, letter: str) -> str:
        """A word that comes back in the answer."""
        self._count += 1
        return f"{letter}{self._count}"

    def command(self) -> tuple[str, asyncio.Future[None]]:
        """A command is about to be sent; ``forget`` it in the end."""
        ref = self.ref("c")
        answer = self.commands[ref] = asyncio.get_running_loop().create_future()
        return ref, answer

    def forget(self, ref: str) -> None:
        self.commands.pop(ref, None)

    def answer(self, message: Mapping[str, Any], error: WeftError | None) -> None:
        """The answer to a command has come."""
        answer = self.commands.get(str(message.get("ref")))
        if answer is None or answer.done():
            return
        if error is None:
            answer.set_result(None)
        else:
            answer.set_exception(error)

    def subscribe(self, rooms: list[str]) -> str:
        """Rooms are about to be asked for."""
        ref = self.ref("s")
        self._subscribes[ref] = rooms
        if len(self._subscribes) > SUBSCRIBES_MAX:
            del self._subscribes[next(iter(self._subscribes))]
        return ref

    def subscribed(self, ref: str, room: str) -> None:
        """One of them was answered."""
        rooms = self._subscribes.get(ref, [])
        if room in rooms:
            rooms.remove(room)
        if not rooms:
            self._subscribes.pop(ref, None)

    def refused(self, ref: str) -> list[str] | None:
        """All that were asked for under this word, if any were."""
        return self._subscribes.pop(ref, None)

    def leaving(self, room: str) -> asyncio.Future[None]:
        """A room is about to be left."""
        left = self.left[room] = asyncio.get_running_loop().create_future()
        return left

    def has_left(self, room: str) -> None:
        left = self.left.get(room)
        if left is not None and not left.done():
            left.set_result(None)

    def lost(self, error: WeftError) -> None:
        """The connection is gone: nothing of it is answered any more."""
        self._subscribes.clear()
        for answer in self.commands.values():
            if not answer.done():
                answer.set_exception(error)
        for room in self.left:
            self.has_left(room)
