"""Both clients, and their fakes, have the same methods, and each of these works."""

from __future__ import annotations

import asyncio
import inspect
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from stopline import (
    AsyncStopClient,
    CancelResult,
    InvalidRequestError,
    NoServerError,
    OutcomeKind,
    OutcomeTimeoutError,
    Settings,
    StopClient,
    StopRequest,
    UnknownRequestError,
)
from stopline.client import verbs
from stopline.client.verbs import steering
from stopline.contract import (
    Actor,
    AuditAction,
    Beat,
    ProcessRole,
    Rate,
    ReceiptKind,
    RefusalKind,
    junk_of,
)
from stopline.ledger import commands
from stopline.ledger.limits import Limits
from stopline.ledger.values import Submission
from stopline.testing import AsyncFakeStopClient, FakeStopClient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def _methods(kind: type) -> dict[str, Any]:
    return {
        name: member
        for name, member in inspect.getmembers(kind, inspect.isfunction)
        if not name.startswith("_")
    }


@pytest.mark.parametrize(
    "kind", [AsyncStopClient, FakeStopClient, AsyncFakeStopClient], ids=lambda kind: kind.__name__
)
def test_the_methods_are_those_of_the_client(kind: type) -> None:
    ours, theirs = _methods(StopClient), _methods(kind)
    assert theirs.keys() == ours.keys()
    for name, method in theirs.items():
        expected, found = (inspect.signature(one) for one in (ours[name], method))
        assert found.parameters == expected.parameters, name
        if name not in {"dead_letters", "audit_trail"}:  # iterators of another kind
            assert found.return_annotation == expected.return_annotation, name


@pytest.mark.parametrize("name", sorted(_methods(AsyncStopClient)))
def test_what_waits_is_a_coroutine(name: str) -> None:
    method = getattr(AsyncStopClient, name)
    assert inspect.iscoroutinefunction(method) or inspect.isasyncgenfunction(method)


class _Awaited:
    """An asyncio client with the interface of the other one."""

    def __init__(self, made: Callable[[], AsyncStopClient]) -> None:
        self._runner = asyncio.Runner()
        self._client = made()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._client, name)

        async def collected(**arguments: Any) -> list[Any]:
            return [one async for one in method(**arguments)]

        if inspect.isasyncgenfunction(method):
            return lambda **arguments: self._runner.run(collected(**arguments))
        return lambda *arguments, **named: self._runner.run(method(*arguments, **named))

    def close(self) -> None:
        self._runner.run(self._client.close())
        self._runner.close()


KINDS = ("real", "real asyncio", "fake", "fake asyncio")


