"""An API that is away is said once a minute, loudly; a single failure is not."""

from __future__ import annotations

import logging

import pytest

from stopline.contract import ApiState
from stopline_worker.upstream.api_watch import ApiWatch
from stopline_worker.upstream.reply import CallErrorKind, NoReply, Reply
from stopline_worker.upstream.verdict import judge

GOOD = judge(Reply(200, b'{"status": "success", "code": 200}'))
REFUSED = judge(Reply(401))
AWAY = judge(NoReply(CallErrorKind.CONNECT, "refused"))
ODD = judge(Reply(200, b"<html>"))


class _Watched:
    def __init__(self) -> None:
        self.now = 0.0
        self.watch = ApiWatch(lambda: self.now)

    def calls(self, judgement: object, times: int, each_s: float = 1.0) -> None:
        for _ in range(times):
            self.watch.saw(judgement)  # type: ignore[arg-type]
            self.now += each_s


@pytest.fixture
def watched(caplog: pytest.LogCaptureFixture) -> _Watched:
    caplog.set_level(logging.INFO)
    return _Watched()


def _said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [getattr(one, "action", "") for one in caplog.records]


def test_a_few_failures_are_nothing_to_speak_of(
    watched: _Watched, caplog: pytest.LogCaptureFixture
) -> None:
    watched.calls(AWAY, 2)
    watched.calls(GOOD, 1)
    watched.calls(AWAY, 50, each_s=0.01)
    assert watched.watch.state is ApiState.ANSWERS
    assert _said(caplog) == []


@pytest.mark.parametrize(
    ("judgement", "state"), [(AWAY, ApiState.AWAY), (REFUSED, ApiState.TOKEN_REFUSED)]
)
def test_a_standstill_is_said_once_a_minute(
    watched: _Watched, caplog: pytest.LogCaptureFixture, judgement: object, state: ApiState
) -> None:
    watched.calls(judgement, 600)
    assert watched.watch.state is state
    assert set(_said(caplog)) == {f"api_{state}"}
    assert len(_said(caplog)) == 10
    assert caplog.records[0].levelno == logging.ERROR
    watched.calls(GOOD, 5)
    assert watched.watch.state is ApiState.ANSWERS
    assert _said(caplog)[10:] == ["api_back"]


def test_a_reply_that_speaks_of_a_request_is_one(
    watched: _Watched, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(100):
        watched.calls(AWAY, 3)
        watched.calls(ODD, 1)
    assert watched.watch.state is ApiState.ANSWERS
    assert _said(caplog) == []
