"""Producer and worker of a ledger in one pair of hands: what the ledger's tests are written in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stopline.contract import (
    Lane,
    OpenRequest,
    Outcome,
    OutcomeKind,
    Receipt,
    ReceiptKind,
    Refusal,
    StopRequest,
    Target,
    Verdict,
    from_microseconds,
)
from stopline.ledger import batches, commands, keys, queries, values
from stopline.ledger.limits import Limits
from stopline.ledger.values import (
    Answer,
    Cause,
    Claimed,
    Ended,
    Grant,
    Record,
    Released,
    Retry,
    Settlement,
    Submission,
)

if TYPE_CHECKING:
    from stopline.contract import Batch, CancelResult, ResumeResult
    from stopline.ledger.queries import Alias
    from tests.support.virtual_time import VirtualTime

LIMITS = Limits(deadline_s=3600, lease_s=30, look_again_s=5, attempts_max=4)
FAILED = Record(Verdict.RETRY, duration_ms=1.0, http_status=500)
STOPPED = Record(Verdict.STOPPED, duration_ms=1.0, http_status=200, code=200)


class Desk:
    """Runs the ledger's verbs by short names; time passes by a microsecond with each."""

    def __init__(self, time: VirtualTime) -> None:
        self.time = time
        self.ledger = time.ledger
        self.limits = LIMITS
        self._claims = 0

    def run(self, command: values.Command[Any]) -> Any:
        self.time.tick()
        return self.ledger.run(command)

    # --- producer -----------------------------------------------------------------------------

    def stop(
        self,
        task_id: str = "t",
        *,
        place: int | None = None,
        alias: bool = False,
        expire_late: bool = False,
        issued_ago_s: float | None = None,
        lasts_s: float | None = None,
        **fields: Any,
    ) -> Receipt:
        """Accept one stop; raises what a client would raise."""
        if issued_ago_s is not None:
            fields["issued_at"] = from_microseconds(
                self.time.now_us - round(issued_ago_s * 1_000_000)
            )
        if lasts_s is not None:
            fields["not_after"] = from_microseconds(self.time.now_us + round(lasts_s * 1_000_000))
        request = StopRequest.parse({"user_id": "u", "task_id": task_id, **fields})
        submission = Submission(request, place=place, alias=alias)
        reply = self.run(commands.accept(self.limits, [submission], expire_late=expire_late))[0]
        if isinstance(reply, Refusal):
            raise reply.as_error()
        return reply.receipt

    def dispatched(self, submission: Submission) -> bool:
        """Whether accepting a submission asks for a dispatch message."""
        return bool(self.run(commands.accept(self.limits, [submission]))[0].dispatch)

    def cancel(self, request_id: str, by: str = "tester") -> CancelResult:
        words, _ = self.run(commands.cancel(self.limits, [request_id], by))
        return words[0]

    def resume(self, task_id: str = "t", *, ago_s: float = 0) -> ResumeResult:
        at = self.time.now_us - round(ago_s * 1_000_000) if ago_s else None
        result, _ = self.run(commands.resume(self.limits, Target("u", task_id), at))
        return result

    # --- worker -------------------------------------------------------------------------------

    def token(self) -> str:
        self._claims += 1
        return f"desk:{self._claims}"

    def claim(self, *request_ids: str, token: str | None = None) -> Claimed:
        return self.run(commands.claim(self.limits, request_ids, token or self.token()))

    def begin(self, request_id: str) -> Call:
        """Claim one request, which must be granted, and begin its call."""
        claimed = self.claim(request_id)
        (grant,) = claimed.grants
        return Call(self, grant)

    def sweep(self, *lanes: Lane, limit: int = 100, token: str | None = None) -> Claimed:
        return self.run(
            commands.claim_due(
                self.limits, lanes or tuple(Lane), token or self.token(), limit=limit
            )
        )

    # --- looking ------------------------------------------------------------------------------

    def status(self, request_id: str) -> Outcome | OpenRequest | Alias | None:
        return self.run(queries.status(request_id))

    def outcome(self, request_id: str) -> OutcomeKind | None:
        found = self.run(queries.outcome(request_id))
        return found.outcome if found else None

    def document(self, request_id: str) -> Outcome:
        found = self.run(queries.outcome(request_id))
        assert found is not None
        return found

    def batch(self, batch_id: str) -> Batch:
        found = self.run(batches.batch(batch_id))
        assert found is not None
        return found

    def due(self) -> set[str]:
        """All ids in the due indexes; each is in one only."""
        found: list[str] = []
        for lane in Lane:
            found += [one.decode() for one in self.ledger.client.zrange(keys.due(lane), 0, -1)]
        assert len(found) == len(set(found))
        return set(found)


class Call:
    """A call in flight."""

    def __init__(self, desk: Desk, grant: Grant) -> None:
        self._desk = desk
        self.grant = grant
        self._lease = (grant.request_id, grant.token)

    def _settle(self, settlement: Settlement) -> Answer:
        return self._desk.run(commands.settle(self._desk.limits, [settlement])).answers[0]

    def succeed(self) -> Answer:
        detail = "The API confirmed the stop."
        return self._settle(Ended(*self._lease, STOPPED, OutcomeKind.STOPPED, detail))

    def reject(self) -> Answer:
        detail = "The API rejected the call."
        return self._settle(Ended(*self._lease, FAILED, OutcomeKind.REJECTED, detail))

    def fail(self, *, retry_in_s: float = 1.0, by_upstream: bool = False) -> Answer:
        """The reply spoke of the request and settled nothing; or it was the upstream's fault."""
        cause = Cause.FAILED if by_upstream else Cause.ANSWERED
        return self._settle(Retry(*self._lease, FAILED, cause, round(retry_in_s * 1_000_000)))

    def interrupt(self) -> Answer:
        """Its worker drained and took it off the wire."""
        return self._settle(Retry(*self._lease, FAILED, Cause.INTERRUPTED, 0))

    def release(self) -> Answer:
        return self._settle(Released(*self._lease))

    def renew(self) -> bool:
        return self._desk.run(commands.renew(self._desk.limits, [self._lease])).kept[0]


ACCEPTED, JOINED = ReceiptKind.ACCEPTED, ReceiptKind.JOINED
