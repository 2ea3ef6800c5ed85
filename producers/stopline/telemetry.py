"""Traces, for those who set up OpenTelemetry: a stop's way, from its producer to its call.

Span names and attributes are those of OpenTelemetry's conventions for messaging and HTTP
(https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/). SDK and exporter are the
user's; where there is no tracer provider, nothing of OpenTelemetry is imported here.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Tracer

    from stopline.contract import StopRequest, Target

_API: Final = "opentelemetry.trace"
_SYSTEM: Final = "stopline"
_CALL: Final = "/agent-api/user/{user_id}/task_stop/{task_id}"
_HTTP_ERROR: Final = 400


def is_on() -> bool:
    """Whether somebody set up a tracer provider in this process."""
    api = sys.modules.get(_API)
    if api is None:  # nobody can have, without importing it
        return False
    return not isinstance(api.get_tracer_provider(), api.ProxyTracerProvider)


@contextmanager
def sending(request: StopRequest) -> Iterator[StopRequest]:
    """A producer's span around sending a request; the request as it goes on, with its context.

    Its parent is what the request brings along, else what is current here. Where no traces are kept
    there is no span, and the request goes on as it is.
    """
    if not is_on():
        yield request
        return
    parent = None if request.traceparent is None else _context_of(request.traceparent)
    queue = request.lane.queue
    about = {"messaging.destination.name": queue, "messaging.message.id": request.request_id}
    with _producing(f"send {queue}", parent, about):
        yield request.model_copy(update={"traceparent": _current() or request.traceparent})


def in_context(request: StopRequest) -> StopRequest:
    """A request of many, in the context that is current here, unless it brings one along."""
    if request.traceparent is not None:
        return request
    return request.model_copy(update={"traceparent": _current()})


@contextmanager
def sending_many() -> Iterator[None]:
    """A producer's span around sending many requests: all are in its context. The same without."""
    if not is_on():
        yield
        return
    with _producing("send"):
        yield


def _producing(
    name: str, parent: Context | None = None, about: Mapping[str, str] | None = None
) -> AbstractContextManager[Span]:
    from opentelemetry.trace import SpanKind  # noqa: PLC0415  # only where tracing is set up

    attributes = {
        "messaging.system": _SYSTEM,
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        **(about or {}),
    }
    return _tracer().start_as_current_span(
        name, context=parent, kind=SpanKind.PRODUCER, attributes=attributes
    )


class AttemptSpan:
    """A worker's span around an attempt, with the call's inside; `ended` says what came of it."""

    def __init__(self, processing: Span, call: Span) -> None:
        self._processing = processing
        self._call = call

    def ended(self, verdict: str, http_status: int | None, error: str | None) -> None:
        """What came of the call."""
        self._processing.set_attribute("stopline.verdict", verdict)
        if http_status is not None:
            self._call.set_attribute("http.response.status_code", http_status)
        is_http_error = http_status is not None and http_status >= _HTTP_ERROR
        if is_http_error or error is not None:
            # Of few values: what comes before the colon is the kind of an error.
            kind = str(http_status) if is_http_error else str(error).partition(":")[0]
            self._call.set_attribute("error.type", kind)
            self._fail(self._call, error)
        if verdict != "STOPPED":
            self._fail(self._processing, error)

    @staticmethod
    def _fail(span: Span, error: str | None) -> None:
        from opentelemetry.trace import Status, StatusCode  # noqa: PLC0415  # as above

        span.set_status(Status(StatusCode.ERROR, error))


@contextmanager
def attempting(
    request_id: str, target: Target, attempt: int, contexts: Sequence[str]
) -> Iterator[AttemptSpan]:
    """A consumer's span around an attempt, in the request's context, and a client's for its call.

    Args:
        request_id: whose attempt it is.
        target: what is to be stopped.
        attempt: its number.
        contexts: `traceparent` of the request, and of those that joined it: one call serves all,
            so each is a link.
    """
    from opentelemetry.trace import Link, SpanKind, get_current_span  # noqa: PLC0415  # as above

    parents = [_context_of(one) for one in contexts]
    links = [Link(get_current_span(one).get_span_context()) for one in parents]
    attributes: dict[str, Any] = {
        "messaging.system": _SYSTEM,
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": _SYSTEM,
        "messaging.message.id": request_id,
        "stopline.attempt": attempt,
        "stopline.target": str(target),
    }
    tracer = _tracer()
    with tracer.start_as_current_span(
        f"process {_SYSTEM}",
        context=parents[0] if parents else None,
        kind=SpanKind.CONSUMER,
        links=links,
        attributes=attributes,
    ) as processing:
        called = {"http.request.method": "GET", "url.template": _CALL}
        with tracer.start_as_current_span(
            f"GET {_CALL}", kind=SpanKind.CLIENT, attributes=called
        ) as call:
            yield AttemptSpan(processing, call)


def _tracer() -> Tracer:
    from opentelemetry import trace  # noqa: PLC0415  # as above

    return trace.get_tracer(_SYSTEM)


def _context_of(traceparent: str) -> Context:
    from opentelemetry.trace.propagation import tracecontext  # noqa: PLC0415  # as above

    propagator = tracecontext.TraceContextTextMapPropagator()
    return propagator.extract({"traceparent": traceparent})


def _current() -> str | None:
    """The context that is current here, as W3C's Trace Context writes it."""
    from opentelemetry.trace.propagation import tracecontext  # noqa: PLC0415  # as above

    carrier: dict[str, str] = {}
    tracecontext.TraceContextTextMapPropagator().inject(carrier)
    return carrier.get("traceparent")
