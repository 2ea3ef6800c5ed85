"""Commands that are sent ahead: their replies are theirs, whatever becomes of the connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from stopline import ReceiptKind, StopRequest
from stopline.ledger import Ledger, commands
from stopline.ledger.limits import Limits
from stopline.ledger.stream import Stream
from stopline.ledger.values import Accepted, Command, Submission

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stopline.ledger.commands import Replies


@pytest.fixture
def stream(real_ledger: Ledger) -> Iterator[Stream]:
    real_ledger.client.script_flush()
    stream = Stream(real_ledger)
    yield stream
    stream.close()


def _accept(task_id: str) -> Command[Replies]:
    request = StopRequest(user_id="u", task_id=task_id, request_id=f"id-{task_id}")
    return commands.accept(Limits(), [Submission(request)])


def _followed(replies: Replies) -> tuple[str, ReceiptKind]:
    (reply,) = replies
    assert isinstance(reply, Accepted)
    return reply.receipt.request_id, reply.receipt.receipt


def test_each_gets_its_own_reply(stream: Stream) -> None:
    """The first finds that the server has no script yet."""
    for names in (("a", "b", "c"), ("d", "e", "f")):
        begun = [stream.begin(_accept(name)) for name in names]
        found = [_followed(stream.finish(one)) for one in begun]
        assert found == [(f"id-{name}", ReceiptKind.ACCEPTED) for name in names]


def test_a_connection_that_breaks_in_between_loses_nothing(
    stream: Stream, real_ledger: Ledger
) -> None:
    stream.finish(stream.begin(_accept("first")))
    begun = [stream.begin(_accept(name)) for name in ("a", "b")]
    for one in real_ledger.client.client_list():
        if int(one["id"]) != real_ledger.client.client_id():
            real_ledger.client.client_kill_filter(_id=one["id"])
    found = [_followed(stream.finish(one)) for one in begun]
    assert [request_id for request_id, _ in found] == ["id-a", "id-b"]
    assert _followed(stream.finish(stream.begin(_accept("c"))))[0] == "id-c"


def test_one_that_cannot_be_sent_is_run_when_it_is_finished(
    stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RedisConnectionError("cut")

    monkeypatch.setattr(stream, "_send", fail)
    assert _followed(stream.finish(stream.begin(_accept("a")))) == ("id-a", ReceiptKind.ACCEPTED)


def test_replies_that_nobody_read_are_taken_for_no_other(
    stream: Stream, real_ledger: Ledger
) -> None:
    stream.finish(stream.begin(_accept("first")))
    stream.begin(_accept("a"))
    stream.close()
    assert _followed(real_ledger.run(_accept("b")))[0] == "id-b"
