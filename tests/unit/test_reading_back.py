"""Reading the state of a task back: what lists say, and what is made of lists that say nothing."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from stopline.contract import Target, Verified
from stopline.settings.model import VerifyDialect
from stopline_worker.upstream.api_token import Credential
from stopline_worker.upstream.reading_back import Verifier, state_of
from stopline_worker.upstream.reply import CallErrorKind, NoReply, Reply
from stopline_worker.upstream.task_stop import TaskStopApi

if TYPE_CHECKING:
    from collections.abc import Mapping

V1, V2 = VerifyDialect.V1, VerifyDialect.V2
_TARGET = Target("u", "t", "s")


class _Client:
    """Answers what it was given, and keeps what it was asked."""

    def __init__(self, *replies: Reply | NoReply) -> None:
        self._replies = deque(replies)
        self.asked: list[str] = []

    async def get(self, url: str, _headers: Mapping[str, str]) -> Reply | NoReply:
        self.asked.append(url)
        return self._replies.popleft()

    async def close(self) -> None:
        """Nothing is open."""


def _page(*tasks: Any, page: int = 1, last: int = 1) -> Reply:
    meta = {"total": 1, "current_page": page, "last_page": last, "per_page": 100}
    return Reply(200, orjson.dumps({"code": 200, "status": "success", "meta": meta, "data": tasks}))


def _check(client: _Client, dialect: VerifyDialect = V1, pages: int = 3) -> Verified:
    verifier = Verifier(TaskStopApi(client, "http://api/"), dialect, pages)
    return asyncio.run(verifier.check(_TARGET, Credential("token")))


@pytest.mark.parametrize(
    ("task", "dialect", "state"),
    [
        ({"status": 1}, V1, Verified.PAUSED),
        ({"status": 2}, V1, Verified.RUNNING),
        ({"status": 3}, V1, Verified.RUNNING),
        ({"status": 4}, V1, Verified.UNKNOWN),
        ({"status": True}, V1, Verified.UNKNOWN),
        ({"status": "1"}, V1, Verified.UNKNOWN),
        ({"status": [1]}, V1, Verified.UNKNOWN),
        ({}, V1, Verified.UNKNOWN),
        ({"enable": False, "call_status": False}, V2, Verified.PAUSED),
        ({"enable": True, "call_status": True}, V2, Verified.RUNNING),
        ({"enable": True, "call_status": False}, V2, Verified.RUNNING),
        ({"enable": 0}, V2, Verified.UNKNOWN),
        ({}, V2, Verified.UNKNOWN),
    ],
)
def test_what_a_list_says(task: dict[str, Any], dialect: VerifyDialect, state: Verified) -> None:
    assert state_of(task, dialect) is state


def test_pages_are_looked_through_as_far_as_they_are_to_be() -> None:
    other, own = {"uuid": "x", "status": 2}, {"uuid": "t", "status": 1}
    client = _Client(_page(other, page=1, last=9), _page(own, page=2, last=9))
    assert _check(client) is Verified.PAUSED
    assert client.asked == [
        f"http://api/agent-api/user/u/task?page={page}&per_page=100&sub_user_id=s"
        for page in (1, 2)
    ]
    client = _Client(*(_page(other, page=page, last=9) for page in (1, 2, 3)))
    assert _check(client) is Verified.UNKNOWN
    assert len(client.asked) == 3
    assert _check(_Client(_page(other))) is Verified.UNKNOWN


@pytest.mark.parametrize(
    "reply",
    [
        NoReply(CallErrorKind.TIMEOUT, "x"),
        Reply(500),
        Reply(401),
        Reply(200, b"<html>"),
        Reply(200, b"[]"),
        Reply(200, b"3"),
        Reply(200, b'{"data": null}'),
        Reply(200, b'{"data": [1, null, "t"], "meta": 3}'),
        Reply(200, b'{"data": [{"uuid": "t"', too_large=True),
    ],
)
def test_what_cannot_be_read_is_unknown(reply: Reply | NoReply) -> None:
    assert _check(_Client(reply), V2) is Verified.UNKNOWN
