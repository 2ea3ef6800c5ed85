"""No message that a sender can write holds a worker up: neither by its headers nor by its body.

Each example here is a message that once wedged, crashed or blew up a worker, or one that hypothesis
makes; afterwards a plain stop goes the quick way, through a message and not through a sweep.
"""

from __future__ import annotations

import base64
import json
import time
import zlib
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stopline import Lane
from stopline.contract import DISPATCH_TASK, STOP_TASK, new_request_id
from tests.conftest import wait_until
from tests.support.processes import Stack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.processes import Worker

_QUICK_S: Final = 4.0
"""By a message it takes milliseconds, by a sweep five seconds at least."""
_DEEP: Final = "[" * 600 + "]" * 600
_BOMB: Final = base64.b64encode(zlib.compress(b"[" + b" " * 200_000_000)).decode()


def _stop(**headers: Any) -> dict[str, Any]:
    """The headers of a stop, with others."""
    return {"task": STOP_TASK, "id": new_request_id(), "lang": "py", **headers}


def _entry(headers: Any, body: str | None = None, **changes: Any) -> dict[str, Any]:
    """A queue's entry; the body of a stop unless another is given."""
    if body is None:
        fields = {"user_id": "odd", "task_id": new_request_id()}
        body = base64.b64encode(json.dumps([[], fields, {}]).encode()).decode()
    return {
        "body": body,
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": headers,
        "properties": {
            "delivery_tag": new_request_id(),
            "delivery_info": {"exchange": "", "routing_key": Lane.DEFAULT.queue},
            "body_encoding": "base64",
        },
        **changes,
    }


def _body(content: Any) -> str:
    return base64.b64encode(json.dumps(content).encode()).decode()


_ODD: Final[dict[str, Any]] = {
    "a time limit of one": _entry(_stop(timelimit=[1])),
    "a time limit of letters": _entry(_stop(timelimit=["a", "b"])),
    "a time limit that is a letter": _entry(_stop(timelimit="x")),
    "a time limit of half a millisecond": _entry(_stop(timelimit=[0.0005, 0.0005])),
    "stamps that are none": _entry(_stop(stamped_headers=5, stamps=[1])),
    "retries without an end": _entry(_stop(retries=10**30)),
    "headers that nest": _entry(_stop(other=json.loads(_DEEP))),
    "a body that nests": _entry(_stop(), base64.b64encode(_DEEP.encode()).decode()),
    "no delivery info": _entry(
        _stop(), properties={"delivery_tag": "x", "delivery_info": {}, "body_encoding": "base64"}
    ),
    "another queue's delivery info": _entry(
        _stop(),
        properties={
            "delivery_tag": "x",
            "delivery_info": {"exchange": "nowhere", "routing_key": "nobody"},
            "body_encoding": "base64",
        },
    ),
    "a compressed bomb": _entry(_stop(compression="application/x-gzip"), _BOMB),
    "a bomb by its encoding": _entry(_stop(), _BOMB, **{"content-encoding": "zlib"}),
    "links": _entry(
        _stop(),
        _body(
            [
                [],
                {"user_id": "odd", "task_id": "links"},
                {"callbacks": [{"task": "nobody", "args": []}], "chord": 5, "errbacks": 7},
            ]
        ),
    ),
    "an id that is a list": _entry({**_stop(), "id": [1]}),
    "a dispatch with a time limit": _entry(
        {**_stop(timelimit=[0.001, 0.001]), "task": DISPATCH_TASK}, _body([[["x"]], {}, {}])
    ),
    "a reply-to that is a dict": _entry(
        _stop(),
        properties={
            "delivery_tag": ["x"],
            "reply_to": {},
            "correlation_id": 5,
            "priority": "high",
            "delivery_info": [],
            "body_encoding": "base64",
        },
    ),
    "an end that is no time": _entry(_stop(expires={"a": 1})),
    "an end beyond all years": _entry(_stop(expires="9999-12-31T23:59:59.999999+00:00")),
}


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


@pytest.mark.parametrize("name", _ODD)
def test_a_message_that_once_held_a_worker_up(odd_stack: tuple[Stack, Worker], name: str) -> None:
    stack, worker = odd_stack
    assert worker.process is not None
    pids = [one.pid for one in worker.pool]
    for _ in range(3):  # more than the pool has room for
        _push(stack, _ODD[name])
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
        lambda more: _entry({**_stop(), **more}), st.dictionaries(_HEADER, _JSON, max_size=4)
    ),
    st.builds(lambda body: _entry(_stop(), _body(body)), _JSON),
    st.builds(
        lambda args, kwargs, embed: _entry(_stop(), _body([args, kwargs, embed])), *[_JSON] * 3
    ),
    st.builds(lambda more: _entry(_stop(), properties=more), st.dictionaries(_PROPERTY, _JSON)),
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


def test_afterwards_nothing_is_left_on_the_queue_or_unacknowledged(
    odd_stack: tuple[Stack, Worker],
) -> None:
    stack, _ = odd_stack
    with stack.client_of_server() as server:
        wait_until(lambda: not server.llen(Lane.DEFAULT.queue), what="the queue's end")
        wait_until(lambda: not server.hlen("unacked"), what="all to be acknowledged")
