"""Whether the API is there: what all calls of a process say together.

One failed call is nothing to speak of. When calls fail for seconds and none gets an answer, every
request waits, and somebody must hear of it: one loud line, again each minute, and a word in the
heartbeat (`stopline health`, `stopline doctor`).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from stopline.contract import ApiState

if TYPE_CHECKING:
    from collections.abc import Callable

    from stopline_worker.upstream.verdict import Judgement

_log = logging.getLogger(__name__)
_FAILURES: Final = 3
_FAILING_S: Final = 5.0
_SAY_AGAIN_S: Final = 60.0
_SENTENCES: Final = {
    ApiState.AWAY: "the API does not answer as it should; requests wait for it: %s "
    "(%d calls, %.0f s)",
    ApiState.TOKEN_REFUSED: "the API refuses the token; requests wait for another: %s "
    "(%d calls, %.0f s). Put it into STOPLINE_API_TOKEN_FILE, or start again with it",
}


class ApiWatch:
    """Learns of every call of a process."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._failures = 0
        self._failing_since = 0.0
        self._said_at: float | None = None
        self._refused = False
        self.problem: str | None = None
        """What the last failed call said; None while the API answers."""

    @property
    def state(self) -> ApiState:
        """How the API is, as far as calls have told."""
        if self._failures < _FAILURES or self.failing_s < _FAILING_S:
            return ApiState.ANSWERS
        return ApiState.TOKEN_REFUSED if self._refused else ApiState.AWAY

    @property
    def failing_s(self) -> float:
        """Seconds since calls began to fail without one that did not; 0 where the last did not."""
        return self._monotonic() - self._failing_since if self._failures else 0.0

    def saw(self, judgement: Judgement) -> None:
        """A call is over."""
        if judgement.upstream_failed:
            self._failed(judgement)
        elif self._failures:
            self._answered()

    def _failed(self, judgement: Judgement) -> None:
        if not self._failures:
            self._failing_since = self._monotonic()
        self._failures += 1
        self._refused = judgement.token_refused
        self.problem = judgement.detail
        now, state = self._monotonic(), self.state
        is_due = self._said_at is None or now - self._said_at >= _SAY_AGAIN_S
        if state is not ApiState.ANSWERS and is_due:
            self._said_at = now
            _log.error(
                _SENTENCES[state],
                judgement.detail,
                self._failures,
                self.failing_s,
                extra={"action": f"api_{state}"},
            )

    def _answered(self) -> None:
        if self._said_at is not None:
            _log.warning(
                "the API answers again after %.0f s", self.failing_s, extra={"action": "api_back"}
            )
        self._failures, self._said_at, self.problem = 0, None, None
