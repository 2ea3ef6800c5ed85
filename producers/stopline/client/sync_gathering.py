"""Requests of many threads, accepted together: a call costs more than a request."""

from __future__ import annotations

import copy
import os
import threading
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING

from stopline.contract import REQUESTS_A_CALL, Refusal
from stopline.errors import StoplineError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stopline.contract import Receipt
    from stopline.ledger.commands import Replies
    from stopline.ledger.values import Submission


class _Waiting:
    """A thread's request, until it has its reply, or the thread is to make the next call."""

    __slots__ = ("error", "receipt", "submission", "turn")

    def __init__(self, submission: Submission) -> None:
        self.submission = submission
        self.receipt: Receipt | None = None
        self.error: BaseException | None = None
        self.turn = threading.Lock()
        self.turn.acquire()

    @property
    def is_done(self) -> bool:
        return self.receipt is not None or self.error is not None

    def wake(self) -> None:
        """Have its thread go on; with the state's lock held."""
        if self.turn.locked():
            self.turn.release()


class _State:
    """Who waits in one process, and who of them makes the call."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.lock = threading.Lock()
        self.waiting: deque[_Waiting] = deque()
        self.leader: _Waiting | None = None

    def hand_over(self) -> None:
        """Have the first of those that wait make the next call."""
        self.leader = self.waiting[0] if self.waiting else None
        if self.leader is not None:
            self.leader.wake()


def _leave(state: _State, mine: _Waiting) -> None:
    with state.lock:
        if mine in state.waiting:
            state.waiting.remove(mine)
        if state.leader is mine:
            state.hand_over()


class Gathering:
    """A thread that comes while another makes a call waits, and has its request in the next.

    The first of those that wait makes it. One that comes alone waits for nobody.

    Args:
        submit: has the ledger accept at most `REQUESTS_A_CALL` requests.
    """

    def __init__(self, submit: Callable[[Sequence[Submission]], Replies]) -> None:
        self._submit = submit
        self._state = _State()

    def stop(self, submission: Submission) -> Receipt:
        """Accept one request; raises as the ledger does."""
        state = self._state
        if state.pid != os.getpid():  # a fork has the locks as they were, and none of the threads
            state = self._state = _State()
        mine = _Waiting(submission)
        try:
            self._wait_or_lead(state, mine)
        except BaseException:  # Ctrl-C, a time limit: the others must not wait for this thread
            _leave(state, mine)
            raise
        if mine.error is not None:
            raise mine.error
        assert mine.receipt is not None  # noqa: S101  # whoever woke us has set one of the two
        return mine.receipt

    def _wait_or_lead(self, state: _State, mine: _Waiting) -> None:
        with state.lock:
            state.waiting.append(mine)
            if state.leader is None:
                state.leader = mine
        if state.leader is not mine:
            mine.turn.acquire()
        if not mine.is_done:
            self._lead(state)

    def _lead(self, state: _State) -> None:
        """Make one call, then have another thread make the next."""
        with state.lock:
            # They wait until they have their replies: who is interrupted leaves none behind.
            some = list(islice(state.waiting, REQUESTS_A_CALL))
        self._accept(some)
        with state.lock:
            done = {one for one in some if one.is_done}
            state.waiting = deque(one for one in state.waiting if one not in done)
            state.hand_over()
            for one in done:
                one.wake()

    def _accept(self, some: list[_Waiting]) -> None:
        try:
            replies = self._submit([one.submission for one in some])
        except StoplineError as error:
            for one in some:
                one.error = copy.copy(error)
        except Exception as error:  # noqa: BLE001  # one of them is at fault, and gets it alone
            if len(some) > 1:
                for one in some:
                    self._accept([one])
            else:
                some[0].error = error
        else:
            for one, reply in zip(some, replies, strict=True):
                if isinstance(reply, Refusal):
                    one.error = reply.as_error()
                else:
                    one.receipt = reply.receipt
