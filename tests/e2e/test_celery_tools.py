"""What users of Celery rely on, though no task runs: events, `inspect`, `revoke`, times."""

from __future__ import annotations

import re
import threading
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery
from celery.exceptions import TaskRevokedError

from stopline import Lane
from stopline.contract import STOP_TASK
from tests.conftest import wait_until
from tests.support.source_map import ROOT
from tests.support.valkey import Valkey

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.processes import Stack


def _send(stack: Stack, task_id: str, **options: Any) -> Any:
    options = {"queue": Lane.DEFAULT.queue, **options}
    return stack.celery().send_task(
        STOP_TASK, kwargs={"user_id": "u", "task_id": task_id}, **options
    )


@pytest.mark.parametrize("page", ["README.md", "docs/celery.md"])
def test_the_example_for_plain_celery_holds(
    stack: Stack, page: str, capsys: pytest.CaptureFixture[str]
) -> None:
    stack.api.start()
    stack.worker()
    text = (ROOT / page).read_text("utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    (example,) = [one for one in blocks if "send_task" in one]
    exec(compile(example.replace("redis://…", stack.redis_url), page, "exec"), {})  # our own page
    assert capsys.readouterr().out == "stopped\n"


def test_a_message_with_an_eta_is_called_for_then(stack: Stack) -> None:
    stack.api.start()
    stack.worker()
    stack.wait_ready()
    eta = datetime.now(UTC) + timedelta(seconds=3)
    later = _send(stack, "later", eta=eta)
    soon = _send(stack, "soon", countdown=1)
    assert _send(stack, "now").get(timeout=60)["outcome"] == "stopped"
    assert stack.api.calls("u/later") == []
    assert soon.get(timeout=60)["outcome"] == "stopped"
    outcome = later.get(timeout=60)
    assert datetime.fromisoformat(outcome["attempts"][0]["started_at"]) >= eta
    with stack.client_of_server() as server:
        wait_until(lambda: not server.hlen("unacked"), what="all to be acknowledged")


def test_a_message_that_expired_in_its_queue_is_not_called_for(stack: Stack) -> None:
    stack.api.start()
    result = _send(stack, "t", expires=datetime.now(UTC) - timedelta(seconds=1))
    stack.worker()
    assert result.get(timeout=60)["outcome"] == "expired"
    assert stack.api.calls("u/t") == []


def test_a_message_that_is_revoked_before_acceptance_is_not_called_for(stack: Stack) -> None:
    stack.api.start()
    stack.worker()
    stack.wait_ready()
    control = stack.celery().control
    result = _send(stack, "t", countdown=3)
    control.revoke(result.id, reply=True, timeout=10)
    with pytest.raises(TaskRevokedError):
        result.get(timeout=60)
    assert result.state == "REVOKED"
    assert stack.api.calls("u/t") == []


def test_a_revocation_survives_the_worker(stack: Stack) -> None:
    stack.api.start()
    worker = stack.worker()
    stack.wait_ready()
    result = _send(stack, "t", countdown=4)
    stack.celery().control.revoke(result.id, reply=True, timeout=10)
    wait_until(lambda: result.state == "REVOKED", what="the result")
    worker.kill()
    stack.settings["visibility_timeout_s"] = 40
    stack.worker()
    with stack.client_of_server() as server:
        wait_until(lambda: not server.hlen("unacked"), what="the message's end")
    assert result.state == "REVOKED"
    assert stack.api.calls("u/t") == []


def test_a_revocation_after_acceptance_says_so_and_changes_nothing(stack: Stack) -> None:
    """Celery would write REVOKED over a request that is called for all the same."""
    stack.api.start([{"task_id": "t", "replies": [{"delay_s": 3}]}])
    stack.worker()
    stack.wait_ready()
    result = _send(stack, "t")
    wait_until(lambda: stack.api.calls("u/t"), what="the call")
    (answer,) = stack.celery().control.revoke(result.id, reply=True, timeout=10)
    (told,) = answer.values()
    assert "stopline cancel" in told["error"]
    assert result.state in {"PENDING", "SUCCESS"}
    assert result.get(timeout=60)["outcome"] == "stopped"


def test_messages_with_a_priority_are_taken_like_others(stack: Stack) -> None:
    stack.api.start()
    stack.worker()
    results = [_send(stack, str(priority), priority=priority) for priority in (0, 3, 6, 9)]
    assert {result.get(timeout=60)["outcome"] for result in results} == {"stopped"}


@contextmanager
def _events(app: Celery) -> Iterator[dict[str, list[dict[str, Any]]]]:
    """What Flower and celery-exporter hear of tasks, by the task's id."""
    heard: dict[str, list[dict[str, Any]]] = {}
    connected = threading.Event()

    def take(event: dict[str, Any]) -> None:
        if event["type"].startswith("task-"):
            heard.setdefault(event["uuid"], []).append(event)

    def listen() -> None:
        with app.connection_for_read() as connection:
            receiver = app.events.Receiver(connection, handlers={"*": take})
            with receiver.consumer_context() as (its_own, _, _):
                connected.set()
                while connected.is_set():
                    with suppress(TimeoutError):
                        its_own.drain_events(timeout=0.2)

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    assert connected.wait(20)
    yield heard
    connected.clear()
    thread.join()


def test_events_tell_what_a_task_would(stack: Stack) -> None:
    stack.api.start()
    stack.worker()
    stack.wait_ready()
    app = stack.celery()
    app.control.enable_events(reply=True, timeout=10)
    with _events(app) as heard:

        def kinds(task_id: str) -> list[str]:
            return [event["type"] for event in heard.get(task_id, [])]

        good, bad = _send(stack, "t").id, _send(stack, "..").id
        wait_until(lambda: "task-succeeded" in kinds(good), what="the good one's events")
        wait_until(lambda: "task-failed" in kinds(bad), what="the bad one's events")
    assert kinds(good) == ["task-received", "task-started", "task-succeeded"]
    assert kinds(bad) == ["task-received", "task-started", "task-failed"]
    received, *_, failed = heard[bad]
    assert (received["name"], received["kwargs"]) == (
        STOP_TASK,
        "{'user_id': 'u', 'task_id': '..'}",
    )
    assert "task_id" in failed["exception"]
    assert "@" in failed["hostname"]


def test_inspect_shows_what_came_and_what_waits_for_the_ledger(
    stack: Stack, tmp_path_factory: pytest.TempPathFactory
) -> None:
    broker = Valkey(tmp_path_factory.mktemp("broker")).start()
    stack.settings["broker_url"] = broker.url
    stack.api.start()
    stack.worker()
    stack.wait_ready()
    app = Celery(broker=broker.url, backend=stack.redis_url, set_as_current=False)

    def ask(what: str) -> Any:
        (answer,) = getattr(app.control.inspect(timeout=10, limit=1), what)().values()
        return answer

    fields = {"user_id": "u", "task_id": "t"}
    with stack.client_of_server() as server:
        server.config_set("min-replicas-to-write", 1)
        try:
            result = app.send_task(STOP_TASK, kwargs=fields, queue=Lane.DEFAULT.queue)
            wait_until(lambda: ask("reserved"), what="what waits")
            (held,) = ask("reserved")
        finally:
            server.config_set("min-replicas-to-write", 0)
    assert (held["id"], held["name"], held["acknowledged"]) == (result.id, STOP_TASK, False)
    assert result.get(timeout=60)["outcome"] == "stopped"
    assert ask("reserved") == ask("active") == []
    assert ask("stats")["total"][STOP_TASK] >= 1
    broker.kill()
