"""Gateways over HTTP: requests that go to whichever of them answers, and publishing through ``POST /api/events``."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any
from urllib.parse import quote

from .errors import Invalid, OwnerMismatch, Refused, TooLarge, WeftError, missing
from .item import Ack, Again, Entry, Fate, HeldBack, held
from .settings import Token, addresses, current

try:
    import httpx
except ImportError as error:
    raise missing("http", error) from None

#: Seconds: without an answer for so long a request is repeated, or given up.
REQUEST_TIMEOUT = 20.0
CONNECT_TIMEOUT = 5.0
#: Longest pause that a gateway's ``Retry-After`` can ask for.
RETRY_AFTER_MAX = 15.0


class Gateway:
    """Requests to gateways. With several addresses the next one is asked when one cannot be reached.

    Use it as ``async with Gateway(url) as gateway``.
    """

    def __init__(self, url: str | Sequence[str], *, token: Token = None) -> None:
        self._urls = [each.rstrip("/") for each in addresses(url, ("http", "https"))]
        self._token = token
        self._at = 0
        self._client: httpx.AsyncClient | None = None

    async def open(self) -> Gateway:
        """Makes the connections' pool; nothing is asked yet."""
        if self._client is None:
            timeout = httpx.Timeout(REQUEST_TIMEOUT, connect=CONNECT_TIMEOUT)
            self._client = httpx.AsyncClient(timeout=timeout, follow_redirects=False)
        return self

    async def close(self) -> None:
        """Ends all connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def __aenter__(self) -> Gateway:
        return await self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def snapshot(self, execution_id: str) -> dict[str, Any]:
        """The folded state of an execution; ``not_found`` where there is none."""
        return await self._json("GET", f"/api/executions/{quote(execution_id, safe='')}")

    async def history(self, room: str, *, after: str | None = None, limit: int = 100) -> dict[str, Any]:
        """A page of a room's stored events, ``{"events","next","complete","gap"?}``; ``next`` is the next ``after``."""
        params = {"limit": str(limit), **({"after": after} if after is not None else {})}
        return await self._json("GET", f"/api/rooms/{quote(room, safe='')}/events", params=params)

    async def executions(
        self, *, status: str | None = None, cursor: str | None = None, limit: int = 50
    ) -> dict[str, Any]:
        """A page of executions, newest first: ``{"executions","cursor"}``."""
        given = {"status": status, "cursor": cursor, "limit": str(limit)}
        params = {name: value for name, value in given.items() if value is not None}
        return await self._json("GET", "/api/executions", params=params)

    async def execute(
        self, workflow: str, inputs: Mapping[str, Any] | None = None, *, execution_id: str | None = None
    ) -> str:
        """Has an executor run a workflow; answers the execution's id."""
        body: dict[str, Any] = {"inputs": dict(inputs or {})}
        if execution_id is not None:
            body["executionId"] = execution_id
        answer = await self._json("POST", f"/api/workflows/{quote(workflow, safe='')}/execute", body=body)
        return str(answer["executionId"])

    async def cancel(self, execution_id: str, reason: str | None = None) -> None:
        """Asks whoever runs the execution to cancel it; returns once that has been accepted."""
        body = {} if reason is None else {"reason": reason}
        await self._json("POST", f"/api/executions/{quote(execution_id, safe='')}/cancel", body=body)

    async def _json(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        content = None if body is None else json.dumps(body).encode()
        answer = await self.request(method, path, params=params, content=content)
        if answer.is_success:
            if not answer.content:
                return {}
            found = answer.json()
            return found if isinstance(found, dict) else {"body": found}
        raise refusal(answer)

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        content: bytes | None = None,
        content_type: str = "application/json",
        timeout: float | None = None,
    ) -> httpx.Response:
        """One request to the first gateway that can be reached; ``unavailable`` if none can.

        A request is sent to another gateway only where no connection came about, so that it is never done twice.
        """
        for _ in range(len(self._urls) - 1):
            try:
                return await self._ask(method, path, params, content, content_type, timeout)
            except httpx.ConnectError:
                self.turn()
            except httpx.HTTPError as error:
                self.turn()
                raise _unavailable(error) from error
        try:
            return await self._ask(method, path, params, content, content_type, timeout)
        except httpx.HTTPError as error:
            self.turn()
            raise _unavailable(error) from error

    def turn(self) -> None:
        """The next request goes to the next gateway."""
        self._at = (self._at + 1) % len(self._urls)

    @asynccontextmanager
    async def stream(self, path: str, params: Mapping[str, str], silence: float) -> AsyncIterator[httpx.Response]:
        """A stream of server-sent events; ends with an error after so many seconds of silence."""
        timeout = httpx.Timeout(silence, connect=CONNECT_TIMEOUT)
        headers = {"accept": "text/event-stream", **await self._authorization()}
        url = self._urls[self._at] + path
        async with self._open().stream("GET", url, params=params, headers=headers, timeout=timeout) as answer:
            yield answer

    async def _ask(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None,
        content: bytes | None,
        content_type: str,
        timeout: float | None,
    ) -> httpx.Response:
        for attempt in (1, 2):
            headers = await self._authorization()
            if content is not None:
                headers["content-type"] = content_type
            answer = await self._open().request(
                method,
                self._urls[self._at] + path,
                params=params,
                content=content,
                headers=headers,
                timeout=httpx.USE_CLIENT_DEFAULT if timeout is None else timeout,
            )
            # A token that was given out a while ago may have expired; one that is fresh is wrong.
            if answer.status_code != 401 or not callable(self._token) or attempt == 2:
                break
        return answer

    async def _authorization(self) -> dict[str, str]:
        token = await current(self._token)
        return {} if token is None else {"authorization": f"Bearer {token}"}

    def _open(self) -> httpx.AsyncClient:
        if self._client is None:
            raise RuntimeError("the gateway is not open: use `async with`, or await open()")
        return self._client


