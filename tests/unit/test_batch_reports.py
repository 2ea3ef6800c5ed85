"""What became of a batch, line by line, and what it really stopped."""

from __future__ import annotations

import asyncio
import csv
import io
from typing import TYPE_CHECKING

import pytest

from stopline import BatchLine, OutcomeKind, State, StopRequest, Target, UnknownRequestError
from stopline.bulk.lines import Line
from stopline.bulk.reading import BatchReader, Format
from stopline.bulk.reporting import REPORT, UNDO, ReportFormat
from stopline.testing import Answer, AsyncFakeStopClient, FakeStopClient, World

if TYPE_CHECKING:
    from collections.abc import Iterable


@pytest.fixture
def client() -> FakeStopClient:
    return FakeStopClient()


def _batch(client: FakeStopClient, *tasks: str) -> str:
    requests = [StopRequest(user_id="u", task_id=task, source="crm") for task in tasks]
    return client.stop_many(requests, batch_id="b").batch_id


def _tasks(lines: Iterable[BatchLine]) -> list[str | None]:
    return [line.task_id for line in lines]


def test_a_report_has_every_line_in_its_order(client: FakeStopClient) -> None:
    tasks = [str(number) for number in range(250)]
    batch_id = _batch(client, *tasks)
    assert _tasks(client.batches.report(batch_id)) == tasks
    assert [line.place for line in client.batches.report(batch_id)] == list(range(250))


def test_a_line_tells_its_state_and_then_its_outcome(client: FakeStopClient) -> None:
    batch_id = _batch(client, "t")
    (before,) = client.batches.report(batch_id)
    assert (before.state, before.outcome) == (State.QUEUED, None)
    client.world.work()
    (after,) = client.batches.report(batch_id)
    assert (after.state, after.outcome, after.attempts) == (None, OutcomeKind.STOPPED, 1)
    assert after.finished_at is not None


def test_a_line_that_joined_shares_the_request(client: FakeStopClient) -> None:
    first = client.stop("u", "shared")
    batch_id = _batch(client, "shared", "own", "own")
    shared, own, again = client.batches.report(batch_id)
    assert (shared.request_id, shared.joined) == (first.request_id, True)
    assert (own.joined, again.joined) == (False, False)
    assert own.request_id == again.request_id


def test_undo_names_exactly_what_the_batch_stopped(client: FakeStopClient) -> None:
    world = client.world
    world.answer("u", "failed", always=Answer.NOT_FOUND)
    client.stop("u", "joined")
    batch_id = _batch(client, "own", "joined", "failed", "resumed", "own", "again", "cancelled")
    requests = {line.task_id: line.request_id for line in client.batches.report(batch_id)}
    client.cancel(requests["cancelled"], by="test")
    world.work()
    world.advance(1)
    client.resumed("u", "resumed")
    client.resumed("u", "again")
    client.stop("u", "again")  # stopped once more, by somebody else
    world.work()
    world.advance(30)  # until what failed has failed for good
    ended = {line.task_id: line.outcome for line in client.batches.report(batch_id)}
    assert ended["failed"] is OutcomeKind.NOT_FOUND
    assert ended["resumed"] is OutcomeKind.STOPPED
    found = list(client.batches.undo(batch_id))
    assert _tasks(found) == ["own"]
    assert [line.stopped_target for line in found] == [Target("u", "own")]


def test_what_was_stopped_before_is_not_undone(client: FakeStopClient) -> None:
    """Its event is older than a stop that succeeded: no call was made for it."""
    issued_at = client.now()
    client.world.advance(1)
    client.stop("u", "t")
    client.world.work()
    request = StopRequest(user_id="u", task_id="t", issued_at=issued_at)
    batch_id = client.stop_many([request]).batch_id
    (line,) = client.batches.report(batch_id)
    assert line.outcome is OutcomeKind.STOPPED
    assert list(client.batches.undo(batch_id)) == []


