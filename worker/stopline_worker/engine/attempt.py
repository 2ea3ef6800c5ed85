"""One attempt: check the deadline, call, judge, and say how it is to be settled."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from stopline.contract import OutcomeKind, Verdict
from stopline.ledger.values import Cause, Ended, Grant, Record, Retry, Settlement
from stopline_worker.upstream.reply import CallErrorKind, NoReply, Reply
from stopline_worker.upstream.verdict import Judgement, judge

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from stopline_worker.engine.backoff import Backoff
    from stopline_worker.engine.ports import Api, Token
    from stopline_worker.upstream.api_token import Credential
    from stopline_worker.upstream.api_watch import ApiWatch

_OUTCOMES: Final = {
    Verdict.STOPPED: OutcomeKind.STOPPED,
    Verdict.REJECTED: OutcomeKind.REJECTED,
    Verdict.NOT_FOUND: OutcomeKind.NOT_FOUND,
}
INTERRUPTED = NoReply(CallErrorKind.INTERRUPTED, "the worker stopped before the reply came")


class Measured(NamedTuple):
    """What came of a call, how long it took by the monotonic clock, and the token that it used."""

    result: Reply | NoReply
    duration_s: float
    credential: Credential | None = None


@dataclass(frozen=True, slots=True)
class Attempts:
    """Makes attempts; holds what all of them share."""

    api: Api
    token: Token
    backoff: Backoff
    random: Random
    watch: ApiWatch
    monotonic: Callable[[], float] = time.monotonic

    async def call(self, grant: Grant) -> Measured:
        """Make the call of an attempt."""
        began = self.monotonic()
        credential = self.token.credential
        result = await self.api.call(grant.target, credential)
        return Measured(result, self.monotonic() - began, credential)

    def conclude(self, grant: Grant, measured: Measured) -> Settlement:
        """Judge a call and say how its attempt is to be settled."""
        credential = measured.credential or self.token.credential
        judgement = judge(measured.result, credential.redact)
        if judgement.token_refused:
            self.token.reread()
        if measured.result is not INTERRUPTED:
            self.watch.saw(judgement)
        record = _record(judgement, measured.duration_s)
        outcome = _OUTCOMES.get(judgement.verdict)
        if outcome is not None:
            return Ended(grant.request_id, grant.token, record, outcome, judgement.detail)
        delay_us = round(self.delay_s(grant, measured, judgement) * 1_000_000)
        cause = _cause(measured, judgement)
        return Retry(grant.request_id, grant.token, record, cause, delay_us)

    def delay_s(self, grant: Grant, measured: Measured, judgement: Judgement) -> float:
        """How long to wait before the next attempt."""
        if measured.result is INTERRUPTED:
            return 0.0  # not the API's doing: another worker may call at once
        return self.backoff.delay_s(grant.attempt, self.random, at_least_s=judgement.retry_after_s)


def _cause(measured: Measured, judgement: Judgement) -> Cause:
    if measured.result is INTERRUPTED:
        return Cause.INTERRUPTED
    return Cause.FAILED if judgement.upstream_failed else Cause.ANSWERED


def _record(judgement: Judgement, duration_s: float) -> Record:
    return Record(
        judgement.verdict,
        round(duration_s * 1000, 1),
        judgement.http_status,
        judgement.code,
        judgement.message,
        judgement.error,
    )
