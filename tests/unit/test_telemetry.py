"""Traces: from a producer to the call, with links for who joined; nothing where none are kept."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from random import Random
from typing import TYPE_CHECKING

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from stopline import telemetry
from stopline.ledger import commands
from stopline.testing import AsyncFakeStopClient, FakeStopClient, World
from stopline_worker.engine.attempt import Attempts
from stopline_worker.engine.backoff import Backoff
from stopline_worker.engine.clock import LedgerClock
from stopline_worker.engine.flight import Flight
from stopline_worker.upstream.api_watch import ApiWatch
from stopline_worker.upstream.reply import CallErrorKind, NoReply, Reply
from tests.simulation.worker import NoToken

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.sdk.trace import ReadableSpan

    from stopline.ledger.values import Grant

_PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """Somebody set up OpenTelemetry, for this test alone: its own setter works once a process."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    yield exporter
    provider.shutdown()


class _Api:
    def __init__(self, reply: Reply | NoReply) -> None:
        self._reply = reply

    async def call(self, _target: object, _credential: object) -> Reply | NoReply:
        return self._reply


def _attempt(grant: Grant, reply: Reply | NoReply) -> None:
    watch, clock = ApiWatch(time.monotonic), LedgerClock(time.monotonic)
    clock.observe(grant.lease_end - 30_000_000, time.monotonic())
    attempts = Attempts(_Api(reply), NoToken(), Backoff(0.1, 1), Random(17), watch, clock)
    flight = Flight(grant, grant.lease_end, time.monotonic())
    assert asyncio.run(attempts.make(flight)) is not None


def _claim(world: World, request_id: str) -> Grant:
    claimed = world.run(commands.claim(world.limits, [request_id], "e:1", traces=True))
    (grant,) = claimed.grants
    return grant


def _named(spans: InMemorySpanExporter, name: str) -> list[ReadableSpan]:
    return [one for one in spans.get_finished_spans() if one.name.startswith(name)]


def test_one_stop_from_its_producers_to_its_call(spans: InMemorySpanExporter) -> None:
    world = World()
    client = FakeStopClient(world)
    with trace.get_tracer("app").start_as_current_span("over budget"):
        first = client.stop("u", "t")
    client.stop("u", "t", source="second")  # joins
    _attempt(_claim(world, first.request_id), Reply(200, b'{"status":"success","code":200}'))

    app = _named(spans, "over budget")[0]
    sent, joined = _named(spans, "send stopline.default")
    (process,) = _named(spans, "process stopline")
    (call,) = _named(spans, "GET /agent-api/user/{user_id}/task_stop/{task_id}")
    assert (sent.kind, process.kind, call.kind) == (
        SpanKind.PRODUCER,
        SpanKind.CONSUMER,
        SpanKind.CLIENT,
    )
    assert sent.parent is not None
    assert process.parent is not None
    assert call.parent is not None
    assert sent.parent.span_id == app.context.span_id
    assert process.parent.span_id == sent.context.span_id
    assert call.parent.span_id == process.context.span_id
    assert len({one.context.trace_id for one in (app, sent, process, call)}) == 1
    linked = {one.context.span_id for one in process.links}
    assert linked == {sent.context.span_id, joined.context.span_id}
    assert process.attributes is not None
    assert process.attributes["messaging.message.id"] == first.request_id
    assert process.attributes["stopline.verdict"] == "STOPPED"
    assert call.attributes is not None
    assert call.attributes["http.response.status_code"] == 200
    assert process.status.status_code is StatusCode.UNSET
    traceparent = client.status(first.request_id).traceparent
    assert traceparent is not None
    assert f"{sent.context.span_id:016x}" in traceparent


def test_a_call_that_failed_is_an_error(spans: InMemorySpanExporter) -> None:
    world = World()
    receipt = FakeStopClient(world).stop("u", "t")
    _attempt(_claim(world, receipt.request_id), Reply(503, b"busy"))
    (call,) = _named(spans, "GET ")
    assert call.status.status_code is StatusCode.ERROR
    assert call.attributes is not None
    assert call.attributes["error.type"] == "503"


def test_a_call_without_a_reply_names_the_kind_of_its_error(spans: InMemorySpanExporter) -> None:
    world = World()
    receipt = FakeStopClient(world).stop("u", "t")
    reply = NoReply(CallErrorKind.TIMEOUT, "ReadTimeout after 10.0 s at 127.0.0.1")
    _attempt(_claim(world, receipt.request_id), reply)
    (call,) = _named(spans, "GET ")
    assert call.attributes is not None
    assert call.attributes["error.type"] == "timeout"


def test_what_a_request_brings_along_is_its_parent(spans: InMemorySpanExporter) -> None:
    FakeStopClient().stop("u", "t", traceparent=_PARENT)
    (sent,) = _named(spans, "send ")
    assert sent.parent is not None
    assert f"{sent.parent.span_id:016x}" == _PARENT.split("-")[2]


def test_many_are_sent_in_one_span(spans: InMemorySpanExporter) -> None:
    async def send() -> None:
        await AsyncFakeStopClient(world).stop_many([{"user_id": "u", "task_id": "b"}])

    world = World()
    sent = FakeStopClient(world).stop_many([{"user_id": "u", "task_id": "a"}])
    asyncio.run(send())
    assert len(_named(spans, "send")) == 2
    traceparent = FakeStopClient(world).status(sent.results[0].request_id).traceparent  # type: ignore[union-attr]
    assert traceparent is not None


def test_a_worker_without_contexts_has_spans_of_its_own(spans: InMemorySpanExporter) -> None:
    world = World()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trace, "_TRACER_PROVIDER", None)
        receipt = FakeStopClient(world).stop("u", "t")
    grant = _claim(world, receipt.request_id)
    assert grant.traces == ()
    _attempt(grant, Reply(200, b'{"status":"success","code":200}'))
    (process,) = _named(spans, "process ")
    assert process.parent is None


def test_where_none_are_kept_nothing_is_asked_for() -> None:
    assert not telemetry.is_on()
    world = World()
    receipt = FakeStopClient(world).stop("u", "t", traceparent=_PARENT)
    claimed = world.run(commands.claim(world.limits, [receipt.request_id], "e:1"))
    assert claimed.grants[0].traces is None
    assert FakeStopClient(world).status(receipt.request_id).traceparent == _PARENT


def test_nothing_of_it_is_needed() -> None:
    """redis-py imports it where it is there; here it is not."""
    code = (
        "import sys; sys.modules['opentelemetry'] = None;"
        "from stopline.testing import FakeStopClient;"
        "print(FakeStopClient().stop('u', 't').receipt)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert done.stdout == b"accepted\n"