def test_what_somebody_else_had_stopped_stays_stopped(client: FakeStopClient) -> None:
    """Whoever resumes what undo names must not resume what another source wants stopped."""
    other = client.stop("u", "theirs", source="policy")
    client.world.work()
    client.world.advance(3600)
    batch_id = _batch(client, "theirs", "own")
    client.world.work()
    theirs, own = client.batches.report(batch_id)
    assert (theirs.stopped_before, own.stopped_before) == (other.request_id, None)
    assert _tasks(client.batches.undo(batch_id)) == ["own"]


def test_what_was_resumed_in_between_was_really_stopped(client: FakeStopClient) -> None:
    client.stop("u", "t")
    client.world.work()
    client.world.advance(1)
    client.resumed("u", "t")
    client.world.advance(1)
    batch_id = _batch(client, "t")
    client.world.work()
    assert _tasks(client.batches.undo(batch_id)) == ["t"]


def test_those_that_were_sent_alone_come_last_and_have_no_place(client: FakeStopClient) -> None:
    for number in range(600):
        client.stop("u", f"alone{number}", batch_id="b", request_id=str(number))
    _batch(client, "first")
    lines = list(client.batches.report("b"))
    assert (lines[0].task_id, lines[0].place) == ("first", 0)
    assert {line.place for line in lines[1:]} == {None}
    assert {line.task_id for line in lines[1:]} == {f"alone{number}" for number in range(600)}


def test_a_resume_before_the_call_undoes_nothing(client: FakeStopClient) -> None:
    client.resumed("u", "t")
    client.world.advance(1)
    batch_id = _batch(client, "t")
    client.world.work()
    assert _tasks(client.batches.undo(batch_id)) == ["t"]


def test_an_outcome_that_is_kept_no_more_is_told_as_that() -> None:
    line = BatchLine.of("b", 3, "r", None)
    assert (line.place, line.request_id, line.outcome, line.state) == (3, "r", None, None)
    assert line.stopped_target is None


@pytest.mark.parametrize("what", ["report", "undo"])
def test_an_unknown_batch_is_an_error(client: FakeStopClient, what: str) -> None:
    with pytest.raises(UnknownRequestError, match="no batch nowhere"):
        list(getattr(client.batches, what)("nowhere"))


def test_asyncio_sees_the_same() -> None:
    world = World()
    client = FakeStopClient(world)
    batch_id = _batch(client, "a", "b")
    client.world.work()

    async def both() -> tuple[list[BatchLine], list[BatchLine]]:
        other = AsyncFakeStopClient(world)
        report = [line async for line in other.batches.report(batch_id)]
        return report, [line async for line in other.batches.undo(batch_id)]

    report, undone = asyncio.run(both())
    assert report == list(client.batches.report(batch_id))
    assert undone == list(client.batches.undo(batch_id))


def test_what_undo_writes_is_read_by_bulk(client: FakeStopClient) -> None:
    request = StopRequest(user_id="u", task_id="t", sub_user_id="s")
    batch_id = client.stop_many([request, StopRequest(user_id="u", task_id="t")]).batch_id
    client.world.work()
    for form in ReportFormat:
        written = UNDO.head(form) + UNDO.text(form, client.batches.undo(batch_id))
        reader = BatchReader(Format(form), "again", {})
        lines = [*reader.feed(written.encode()), *reader.end()]
        targets = [line.request.target for line in lines if isinstance(line, Line)]
        assert targets == [Target("u", "t", "s"), Target("u", "t")]


def test_a_report_in_csv_quotes_what_has_to_be() -> None:
    line = BatchLine.of("b", 1, "r", None).model_copy(update={"detail": 'it said "no",\nand more'})
    written = REPORT.head(ReportFormat.CSV) + REPORT.text(ReportFormat.CSV, [line])
    (read,) = csv.DictReader(io.StringIO(written))
    assert read["detail"] == 'it said "no",\nand more'
    assert (read["place"], read["outcome"], read["joined"]) == ("1", "", "")