def _unavailable(error: httpx.HTTPError) -> WeftError:
    return WeftError("unavailable", f"no gateway can be reached: {type(error).__name__}: {error}")


def _told(answer: httpx.Response) -> dict[str, Any]:
    try:
        error = answer.json()["error"]
    except (ValueError, KeyError, TypeError):
        return {}
    return error if isinstance(error, dict) else {}


def refusal(answer: httpx.Response) -> WeftError:
    """What a gateway's refusal says."""
    told = _told(answer)
    message = str(told.get("message") or f"the gateway answered {answer.status_code}")
    field = told.get("field")
    if told.get("code") == "invalid" and isinstance(field, str):
        return Invalid(field, message[len(field) + 2 :] if message.startswith(f"{field}: ") else message)
    return WeftError(str(told.get("code") or "internal"), message)


class HttpSink:
    """Publishes through gateways. They see to an event's rooms, so that only its first room has a lane."""

    at_once = 16

    def __init__(self, url: str | Sequence[str], token: Token) -> None:
        self._gateway = Gateway(url, token=token)

    async def open(self) -> None:
        await self._gateway.open()

    async def close(self) -> None:
        await self._gateway.close()

    def lanes(self, rooms: int) -> int:
        return min(rooms, 1)

    async def send(self, room: str, batch: Sequence[Entry]) -> list[Fate]:
        """A batch that is refused as a whole is halved until it is known which event is at fault."""
        fates: list[Fate] = []
        parts = [list(batch)]
        while parts:
            part = parts.pop()
            answered = await self._post(part)
            if answered is None:
                half = len(part) // 2
                parts += [part[half:], part[:half]]
                continue
            fates += answered
            if any(isinstance(fate, (Again, HeldBack)) for fate in answered):
                break
        return fates + [HeldBack() for _ in range(len(batch) - len(fates))]

    async def _post(self, batch: Sequence[Entry]) -> list[Fate] | None:
        """None where the batch is refused as a whole, and only a smaller one would tell more."""
        body = b"\n".join(entry.item.event.body for entry in batch)
        try:
            answer = await self._gateway.request(
                "POST", "/api/events", content=body, content_type="application/x-ndjson"
            )
        except WeftError as error:
            return held(len(batch), str(error))
        status, told = answer.status_code, _told(answer)
        reason = f"the gateway answered {status}" + (f": {told['message']}" if told.get("message") else "")
        if status in (200, 202):
            return _accepted(answer, len(batch))
        if status in (400, 409, 422):
            return _one_refused(status, told, reason, len(batch))
        if status == 413:
            return None if len(batch) > 1 else [TooLarge(reason)]
        if status in (408, 425, 429) or status >= 500:
            self._gateway.turn()
            return held(len(batch), reason, _retry_after(answer))
        # The address or the token is wrong; that is the same for every event.
        return [Refused(reason) for _ in batch]


def _accepted(answer: httpx.Response, sent: int) -> list[Fate]:
    """An acceptance of fewer events than were sent is none: the ids make sending all again harmless."""
    try:
        accepted = answer.json()["accepted"]
    except (ValueError, KeyError, TypeError):
        return held(sent, "accepted without saying how many")
    if accepted != sent:
        return held(sent, f"{accepted} of {sent} events accepted")
    return [Ack() for _ in range(sent)]


def _one_refused(status: int, told: Mapping[str, Any], reason: str, sent: int) -> list[Fate] | None:
    """One event of the batch is at fault. Whether those before it are stored is unknown; they are sent again."""
    at = told.get("index")
    if not isinstance(at, int) or not 0 <= at < sent:
        if sent > 1:
            return None
        at = 0
    fates: list[Fate] = [HeldBack() for _ in range(sent)]
    fates[at] = OwnerMismatch() if told.get("code") == "owner_mismatch" else Refused(reason)
    return fates


def _retry_after(answer: httpx.Response) -> float | None:
    try:
        return min(float(answer.headers["retry-after"]), RETRY_AFTER_MAX)
    except (KeyError, ValueError):
        return None


async def read_events(answer: httpx.Response, bytes_max: int = 2 * 1024 * 1024) -> AsyncIterator[tuple[str, str]]:
    """The server-sent events of an answer, as name and data. One that is too long is left out."""
    name, data, size = "", [], 0
    async for line in answer.aiter_lines():
        if line:
            field, _, value = line.partition(":")
            value = value[1:] if value.startswith(" ") else value
            size += len(line)
            if field == "event":
                name = value
            elif field == "data" and size <= bytes_max:
                data.append(value)
            continue
        if data and size <= bytes_max:
            yield name, "\n".join(data)
        name, data, size = "", [], 0
        # A stream that has much to say must not keep everybody else waiting.
        await asyncio.sleep(0)
