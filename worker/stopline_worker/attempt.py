"""One attempt: check the deadline, call, judge, and say how it is to be settled."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from stopline.contract import OutcomeKind, Verdict
from stopline.ledger.commands import json_string, members
from stopline.ledger.values import Grant, Settlement
from stopline_worker.verdict import CallErrorKind, Judgement, NoReply, Reply, judge

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from stopline_worker.backoff import Backoff
    from stopline_worker.ports import Api, Token

_OUTCOMES: Final = {
    Verdict.STOPPED: OutcomeKind.STOPPED.value,
    Verdict.REJECTED: OutcomeKind.REJECTED.value,
    Verdict.NOT_FOUND: OutcomeKind.NOT_FOUND.value,
}
INTERRUPTED = NoReply(CallErrorKind.INTERRUPTED, "the worker stopped before the reply came")


class Measured(NamedTuple):
    """What came of a call, and how long it took by the monotonic clock."""

    result: Reply | NoReply
    duration_s: float


@dataclass(frozen=True, slots=True)
class Attempts:
    """Makes attempts; holds what all of them share."""

    api: Api
    token: Token
    backoff: Backoff
    random: Random
    monotonic: Callable[[], float] = time.monotonic

    async def call(self, grant: Grant) -> Measured:
        """Make the call of an attempt."""
        began = self.monotonic()
        result = await self.api.call(grant.target)
        return Measured(result, self.monotonic() - began)

    def conclude(self, grant: Grant, measured: Measured) -> Settlement:
        """Judge a call and say how its attempt is to be settled."""
        judgement = self._redacted(judge(measured.result))
        if judgement.reread_token:
            self.token.reread()
        attempt = _members(judgement, measured.duration_s)
        if judgement.verdict is not Verdict.RETRY:
            outcome = f"{_OUTCOMES[judgement.verdict]}\n{json_string(judgement.detail)}"
            return Settlement(grant.request_id, grant.token, "end", attempt, outcome)
        delay_s = self.delay_s(grant, measured, judgement)
        delay_us = str(round(delay_s * 1_000_000))
        return Settlement(grant.request_id, grant.token, "retry", attempt, delay_us)

    def _redacted(self, judgement: Judgement) -> Judgement:
        """The judgement without the token, should the API have echoed it, escaped or not."""
        redact = self.token.redact
        detail = redact(judgement.detail)
        message = redact(judgement.message) if judgement.message else None
        error = redact(judgement.error) if judgement.error else None
        if (detail, message, error) == (judgement.detail, judgement.message, judgement.error):
            return judgement
        return judgement._replace(detail=detail, message=message, error=error)

    def delay_s(self, grant: Grant, measured: Measured, judgement: Judgement) -> float:
        """How long to wait before the next attempt."""
        if measured.result is INTERRUPTED:
            return 0.0  # not the API's doing: another worker may call at once
        return self.backoff.delay_s(grant.attempt, self.random, at_least_s=judgement.retry_after_s)


def _members(judgement: Judgement, duration_s: float) -> str:
    return members(
        {
            "duration_ms": round(duration_s * 1000, 1),
            "http_status": judgement.http_status,
            "code": judgement.code,
            "message": judgement.message,
            "error": judgement.error,
            "verdict": judgement.verdict,
        }
    )
