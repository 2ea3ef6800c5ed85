"""One attempt, from its lease to what the ledger is to know of it."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from stopline import telemetry
from stopline.contract import OutcomeKind, Verdict, Verified
from stopline.ledger.values import Cause, Ended, Record, Released, Retry
from stopline_worker.engine.flight import Phase
from stopline_worker.upstream.reply import CallErrorKind, NoReply
from stopline_worker.upstream.verdict import Blame, judge

if TYPE_CHECKING:
    from random import Random

    from stopline.ledger.values import Grant, Settlement
    from stopline_worker.engine.backoff import Backoff
    from stopline_worker.engine.clock import LedgerClock
    from stopline_worker.engine.flight import Flight
    from stopline_worker.engine.ports import Api, Token, Verify
    from stopline_worker.upstream.api_token import Credential
    from stopline_worker.upstream.api_watch import ApiWatch
    from stopline_worker.upstream.reply import Reply
    from stopline_worker.upstream.verdict import Judgement

_log = logging.getLogger(__name__)

READY_S: Final = 1.0
"""How long a claimed request may wait for its call. To those who cancel it or resume its target, it
looks as if it were called already."""
_OUTCOMES: Final = {
    Verdict.STOPPED: OutcomeKind.STOPPED,
    Verdict.REJECTED: OutcomeKind.REJECTED,
    Verdict.NOT_FOUND: OutcomeKind.NOT_FOUND,
}
_STILL_RUNS: Final = "The API confirmed the stop, and lists the task as one that still runs."
INTERRUPTED: Final = NoReply(CallErrorKind.INTERRUPTED, "the worker stopped before the reply came")


@dataclass(frozen=True, slots=True)
class Attempts:
    """Makes attempts; holds what all of them share."""

    api: Api
    token: Token
    backoff: Backoff
    random: Random
    watch: ApiWatch
    clock: LedgerClock
    verify: Verify | None = None
    """Reads the state of a task back after a success; None: nobody does."""
    within_s: float = 20.0
    """How long a call and reading back may take together: a lease is longer."""

    async def make(self, flight: Flight) -> Settlement | None:
        """Check the lease, call, judge, and say how the attempt is to be settled.

        Returns:
            None where the lease is lost: then nothing is to be settled.
        """
        if flight.lease_ended(self.clock):
            return None
        if self._must_not_begin(flight):
            return flight.released()
        grant = flight.grant
        if grant.traces is None:
            return await self._attempt(flight)
        with telemetry.attempting(
            grant.request_id, grant.target, grant.attempt, grant.traces
        ) as span:
            settlement = await self._attempt(flight)
            if settlement is not None and not isinstance(settlement, Released):
                record = settlement.record
                span.ended(record.verdict, record.http_status, record.error)
            return settlement

    async def _attempt(self, flight: Flight) -> Settlement | None:
        credential = self.token.credential
        flight.phase, flight.since = Phase.CALLING, self.clock.monotonic()
        result = await self._call(flight, credential)
        if flight.phase is Phase.LOST:
            return None
        duration_s = self.clock.monotonic() - flight.since
        try:
            verified = None
            if self.verify is not None:
                verified = await self._read_back(self.verify, flight, result, credential)
                if _is_lost(flight):
                    return None
            return self.conclude(flight.grant, result, credential, duration_s, verified)
        except Exception as error:  # noqa: BLE001  # a fault of ours, recorded as one
            # Left alone it would look like a lost worker, three times over like poison.
            failed = _internal_error(flight, error)
            return self.conclude(flight.grant, failed, credential, duration_s)

    def waited_too_long(self, flight: Flight) -> bool:
        """Whether a claimed request has waited for its call for so long that others may have it."""
        return self.clock.monotonic() - flight.since > READY_S

    def _must_not_begin(self, flight: Flight) -> bool:
        """After a standstill the lease may be too short for a whole call."""
        return (
            flight.phase is Phase.INTERRUPTED
            or self.waited_too_long(flight)
            or self.clock.now_us() >= flight.grant.not_after
        )

    async def _call(self, flight: Flight, credential: Credential) -> Reply | NoReply:
        try:
            return await self.api.call(flight.grant.target, credential)
        except asyncio.CancelledError:
            if flight.phase is Phase.CALLING or flight.caller is None:
                raise  # it is the caller that is to end
            flight.caller.uncancel()
            return INTERRUPTED
        except Exception as error:  # noqa: BLE001  # a fault of ours must not take the other calls with it
            return _internal_error(flight, error)

    async def _read_back(
        self, verify: Verify, flight: Flight, result: Reply | NoReply, credential: Credential
    ) -> Verified | None:
        """How the task is after a success; None where there was none."""
        if judge(result).verdict is not Verdict.STOPPED:
            return None
        left_s = self.within_s - (self.clock.monotonic() - flight.since)
        try:
            async with asyncio.timeout(max(0.0, left_s)):
                return await verify.check(flight.grant.target, credential)
        except TimeoutError:
            return Verified.UNKNOWN
        except asyncio.CancelledError:
            if flight.phase is Phase.CALLING or flight.caller is None:
                raise  # it is the caller that is to end
            flight.caller.uncancel()
            return Verified.UNKNOWN

    def conclude(
        self,
        grant: Grant,
        result: Reply | NoReply,
        credential: Credential,
        duration_s: float,
        verified: Verified | None = None,
    ) -> Settlement:
        """Judge a call and say how its attempt is to be settled.

        Args:
            grant: the right under which it was made.
            result: what came of it.
            credential: the token that it used, which is not recorded.
            duration_s: how long it took.
            verified: how the task was seen to be after it.
        """
        judgement = judge(result, credential.redact)
        if verified is Verified.RUNNING:
            judgement = judgement._replace(
                verdict=Verdict.RETRY, detail=_STILL_RUNS, blame=Blame.REQUEST
            )
        if judgement.token_refused:
            self.token.reread()
        if result is not INTERRUPTED:
            self.watch.saw(judgement)
        record = _record(judgement, duration_s, verified)
        outcome = _OUTCOMES.get(judgement.verdict)
        if outcome is not None:
            return Ended(grant.request_id, grant.token, record, outcome, judgement.detail)
        # Not the API's doing where it was interrupted: another worker may call at once.
        cause = Cause.INTERRUPTED if result is INTERRUPTED else _cause(judgement)
        delay_s = 0.0 if result is INTERRUPTED else self._delay_s(grant, judgement)
        return Retry(
            grant.request_id,
            grant.token,
            record,
            cause,
            round(delay_s * 1_000_000),
            round(judgement.retry_after_s * 1_000_000),
            round(judgement.hold_s * 1_000_000),
            judgement.detail,
        )

    def _delay_s(self, grant: Grant, judgement: Judgement) -> float:
        at_least_s = judgement.retry_after_s
        return self.backoff.delay_s(grant.attempt, self.random, at_least_s=at_least_s)


def _is_lost(flight: Flight) -> bool:
    """Asked anew: it may have been lost while something was waited for."""
    return flight.phase is Phase.LOST


def _internal_error(flight: Flight, error: Exception) -> NoReply:
    _log.exception(
        "call failed inside Stopline",
        extra={"action": "call_failed", "request_id": flight.grant.request_id},
    )
    return NoReply(CallErrorKind.INTERNAL, type(error).__name__)


def _cause(judgement: Judgement) -> Cause:
    """Why another attempt follows."""
    if judgement.token_refused:
        return Cause.FORBIDDEN if judgement.forbidden else Cause.REFUSED
    if judgement.busy:
        return Cause.BUSY
    return Cause.FAILED if judgement.upstream_failed else Cause.ANSWERED


def _record(judgement: Judgement, duration_s: float, verified: Verified | None) -> Record:
    return Record(
        judgement.verdict,
        round(duration_s * 1000, 1),
        judgement.http_status,
        judgement.code,
        judgement.message,
        judgement.error,
        verified,
    )
