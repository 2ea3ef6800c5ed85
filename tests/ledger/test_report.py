"""Results of messages that were never accepted stand only where nothing else is known of an id."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stopline.contract import StopRequest
from stopline.ledger import commands, keys
from stopline.ledger.limits import Limits
from stopline.ledger.values import Submission

if TYPE_CHECKING:
    from stopline.ledger import Ledger

_LIMITS = Limits()
_FAILURE = b'{"status":"FAILURE"}'
_REVOKED = b'{"status":"REVOKED"}'


def _report(ledger: Ledger, *pairs: tuple[str, bytes]) -> tuple[bool, ...]:
    return ledger.run(commands.report(_LIMITS, pairs))


def test_a_result_is_written_with_an_end_and_told_to_who_waits(real_ledger: Ledger) -> None:
    with real_ledger.client.pubsub() as channel:
        channel.subscribe(keys.result("a"))
        channel.get_message(timeout=5)
        assert _report(real_ledger, ("a", _FAILURE)) == (True,)
        told = channel.get_message(timeout=5)
    assert told is not None
    assert told["data"] == _FAILURE == real_ledger.client.get(keys.result("a"))
    assert 0 < real_ledger.client.ttl(keys.result("a")) <= _LIMITS.result_ttl_s


def test_an_open_request_and_an_outcome_stay_as_they_are(real_ledger: Ledger) -> None:
    request = StopRequest(user_id="u", task_id="t", request_id="open")
    real_ledger.run(commands.accept(_LIMITS, [Submission(request)]))
    real_ledger.client.set(keys.result("ended"), "an outcome")
    assert _report(real_ledger, ("open", _REVOKED), ("ended", _FAILURE)) == (False, False)
    assert real_ledger.client.get(keys.result("open")) is None
    assert real_ledger.client.get(keys.result("ended")) == b"an outcome"


def test_who_revokes_what_another_worker_has_revoked_has_done_so(real_ledger: Ledger) -> None:
    """Each worker of a fleet gets the word."""
    assert _report(real_ledger, ("a", _REVOKED)) == (True,)
    assert _report(real_ledger, ("a", _REVOKED)) == (True,)
