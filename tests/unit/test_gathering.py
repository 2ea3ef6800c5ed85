"""Requests of many threads or coroutines share calls; one that is alone waits for nobody."""

from __future__ import annotations

import asyncio
import os
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from stopline import InvalidRequestError, Lane, Receipt, StopRequest
from stopline.client.async_gathering import AsyncGathering
from stopline.client.sync_gathering import Gathering
from stopline.contract import ReceiptKind, Refusal, RefusalKind
from stopline.errors import UnavailableError
from stopline.ledger.values import Accepted, Submission
from tests.conftest import wait_until

if TYPE_CHECKING:
    from collections.abc import Sequence


def _request(name: str) -> Submission:
    return Submission(StopRequest(user_id="u", task_id=name, request_id=name))


def _accepted(submission: Submission) -> Accepted | Refusal:
    request = submission.request
    if request.task_id == "refused":
        return Refusal(index=0, kind=RefusalKind.TOO_OLD, field="issued_at", reason="old")
    receipt = Receipt(
        request.request_id, ReceiptKind.ACCEPTED, "u", request.task_id, None, Lane.DEFAULT
    )
    return Accepted(receipt, dispatch=False)


class _Ledger:
    """Answers when it is let go on; remembers what was asked together."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.goes_on = threading.Semaphore(0)
        self.error: Exception | None = None

    def submit(self, requests: Sequence[Submission]) -> tuple[Accepted | Refusal, ...]:
        self.calls.append([one.request.task_id for one in requests])
        self.goes_on.acquire()
        if self.error is not None and (
            not isinstance(self.error, ValueError) or "poison" in self.calls[-1]
        ):
            raise self.error
        return tuple(map(_accepted, requests))

    async def submit_async(self, requests: Sequence[Submission]) -> tuple[Accepted | Refusal, ...]:
        self.calls.append([one.request.task_id for one in requests])
        await asyncio.sleep(0)
        if self.error is not None and (
            not isinstance(self.error, ValueError) or "poison" in self.calls[-1]
        ):
            raise self.error
        return tuple(map(_accepted, requests))


class _Threads:
    """Threads that ask, and what each got."""

    def __init__(self, gathering: Gathering, ledger: _Ledger) -> None:
        self._gathering = gathering
        self._ledger = ledger
        self._threads: list[threading.Thread] = []
        self.found: dict[str, Any] = {}

    def ask(self, *names: str) -> None:
        for name in names:
            thread = threading.Thread(target=self._ask, args=(name,))
            thread.start()
            self._threads.append(thread)
            wait_until(partial(self._is_asked, name))

    def _is_asked(self, name: str) -> bool:
        state = self._gathering._state
        waiting = [one.submission.request.task_id for one in state.waiting]
        return name in waiting or any(name in call for call in self._ledger.calls)

    def _ask(self, name: str) -> None:
        try:
            self.found[name] = self._gathering.stop(_request(name)).request_id
        except BaseException as error:  # noqa: BLE001  # it is what is asked for
            self.found[name] = error

    def join(self) -> None:
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()


def test_who_is_alone_calls_at_once() -> None:
    ledger = _Ledger()
    ledger.goes_on.release(2)
    gathering = Gathering(ledger.submit)
    assert gathering.stop(_request("a")).request_id == "a"
    assert gathering.stop(_request("b")).request_id == "b"
    assert ledger.calls == [["a"], ["b"]]


def test_threads_that_come_meanwhile_share_the_next_call() -> None:
    ledger = _Ledger()
    threads = _Threads(Gathering(ledger.submit), ledger)
    threads.ask("a", "b", "refused", "c")
    ledger.goes_on.release(2)
    threads.join()
    assert ledger.calls == [["a"], ["b", "refused", "c"]]
    assert isinstance(threads.found.pop("refused"), InvalidRequestError)
    assert threads.found == {"a": "a", "b": "b", "c": "c"}


def test_no_call_has_more_than_the_ledger_takes() -> None:
    ledger = _Ledger()
    threads = _Threads(Gathering(ledger.submit), ledger)
    names = [str(number) for number in range(260)]
    threads.ask("first", *names)
    ledger.goes_on.release(10)
    threads.join()
    assert [len(call) for call in ledger.calls] == [1, 64, 64, 64, 64, 4]
    assert set(threads.found) == {"first", *names}


def test_an_outage_is_everybodys_error_and_the_next_call_goes_on() -> None:
    ledger = _Ledger()
    ledger.error = UnavailableError("away")
    gathering = Gathering(ledger.submit)
    threads = _Threads(gathering, ledger)
    threads.ask("a", "b", "c")
    ledger.goes_on.release(2)
    threads.join()
    assert {type(one) for one in threads.found.values()} == {UnavailableError}
    assert len({id(one) for one in threads.found.values()}) == 3
    ledger.error = None
    ledger.goes_on.release(1)
    assert gathering.stop(_request("d")).request_id == "d"


def test_one_that_cannot_be_asked_for_harms_no_other() -> None:
    ledger = _Ledger()
    ledger.error = ValueError("no JSON")
    threads = _Threads(Gathering(ledger.submit), ledger)
    threads.ask("first", "a", "poison", "b")
    ledger.goes_on.release(10)
    threads.join()
    assert isinstance(threads.found.pop("poison"), ValueError)
    assert threads.found == {"first": "first", "a": "a", "b": "b"}


def test_a_thread_that_is_interrupted_hands_the_others_on() -> None:
    """Ctrl-C in the thread that made the call for all of them."""
    ledger = _Ledger()
    gathering = Gathering(ledger.submit)
    threads = _Threads(gathering, ledger)

    class _Interrupt(BaseException):
        pass

    submit = ledger.submit

    def interrupt(requests: Sequence[Submission]) -> tuple[Accepted | Refusal, ...]:
        replies = submit(requests)
        if len(ledger.calls) == 2:
            raise _Interrupt
        return replies

    gathering._submit = interrupt
    threads.ask("first", "a", "b", "c")
    ledger.goes_on.release(10)
    threads.join()
    assert ledger.calls == [["first"], ["a", "b", "c"], ["b", "c"]]
    assert isinstance(threads.found.pop("a"), _Interrupt)
    assert threads.found == {"first": "first", "b": "b", "c": "c"}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Python 3.12: forks beside threads
def test_a_fork_in_the_middle_of_a_call_goes_on_by_itself() -> None:
    ledger = _Ledger()
    gathering = Gathering(ledger.submit)
    threads = _Threads(gathering, ledger)
    threads.ask("a", "b")
    pid = os.fork()
    if not pid:
        ledger.goes_on.release(1)
        os._exit(0 if gathering.stop(_request("child")).request_id == "child" else 1)
    assert os.waitpid(pid, 0)[1] == 0
    ledger.goes_on.release(2)
    threads.join()
    assert threads.found == {"a": "a", "b": "b"}


class _TimeLimitError(BaseException):
    """What is raised into a thread from outside: Ctrl-C, a time limit."""


def test_a_thread_that_is_interrupted_while_it_waits_keeps_up_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ledger = _Ledger()
    gathering = Gathering(ledger.submit)
    threads = _Threads(gathering, ledger)
    threads.ask("first")
    wait = gathering._wait_or_lead

    def interrupted(state: Any, mine: Any) -> None:
        if mine.submission.request.task_id != "interrupted":
            wait(state, mine)
            return
        with state.lock:
            state.waiting.append(mine)
        raise _TimeLimitError

    monkeypatch.setattr(gathering, "_wait_or_lead", interrupted)
    with pytest.raises(_TimeLimitError):
        gathering.stop(_request("interrupted"))
    threads.ask("a", "b")
    ledger.goes_on.release(5)
    threads.join()
    assert threads.found == {"first": "first", "a": "a", "b": "b"}
    assert ledger.calls == [["first"], ["a", "b"]]


# --- asyncio -----------------------------------------------------------------------------------


def test_coroutines_that_come_together_share_a_call() -> None:
    ledger = _Ledger()

    async def main() -> list[Any]:
        gathering = AsyncGathering(ledger.submit_async)
        names = ["a", "refused", "b"]
        return await asyncio.gather(
            *(gathering.stop(_request(name)) for name in names), return_exceptions=True
        )

    first, refused, last = asyncio.run(main())
    assert (first.request_id, last.request_id) == ("a", "b")
    assert isinstance(refused, InvalidRequestError)
    assert ledger.calls == [["a", "refused", "b"]]


def test_a_coroutine_that_is_cancelled_takes_no_other_along() -> None:
    ledger = _Ledger()

    async def main() -> Receipt:
        gathering = AsyncGathering(ledger.submit_async)
        lost = asyncio.create_task(gathering.stop(_request("a")))
        kept = asyncio.create_task(gathering.stop(_request("b")))
        await asyncio.sleep(0)
        lost.cancel()
        found = await kept
        await gathering.close()
        return found

    assert asyncio.run(main()).request_id == "b"


def test_who_comes_when_all_calls_end_makes_one() -> None:
    """Their tasks are done a moment later: it once waited for nobody, for ever."""
    ledger = _Ledger()

    async def main() -> None:
        gathering = AsyncGathering(ledger.submit_async)

        async def twice(name: str) -> None:
            await gathering.stop(_request(name))
            await gathering.stop(_request(f"{name}-again"))

        async with asyncio.timeout(10):
            for number in range(200):
                await asyncio.gather(*(twice(f"{number}-{n}") for n in range(number % 5 + 1)))

    asyncio.run(main())


@pytest.mark.parametrize("error", [UnavailableError("away"), ValueError("no JSON")])
def test_coroutines_get_the_errors_that_are_theirs(error: Exception) -> None:
    ledger = _Ledger()
    ledger.error = error

    async def main() -> list[Any]:
        gathering = AsyncGathering(ledger.submit_async)
        return await asyncio.gather(
            *(gathering.stop(_request(name)) for name in ("a", "poison")), return_exceptions=True
        )

    first, poison = asyncio.run(main())
    assert type(poison) is type(error)
    is_everybodys = isinstance(error, UnavailableError)
    assert isinstance(first, UnavailableError) if is_everybodys else first.request_id == "a"
