"""What is refused, and by which field; what is written, byte for byte."""

from __future__ import annotations

import json
import re
import uuid
from typing import Any

import pytest

import weft
from weft.event import EVENT_BYTES_MAX, prepare


@pytest.mark.parametrize(
    ("event", "field"),
    [
        ({}, "type"),
        ({"type": "connected", "executionId": "e"}, "type"),
        ({"type": 1, "executionId": "e"}, "type"),
        ({"type": "user_input:provide", "executionId": "e"}, "type"),
        ({"type": "a:" + "b" * 64, "executionId": "e"}, "type"),
        ({"type": "log"}, "executionId"),
        ({"type": "log", "executionId": ""}, "executionId"),
        ({"type": "log", "executionId": "a b"}, "executionId"),
        ({"type": "log", "executionId": "ü"}, "executionId"),
        ({"type": "log", "executionId": "x" * 129}, "executionId"),
        ({"type": "log", "executionId": "e\n"}, "executionId"),
        ({"type": "log", "executionId": None}, "executionId"),
        ({"type": "log", "executionId": "e", "id": None}, "id"),
        ({"type": "log", "executionId": "e", "id": "a b"}, "id"),
        ({"type": "log", "executionId": "e", "userId": "a/b"}, "userId"),
        ({"type": "log", "executionId": "e", "offset": 1}, "offset"),
        ({"type": "log", "executionId": "e", "room": 1}, "room"),
        ({"type": "log", "executionId": "e", "first": 1}, "first"),
        ({"type": "log", "executionId": "e", "skipped": 1}, "skipped"),
        ({"type": "log", "executionId": "e", "timestamp": "yesterday"}, "timestamp"),
        ({"type": "log", "executionId": "e", "timestamp": "2026-13-01T00:00:00Z"}, "timestamp"),
        ({"type": "log", "executionId": "e", "workflowId": ""}, "workflowId"),
        ({"type": "log", "executionId": "e", "data": []}, "data"),
        ({"type": "log", "executionId": "e", "data": {"x": float("nan")}}, "data"),
        ({"type": "log", "executionId": "e", "data": {"x": object()}}, "data"),
        ({"type": "log", "executionId": "e", "mine": {1, 2}}, "mine"),
        ({"type": "log", "executionId": "e", "data": {"x": "\ud800"}}, "event"),
        ({"type": "log", "executionId": "e", 1: 2}, "event"),
        ({"type": "node:started", "executionId": "e"}, "nodeId"),
        ({"type": "node:started", "executionId": "e", "nodeId": "a", "data": {"nodeId": "b"}}, "nodeId"),
        ({"type": "node:started", "executionId": "e", "data": {"nodeId": 1}}, "data.nodeId"),
        ({"type": "agent:token", "executionId": "e"}, "agentId"),
        ({"type": "agent:token", "executionId": "e", "data": {"agentId": "a:b"}}, "data.agentId"),
        ({"type": "log", "executionId": "e", "agentId": "a:b"}, "agentId"),
        ({"type": "kb:processing"}, "knowledgeBaseId"),
    ],
)
def test_every_refusal_names_its_field(event: dict[Any, Any], field: str) -> None:
    with pytest.raises(weft.Invalid) as refused:
        prepare(event)
    assert refused.value.field == field
    assert str(refused.value).startswith(f"{field}: ")


def test_what_is_too_deep_or_too_large_is_refused() -> None:
    deep: Any = []
    for _ in range(200):
        deep = [deep]
    with pytest.raises(weft.Invalid) as refused:
        prepare({"type": "log", "executionId": "e", "data": {"x": deep}})
    assert refused.value.field == "event"
    with pytest.raises(weft.TooLarge):
        prepare({"type": "log", "executionId": "e", "data": {"x": "y" * EVENT_BYTES_MAX}})
    # Many braces in a text are not depth.
    prepare({"type": "log", "executionId": "e", "data": {"x": "{[" * 500}})


def test_rooms_begin_with_the_first() -> None:
    event = {"type": "agent:token", "executionId": "e", "userId": "u", "data": {"agentId": "a"}}
    assert prepare(event).rooms == ("execution:e", "user:u", "agent:a:e")
    assert prepare({"type": "kb:processing", "knowledgeBaseId": "k", "userId": "u"}).rooms == ("kb:k", "user:u")


def test_an_event_is_completed_and_otherwise_left_alone() -> None:
    event = {"type": "log", "executionId": "e", "data": {"text": "grüße\n", "n": 2**70}, "mine": [1.5]}
    prepared = prepare(event)
    assert "id" not in event
    written = json.loads(prepared.body)
    assert uuid.UUID(written.pop("id")).version == 7
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", written.pop("timestamp"))
    assert written == event
    assert b"\n" not in prepared.body
    kept = prepare({**event, "id": "mine", "timestamp": "2026-01-31T12:00:00+01:00"})
    assert (kept.id, json.loads(kept.body)["timestamp"]) == ("mine", "2026-01-31T12:00:00+01:00")


def test_ids_are_in_order() -> None:
    ids = [weft.uuid7() for _ in range(10_000)]
    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids)
    assert all(uuid.UUID(each).variant == uuid.RFC_4122 for each in ids[:10])


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: weft.Publisher("kafka://x"), "url: must begin with"),
        (lambda: weft.Publisher("http://"), "url: must begin with"),
        (lambda: weft.Publisher([]), "url: "),
        (lambda: weft.Publisher("redis-cluster://a:1"), "url: must begin with"),
        (lambda: weft.Publisher("redis://a:1/x"), "url: the Redis database"),
        (lambda: weft.Publisher(["nats://a", "nats://b"]), "url: several addresses"),
        (lambda: weft.Publisher("nats://a", token="t"), "token: "),
        (lambda: weft.Publisher("http://a", tenant="acme"), "tenant: "),
        (lambda: weft.Publisher("http://a", gateway="http://a"), "gateway: "),
        (lambda: weft.Publisher("nats+core://a", gateway="http://a"), "gateway: "),
        (lambda: weft.Publisher("nats://a", gateway="nats://a"), "url: must begin with http"),
        (lambda: weft.Publisher("nats://a", tenant="a/b"), "tenant: "),
        (lambda: weft.Publisher("http://a", retry_age=120), "retry_age: "),
        (lambda: weft.Publisher("http://a", buffer_bytes=0), "buffer_bytes: "),
        (lambda: weft.Retention(events=0), "retention.events: "),
        (lambda: weft.Subscriber("ftp://a"), "url: must begin with"),
        (lambda: weft.Subscriber("http://a", rooms=["job:1"]), "room: must be"),
        (lambda: weft.follow("http://a", "a b"), "executionId: may hold"),
        (lambda: weft.Commands("http://a", "a b"), "executor: may hold"),
    ],
)
def test_bad_settings_name_themselves(make: Any, told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)):
        make()
