"""Publishing straight to NATS: stored by JetStream (``nats://``) or fire and forget (``nats+core://``).

What is written here is what the gateways read: subjects, ``Nats-Msg-Id``, ``Weft-First``, the record of an execution.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import re
import time
from collections.abc import Sequence
from typing import Any

from .clock import within
from .errors import Refused, TooLarge, WeftError, missing
from .heads import Owners, Unavailable, new_head, owner_of
from .item import Ack, Again, Entry, Fate, HeldBack, Place
from .rooms import nats_token

try:
    import nats as driver
    import xxhash
    from nats.aio.client import Client
except ImportError as error:
    raise missing("nats", error) from None

log = logging.getLogger("weft")

#: Seconds.
CONNECT_TIMEOUT = 10.0
REQUEST_TIMEOUT = 5.0
#: How long the epoch of the events stream is taken for known.
EPOCH_FOR = 10.0

_NO_MESSAGE = 10037
_STREAM_NOT_FOUND = 10059
_WRONG_LAST_SEQUENCE = (10071, 10164)
# Resources, storage, and limits of account and stream.
_FULL = (10002, 10023, 10028, 10047, 10077, 10122, 10120, 10053)
_TOO_LARGE = (10054, 10097)
_WORD = re.compile(r"[!-~]{1,256}\Z")
# Stands for "none" where a tenant or an owner is one token.
_NONE = "%"


class _Answer(Exception):
    """An error in a JetStream answer."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(f"{error.get('description', '')} ({error.get('err_code', 0)})")
        self.code = int(error.get("code", 500))
        self.err_code = int(error.get("err_code", 0))

    @property
    def is_refusal(self) -> bool:
        """Whether a retry changes nothing."""
        return self.code < 500 and self.err_code != _STREAM_NOT_FOUND


