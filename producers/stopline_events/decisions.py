"""From an event to what is to be done: one fixed mapping of types. Pure.

| type | means |
|---|---|
| `stopline.stop.requested` | stop a task; the data is a stop request's fields |
| `stopline.task.resumed` | a task was resumed; the data is `user_id`, `task_id`, `sub_user_id` |

The event's `source` and `id` are the idempotency key, its `time` is when it happened.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

import orjson

from stopline.contract import (
    NAME_CHARACTERS_MAX,
    StopRequest,
    Target,
    is_trace_parent,
    short_key,
)
from stopline.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from stopline_events.cloud_events import Event

STOP: Final = "stopline.stop.requested"
RESUMED: Final = "stopline.task.resumed"


class Stop(NamedTuple):
    """A task is to be stopped."""

    request: StopRequest


class Resume(NamedTuple):
    """A task was resumed; `at` is None where nobody knows when."""

    target: Target
    at: datetime | None


class Ignored(NamedTuple):
    """The event's type means nothing here."""

    type: str


class Fired(NamedTuple):
    """A rule's condition was true, and this is what it says."""

    rule: str
    action: Stop | Resume


class Failed(NamedTuple):
    """A rule could say nothing, and why; '' where it is none of a rule."""

    rule: str
    reason: str


class Ruled(NamedTuple):
    """What the rules say of an event, in their order."""

    fired: tuple[Fired, ...] = ()
    failed: tuple[Failed, ...] = ()


Decision = Stop | Resume | Ignored | Ruled


class Decides(Protocol):
    """Who says what events ask for: this module, or rules on top of it."""

    def decide(self, event: Event, *, arrived_at: datetime | None = None) -> Decision:
        """As `decide`."""


def decide(
    event: Event,
    *,
    speak_for: Callable[[str | None], str | None] = lambda source: source,
    arrived_at: datetime | None = None,
) -> Decision:
    """What an event asks for.

    Args:
        event: the event.
        speak_for: says who asks, given what the event's data says (None: nothing).
        arrived_at: when it came, where it has no `time` and that is known better than by now.

    Raises:
        InvalidRequestError: its data is not what its type needs; fields are named as `data.…`.
    """
    if event.type not in {STOP, RESUMED}:
        return Ignored(event.type)
    if not isinstance(event.data, dict):
        raise InvalidRequestError("data: a JSON object is needed", field="data")
    happened_at = event.time or arrived_at
    try:
        if event.type == STOP:
            return Stop(_request(event, event.data, happened_at, speak_for))
        return Resume(_target(event.data), happened_at)
    except InvalidRequestError as error:
        field = f"data.{error.field}" if error.field else "data"
        reason = str(error).removeprefix(f"{error.field}: ")
        raise InvalidRequestError(f"{field}: {reason}", field=field) from None


def idempotency_key(event: Event) -> str:
    """The key of an event: another event has another one, however `source` and `id` are cut."""
    return short_key(orjson.dumps([event.source, event.id]).decode())


def trace_of(event: Event) -> str | None:
    """The trace that an event belongs to (CloudEvents' extension for distributed tracing)."""
    given = event.extensions.get("traceparent")
    return given if is_trace_parent(given) else None


def _request(
    event: Event,
    data: dict[str, Any],
    happened_at: datetime | None,
    speak_for: Callable[[str | None], str | None],
) -> StopRequest:
    for name in ("idempotency_key", "request_id"):
        if data.get(name) is not None:
            raise InvalidRequestError(f"{name}: an event's source and id are its key", field=name)
    said = data.get("source")
    source = speak_for(said) if isinstance(said, str | None) else said
    request = StopRequest.parse(
        {
            **data,
            "source": event.source[:NAME_CHARACTERS_MAX] if source is None else source,
            "idempotency_key": idempotency_key(event),
            "traceparent": data.get("traceparent") or trace_of(event),
        }
    )
    if request.issued_at is None:
        return request.model_copy(update={"issued_at": happened_at})
    if event.time is not None and event.time != request.issued_at:
        raise InvalidRequestError("issued_at: the event's time says otherwise", field="issued_at")
    return request


def _target(data: dict[str, Any]) -> Target:
    known = {"user_id", "task_id", "sub_user_id"}
    for name in data:
        if name not in known:
            raise InvalidRequestError(f"{name[:40]}: this field is unknown", field=name[:40])
    return StopRequest.parse(data).target
