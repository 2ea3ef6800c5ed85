"""The ledger's semantics as a plain Python model: what the property test compares it with.

Written from docs/semantics.md, not from the scripts: one target, whole-number time, no Redis.
"""

from __future__ import annotations

from dataclasses import dataclass, field

STOPPED, REJECTED, EXHAUSTED = "stopped", "rejected", "exhausted"
EXPIRED, SUPERSEDED, CANCELLED, QUARANTINED = "expired", "superseded", "cancelled", "quarantined"


@dataclass(slots=True)
class Wish:
    """A request of the model, with everything that was joined to it."""

    wish_at: int
    not_after: int
    answered: int = 0
    lost: int = 0
    cancelled: bool = False
    retry_at: int | None = None
    began_at: int | None = None
    lease_end: int | None = None

    def in_flight(self, now: int) -> bool:
        return self.lease_end is not None and self.lease_end > now


@dataclass(slots=True)
class Model:
    """One target and its requests by id."""

    lease: int
    attempts_max: int
    lost_max: int
    open: dict[str, Wish] = field(default_factory=dict)
    outcomes: dict[str, str] = field(default_factory=dict)
    active: str | None = None
    next: str | None = None
    held: str | None = None
    succeeded_at: int | None = None
    resumed_at: int | None = None

    # --- verbs --------------------------------------------------------------------------------

    def accept(
        self, request_id: str, now: int, issued_at: int, not_after: int, *, is_kept_back: bool
    ) -> tuple[str, str]:
        """Receipt and the id to follow; a guard keeps new ones back."""
        if self.resumed_at is not None and self.resumed_at >= issued_at:
            self.outcomes[request_id] = SUPERSEDED
            return "superseded", request_id
        if self.succeeded_at is not None and self.succeeded_at >= issued_at:
            self.outcomes[request_id] = STOPPED
            return "satisfied", request_id
        host = self._host(now, issued_at)
        is_held = host is None and is_kept_back
        host = self.held if is_held else host
        if host is not None:
            wish = self.open[host]
            wish.wish_at = max(wish.wish_at, issued_at)
            wish.not_after = max(wish.not_after, not_after)
            return ("held" if is_held else "joined"), host
        self.open[request_id] = Wish(issued_at, not_after)
        if is_held:
            self.held = request_id
            return "held", request_id
        if self.active is None:
            self.active = request_id
        else:
            self.next = request_id
        return "accepted", request_id

    def _host(self, now: int, issued_at: int) -> str | None:
        if self.active is None:
            return None
        wish = self.open[self.active]
        return self.active if self._serves(wish, now, issued_at) else self.next

    def _serves(self, wish: Wish, now: int, issued_at: int) -> bool:
        if wish.cancelled:
            return False
        if wish.in_flight(now):
            return (wish.began_at or 0) >= issued_at
        lost = wish.lost + (wish.lease_end is not None)
        return wish.answered == 0 and lost < self.lost_max

    def claim(self, request_id: str, now: int) -> bool:
        """Whether an attempt is granted."""
        wish = self.open.get(request_id)
        if wish is None or wish.in_flight(now):
            return False
        if request_id != self.active:  # the next one waits for it, but not beyond its deadline
            ending = self._ending(wish, now)
            if ending is not None:
                self._end(request_id, ending)
            return False
        if wish.retry_at is not None and wish.retry_at > now:
            return False
        if wish.lease_end is not None:  # it was in flight, and nobody settled it in time
            wish.lost += 1
            wish.lease_end = None
        ending = self._ending(wish, now)
        if ending is not None:
            self._end(request_id, ending)
            return False
        wish.retry_at, wish.began_at, wish.lease_end = None, now, now + self.lease
        return True

    def release(self, request_id: str, now: int) -> str:
        """What letting a held request go came to."""
        if request_id != self.held:
            return "not_held"
        wish = self.open[request_id]
        is_resumed = self.resumed_at is not None and self.resumed_at >= wish.wish_at
        if self.succeeded_at is not None and self.succeeded_at >= wish.wish_at and not is_resumed:
            self._end(request_id, STOPPED)
            return "satisfied"
        ending = self._ending(wish, now)
        if ending is not None:
            self._end(request_id, ending)
            return ending
        if self.active is not None and self.next is not None:
            return "waiting"
        self.held = None
        if self.active is None:
            self.active = request_id
        else:
            self.next = request_id
        return "released"

    def settle(self, request_id: str, now: int, result: str, delay: int = 0) -> None:
        """End the call in flight; the caller has checked that its lease is valid."""
        wish = self.open[request_id]
        wish.lease_end = None
        if result != "release":
            wish.lost = 0
        if result in {"answered", "failed"}:
            wish.answered += result == "answered"
            ending = self._ending(wish, now)
            if ending is None:
                wish.retry_at = min(now + delay, wish.not_after)
            else:
                self._end(request_id, ending)
        elif result != "release":
            self._end(request_id, result)

    def resume(self, now: int, at: int) -> None:
        """The target was resumed."""
        self.resumed_at = max(self.resumed_at or 0, at)
        for request_id in (self.held, self.next, self.active):
            wish = self.open.get(request_id or "")
            if wish is not None and wish.wish_at <= at and not wish.in_flight(now):
                self._end(str(request_id), SUPERSEDED)

    def cancel(self, request_id: str, now: int) -> None:
        """Somebody cancelled a request."""
        wish = self.open.get(request_id)
        if wish is None:
            return
        if wish.in_flight(now):
            wish.cancelled = True
        else:
            self._end(request_id, CANCELLED)

    # --- rules --------------------------------------------------------------------------------

    def _ending(self, wish: Wish, now: int) -> str | None:
        if wish.cancelled:
            return CANCELLED
        if self.resumed_at is not None and self.resumed_at >= wish.wish_at:
            return SUPERSEDED
        if now >= wish.not_after:
            return EXPIRED
        if wish.lost >= self.lost_max:
            return QUARANTINED
        return EXHAUSTED if wish.answered >= self.attempts_max else None

    def _end(self, request_id: str, outcome: str) -> None:
        wish = self.open.pop(request_id)
        assert request_id not in self.outcomes
        self.outcomes[request_id] = outcome
        if request_id == self.next:
            self.next = None
            return
        if request_id == self.held:
            self.held = None
            return
        following, self.active, self.next = self.next, None, None
        if outcome == STOPPED:
            self.succeeded_at = wish.began_at
            held = self.open.get(self.held or "")
            if held is not None and (wish.began_at or 0) >= held.wish_at:
                self._end(str(self.held), STOPPED)
        if following is None:
            return
        if outcome == STOPPED and (wish.began_at or 0) >= self.open[following].wish_at:
            self.open.pop(following)
            self.outcomes[following] = STOPPED
        else:
            self.active = following
