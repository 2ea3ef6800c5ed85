"""What follows from one call."""

from __future__ import annotations

import asyncio
from random import Random

import orjson

from stopline.ledger.values import Grant, Settlement
from stopline_worker.attempt import INTERRUPTED, Attempts, Measured
from stopline_worker.backoff import Backoff
from stopline_worker.verdict import NoReply, Reply

GRANT = Grant("r1", "u/t", attempt=1, not_after=10**18, lease_end=10**18)


class _Api:
    def __init__(self, result: Reply | NoReply) -> None:
        self.result = result

    async def call(self, target: str) -> Reply | NoReply:
        assert target == "u/t"
        return self.result


class _Token:
    reread_count = 0

    def reread(self) -> bool:
        self.reread_count += 1
        return True

    def redact(self, text: str) -> str:
        return text.replace("s3/cret", "***")


def _conclude(result: Reply | NoReply) -> tuple[Settlement, _Token]:
    token = _Token()
    attempts = Attempts(_Api(result), token, Backoff(1, 8), Random(7))
    measured = asyncio.run(attempts.call(GRANT))
    return attempts.conclude(GRANT, measured), token


def test_a_success_ends_it() -> None:
    settlement, token = _conclude(Reply(200, b'{"status": "success", "code": 200}'))
    assert (settlement.follows, settlement.argument.split("\n")[0]) == ("end", "stopped")
    assert token.reread_count == 0


def test_a_failure_waits_at_least_as_long_as_the_api_asks() -> None:
    settlement, _ = _conclude(Reply(429, retry_after="30"))
    assert (settlement.follows, int(settlement.argument)) == ("retry", 30_000_000)


def test_a_refused_token_is_read_again_before_the_next_attempt() -> None:
    settlement, token = _conclude(Reply(401))
    assert settlement.follows == "retry"
    assert token.reread_count == 1


def test_a_token_that_the_api_echoes_is_not_recorded_escaped_or_not() -> None:
    r"""PHP writes a slash as `\/`."""
    for written in ("s3/cret", r"s3\/cret"):
        body = '{"code": 400, "message": "bad %s"}' % written  # noqa: UP031  # braces
        settlement, _ = _conclude(Reply(400, body.encode()))
        assert "s3" not in settlement.members + settlement.argument


def test_an_interrupted_call_is_another_workers_at_once() -> None:
    attempts = Attempts(_Api(INTERRUPTED), _Token(), Backoff(1, 8), Random(7))
    settlement = attempts.conclude(GRANT, Measured(INTERRUPTED, 1.5))
    assert (settlement.follows, settlement.argument) == ("retry", "0")
    record = orjson.loads("{" + settlement.members + "}")
    assert record["duration_ms"] == 1500
    assert record["error"].startswith("interrupted")
