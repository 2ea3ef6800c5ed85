"""One subscription for all threads that wait for outcomes through one client."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from stopline.client.listening import IDLE_S, LOOK_AGAIN_S, Waiters, closed, heard
from stopline.contract import Outcome
from stopline.errors import StoplineError
from stopline.ledger import keys, queries
from stopline.ledger.executors import translated

if TYPE_CHECKING:
    from stopline.ledger import Ledger

Found = Outcome | queries.Progress
_WAKE: Final = "."
"""No id of a request."""
_left_to_parents: Final[list[Any]] = []
"""What a child got from its parent: kept, since who collects a connection closes it."""


class Listener:
    """Waits for outcomes. A thread of its own listens while anybody waits."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._listening: _Listening | None = None
        self._lock = threading.Lock()
        self._pid = os.getpid()

    def wait(self, request_id: str, timeout_s: float | None) -> Found:
        """The outcome as soon as it is there, UNKNOWN where nobody knows it, OPEN in the end.

        Raises:
            UnavailableError: Redis cannot be reached.
        """
        look = queries.progress(request_id)
        found = self._ledger.run(look)
        if found is not queries.Progress.OPEN or timeout_s == 0:
            return found
        ticket: Future[Found] = Future()
        listening = self._join(request_id, ticket)
        try:
            return ticket.result(timeout_s)
        except TimeoutError:
            return self._ledger.run(look)
        finally:
            listening.leave(request_id, ticket)

    def _join(self, request_id: str, ticket: Future[Found]) -> _Listening:
        if self._pid != os.getpid():  # a lock and a subscription of the parent's
            _left_to_parents.append((self._lock, self._listening))
            self._lock, self._listening, self._pid = threading.Lock(), None, os.getpid()
        with self._lock:
            while self._listening is None or not self._listening.join(request_id, ticket):
                self._listening = _Listening(self._ledger)
            return self._listening

    def close(self) -> None:
        """Listen no more; who waits still is told that the client was closed."""
        if self._pid == os.getpid() and self._listening is not None:
            self._listening.end()


class _Listening:
    """One subscription, from its first waiter until it is idle or fails."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._channel = ledger.client.pubsub()
        self._waiters: Waiters[Future[Found]] = Waiters()
        self._lock = threading.Lock()
        self._has_ended = False
        self._thread: threading.Thread | None = None

    def join(self, request_id: str, ticket: Future[Found]) -> bool:
        """Wait for a request; False where this has ended, and another is to be begun."""
        with self._lock:
            if self._has_ended:
                return False
            is_first = self._waiters.add(request_id, ticket)
            try:
                with translated():
                    if is_first:
                        self._channel.subscribe(keys.result(request_id))
            except Exception:
                self._waiters.remove(request_id, ticket)
                self._has_ended = True
                raise
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._listen, name="stopline-listener", daemon=True
                )
                self._thread.start()
        if not is_first:  # else the thread looks when the subscription has begun
            self._look([request_id])
        return True

    def leave(self, request_id: str, ticket: Future[Found]) -> None:
        """Wait no longer."""
        with self._lock:
            if self._waiters.remove(request_id, ticket) and not self._has_ended:
                # Who waited has what it waited for; what is wrong with Redis, others see.
                with suppress(StoplineError), translated():
                    self._channel.unsubscribe(keys.result(request_id))

    def end(self) -> None:
        """Listen no more."""
        with self._lock:
            self._has_ended = True
            thread = self._thread
            # Its confirmation wakes the thread.
            with suppress(StoplineError), translated():
                self._channel.subscribe(keys.result(_WAKE))
        if thread is not None:
            thread.join(2 * LOOK_AGAIN_S)

    def _listen(self) -> None:
        try:
            with translated():
                self._listen_while_needed()
        except Exception as error:  # noqa: BLE001  # whoever waits is told, whatever it is
            with self._lock:
                self._has_ended = True
                self._waiters.fail(error)
        finally:
            self._channel.close()
            with self._lock:
                self._waiters.fail(closed())  # those that have nothing yet

    def _listen_while_needed(self) -> None:
        looked_at = waited_at = time.monotonic()
        while not self._has_ended:
            told = heard(self._channel.get_message(timeout=LOOK_AGAIN_S))
            if told is not None and told[0] != _WAKE:
                self._learn(*told)
            now = time.monotonic()
            if now - looked_at >= LOOK_AGAIN_S:
                looked_at = now
                self._look_at_all()
            with self._lock:
                if self._waiters:
                    waited_at = now
                elif now - waited_at > IDLE_S:
                    self._has_ended = True

    def _learn(self, request_id: str, outcome: Outcome | None) -> None:
        if outcome is None:
            self._look([request_id])
        else:
            with self._lock:
                self._waiters.resolve([request_id], [outcome])

    def _look_at_all(self) -> None:
        with self._lock:
            chunks = self._waiters.chunks()
        for ids in chunks:
            self._look(ids)

    def _look(self, request_ids: list[str]) -> None:
        found = self._ledger.run(queries.progress_of(request_ids))
        with self._lock:
            self._waiters.resolve(request_ids, found)
