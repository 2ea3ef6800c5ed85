"""A request's life as a list of what happened, each with the sentence that says why. Pure."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from stopline.contract import DEAD_OUTCOMES, HeldFor, Outcome, OutcomeKind, State, Verdict
from stopline.texts import duration_text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from stopline.contract import Attempt, OpenRequest, RequestDocument


class Tone(StrEnum):
    """How a step is meant."""

    PLAIN = "plain"
    GOOD = "good"
    WAITING = "waiting"
    BAD = "bad"


class Step(NamedTuple):
    """Something that happened, or is to come.

    Attributes:
        at: when.
        what: in two or three words.
        why: a sentence.
        said: what somebody else wrote: a reason, the API's message.
        facts: figures beside it.
        tone: how it is meant.
        is_to_come: it has not happened yet.
    """

    at: datetime
    what: str
    why: str
    said: str | None = None
    facts: tuple[str, ...] = ()
    tone: Tone = Tone.PLAIN
    is_to_come: bool = False


_UPSTREAM_STATUSES: Final = frozenset({401, 403, 408, 425, 429})
_SERVER_ERROR: Final = 500


def timeline(status: Outcome | OpenRequest) -> tuple[Step, ...]:
    """What happened to a request, in its order; then what is to come."""
    happened = sorted(_happened(status), key=lambda step: step.at)
    return (*happened, *_to_come(status))


def _happened(status: Outcome | OpenRequest) -> Iterator[Step]:
    yield from _beginning(status)
    for join in status.joined:
        why = f"{join.source} asked for the same task: one call serves both."
        yield Step(join.at, "joined", why, join.reason)
    if status.joined_count > len(status.joined):
        more = status.joined_count - len(status.joined)
        yield Step(status.joined[-1].at, "joined", f"{more} more joined later.")
    for attempt in status.attempts:
        yield _attempt(attempt)
    if isinstance(status, Outcome):
        yield _end(status)


def _beginning(status: RequestDocument) -> Iterator[Step]:
    if status.issued_at is not None and status.issued_at < status.accepted_at:
        why = "What it is about happened: only a call that begins later can fulfil it."
        yield Step(status.issued_at, "issued", why)
    of = f" as part of the batch {status.batch_id}" if status.batch_id else ""
    again = f", sent again for {status.redrive_of}" if status.redrive_of else ""
    why = f"{status.source} asked for it in the lane {status.lane}{of}{again}."
    yield Step(status.accepted_at, "accepted", why, status.reason)


def _attempt(one: Attempt) -> Step:
    facts = (
        f"HTTP {one.http_status}" if one.http_status is not None else None,
        f"code {one.code}" if one.code is not None else None,
        duration_text(one.duration_ms / 1000) if one.duration_ms is not None else None,
    )
    tone = {Verdict.STOPPED: Tone.GOOD, Verdict.RETRY: Tone.WAITING}.get(one.verdict, Tone.BAD)
    return Step(
        one.started_at,
        f"attempt {one.number}",
        _why(one),
        ": ".join(text for text in (one.error, one.message) if text) or None,
        tuple(fact for fact in facts if fact),
        tone,
    )


def _why(one: Attempt) -> str:
    match one.verdict:
        case Verdict.STOPPED:
            return "The API confirmed the stop."
        case Verdict.NOT_FOUND:
            return "The API knows no such task; another call would not change that."
        case Verdict.REJECTED:
            return "The API rejected it; another call would be rejected as well."
        case Verdict.RETRY:
            again = (
                f"tried again after {duration_text(one.retry_in_s)}"
                if one.retry_in_s is not None
                else "none followed"
            )
            return f"{_fault(one)}: {again}."


def _fault(one: Attempt) -> str:
    status = one.http_status
    if one.duration_ms is None:
        return "The worker was lost, and with it what came of its call"
    if status is None:
        return "No reply came, which is the API's fault and is tried again until the deadline"
    if status in _UPSTREAM_STATUSES or status >= _SERVER_ERROR:
        return "The API could not take it, which is tried again until the deadline"
    return "The reply did not confirm the stop; so many of these are tried (MAX_ATTEMPTS)"


def _end(outcome: Outcome) -> Step:
    tone = Tone.PLAIN
    if outcome.outcome is OutcomeKind.STOPPED:
        tone = Tone.GOOD
    elif outcome.outcome in DEAD_OUTCOMES:
        tone = Tone.BAD
    facts = (f"by {outcome.satisfied_by}",) if outcome.satisfied_by else ()
    return Step(outcome.finished_at, outcome.outcome.value, outcome.detail, None, facts, tone)


_HELD_FOR: Final = {
    None: "",
    HeldFor.CANARY: "the first ones of its source are to end before.",
    HeldFor.TRIPPED: "a person lets it go, or drops it.",
    HeldFor.TURN: "a person let it go, and others of its target are ahead.",
}


def _to_come(status: Outcome | OpenRequest) -> Iterator[Step]:
    if isinstance(status, Outcome):
        return
    match status.state:
        case State.QUEUED:
            why = "It waits for a worker. If its message was lost, a sweep finds it then."
            yield Step(status.next_at, "queued", why, tone=Tone.WAITING, is_to_come=True)
        case State.CALLING:
            why = "A call is under way. If its worker is lost, another one takes over then."
            yield Step(status.next_at, "calling", why, tone=Tone.WAITING, is_to_come=True)
        case State.WAITING:
            why = "The next attempt begins then."
            yield Step(status.next_at, "waiting", why, tone=Tone.WAITING, is_to_come=True)
        case State.HELD:
            why = f"The guard {status.held_by} holds it: {_HELD_FOR[status.held_for]}"
            yield Step(status.accepted_at, "held", why, tone=Tone.WAITING)
    if status.not_after is not None:
        why = "Later no call begins: without a confirmed stop it ends as expired."
        yield Step(status.not_after, "deadline", why, is_to_come=True)
