"""What follows from one call."""

from __future__ import annotations

import asyncio
from random import Random

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stopline.contract import OutcomeKind, Target, Verdict
from stopline.ledger.values import Cause, Ended, Grant, Retry, Settlement
from stopline_worker.engine import attempt
from stopline_worker.engine.attempt import INTERRUPTED, Attempts
from stopline_worker.engine.backoff import Backoff
from stopline_worker.engine.clock import LedgerClock
from stopline_worker.engine.flight import Flight
from stopline_worker.upstream.api_token import Credential
from stopline_worker.upstream.api_watch import ApiWatch
from stopline_worker.upstream.reply import CallErrorKind, NoReply, Reply
from stopline_worker.upstream.verdict import judge

GRANT = Grant("r1", Target("u", "t"), attempt=1, not_after=10**18, lease_end=10**18)


class _Api:
    def __init__(self, result: Reply | NoReply) -> None:
        self.result = result

    async def call(self, target: Target, credential: Credential) -> Reply | NoReply:
        assert target == ("u", "t", None)
        assert credential.authorization == "Bearer s3/cret"
        return self.result


class _Token:
    reread_count = 0

    def __init__(self) -> None:
        self.credential = Credential("s3/cret")

    def reread(self) -> None:
        self.reread_count += 1


def _attempts(result: Reply | NoReply, token: _Token) -> Attempts:
    watch = ApiWatch(lambda: 0.0)
    return Attempts(_Api(result), token, Backoff(1, 8), Random(7), watch, LedgerClock(lambda: 0.0))


def _conclude(result: Reply | NoReply) -> tuple[Settlement, _Token]:
    token = _Token()
    attempts = _attempts(result, token)
    attempts.clock.observe(0, 0.0)
    settlement = asyncio.run(attempts.make(Flight(GRANT, GRANT.lease_end, since=0.0)))
    assert settlement is not None
    return settlement, token


def _cause(settlement: Settlement) -> Cause | None:
    return settlement.cause if isinstance(settlement, Retry) else None


def test_every_verdict_leads_to_an_outcome_or_to_another_attempt() -> None:
    """One without either would be tried again and again."""
    assert set(attempt._OUTCOMES) == set(Verdict) - {Verdict.RETRY}


def test_a_success_ends_it() -> None:
    settlement, token = _conclude(Reply(200, b'{"status": "success", "code": 200}'))
    assert isinstance(settlement, Ended)
    assert settlement.outcome is OutcomeKind.STOPPED
    assert token.reread_count == 0


def test_a_failure_waits_at_least_as_long_as_the_api_asks() -> None:
    settlement, _ = _conclude(Reply(429, retry_after="30"))
    assert isinstance(settlement, Retry)
    assert (settlement.cause, settlement.delay_us) == (Cause.BUSY, 30_000_000)


def test_a_refused_token_is_read_again_before_the_next_attempt() -> None:
    settlement, token = _conclude(Reply(401))
    assert _cause(settlement) is Cause.REFUSED
    assert token.reread_count == 1


def test_a_token_that_the_api_echoes_is_not_recorded_escaped_or_not() -> None:
    r"""PHP writes a slash as `\/`."""
    for written in ("s3/cret", r"s3\/cret"):
        body = '{"code": 400, "message": "bad %s"}' % written  # noqa: UP031  # braces
        settlement, _ = _conclude(Reply(400, body.encode()))
        assert "s3" not in str(settlement)


def test_the_token_of_the_call_is_the_one_that_is_not_recorded() -> None:
    """It was rotated while the call was in flight."""
    token = _Token()
    reply = Reply(401, b'{"code": 401, "message": "bad s3/cret"}')
    called_with, token.credential = token.credential, Credential("another")
    settlement = _attempts(reply, token).conclude(GRANT, reply, called_with, 0.1)
    assert "s3/cret" not in str(settlement)


_VISIBLE = st.characters(min_codepoint=0x21, max_codepoint=0x7E)


@given(
    token=st.text(_VISIBLE, min_size=1, max_size=40),
    before=st.integers(0, 220),
    escapes_slashes=st.booleans(),
)
def test_no_part_of_a_token_is_recorded_wherever_it_stands(
    token: str, before: int, escapes_slashes: bool
) -> None:
    """Not even where the message is cut in its middle."""
    token = "secret" + token  # so that what is looked for stands nowhere by itself
    message = orjson.dumps("#" * before + token).decode()
    if escapes_slashes:
        message = message.replace("/", r"\/")
    reply = Reply(400, b'{"code": 400, "message": %s}' % message.encode())
    judgement = judge(reply, Credential(token).redact)
    recorded = f"{judgement.message} {judgement.detail} {judgement.error}"
    assert "secret" not in recorded
    assert judgement.message == ("#" * before + "***")[:200]


_TOKEN = "sk-AbCd+12/34==ZZZZZZZZZZ"


@pytest.mark.parametrize(
    "echo",
    [
        "invalid token sk-AbCd+12/34==Z...",
        "auth=sk-AbCd%2B12/34%3D%3DZZZZZZZZZZ",
        "auth=sk-AbCd%2b12%2f34%3d%3dZZZZZZZZZZ",
        "token SK-ABCD+12/34==ZZZZZZZZZZ",
        r"token sk-AbCd\u002B12/34\u003d=ZZZZZZZZZZ",
        "token sk-AbCd&#43;12/34==ZZZZZZZZZZ",
        "token sk-AbCd+12\n/34==ZZZZ\u200bZZZZZZ",
        "token k-AbCd+12/34==ZZZZZZZZZZ",
    ],
)
def test_a_part_of_the_token_is_not_recorded_in_any_disguise(echo: str) -> None:
    body = orjson.dumps({"code": 400, "message": echo})
    judgement = judge(Reply(400, body), Credential(_TOKEN).redact)
    recorded = f"{judgement.message} {judgement.detail}".casefold()
    assert "abcd" not in recorded
    assert "zzzz" not in recorded


def test_the_detail_does_not_make_the_token_again() -> None:
    """Its quotes write a tab as a backslash and a letter."""
    judgement = judge(
        Reply(400, b'{"code": 400, "message": "x ab\\tcd1234 y"}'), Credential(r"ab\tcd1234").redact
    )
    assert r"ab\tcd1234" not in judgement.detail


def test_what_is_no_echo_is_recorded_as_it_is() -> None:
    text = "任务不存在: task f232d184-dd54-42a0-8ace-0bf8d660f4cc, user 5832d184 & 10 % more"
    assert Credential(_TOKEN).redact(text) == text


@pytest.mark.parametrize("kind", [CallErrorKind.CONNECT, CallErrorKind.READ])
def test_a_call_without_a_reply_is_the_upstreams_fault(kind: CallErrorKind) -> None:
    settlement, _ = _conclude(NoReply(kind, "gone"))
    assert _cause(settlement) is Cause.FAILED


def test_a_reply_that_cannot_be_read_speaks_of_this_request() -> None:
    settlement, _ = _conclude(Reply(200, b"<html>"))
    assert _cause(settlement) is Cause.ANSWERED


def test_an_interrupted_call_is_another_workers_at_once() -> None:
    token = _Token()
    attempts = _attempts(INTERRUPTED, token)
    settlement = attempts.conclude(GRANT, INTERRUPTED, token.credential, 1.5)
    assert isinstance(settlement, Retry)
    assert (settlement.cause, settlement.delay_us) == (Cause.INTERRUPTED, 0)
    assert settlement.record.duration_ms == 1500
    assert str(settlement.record.error).startswith("interrupted")
