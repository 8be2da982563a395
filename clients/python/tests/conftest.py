from __future__ import annotations

from collections.abc import Iterator

import pytest

import rig as rigs
from rig import Broker, Gateway, Rig


@pytest.fixture
def rig() -> Iterator[Rig]:
    """For what a test kills: everything of its own."""
    with rigs.rig() as begun:
        yield begun


@pytest.fixture(scope="session")
def shared() -> Iterator[Rig]:
    with rigs.rig() as begun:
        yield begun


@pytest.fixture(scope="session")
def memory(shared: Rig) -> Gateway:
    """A gateway that all tests share; each has executions of its own."""
    return shared.gateway()


@pytest.fixture(scope="session", params=["nats", "redis"])
def on_broker(shared: Rig, request: pytest.FixtureRequest) -> tuple[Broker, Gateway]:
    """A broker and a gateway that all tests share."""
    broker = shared.broker(request.param)
    return broker, shared.gateway(broker.url)
