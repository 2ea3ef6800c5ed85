"""What is accepted is told in the same step, where the queues are in the ledger's database."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from celery import Celery
from celery.worker.request import Request

from stopline import Lane, StopRequest
from stopline.contract import DISPATCH_TASK, dispatch_entry
from stopline.ledger import commands
from stopline.ledger.limits import Limits
from stopline.ledger.values import Accepted, Submission
from stopline_worker.intake.dispatch_entries import MARK, ids_of

if TYPE_CHECKING:
    from stopline.ledger import Ledger

_HERE = Limits(queues_here=True)


def _accept(ledger: Ledger, *names: str, lane: Lane = Lane.DEFAULT, limits: Limits = _HERE) -> None:
    requests = [
        StopRequest(user_id="u", task_id=name, request_id=f"r-{name}", lane=lane) for name in names
    ]
    replies = ledger.run(commands.accept(limits, [Submission(one) for one in requests]))
    told = [one.dispatch for one in replies if isinstance(one, Accepted)]
    assert told == [False] * len(told) or not limits.queues_here


def _queue(ledger: Ledger, lane: Lane = Lane.DEFAULT) -> list[bytes]:
    return ledger.client.lrange(lane.queue, 0, -1)  # type: ignore[return-value]  # not awaitable


def test_a_lane_gets_one_message_for_all(real_ledger: Ledger) -> None:
    _accept(real_ledger, "a", "b")
    _accept(real_ledger, "c", lane=Lane.EMERGENCY)
    assert [ids_of(one) for one in _queue(real_ledger)] == [["r-a", "r-b"]]
    assert [ids_of(one) for one in _queue(real_ledger, Lane.EMERGENCY)] == [["r-c"]]
    assert _queue(real_ledger, Lane.BULK) == []


def test_the_script_writes_what_the_client_would(real_ledger: Ledger) -> None:
    _accept(real_ledger, "a", "b")
    (entry,) = _queue(real_ledger)
    assert entry.decode() == dispatch_entry(Lane.DEFAULT.queue, ["r-a", "r-b"])
    assert MARK.encode() in entry


def test_what_need_not_be_called_for_is_not_told(real_ledger: Ledger) -> None:
    _accept(real_ledger, "a")
    real_ledger.client.delete(Lane.DEFAULT.queue)
    request = StopRequest(user_id="u", task_id="a")  # joins
    real_ledger.run(commands.accept(_HERE, [Submission(request)]))
    assert _queue(real_ledger) == []


def test_what_comes_again_is_told_again_and_once(real_ledger: Ledger) -> None:
    _accept(real_ledger, "a")
    _accept(real_ledger, "a", "a")
    assert [ids_of(one) for one in _queue(real_ledger)] == [["r-a"], ["r-a"]]


def test_one_that_went_to_a_more_urgent_lane_is_told_there(real_ledger: Ledger) -> None:
    """Two wishes for one target in one call: the script once died between its writes."""
    requests = [
        StopRequest(user_id="u", task_id="a", request_id=f"r-{lane}", lane=lane)
        for lane in (Lane.BULK, Lane.EMERGENCY)
    ]
    replies = real_ledger.run(commands.accept(_HERE, [Submission(one) for one in requests]))
    assert [isinstance(one, Accepted) for one in replies] == [True, True]
    assert [ids_of(one) for one in _queue(real_ledger, Lane.EMERGENCY)] == [["r-bulk"]]
    assert _queue(real_ledger, Lane.BULK) == []


def test_a_worker_that_accepts_tells_nobody(real_ledger: Ledger) -> None:
    request = StopRequest(user_id="u", task_id="a")
    (reply,) = real_ledger.run(commands.accept(_HERE, [Submission(request)], tells=False))
    assert isinstance(reply, Accepted)
    assert reply.dispatch
    assert _queue(real_ledger) == []


def test_elsewhere_the_client_is_to_tell(real_ledger: Ledger) -> None:
    limits = replace(_HERE, queues_here=False)
    request = StopRequest(user_id="u", task_id="a")
    (reply,) = real_ledger.run(commands.accept(limits, [Submission(request)]))
    assert isinstance(reply, Accepted)
    assert reply.dispatch
    assert _queue(real_ledger) == []


@pytest.mark.parametrize("ids", [["a"], ["a", "b"]])
def test_it_is_a_message_that_any_celery_worker_understands(
    real_ledger: Ledger, redis_url: str, ids: list[str]
) -> None:
    """Those of an earlier version, which leave it to Celery."""
    app = Celery(broker=redis_url, set_as_current=False)

    @app.task(name=DISPATCH_TASK)
    def dispatch(_ids: list[str]) -> None: ...

    real_ledger.client.lpush(Lane.BULK.queue, dispatch_entry(Lane.BULK.queue, ids))
    with app.connection_for_read() as connection:
        message = connection.default_channel.basic_get(Lane.BULK.queue)
        request = Request(message, app=app, task=dispatch, headers=message.headers)
        assert (request.name, request.args, request.kwargs) == (DISPATCH_TASK, [ids], {})
        assert request.id == message.properties["correlation_id"]
        assert message.delivery_info == {"exchange": "", "routing_key": Lane.BULK.queue}
        message.ack()


def test_celery_itself_writes_no_header_that_it_lacks(redis_url: str, real_ledger: Ledger) -> None:
    """But for those that say what is so anyway."""
    with Celery(broker=redis_url, set_as_current=False) as app:
        app.send_task(DISPATCH_TASK, args=(["a"],), queue=Lane.BULK.queue)
    (celerys,) = _queue(real_ledger, Lane.BULK)
    theirs, ours = json.loads(celerys), json.loads(dispatch_entry(Lane.BULK.queue, ["a"]))
    assert set(theirs) == set(ours)
    optional = {"shadow", "group_index", "replaced_task_nesting", "stamped_headers", "stamps"}
    assert set(theirs["headers"]) - optional <= set(ours["headers"])
    assert set(theirs["properties"]) - {"reply_to", "body_encoding"} == set(ours["properties"])