@pytest.fixture(params=KINDS)
def client(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Each of the four; a ledger without workers, whatever it is."""
    if request.param.startswith("real"):
        settings = Settings.load(redis_url=request.getfixturevalue("redis_url"))
    made = {
        "real": lambda: StopClient(settings),
        "real asyncio": lambda: _Awaited(lambda: AsyncStopClient(settings)),
        "fake": FakeStopClient,
        "fake asyncio": lambda: _Awaited(AsyncFakeStopClient),
    }[request.param]()
    yield made
    made.close()


def _stop(client: Any) -> None:
    assert client.stop("u", "t", source="crm").request_id
    with pytest.raises(InvalidRequestError, match="user_id"):
        client.stop("no slash/", "t")


def _stop_request(client: Any) -> None:
    request = StopRequest(user_id="u", task_id="t")
    assert client.stop_request(request).request_id == request.request_id


def _stop_many(client: Any) -> None:
    requests = [{"user_id": "u", "task_id": str(n)} for n in range(3)]
    submitted = client.stop_many(requests, batch_id="b")
    assert [one.receipt for one in submitted.receipts] == ["accepted"] * 3
    again = client.stop_many(requests, batch_id="b")
    assert [one.receipt for one in again.receipts] == ["duplicate"] * 3


def _submit_all(client: Any) -> None:
    taken: list[Any] = []
    client.submit_all(
        range(600),
        lambda number: Submission(StopRequest(user_id="u", task_id=str(number))),
        lambda chunk, replies: taken.extend(zip(chunk, replies, strict=True)),
    )
    assert [number for number, _ in taken] == list(range(600))
    assert all(reply.receipt.receipt == "accepted" for _, reply in taken)


def _outcome(client: Any) -> None:
    request_id = client.stop("u", "t").request_id
    assert client.outcome(request_id) is None
    client.cancel(request_id)
    assert client.outcome(request_id).outcome is OutcomeKind.CANCELLED


def _wait(client: Any) -> None:
    request_id = client.stop("u", "t").request_id
    client.cancel(request_id)
    assert client.wait(request_id, timeout_s=5).outcome is OutcomeKind.CANCELLED
    with pytest.raises(UnknownRequestError):
        client.wait("nobody", 5)


def _status(client: Any) -> None:
    assert client.status(client.stop("u", "t").request_id).state == "queued"
    with pytest.raises(UnknownRequestError):
        client.status("nobody")


def _batch(client: Any) -> None:
    client.stop_many([{"user_id": "u", "task_id": "t"}], batch_id="b")
    assert (client.batch("b").total, client.batch("b").pending) == (1, 1)


def _cancel(client: Any) -> None:
    request_id = client.stop("u", "t").request_id
    assert client.cancel(request_id, by="me") is CancelResult.CANCELLED
    assert client.cancel(request_id) is CancelResult.ALREADY_FINISHED
    assert "me" in client.outcome(request_id).detail


def _cancel_batch(client: Any) -> None:
    client.stop_many([{"user_id": "u", "task_id": str(n)} for n in range(3)], batch_id="b")
    assert client.cancel_batch("b", by="me")[CancelResult.CANCELLED] == 3


def _resumed(client: Any) -> None:
    request_id = client.stop("u", "t").request_id
    assert client.resumed("u", "t").superseded == (request_id,)


def _now(client: Any) -> None:
    assert client.now() < client.now()


def _expired(client: Any) -> str:
    """A dead letter: a stop whose time limit passes at once."""
    (reply,) = _accepted_late(client)
    return str(reply.receipt.request_id)


def _accepted_late(client: Any) -> Any:
    request = StopRequest(
        user_id="u", task_id="dead", not_after=client.now() - timedelta(seconds=1)
    )
    command = commands.accept(Limits(), [Submission(request)], expire_late=True)
    if isinstance(client, _Awaited):

        async def run() -> Any:
            return await (await client._client._wire()).ledger.run(command)

        return client._runner.run(run())
    return client._ledger.run(command)


def _dead_letters(client: Any) -> None:
    letter_id = _expired(client)
    assert [one.request_id for one in client.dead_letters(newest_first=True)] == [letter_id]


def _dead_count(client: Any) -> None:
    _expired(client)
    assert client.dead_count() == 1


def _dead_letter(client: Any) -> None:
    letter_id = _expired(client)
    assert client.dead_letter(letter_id).outcome is OutcomeKind.EXPIRED


def _redrive(client: Any) -> None:
    letter_id = _expired(client)
    receipts = client.redrive([client.dead_letter(letter_id)], by="me")
    assert client.status(receipts[letter_id].request_id).redrive_of == letter_id


def _discard(client: Any) -> None:
    letter_id = _expired(client)
    assert client.discard([letter_id, "nobody"]) == {letter_id: True, "nobody": False}


def _heartbeats(client: Any) -> None:
    assert client.heartbeats().processes == ()


_ME = Actor("me", "k1", "10.0.0.7")


def _audit_trail(client: Any) -> None:
    receipt = client.stop_request(StopRequest(user_id="u", task_id="t"), actor=_ME)
    client.cancel(receipt.request_id, by="me", actor=_ME)
    second, first = client.audit_trail()
    assert (first.action, second.action) == (AuditAction.STOP, AuditAction.CANCEL)
    assert (first.actor, first.key, first.address) == _ME
    assert (first.receipt, first.follow) == (ReceiptKind.ACCEPTED, receipt.request_id)


def _note(client: Any) -> None:
    client.note(AuditAction.BATCH, _ME, batch_id="b")
    assert [one.batch_id for one in client.audit_trail(newest_first=False)] == ["b"]


def _spend(client: Any) -> None:
    granted = client.spend("k1", Rate(1, 2), 3)
    assert granted.granted == 2
    assert 0 < granted.retry_after_s <= 1


def _count(client: Any) -> None:
    client.count("events_ignored")
    client.count("events_ignored", 2)
    assert client.counts() == {"events_ignored": 3}


_counts = _count


def _outcomes(client: Any) -> None:
    request_id = client.stop("u", "t").request_id
    client.cancel(request_id)
    page = client.outcomes("0-0", block_s=0.1)
    assert ([one.outcome.request_id for one in page.outcomes], page.has_gap) == ([], False)


def _last_outcome(client: Any) -> None:
    client.cancel(client.stop("u", "t").request_id)
    assert client.last_outcome() == "0-0", "they are kept only where that is asked for"


def _submit_each(client: Any) -> None:
    wanted = [StopRequest(user_id="u", task_id=str(number)) for number in range(3)]
    late = StopRequest(user_id="u", task_id="late", not_after=client.now() - timedelta(seconds=9))
    *receipts, refusal = client.submit_each([*wanted, late])
    assert [one.request_id for one in receipts] == [one.request_id for one in wanted]
    assert (refusal.index, refusal.kind) == (3, RefusalKind.NOT_AFTER_PASSED)


def _cancel_each(client: Any) -> None:
    ids = [client.stop("u", name).request_id for name in "ab"]
    assert client.cancel_each([*ids, "none"]) == {
        **dict.fromkeys(ids, CancelResult.CANCELLED),
        "none": CancelResult.UNKNOWN,
    }


def _beat(client: Any) -> None:
    said = Beat(process_id="b", role=ProcessRole.BRIDGE, host="h", pid=1, lanes=())
    client.beat(said)
    assert [one.process_id for one in client.heartbeats().processes] == ["b"]
    client.leave("b")
    assert client.heartbeats().processes == ()


_leave = _beat


def _quarantine(client: Any) -> None:
    for _ in range(2):  # the same one, read again
        client.quarantine(junk_of(b"nonsense", "no JSON", message_id="m", origin="stops, 1-0"))
    (letter,) = client.dead_letters()
    assert (letter.message_id, letter.origin, letter.can_be_redriven) == ("m", "stops, 1-0", False)


def _close(client: Any) -> None:
    client.stop("u", "t")


CALLS = {
    name[1:]: call for name, call in list(globals().items()) if name[1:] in _methods(StopClient)
}


def test_every_method_is_called_here() -> None:
    assert CALLS.keys() == _methods(StopClient).keys()


@pytest.mark.parametrize("name", CALLS)
def test_it_works_with_every_client(client: Any, name: str) -> None:
    CALLS[name](client)


def test_a_time_that_is_over_is_an_error(client: Any) -> None:
    if isinstance(client, FakeStopClient) or isinstance(
        getattr(client, "_client", None), AsyncFakeStopClient
    ):
        pytest.skip("a fake's worker works while somebody waits")
    with pytest.raises(OutcomeTimeoutError, match=r"after 0\.2 s"):
        client.wait(client.stop("u", "t").request_id, 0.2)


def test_a_look_for_the_embedded_server_does_not_hold_up_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        loop_goes_on = asyncio.Event()

        def look(_settings: Settings) -> None:
            loop.call_soon_threadsafe(loop_goes_on.set)
            asyncio.run_coroutine_threadsafe(loop_goes_on.wait(), loop).result(10)
            raise NoServerError("none")

        loop = asyncio.get_running_loop()
        monkeypatch.setattr("stopline.client.async_client.ledger_server_of", look)
        async with AsyncStopClient(Settings.load(data_dir=tmp_path)) as client:
            with pytest.raises(NoServerError):
                await client.stop("u", "t")

    asyncio.run(run())


def test_a_batch_is_paused_while_it_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    real, seen = steering.cancel, []

    def cancel(*args: Any, **options: Any) -> Any:
        seen.append((yield from verbs.batch("b")).paused)
        return (yield from real(*args, **options))

    monkeypatch.setattr(steering, "cancel", cancel)
    with FakeStopClient() as client:
        client.stop_many([{"user_id": "u", "task_id": str(n)} for n in range(300)], batch_id="b")
        assert client.cancel_batch("b", by="me")[CancelResult.CANCELLED] == 300
        assert client.batch("b").paused is None
        assert {(one.by, one.reason) for one in seen} == {("me", "it is being cancelled")}
        client.batches.pause("b", reason="look first", by="you")
        client.cancel_batch("b", by="me")
        paused = client.batch("b").paused
        assert paused is not None
        assert (paused.by, paused.reason) == ("you", "look first")
