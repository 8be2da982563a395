"""Where followed rooms stand, and what of a gateway's messages is news. No connection, no clock."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from . import rooms as names
from .message import Degraded, Event, Gap, Message, Snapshot

#: Events of a room, and of all rooms, that are remembered to tell repeats.
SEEN_MAX = 2048
SEEN_ALL_MAX = 8192


@dataclass(frozen=True)
class Moved:
    """Where rooms stand now, without anything to tell."""

    offsets: Mapping[str, str]


class _Recent:
    def __init__(self, most: int) -> None:
        self._keys: OrderedDict[str, None] = OrderedDict()
        self._most = most

    def add(self, key: str) -> bool:
        """Notes a key; whether it is new."""
        if key in self._keys:
            return False
        self._keys[key] = None
        if len(self._keys) > self._most:
            self._keys.popitem(last=False)
        return True


class Room:
    """One followed room."""

    def __init__(self, name: str, offset: str | None) -> None:
        self.name = name
        #: The last offset told, wherever it came from; passed back as it is.
        self.offset = offset
        self.begun = False
        self.after_gap: str | None = None
        self.seen = _Recent(SEEN_MAX)


class Rooms:
    """The rooms of one subscriber."""

    def __init__(self) -> None:
        self.rooms: dict[str, Room] = {}
        self._seen = _Recent(SEEN_ALL_MAX)

    def add(self, name: str, offset: str | None) -> None:
        """Follows one more."""
        names.check_room(name)
        if name not in self.rooms:
            self.rooms[name] = Room(name, offset)

    def wanted(self, which: Iterable[str]) -> list[dict[str, str]]:
        """What a subscribe asks for."""
        rooms = [self.rooms[name] for name in which if name in self.rooms]
        return [{"room": each.name, **({"offset": each.offset} if each.offset else {})} for each in rooms]

    def subscribed(self, message: Mapping[str, Any]) -> list[Message | Moved]:
        """A subscribe was answered."""
        moved: dict[str, str] = {}
        for name, offset in (message.get("offsets") or {}).items():
            if name in self.rooms:
                moved[name] = self.rooms[name].offset = offset
        room = self.rooms.get(str(message.get("room")))
        if room is None:
            return [Moved(moved)] if moved else []
        outcome, offset = message.get("outcome"), message.get("offset")
        # In all other outcomes something follows that says where the room stands. Until it has come the older offset
        # must count, or a cut in between would lose it.
        if outcome == "live" and room.offset is None and offset is not None:
            moved[room.name] = room.offset = offset
        room.after_gap = offset if outcome == "gap" and not room.name.startswith("execution:") else None
        again, room.begun = room.begun, True
        told: list[Message | Moved] = [Moved(moved)] if moved else []
        if again and outcome in ("live", "snapshot"):
            # It had no offset to go on from, because its bus stores nothing.
            told.append(Gap(room.name, None, None, "live_only"))
        return told

    def take(self, message: Mapping[str, Any]) -> list[Message]:
        """A message other than an answer; nothing where it is no news."""
        kind = str(message.get("type"))
        if kind == "degraded":
            return [Degraded(bool(message.get("active")))]
        if kind == "snapshot":
            return self._snapshot(message)
        if kind == "gap":
            return self._gap(message)
        if kind == "log" or ":" in kind:
            return self._event(kind, message)
        return []

    def _snapshot(self, message: Mapping[str, Any]) -> list[Message]:
        room = self.rooms.get(str(message.get("room")))
        if room is None:
            return []
        room.offset = message.get("offset") or room.offset
        state = message.get("snapshot")
        return [Snapshot(room.name, room.offset, state if isinstance(state, dict) else {})]

    def _gap(self, message: Mapping[str, Any]) -> list[Message]:
        room = self.rooms.get(str(message.get("room")))
        if room is None:
            return []
        # Where no place to go on from is told the older offset stays, so that a cut right now is answered with a gap
        # again. What is known to have been seen stays known: an id stands for one event for ever.
        room.offset = message.get("missedTo") or room.after_gap or room.offset
        reason = str(message.get("reason", "unknown"))
        return [Gap(room.name, message.get("missedFrom"), message.get("missedTo"), reason)]

    def _event(self, kind: str, message: Mapping[str, Any]) -> list[Message]:
        name = message.get("room")
        if not isinstance(name, str):
            execution = message.get("executionId")
            name = f"kb:{message.get('knowledgeBaseId')}" if execution is None else f"execution:{execution}"
        room = self.rooms.get(name)
        if room is None:
            return []
        offset = message.get("offset")
        key = message.get("id") or offset
        if key is not None and not room.seen.add(key):
            return []
        room.offset = offset or room.offset
        # An id that another room has told already is the same event's.
        if key is not None and not self._seen.add(key):
            return []
        raw = {field: value for field, value in message.items() if field not in ("offset", "room", "skipped")}
        return [Event(kind, name, offset, raw)]
