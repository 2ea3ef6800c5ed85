"""Messages that once wedged, crashed or blew up a worker, as entries of a Redis queue."""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any, Final

from stopline import Lane
from stopline.contract import DISPATCH_TASK, STOP_TASK, new_request_id

_DEEP: Final = "[" * 600 + "]" * 600
_BOMB: Final = base64.b64encode(zlib.compress(b"[" + b" " * 50_000_000)).decode()


def stop_headers(**headers: Any) -> dict[str, Any]:
    """The headers of a stop, with others."""
    return {"task": STOP_TASK, "id": new_request_id(), "lang": "py", **headers}


def odd_entry(headers: Any, body: str | None = None, **changes: Any) -> dict[str, Any]:
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


def odd_body(content: Any) -> str:
    """Content as the body of an entry."""
    return base64.b64encode(json.dumps(content).encode()).decode()


ODD_ENTRIES: Final[dict[str, Any]] = {
    "a time limit of one": odd_entry(stop_headers(timelimit=[1])),
    "a time limit of letters": odd_entry(stop_headers(timelimit=["a", "b"])),
    "a time limit that is a letter": odd_entry(stop_headers(timelimit="x")),
    "a time limit of half a millisecond": odd_entry(stop_headers(timelimit=[0.0005, 0.0005])),
    "stamps that are none": odd_entry(stop_headers(stamped_headers=5, stamps=[1])),
    "retries without an end": odd_entry(stop_headers(retries=10**30)),
    "headers that nest": odd_entry(stop_headers(other=json.loads(_DEEP))),
    "a body that nests": odd_entry(stop_headers(), base64.b64encode(_DEEP.encode()).decode()),
    "no delivery info": odd_entry(
        stop_headers(),
        properties={"delivery_tag": "x", "delivery_info": {}, "body_encoding": "base64"},
    ),
    "another queue's delivery info": odd_entry(
        stop_headers(),
        properties={
            "delivery_tag": "x",
            "delivery_info": {"exchange": "nowhere", "routing_key": "nobody"},
            "body_encoding": "base64",
        },
    ),
    "a compressed bomb": odd_entry(stop_headers(compression="application/x-gzip"), _BOMB),
    "a bomb by its encoding": odd_entry(stop_headers(), _BOMB, **{"content-encoding": "zlib"}),
    "links": odd_entry(
        stop_headers(),
        odd_body(
            [
                [],
                {"user_id": "odd", "task_id": "links"},
                {"callbacks": [{"task": "nobody", "args": []}], "chord": 5, "errbacks": 7},
            ]
        ),
    ),
    "an id that is a list": odd_entry({**stop_headers(), "id": [1]}),
    "a dispatch with a time limit": odd_entry(
        {**stop_headers(timelimit=[0.001, 0.001]), "task": DISPATCH_TASK},
        odd_body([[["x"]], {}, {}]),
    ),
    "a reply-to that is a dict": odd_entry(
        stop_headers(),
        properties={
            "delivery_tag": ["x"],
            "reply_to": {},
            "correlation_id": 5,
            "priority": "high",
            "delivery_info": [],
            "body_encoding": "base64",
        },
    ),
    "a task of Celery's own that runs for ever": odd_entry(
        {**stop_headers(), "task": "celery.chord_unlock"},
        odd_body(
            [
                ["g", {"task": DISPATCH_TASK, "args": [[]]}],
                {"interval": 0, "result": [[["nope", None], None]]},
                {},
            ]
        ),
    ),
    "an argument named self": odd_entry(
        stop_headers(), odd_body([[], {"self": 1, "user_id": "u", "task_id": "t"}, {}])
    ),
    "an end that is no time": odd_entry(stop_headers(expires={"a": 1})),
    "an end beyond all years": odd_entry(stop_headers(expires="9999-12-31T23:59:59.999999+00:00")),
}
