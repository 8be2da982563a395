"""Publishing straight to Redis: stored in streams by a script (``redis://``) or fire and forget (``redis+pubsub://``).

The scripts in ``lua`` are the gateways' own, byte for byte.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .clock import within
from .errors import PublishError, Refused, TooLarge, WeftError, missing
from .heads import Owners, Unavailable, new_head, owner_of
from .item import Ack, Again, Entry, Fate, HeldBack, Place, held
from .settings import Retention

try:
    import redis.asyncio as driver
    import redis.exceptions as failures
    import xxhash
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
except ImportError as error:
    raise missing("redis", error) from None

#: Most events and payload bytes of one script call: a script holds up everybody else on the server.
CHUNK_EVENTS = 64
CHUNK_BYTES = 1024 * 1024
#: What is known of a room outlives its stream by this much, so that a quiet room keeps its epoch.
META_EXTRA_MS = 3_600_000
#: The same id in the same room within this time is stored once.
DEDUP_MS = 120_000
#: Connections: rooms that are sent to at the same time.
CONNECTIONS = 16
#: Seconds.
CONNECT_TIMEOUT = 10.0
REQUEST_TIMEOUT = 5.0

_WORD = re.compile(r"[!-~]{1,256}\Z")
_REFUSALS = (
    "NOPERM",
    "NOAUTH",
    "WRONGPASS",
    "WRONGTYPE",
    "unknown command",
    "The user executing the script can't",
    "ACL failure in script",
)


class _Script:
    """A script and its digest."""

    def __init__(self, name: str) -> None:
        self.source = (Path(__file__).parent / "lua" / f"{name}.lua").read_bytes()
        self.digest = hashlib.sha1(self.source).hexdigest()


_PUBLISH = _Script("publish")
_STORE_HEAD = _Script("store_head")
_LIST_HEAD = _Script("list_head")
_CLAIM = _Script("claim")


def fingerprint(stored: bytes) -> int:
    """32 bits that tell an event from another under the same number."""
    digest = xxhash.xxh3_64_intdigest(stored)
    return (digest ^ (digest >> 32)) & 0xFFFF_FFFF


class RedisSink:
    """Publishes to one Redis server. In stream mode a script stores some events of a room: all of them or none."""

    at_once = CONNECTIONS

    def __init__(self, url: str, *, tenant: str | None, prefix: str, retention: Retention) -> None:
        scheme, _, rest = url.partition("://")
        if not rest:
            raise ValueError("url: needs an address, as in redis://127.0.0.1:6379")
        self.is_durable = "pubsub" not in scheme
        self._url = f"{scheme.partition('+')[0]}://{rest}"
        self._tenant = tenant
        self._prefix = prefix
        database = urlsplit(self._url).path.strip("/") or "0"
        if not database.isdigit():
            raise ValueError("url: the Redis database must be a number")
        self._namespace = f"{prefix}/{int(database)}"
        self._retention = retention
        self._client: Any = None
        self._owners = Owners(self._ensure, min(6 * 3600, retention.head_age / 4))

    def lanes(self, rooms: int) -> int:
        return rooms

    async def open(self) -> None:
        pool = driver.BlockingConnectionPool.from_url(
            self._url,
            max_connections=CONNECTIONS,
            timeout=20,
            socket_timeout=REQUEST_TIMEOUT,
            socket_connect_timeout=REQUEST_TIMEOUT,
            health_check_interval=15,
            # Sending again is the lanes' business, who do it within the event's age.
            retry=Retry(NoBackoff(), 0),
        )
        self._client = driver.Redis(connection_pool=pool)
        try:
            await within(self._client.ping(), CONNECT_TIMEOUT)
        except (asyncio.TimeoutError, OSError, failures.RedisError) as error:
            await self.close()
            raise WeftError("unavailable", f"Redis: {type(error).__name__}: {error}") from error

    async def close(self) -> None:
        if self._client is not None:
            await self._client.connection_pool.disconnect()
            self._client = None

    async def send(self, room: str, batch: Sequence[Entry]) -> list[Fate]:
        if not self.is_durable:
            return await self._send_live(room, batch)
        admitted: list[Entry] = []
        refused: dict[int, Fate] = {}
        again: Again | None = None
        for at, entry in enumerate(batch):
            fate = await self._owners.admit(entry.item.event, self._tenant) if entry.index == 0 else None
            if isinstance(fate, Again):
                again = fate
                break
            if fate is None:
                admitted.append(entry)
            else:
                refused[at] = fate
        acks = iter(await self._store_all(room, admitted))
        looked_at = len(admitted) + len(refused)
        fates = [refused[at] if at in refused else next(acks) for at in range(looked_at)]
        if again is not None:
            fates.append(again)
        return fates + [HeldBack() for _ in range(len(batch) - len(fates))]

    async def _send_live(self, room: str, batch: Sequence[Entry]) -> list[Fate]:
        fates: list[Fate] = []
        for entry in batch:
            try:
                await self._client.publish(room, entry.item.event.body)
            except (OSError, failures.RedisError) as error:
                return fates + [_fate(error)] + [HeldBack() for _ in range(len(batch) - len(fates) - 1)]
            fates.append(Ack())
        return fates

    async def _store_all(self, room: str, batch: Sequence[Entry]) -> list[Fate]:
        fates: list[Fate] = []
        while len(fates) < len(batch):
            chunk = _chunk(batch[len(fates) :])
            stored = await self._store(room, chunk)
            fates += stored
            if not all(isinstance(fate, Ack) for fate in stored):
                break
        return fates + [HeldBack() for _ in range(len(batch) - len(fates))]

    async def _store(self, room: str, chunk: Sequence[Entry]) -> list[Fate]:
        meta = self._key(room, "m")
        age = self._retention.age * 1000
        keys = [self._key(room, "s"), meta]
        keys += [self._key(room, f"i:{entry.item.event.id}") for entry in chunk]
        args: list[str | bytes | int] = [
            self._namespace,
            room,
            "PUBLISH",
            self._retention.events,
            self._retention.bytes,
            age,
            DEDUP_MS,
            f"{secrets.randbits(64):x}",
            age + META_EXTRA_MS,
        ]
        for entry in chunk:
            event = entry.item.event
            trace = event.traceparent if event.traceparent and _WORD.match(event.traceparent) else ""
            first = (entry.item.first or "") if entry.index > 0 else ""
            args += [event.body, f"{fingerprint(event.body):08x}", first, trace]
        try:
            lines = await self._run(_PUBLISH, keys, args)
        except (OSError, failures.RedisError) as error:
            fate = _fate(error)
            if isinstance(fate, Again):
                return held(len(chunk), fate.reason)
            # Which event of several is too large, only a script of one would tell.
            if len(chunk) > 1 and isinstance(fate, TooLarge):
                return await self._store(room, chunk[:1])
            return [fate]
        try:
            return [_ack(line) for line in lines]
        except (ValueError, AttributeError):
            return held(len(chunk), "Redis answered something else than places")

    async def _ensure(self, room: str, identity: str, user: str | None) -> str | None:
        """Makes the record of an execution, or of a knowledge base's owner, where there is none."""
        age = self._retention.head_age * 1000
        try:
            if room.rpartition("/")[2].startswith("kb:"):
                record = json.dumps({"owner": user})
                return owner_of(await self._run(_CLAIM, [self._key(room, "o")], [record, age]))
            key = self._key(room, "h")
            for _ in range(4):
                found = await self._client.hget(key, "v")
                if found is not None:
                    return owner_of(found)
                head, created = new_head(self._tenant, identity, user)
                if await self._run(_STORE_HEAD, [key], ["", head, age]):
                    await self._list(identity, user, created, age)
                    return user
        except (OSError, failures.RedisError) as error:
            fate = _fate(error)
            if isinstance(fate, Again):
                raise Unavailable(fate.reason) from error
            raise WeftError("refused", str(error)) from error
        raise Unavailable("the record of an execution keeps changing")

    async def _list(self, execution_id: str, user: str | None, created: int, age: int) -> None:
        tenant = "" if self._tenant is None else f"/{self._tenant}"
        for owner in ["", f":by:{user}"] if user is not None else [""]:
            keys = [f"{self._prefix}:{{heads{tenant}{owner}}}:{kind}" for kind in ("c", "x")]
            await self._run(_LIST_HEAD, keys, [execution_id, created, age])

    def _key(self, room: str, part: str) -> str:
        return f"{self._prefix}:{{{room}}}:{part}"

    async def _run(self, script: _Script, keys: Sequence[str], args: Sequence[str | bytes | int]) -> Any:
        try:
            return await self._client.evalsha(script.digest, len(keys), *keys, *args)
        except failures.NoScriptError:
            return await self._client.eval(script.source, len(keys), *keys, *args)


def _chunk(batch: Sequence[Entry]) -> Sequence[Entry]:
    size = 0
    for at, entry in enumerate(batch[:CHUNK_EVENTS]):
        size += len(entry.item.event.body)
        if size > CHUNK_BYTES and at > 0:
            return batch[:at]
    return batch[:CHUNK_EVENTS]


def _ack(line: bytes) -> Ack:
    seq, epoch, _, duplicate = line.decode().split(" ")
    return Ack(Place(int(epoch, 16), int(seq)), duplicate == "1")


def _fate(error: Exception) -> Again | PublishError:
    """Whether a failure may pass: only what the server says about the command itself is for good."""
    text = f"{type(error).__name__}: {error}"
    if "exceeds maximum allowed size" in text or "invalid bulk length" in text:
        return TooLarge(text)
    if isinstance(error, (failures.NoPermissionError, failures.AuthenticationError)) or any(
        word in text for word in _REFUSALS
    ):
        return Refused(text)
    # Away, loading, a replica, full, out of memory: all of it may end.
    return Again(text)
