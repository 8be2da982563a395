"""Where events go: the address, and what must be the same in every process of an installation."""

from __future__ import annotations

import inspect
import os
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Callable, Union
from urllib.parse import urlsplit

from .item import Sink

if TYPE_CHECKING:
    from .records import Records

#: A token, or what gives one; asked again when a token was refused or is about to expire.
Token = Union[str, Callable[[], Union[str, Awaitable[str]]], None]


async def current(token: Token) -> str | None:
    """The token as of now."""
    if callable(token):
        given = token()
        return await given if inspect.isawaitable(given) else given
    return token


@dataclass(frozen=True)
class Retention:
    """What the broker keeps: the settings of the gateways (``WEFT_RETENTION_…``), which must be the same here.

    Only publishing straight to Redis needs them: there each publication trims its room.
    """

    #: Events kept of each room.
    events: int = 10_000
    #: Bytes kept of each room; 0 is no bound.
    bytes: int = 0
    #: Seconds that events are kept.
    age: int = 86_400
    #: Seconds that an execution's record outlives its last event.
    head_age: int = 86_400

    def __post_init__(self) -> None:
        for field, value, least in (
            ("events", self.events, 1),
            ("bytes", self.bytes, 0),
            ("age", self.age, 1),
            ("head_age", self.head_age, 1),
        ):
            if value < least:
                raise ValueError(f"retention.{field}: must be at least {least}")

    @classmethod
    def from_env(cls) -> Retention:
        """Reads the variables that gateways read."""
        given = {
            field: int(os.environ[name])
            for field, name in (
                ("events", "WEFT_RETENTION_EVENTS"),
                ("bytes", "WEFT_RETENTION_BYTES"),
                ("age", "WEFT_RETENTION_SECS"),
                ("head_age", "WEFT_HEAD_SECS"),
            )
            if name in os.environ
        }
        return cls(**given)


def addresses(url: str | Sequence[str], schemes: Sequence[str]) -> list[str]:
    """The addresses of gateways, each with one of these schemes and a host."""
    urls = [url] if isinstance(url, str) else list(url)
    if not urls:
        raise ValueError("url: must name a gateway")
    for each in urls:
        parts = urlsplit(each)
        if parts.scheme not in schemes or not parts.hostname:
            raise ValueError(
                f"url: must begin with {' or '.join(f'{scheme}://' for scheme in schemes)}, and name a host"
            )
    return urls


def sink_for(
    url: str | Sequence[str],
    *,
    token: Token,
    tenant: str | None,
    prefix: str,
    retention: Retention,
    credentials_file: str | None,
) -> Sink:
    """What the address means."""
    first = url if isinstance(url, str) else next(iter(url), "")
    scheme = first.partition("://")[0]
    if scheme in ("http", "https"):
        from .http import HttpSink

        if tenant is not None:
            raise ValueError("tenant: over HTTP the token says it")
        return HttpSink(url, token)
    if not isinstance(url, str):
        if len(url) != 1:
            raise ValueError("url: several addresses are for gateways; brokers take theirs in one, with commas")
        url = url[0]
    if token is not None:
        raise ValueError("token: is for gateways; brokers take credentials in their address or file")
    if scheme in ("nats", "nats+tls", "tls", "nats+core", "nats+core+tls"):
        from .nats import NatsSink

        return NatsSink(url, tenant=tenant, prefix=prefix, credentials_file=credentials_file)
    if scheme in ("redis", "rediss", "redis+pubsub", "rediss+pubsub"):
        from .redis import RedisSink

        return RedisSink(url, tenant=tenant, prefix=prefix, retention=retention)
    raise ValueError(
        "url: must begin with http://, https://, nats://, nats+core://, redis:// or redis+pubsub://"
        " (Redis Cluster and Sentinel: publish over HTTP)"
    )


def records_for(sink: Sink, gateway: str | Sequence[str], token: Token) -> Records:
    """What keeps records up to date, for a sink that stores without a gateway."""
    if not getattr(sink, "is_durable", False):
        raise ValueError("gateway: is for events that go straight to a broker and are stored there")
    from .http import Gateway
    from .records import Records

    return Records(Gateway(gateway, token=token))
