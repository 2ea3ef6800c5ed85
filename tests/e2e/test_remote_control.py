"""What operators do with Celery's own means does what it says, or says that it does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from stopline import Lane, OutcomeKind
from tests.conftest import wait_until

if TYPE_CHECKING:
    from tests.support.processes import Stack


def _health(stack: Stack) -> dict[str, list[dict[str, str]]]:
    return orjson.loads(stack.run("health", "--json").stdout)


def test_a_paused_lane_is_not_swept_either(stack: Stack) -> None:
    stack.api.start()
    stack.worker()
    stack.wait_ready()
    control = stack.celery().control
    assert control.cancel_consumer(Lane.DEFAULT.queue, reply=True, timeout=10, limit=1)
    waiting = stack.client.stop("u", "paused")
    going = stack.client.stop("u", "other-lane", lane=Lane.BULK)
    assert stack.client.wait(going.request_id, 60).outcome is OutcomeKind.STOPPED
    # Sweeps go on: a request of a lane that is not paused, whose message is lost, is swept.
    swept = stack.client.stop("u", "swept", lane=Lane.BULK)
    with stack.client_of_server() as server:
        server.delete(Lane.BULK.queue)
    stack.client.wait(swept.request_id, 60)
    wait_until(
        lambda: [one["part"] for one in _health(stack)["notices"]] == ["lane default"],
        what="health to say so",
    )
    wait_until(lambda: _health(stack)["standstills"] == [], what="no standstill")
    assert b"paused" in stack.run("doctor").stdout
    assert stack.client.status(waiting.request_id).outcome is None
    assert stack.api.calls("u/paused") == []
    assert control.add_consumer(Lane.DEFAULT.queue, reply=True, timeout=10, limit=1)
    assert stack.client.wait(waiting.request_id, 60).outcome is OutcomeKind.STOPPED
    wait_until(lambda: _health(stack)["notices"] == [], what="the notice's end")


def test_a_worker_takes_only_the_lanes_that_it_was_started_for(stack: Stack) -> None:
    """Pausing and going on once made the emergency worker one for bulk."""
    stack.api.start()
    stack.worker(Lane.EMERGENCY)
    stack.wait_ready()
    control = stack.celery().control
    for ask in (control.cancel_consumer, control.add_consumer):
        (reply,) = ask(Lane.BULK.queue, reply=True, timeout=10, limit=1)
        ((answer,),) = [list(reply.values())]
        assert "not started for" in answer["error"]
    inspect = control.inspect(timeout=10, limit=1)
    (queues,) = inspect.active_queues().values()
    assert [queue["name"] for queue in queues] == [Lane.EMERGENCY.queue]


def test_limits_that_would_limit_nothing_are_refused(stack: Stack) -> None:
    stack.api.start()
    stack.worker()
    stack.wait_ready()
    control = stack.celery().control
    for reply in (
        control.rate_limit("stopline.stop", "1/s", reply=True, timeout=10, limit=1),
        control.time_limit("stopline.dispatch", soft=1, hard=1, reply=True, timeout=10, limit=1),
    ):
        ((answer,),) = [list(one.values()) for one in reply]
        assert "STOPLINE_" in answer["error"]
    assert stack.client.wait(stack.client.stop("u", "t").request_id, 60).outcome is (
        OutcomeKind.STOPPED
    )


def test_a_wrong_task_name_is_its_senders_result(stack: Stack) -> None:
    stack.api.start()
    worker = stack.worker()
    result = stack.celery().send_task("stopline.stopp", queue=Lane.DEFAULT.queue)
    wait_until(result.ready, what="the result")
    assert result.state == "FAILURE"
    assert "stopline.stopp" in str(result.result)
    (letter,) = stack.client.dead_letters()
    assert "stopline.stopp" in letter.reason
    line = next(one for one in worker.log.splitlines() if '"quarantined"' in one)
    told = orjson.loads(line)
    assert told["message_id"] == letter.message_id
    assert told["queue"] == Lane.DEFAULT.queue
    assert "unknown task" in told["reason"]


def test_messages_that_lie_where_nobody_looks_are_found(stack: Stack) -> None:
    stack.api.start()
    celery = stack.celery()
    celery.send_task("stopline.stop", kwargs={"user_id": "u", "task_id": "t"})
    celery.send_task(
        "stopline.stop", kwargs={"user_id": "u", "task_id": "t"}, queue="stopline.dflt"
    )
    celery.send_task("somebody.elses", queue="else")
    found = [orjson.loads(line) for line in stack.run("doctor", "--json").stdout.splitlines()]
    strays = {one["checked"]: one for one in found if one["checked"].startswith("queue ")}
    assert set(strays) == {"queue celery", "queue stopline.dflt"}
    assert all(one["level"] == "warning" and "queue=" in one["advice"] for one in strays.values())


def test_an_api_that_refuses_the_token_is_said_and_costs_no_request(stack: Stack) -> None:
    """A revoked token once ended every request within twelve seconds, and nobody heard of it."""
    token = stack.directory / "token"
    token.write_text("revoked")
    stack.settings |= {"api_token": None, "api_token_file": token, "max_attempts": 1}
    stack.api.start()
    worker = stack.worker()
    receipts = [stack.client.stop("u", str(number)) for number in range(5)]
    wait_until(lambda: "api_token_refused" in worker.log, what="the line in the log")
    wait_until(
        lambda: any("refuses the token" in one["text"] for one in _health(stack)["notices"]),
        what="health to say so",
    )
    assert stack.run("health").returncode == 0
    looked = stack.run("doctor")
    assert looked.returncode == 2
    assert b"refuses the token" in looked.stdout
    token.write_text("t0ken-that-nobody-may-see")
    outcomes = [stack.client.wait(one.request_id, 60) for one in receipts]
    assert {one.outcome for one in outcomes} == {OutcomeKind.STOPPED}
    assert max(len(one.attempts) for one in outcomes) > 1  # a refused token uses none up
    wait_until(lambda: "api_back" in worker.log, what="the good news in the log")
