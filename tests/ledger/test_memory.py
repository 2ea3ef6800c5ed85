"""What the ledger takes of Redis, and what it does when there is little left. Real server only."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest

from stopline.contract import (
    MESSAGE_IDS_MAX,
    Junk,
    Lane,
    OpenPlace,
    OpenRequest,
    OutcomeKind,
    Refusal,
    RefusalKind,
    RequestFilter,
    StopRequest,
    Target,
    Verdict,
)
from stopline.errors import LedgerFullError
from stopline.ledger import Ledger, commands, overviews, queries, scripts
from stopline.ledger.limits import Limits
from stopline.ledger.values import Accepted, Answer, Ended, Record, Submission
from tests.support.size import ledger_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

LIMITS = Limits()
_RECORD = Record(Verdict.STOPPED, duration_ms=12.3, http_status=200, code=200)
_DETAIL = "The API confirmed the stop."
_REQUESTS = 5_000


def _chunks(count: int) -> Iterator[list[Submission]]:
    for first in range(0, count, MESSAGE_IDS_MAX):
        yield [
            Submission(
                StopRequest(
                    user_id=str(uuid.uuid4()),
                    task_id=str(uuid.uuid4()),
                    lane=Lane.BULK,
                    source="bulk",
                    batch_id="bulk-0123456789ab",
                ),
                place=first + index,
            )
            for index in range(MESSAGE_IDS_MAX)
        ]


def _accept(ledger: Ledger, chunk: list[Submission]) -> list[str]:
    ledger.run(commands.accept(LIMITS, chunk))
    return [one.request.request_id for one in chunk]


def _used(ledger: Ledger) -> int:
    return int(ledger.run(queries.info("memory"))["used_memory"])


def _settle(ledger: Ledger, ids: list[str], token: str) -> tuple[Answer, ...]:
    first_attempt = f"{token}.1"
    settlements = [Ended(one, first_attempt, _RECORD, OutcomeKind.STOPPED, _DETAIL) for one in ids]
    return ledger.run(commands.settle(LIMITS, settlements)).answers


def test_a_request_in_flight_takes_900_bytes_and_a_settled_one_950(real_ledger: Ledger) -> None:
    """All keys counted, with UUIDs as ids and a batch around them."""
    chunks = [_accept(real_ledger, chunk) for chunk in _chunks(_REQUESTS)]
    for ids in chunks:
        real_ledger.run(commands.claim(LIMITS, ids, "0123abcd:1f"))
    assert ledger_bytes(real_ledger.client) / _REQUESTS <= 900
    for ids in chunks:
        _settle(real_ledger, ids, "0123abcd:1f")
    assert ledger_bytes(real_ledger.client) / _REQUESTS <= 950


def test_near_the_limit_nothing_is_accepted_and_everything_settles(real_ledger: Ledger) -> None:
    client = real_ledger.client
    chunks = [_accept(real_ledger, chunk) for chunk in _chunks(1000)]
    for ids in chunks:
        real_ledger.run(commands.claim(LIMITS, ids, "t"))
    client.config_set("maxmemory", int(_used(real_ledger) * 1.05))
    (reply,) = real_ledger.run(commands.accept(LIMITS, next(_chunks(250))[:1]))
    assert isinstance(reply, Refusal)
    assert reply.kind is RefusalKind.MEMORY
    for ids in chunks:
        assert set(_settle(real_ledger, ids, "t")) == {"ended"}


def test_settling_finds_room_although_redis_is_full(real_ledger: Ledger) -> None:
    (ids,) = [_accept(real_ledger, chunk) for chunk in _chunks(250)]
    real_ledger.run(commands.claim(LIMITS, ids, "t"))
    real_ledger.client.config_set("maxmemory", int(_used(real_ledger) * 0.9))
    assert set(_settle(real_ledger, ids, "t")) == {"ended"}
    outcome = real_ledger.run(queries.outcome(ids[0]))
    assert outcome is not None
    assert outcome.outcome is OutcomeKind.STOPPED


@pytest.mark.parametrize(
    "name", ["claim", "claim_due", "settle", "renew", "cancel", "discard", "resume"]
)
def test_what_settles_may_write_although_redis_is_full(name: str) -> None:
    assert scripts.source(name).startswith("#!lua flags=allow-oom\n")


@pytest.mark.parametrize("name", ["accept", "redrive"])
def test_what_takes_in_something_new_may_not(name: str) -> None:
    assert scripts.source(name).startswith("#!lua\n")


def test_junk_takes_a_bounded_share_of_memory(real_ledger: Ledger) -> None:
    """Two thousand messages of 65 KB once took 169 MB where 60 were allowed."""
    real_ledger.client.config_set("maxmemory", 60 * 1024 * 1024)
    body = b"A" * 64 * 1024
    for number in range(2000):
        real_ledger.run(commands.quarantine(LIMITS, Junk(f"m{number}", "junk", body)))
    assert _used(real_ledger) < 40 * 1024 * 1024
    (reply,) = real_ledger.run(commands.accept(LIMITS, next(_chunks(250))[:1]))
    assert isinstance(reply, Accepted)


def test_a_full_redis_learns_of_a_resume_that_ends_something(real_ledger: Ledger) -> None:
    (ids,) = [_accept(real_ledger, chunk) for chunk in _chunks(250)]
    found = real_ledger.run(queries.status(ids[0]))
    assert isinstance(found, OpenRequest)
    real_ledger.client.config_set("maxmemory", int(_used(real_ledger) * 0.9))
    result, _ = real_ledger.run(commands.resume(LIMITS, Target(found.user_id, found.task_id), None))
    assert result.superseded == (ids[0],)
    with pytest.raises(LedgerFullError):
        real_ledger.run(commands.resume(LIMITS, Target("nobody", "asked"), None))


@pytest.mark.parametrize("share", [1.05, 0.9])
def test_junk_without_room_is_kept_without_its_body(real_ledger: Ledger, share: float) -> None:
    """It was taken off its queue: what is not kept is nowhere."""
    real_ledger.client.config_set("maxmemory", int(_used(real_ledger) * share))
    made = real_ledger.run(commands.quarantine(LIMITS, Junk("m", "junk", b"A" * 1000)))
    assert made.cut == 1
    (message,) = real_ledger.run(queries.dead_letters(["m"]))
    assert message is not None
    assert message.truncated


def test_when_redis_is_full_somebody_can_look_and_log_in(real_ledger: Ledger) -> None:
    """To cancel is what makes room."""
    (ids,) = [_accept(real_ledger, chunk) for chunk in _chunks(250)]
    real_ledger.client.config_set("maxmemory", int(_used(real_ledger) * 0.9))
    assert real_ledger.run(overviews.overview(LIMITS)).lanes[Lane.BULK].open == 250
    page = overviews.open_page(RequestFilter(), OpenPlace(Lane.BULK), 10)
    assert len(real_ledger.run(page).requests) == 10
    real_ledger.run(commands.remember("session:x", b"{}", 60))
    assert real_ledger.run(commands.cancel(LIMITS, ids[:1], "me"))[0] == ("cancelled",)
