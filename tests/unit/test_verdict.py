"""The verdict table, row by row."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stopline.contract import Verdict
from stopline_worker.upstream.reply import CallErrorKind, NoReply, Reply
from stopline_worker.upstream.verdict import Blame, judge

OK = b'{"status": "success", "code": 200, "message": "done"}'


def _code(code: object) -> Reply:
    return Reply(200, orjson.dumps({"status": "error", "code": code}))


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        (Reply(200, OK), Verdict.STOPPED),
        (Reply(201, OK), Verdict.STOPPED),
        (Reply(200, b'{"status": "error", "code": 200}'), Verdict.RETRY),
        (Reply(200, b'{"code": 200}'), Verdict.RETRY),
        (_code(404), Verdict.NOT_FOUND),
        (_code(400), Verdict.REJECTED),
        (_code(302), Verdict.REJECTED),
        (_code(401), Verdict.RETRY),
        (_code(408), Verdict.RETRY),
        (_code(429), Verdict.RETRY),
        (_code(500), Verdict.RETRY),
        (_code(201), Verdict.RETRY),
        (_code(0), Verdict.RETRY),
        (_code(-1), Verdict.RETRY),
        (_code(10001), Verdict.RETRY),
        (_code("404"), Verdict.RETRY),
        (_code(True), Verdict.RETRY),
        (_code(None), Verdict.RETRY),
        (Reply(200, b"<html>"), Verdict.RETRY),
        (Reply(200, b""), Verdict.RETRY),
        (Reply(200, b"[]"), Verdict.RETRY),
        (Reply(200, b"\xff"), Verdict.RETRY),
        (Reply(200, OK, too_large=True), Verdict.RETRY),
        (Reply(200, OK, encoded=True), Verdict.RETRY),
        (Reply(301, OK), Verdict.REJECTED),
        (Reply(304, OK), Verdict.REJECTED),
        (Reply(404, OK), Verdict.NOT_FOUND),
        (Reply(400, OK), Verdict.REJECTED),
        (Reply(422), Verdict.REJECTED),
        (Reply(401), Verdict.RETRY),
        (Reply(403), Verdict.RETRY),
        (Reply(408), Verdict.RETRY),
        (Reply(425), Verdict.RETRY),
        (Reply(429), Verdict.RETRY),
        (Reply(500, OK), Verdict.RETRY),
        (Reply(503), Verdict.RETRY),
        (Reply(599), Verdict.RETRY),
    ],
)
def test_the_table(reply: Reply, verdict: Verdict) -> None:
    assert judge(reply).verdict is verdict


@pytest.mark.parametrize("kind", list(CallErrorKind))
def test_no_reply_is_tried_again(kind: CallErrorKind) -> None:
    judgement = judge(NoReply(kind, "why"))
    assert (judgement.verdict, judgement.error) == (Verdict.RETRY, f"{kind}: why")


@pytest.mark.parametrize(
    "reply",
    [
        Reply(500),
        Reply(503),
        Reply(429),
        Reply(401),
        Reply(403),
        Reply(408),
        _code(500),
        _code(429),
        _code(401),
        NoReply(CallErrorKind.CONNECT, ""),
        NoReply(CallErrorKind.TIMEOUT, ""),
    ],
)
def test_what_is_the_upstreams_fault(reply: Reply | NoReply) -> None:
    assert judge(reply).blame is Blame.UPSTREAM


@pytest.mark.parametrize(
    "reply",
    [
        _code(10001),
        _code(None),
        Reply(200, b"<html>"),
        Reply(200, OK, too_large=True),
        Reply(200, b'{"code": 200}'),
        Reply(199),
        NoReply(CallErrorKind.INTERNAL, ""),
    ],
)
def test_what_speaks_of_this_request(reply: Reply | NoReply) -> None:
    assert judge(reply).blame is Blame.REQUEST


def test_a_success_with_half_a_surrogate_pair_in_its_message_is_one() -> None:
    judgement = judge(Reply(200, rb'{"status": "success", "code": 200, "message": "x\ud800y"}'))
    assert (judgement.verdict, judgement.message) == (Verdict.STOPPED, "x?y")


def test_a_token_of_digits_that_comes_back_as_the_code_is_not_recorded() -> None:
    judgement = judge(_code(12345678), lambda text: text.replace("12345678", "***"))
    assert "12345678" not in repr(judgement)


@given(st.integers(100, 999), st.binary(max_size=200))
def test_only_a_success_that_says_so_is_stopped(status: int, body: bytes) -> None:
    if judge(Reply(status, body)).verdict is Verdict.STOPPED:
        assert 200 <= status < 300
        assert b"success" in body


@pytest.mark.parametrize("reply", [Reply(401), Reply(403), _code(401), _code(403)])
def test_a_refused_token_is_read_again(reply: Reply) -> None:
    assert judge(reply).token_refused


def test_no_other_reply_has_the_token_read_again() -> None:
    assert not judge(Reply(500)).token_refused


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("2", 2),
        (" 120 ", 120),
        ("Sun, 22 Nov 2026 10:00:30 GMT", 30),
        ("Sun, 22 Nov 2026 09:00:00 GMT", 0),
        ("-5", 0),
        ("1.5", 0),
        ("soon", 0),
        ("²", 0),
        ("", 0),
        ("9" * 400, 9999999999),
        ("Sun, 22 Nov 99999999999 10:00:00 GMT", 0),
        ("Fri, 31 Dec 9999 23:59:59 -9999", 0),
        (None, 0),
    ],
)
def test_retry_after_is_seconds_or_a_date_by_the_apis_clock(
    value: str | None, seconds: float
) -> None:
    reply = Reply(429, retry_after=value, date="Sun, 22 Nov 2026 10:00:00 GMT")
    assert judge(reply).retry_after_s == seconds


def test_the_message_is_cut() -> None:
    reply = Reply(400, b'{"code": 400, "message": "' + b"m" * 1000 + b'"}')
    assert judge(reply).message == "m" * 200


def test_the_detail_is_a_sentence() -> None:
    reply = Reply(400, b'{"code": 17, "message": "no"}')
    assert judge(reply).detail == "The API rejected the call (HTTP 400, code 17, message 'no')."
