"""No message that a sender can write holds a worker up: neither by its headers nor by its body.

Each example here is a message that once wedged, crashed or blew up a worker, or one that hypothesis
makes; afterwards a plain stop goes the quick way, through a message and not through a sweep.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stopline import Lane
from stopline.contract import STOP_TASK, new_request_id
from tests.conftest import wait_until
from tests.support.odd_messages import ODD_ENTRIES, odd_body, odd_entry, stop_headers
from tests.support.processes import Stack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.processes import Worker

_QUICK_S: Final = 4.0
"""By a message it takes milliseconds, by a sweep five seconds at least."""


@pytest.fixture(scope="module")
def odd_stack(
    server: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Stack, Worker]]:
    """One worker for all: what wedges it is seen by whoever comes next."""
    with Stack(tmp_path_factory.mktemp("odd"), server) as stack:
        with stack.client_of_server() as client:
            client.flushall()
        stack.api.start()
        worker = stack.worker()
        stack.wait_ready()
        yield stack, worker


def _push(stack: Stack, entry: Any) -> None:
    with stack.client_of_server() as server:
        server.lpush(Lane.DEFAULT.queue, json.dumps(entry))


def _assert_goes_quickly(stack: Stack) -> None:
    began = time.monotonic()
    result = stack.celery().send_task(
        STOP_TASK,
        kwargs={"user_id": "plain", "task_id": new_request_id()},
        queue=Lane.DEFAULT.queue,
    )
    assert result.get(timeout=60)["outcome"] == "stopped"
    assert time.monotonic() - began < _QUICK_S


@pytest.mark.parametrize("name", ODD_ENTRIES)
def test_a_message_that_once_held_a_worker_up(odd_stack: tuple[Stack, Worker], name: str) -> None:
    stack, worker = odd_stack
    assert worker.process is not None
    pids = [one.pid for one in worker.pool]
    for _ in range(3):  # more than the pool has room for
        _push(stack, ODD_ENTRIES[name])
    for _ in range(2):
        _assert_goes_quickly(stack)
    assert worker.process.poll() is None
    assert [one.pid for one in worker.pool] == pids, "a pool process was lost"


_JSON: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
_HEADER: Final = st.sampled_from(
    [
        "task",
        "id",
        "root_id",
        "parent_id",
        "group",
        "timelimit",
        "eta",
        "expires",
        "retries",
        "argsrepr",
        "kwargsrepr",
        "origin",
        "shadow",
        "ignore_result",
        "stamped_headers",
        "stamps",
        "replaced_task_nesting",
        "compression",
        "redelivered",
    ]
)
_PROPERTY: Final = st.sampled_from(
    [
        "delivery_tag",
        "delivery_info",
        "body_encoding",
        "priority",
        "reply_to",
        "correlation_id",
        "delivery_mode",
    ]
)
_ENTRIES: Final = st.one_of(
    st.builds(
        lambda more: odd_entry({**stop_headers(), **more}),
        st.dictionaries(_HEADER, _JSON, max_size=4),
    ),
    st.builds(lambda body: odd_entry(stop_headers(), odd_body(body)), _JSON),
    st.builds(
        lambda args, kwargs, embed: odd_entry(stop_headers(), odd_body([args, kwargs, embed])),
        *[_JSON] * 3,
    ),
    st.builds(
        lambda more: odd_entry(stop_headers(), properties=more), st.dictionaries(_PROPERTY, _JSON)
    ),
    _JSON,
)


@pytest.mark.timeout(300)
@settings(
    max_examples=40,
    deadline=None,  # the machine's speed is no claim of this test
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
@given(entries=st.lists(_ENTRIES, min_size=1, max_size=12))
def test_no_message_holds_a_worker_up(odd_stack: tuple[Stack, Worker], entries: list[Any]) -> None:
    stack, worker = odd_stack
    for entry in entries:
        _push(stack, entry)
    _assert_goes_quickly(stack)
    assert worker.process is not None
    assert worker.process.poll() is None


@pytest.mark.parametrize("word", ["5", "[]", "garbage{", '{"headers": 5}', "{}"])
def test_garbage_on_remote_control_ends_no_worker(
    odd_stack: tuple[Stack, Worker], word: str
) -> None:
    stack, worker = odd_stack
    with stack.client_of_server() as server:
        assert server.publish("/0.celery.pidbox", word)
    _assert_goes_quickly(stack)
    assert worker.process is not None
    assert worker.process.poll() is None
    assert stack.celery().control.ping(timeout=10, limit=1)


def test_many_revocations_hold_no_worker_up(odd_stack: tuple[Stack, Worker]) -> None:
    stack, _ = odd_stack
    for _ in range(10):
        stack.celery().control.revoke([new_request_id() for _ in range(2000)])
    _assert_goes_quickly(stack)


def test_afterwards_nothing_is_left_on_the_queue_or_unacknowledged(
    odd_stack: tuple[Stack, Worker],
) -> None:
    stack, _ = odd_stack
    with stack.client_of_server() as server:
        wait_until(lambda: not server.llen(Lane.DEFAULT.queue), what="the queue's end")
        wait_until(lambda: not server.hlen("unacked"), what="all to be acknowledged")