class NatsSink:
    """Publishes to NATS: in JetStream mode one unacknowledged event a room at a time, which is what keeps its order."""

    at_once = 512

    def __init__(self, url: str, *, tenant: str | None, prefix: str, credentials_file: str | None) -> None:
        scheme, _, rest = url.partition("://")
        if not rest:
            raise ValueError("url: needs an address, as in nats://127.0.0.1:4222")
        self.is_durable = "core" not in scheme
        plain = "tls" if "tls" in scheme else "nats"
        self._servers = [f"{plain}://{each.strip()}" for each in rest.split(",")]
        self._tenant = tenant
        self._prefix = prefix
        self._credentials_file = credentials_file
        self._client: Client | None = None
        self._owners = Owners(self._ensure)
        self._epoch: tuple[int, float] | None = None
        self._highest = 0

    def lanes(self, rooms: int) -> int:
        return rooms

    async def open(self) -> None:
        options: dict[str, Any] = {}
        if self._credentials_file is not None:
            options["user_credentials"] = self._credentials_file
        try:
            self._client = await within(
                driver.connect(
                    servers=self._servers,
                    name="weft-client",
                    connect_timeout=5,
                    reconnect_time_wait=0.25,
                    max_reconnect_attempts=-1,
                    ping_interval=15,
                    max_outstanding_pings=2,
                    error_cb=self._met,
                    **options,
                ),
                CONNECT_TIMEOUT,
            )
        except asyncio.TimeoutError:
            raise WeftError("unavailable", f"no NATS server answers within {CONNECT_TIMEOUT:.0f} s") from None
        except (OSError, driver.errors.Error) as error:
            raise WeftError("unavailable", f"NATS: {error}") from error

    async def _met(self, error: Exception) -> None:
        log.debug("nats: %s", error)

    async def close(self) -> None:
        if self._client is not None and not self._client.is_closed:
            try:
                await within(self._client.close(), 5)
            except (asyncio.TimeoutError, OSError, driver.errors.Error) as error:
                log.debug("nats: %s", error)
        self._client = None

    async def send(self, room: str, batch: Sequence[Entry]) -> list[Fate]:
        fates: list[Fate] = []
        for entry in batch:
            fate = await self._one(room, entry)
            fates.append(fate)
            if isinstance(fate, Again):
                break
        return fates + [HeldBack() for _ in range(len(batch) - len(fates))]

    async def _one(self, room: str, entry: Entry) -> Fate:
        event = entry.item.event
        if self.is_durable and entry.index == 0:
            refused = await self._owners.admit(event, self._tenant)
            if refused is not None:
                return refused
        headers: dict[str, str] = {}
        if entry.index > 0 and entry.item.first is not None:
            headers["Weft-First"] = entry.item.first
        # Anything but printable ASCII could end the header early.
        if event.traceparent is not None and _WORD.match(event.traceparent):
            headers["traceparent"] = event.traceparent
        subject = f"{self._prefix}.{nats_token(room)}"
        client = self._client
        if client is None or not client.is_connected:
            return Again("reconnecting to NATS")
        try:
            if not self.is_durable:
                await client.publish(subject, event.body, headers=headers or None)
                return Ack()
            headers["Nats-Msg-Id"] = f"{nats_token(event.id)}@{room}"
            ack = await self._request(subject, event.body, headers)
            return await self._ack(ack)
        except driver.errors.MaxPayloadError:
            return TooLarge(f"{len(event.body)} bytes, and the server takes {client.max_payload} with headers")
        except _Answer as error:
            if error.err_code in _TOO_LARGE:
                return TooLarge(str(error))
            if error.is_refusal and error.err_code not in _FULL:
                return Refused(str(error))
            return Again(str(error))
        except Unavailable as error:
            return Again(str(error))

    async def _ack(self, ack: dict[str, Any]) -> Ack:
        seq, duplicate = int(ack["seq"]), bool(ack.get("duplicate"))
        if not duplicate and seq <= self._highest:
            # Numbers only grow within one history: this is another one.
            self._epoch = None
        self._highest = seq if self._epoch is None else max(seq, self._highest)
        if self._epoch is None or time.monotonic() >= self._epoch[1]:
            try:
                self._epoch = (await self._look(), time.monotonic() + EPOCH_FOR)
            except (_Answer, Unavailable) as error:
                # It is stored; its copies only cannot say where.
                log.debug("the epoch of the events stream is unknown: %s", error)
                return Ack(None, duplicate)
        return Ack(Place(self._epoch[0], seq), duplicate)

    async def _look(self) -> int:
        """The epoch: which history this is."""
        name = self._stream("EVENTS")
        info = await self._api(f"STREAM.INFO.{name}")
        generation = await self._last("EPOCH", f"{self._prefix}.epoch.events")
        text = generation[1].decode("utf-8", "replace") if generation else ""
        return xxhash.xxh3_64_intdigest(f"{name}\n{info['created']}\n{text}".encode())

    async def _ensure(self, room: str, identity: str, user: str | None) -> str | None:
        """Makes the record of an execution, or of a knowledge base's owner, where there is none."""
        subject = f"{self._prefix}.head.{nats_token(room)}"
        created: int | None = None
        if room.rpartition("/")[2].startswith("kb:"):
            record = json.dumps({"owner": user}).encode()
        else:
            record, created = new_head(self._tenant, identity, user)
        try:
            for _ in range(4):
                found = await self._last("HEADS", subject)
                if found is not None and created is not None:
                    return owner_of(found[1])
                # A knowledge base's is written again with the same content, so that it lives on.
                seq, kept = (0, record) if found is None else found
                headers = {"Nats-Expected-Last-Subject-Sequence": str(seq)}
                try:
                    await self._request(subject, kept, headers)
                except _Answer as error:
                    if error.err_code in _WRONG_LAST_SEQUENCE:
                        continue
                    raise
                if created is not None:
                    await self._request(self._place(user, created, identity), b"", {})
                return owner_of(kept)
        except _Answer as error:
            if error.is_refusal:
                raise WeftError("refused", str(error)) from error
            raise Unavailable(str(error)) from error
        raise Unavailable("the record of an execution keeps changing")

    def _place(self, owner: str | None, created_ms: int, execution_id: str) -> str:
        """An execution's place in the lists."""
        who = _NONE if owner is None else nats_token(owner)
        return f"{self._prefix}.own.{self._tenant or _NONE}.{who}.{created_ms:013d}-{nats_token(execution_id)}"

    def _stream(self, word: str) -> str:
        return f"{self._prefix.upper().replace('.', '_')}_{word}"

    async def _last(self, stream: str, subject: str) -> tuple[int, bytes] | None:
        """The last message of a subject, from the stream's leader."""
        body = json.dumps({"last_by_subj": subject}).encode()
        try:
            message = (await self._api(f"STREAM.MSG.GET.{self._stream(stream)}", body))["message"]
        except _Answer as error:
            if error.err_code == _NO_MESSAGE:
                return None
            raise
        return int(message["seq"]), base64.b64decode(message.get("data", ""))

    async def _api(self, subject: str, body: bytes = b"") -> dict[str, Any]:
        return await self._request(f"$JS.API.{subject}", body, {})

    async def _request(self, subject: str, body: bytes, headers: dict[str, str]) -> dict[str, Any]:
        client = self._client
        if client is None or not client.is_connected:
            raise Unavailable("reconnecting to NATS")
        try:
            reply = await client.request(subject, body, timeout=REQUEST_TIMEOUT, headers=headers or None)
        except driver.errors.MaxPayloadError:
            raise
        except driver.errors.NoRespondersError:
            raise Unavailable(
                "nobody answers: JetStream is off, a stream is missing (gateways make them), or rights are"
            ) from None
        except (asyncio.TimeoutError, driver.errors.Error, OSError) as error:
            raise Unavailable(f"NATS: {type(error).__name__}: {error}") from error
        try:
            answer = json.loads(reply.data)
        except ValueError:
            raise Unavailable("the server answered something else than JSON") from None
        if isinstance(answer, dict) and isinstance(answer.get("error"), dict):
            raise _Answer(answer["error"])
        if not isinstance(answer, dict):
            raise Unavailable("the server answered something else than an object")
        return answer
