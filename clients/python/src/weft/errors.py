"""Everything that this library raises. All are :class:`WeftError`, whose ``code`` is the stable word to compare."""

from __future__ import annotations


class WeftError(Exception):
    """Refused by the service, or by this library."""

    def __init__(self, code: str, message: str, *, room: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        #: The room it is about, where it is about one.
        self.room = room


class Invalid(WeftError, ValueError):
    """A field breaks a rule of the protocol: ``field`` as it is written in the event, and the ``rule``."""

    def __init__(self, field: str, rule: str) -> None:
        super().__init__("invalid", f"{field}: {rule}")
        self.field = field
        self.rule = rule


class PublishError(WeftError):
    """An event could not be published. The library has done the retrying; only :class:`Full` is worth another try."""


class Full(PublishError):
    """The retry buffer has no room left. Wait with ``enqueue_wait``, or publish less."""

    def __init__(self) -> None:
        super().__init__("full", "the retry buffer is full")


class OwnerMismatch(PublishError):
    """The event's ``userId`` is not the recorded owner of its execution or knowledge base."""

    def __init__(self) -> None:
        super().__init__("owner_mismatch", "userId: is not the recorded owner")


class Expired(PublishError):
    """Not stored within the retry age. Its last attempt may have been stored without an acknowledgement."""

    def __init__(self, waited: float, reason: str) -> None:
        super().__init__("expired", f"not stored within {waited:.0f} s: {reason}")
        self.waited = waited


class TooLarge(PublishError):
    """Larger than the broker or the gateway takes."""

    def __init__(self, reason: str) -> None:
        super().__init__("too_large", f"too large: {reason}")


class Refused(PublishError):
    """Refused for good: rights, configuration, contents."""

    def __init__(self, reason: str) -> None:
        super().__init__("refused", f"refused: {reason}")


class Incomplete(PublishError):
    """Stored in its first room, but not in a further one."""

    def __init__(self, room: str, reason: str) -> None:
        super().__init__("incomplete", f"stored, but not in room {room}: {reason}", room=room)


class Closed(PublishError):
    """The publisher was closed before the event was stored."""

    def __init__(self) -> None:
        super().__init__("closed", "the publisher is closed")


class Unfinished(WeftError):
    """Events were still under way when a flush or a close ended."""

    def __init__(self, events: int) -> None:
        super().__init__("unfinished", f"{events} events not stored")
        self.events = events


class Rejected(Exception):
    """Raised by an executor to refuse a command; its sender is told ``code`` and the message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class ExecutionCancelled(Exception):
    """Somebody has cancelled the execution. Raised out of the ``async with`` block that it ended."""

    def __init__(self, reason: str | None) -> None:
        super().__init__(reason or "cancelled")
        self.reason = reason


#: What each extra of the package installs.
EXTRAS = {
    "http": ["httpx>=0.27"],
    "ws": ["websockets>=13.1"],
    "nats": ["nats-py>=2.7", "xxhash>=3.4"],
    "redis": ["redis>=5.0.4", "xxhash>=3.4"],
}


def missing(extra: str, error: ImportError) -> ImportError:
    """What to install where an optional dependency is not there: by its own name, wherever this package came from."""
    wanted = " ".join(f"'{requirement}'" for requirement in EXTRAS[extra])
    name = error.name.split(".")[0] if error.name else error
    return ImportError(f"{name} is missing, which the extra [{extra}] brings: pip install {wanted}")
