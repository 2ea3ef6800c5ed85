"""The verdict: what one reply, or the lack of one, means for the request. Pure.

| reply | verdict |
|---|---|
| 2xx, JSON, `code` 200, `status` success | STOPPED |
| 2xx, JSON, another `code` | as if that were the HTTP status; an unknown one: RETRY |
| 2xx, not JSON, or not an object, or longer than the cap | RETRY |
| 3xx | REJECTED: never followed, the token would leak |
| 1xx | RETRY |
| 404 | NOT_FOUND |
| 408, 425, 429, 5xx | RETRY, after `Retry-After` at the earliest |
| 401, 403 | RETRY, with the token read again: it may have been rotated |
| other 4xx | REJECTED |
| no reply: connect, read, write, TLS, protocol error, timeout | RETRY |

The API documents its success and no error at all, so everything that is not known to be final is
tried again. Whose fault it is decides for how long (`Blame`): an upstream that is away, overloaded,
broken or refuses the token says nothing about this request, so that lasts until the deadline;
replies that speak of this request and settle nothing are counted.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from stopline.contract import Verdict
from stopline_worker.upstream.reply import BODY_BYTES_MAX, CallErrorKind, NoReply, Reply

if TYPE_CHECKING:
    from collections.abc import Callable

MESSAGE_CHARACTERS_MAX: Final = 200

_INTEGER_MAX: Final = 1 << 63
"""The integers that the ledger's JSON can hold are smaller."""
_CONFIRMATION: Final = "暂停任务成功"
"""The message of the documented success. It says nothing that the verdict does not, and would be a
thirtieth of what a settled request takes, so it is not recorded."""
_CONFIRMED: Final = "The API confirmed the stop."
_OK: Final = int(HTTPStatus.OK)
_NOT_FOUND: Final = int(HTTPStatus.NOT_FOUND)
_SUCCESSES: Final = range(HTTPStatus.OK, HTTPStatus.MULTIPLE_CHOICES)
_FINAL_STATUSES: Final = range(HTTPStatus.MULTIPLE_CHOICES, HTTPStatus.INTERNAL_SERVER_ERROR)
_SERVER_ERRORS: Final = range(HTTPStatus.INTERNAL_SERVER_ERROR, 600)
_RETRY_STATUSES: Final = frozenset(
    {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
)
_HOLD_STATUSES: Final = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})
_TOKEN_STATUSES: Final = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})


class Blame(StrEnum):
    """Whose fault it is that an attempt is to be made again."""

    UPSTREAM = "upstream"
    """The API's, or the way to it: no reply, 5xx, 429, a refused token. Others meet it, too."""
    REQUEST = "request"
    """The reply spoke of this request, and settled nothing."""


class Judgement(NamedTuple):
    """A verdict with what led to it.

    Attributes:
        verdict: the verdict.
        detail: one sentence for people.
        http_status: of the reply, if there was one.
        code: the `code` of the reply's JSON, if it has one.
        message: the `message` of the reply's JSON, cut to `MESSAGE_CHARACTERS_MAX`.
        error: what went wrong, where the reply alone does not say it.
        retry_after_s: the least wait that the API asked for.
        blame: for RETRY, whose fault it is.
        token_refused: the token may have been rotated.
        forbidden: that may be about this request alone (403).
        busy: the API has too much to do (429).
        hold_s: for how long it asked everybody to wait (`Retry-After` of 429 and 503).
    """

    verdict: Verdict
    detail: str
    http_status: int | None = None
    code: int | None = None
    message: str | None = None
    error: str | None = None
    retry_after_s: float = 0.0
    blame: Blame | None = None
    token_refused: bool = False
    forbidden: bool = False
    busy: bool = False
    hold_s: float = 0.0

    @property
    def upstream_failed(self) -> bool:
        """Whether the API itself was at fault, or the way to it."""
        return self.blame is Blame.UPSTREAM


def judge(result: Reply | NoReply, redact: Callable[[str], str] = lambda text: text) -> Judgement:
    """The verdict on one call.

    Args:
        result: what came of it.
        redact: takes the token out of text, should the API have echoed it: the token of this very
            call. Applied to what was parsed, before anything of it is cut.
    """
    if isinstance(result, NoReply):
        error = f"{result.kind}: {result.message}"
        blame = Blame.REQUEST if result.kind is CallErrorKind.INTERNAL else Blame.UPSTREAM
        return Judgement(Verdict.RETRY, f"No reply ({error}).", error=error, blame=blame)
    return _judge_reply(result, redact)


def _judge_reply(reply: Reply, redact: Callable[[str], str]) -> Judgement:
    fields, unreadable = _read_body(reply)
    code, message = _code(fields, redact), _message(fields, redact)
    error, blame = None, None
    if not _is_success(reply.status):
        verdict, judged_by = _by_status(reply.status), reply.status
    elif fields is None:
        verdict, judged_by, error = Verdict.RETRY, reply.status, f"body: {unreadable}"
    elif code == _OK:
        stopped = fields.get("status") == "success"
        verdict, judged_by = (Verdict.STOPPED if stopped else Verdict.RETRY), code
        error = None if stopped else "body: code is 200 but status is not 'success'"
    else:
        judged_by = code if code is not None else reply.status
        verdict = _by_status(judged_by)
        error = "body: it has no whole number as its code" if code is None else None
    if verdict is Verdict.RETRY:
        blame = Blame.UPSTREAM if _is_upstreams_fault(judged_by) else Blame.REQUEST
    if verdict is Verdict.STOPPED and message == _CONFIRMATION:
        message = None
    wait_s = _retry_after_s(reply) if verdict is Verdict.RETRY else 0.0
    return Judgement(
        verdict=verdict,
        detail=_detail(verdict, reply.status, code, message, error, redact),
        http_status=reply.status,
        code=code,
        message=message,
        error=error,
        retry_after_s=wait_s,
        blame=blame,
        token_refused=judged_by in _TOKEN_STATUSES,
        forbidden=judged_by == HTTPStatus.FORBIDDEN,
        busy=judged_by == HTTPStatus.TOO_MANY_REQUESTS,
        hold_s=wait_s if judged_by in _HOLD_STATUSES else 0.0,
    )


def _is_success(status: int) -> bool:
    return status in _SUCCESSES


def _by_status(status: int) -> Verdict:
    if status == _NOT_FOUND:
        return Verdict.NOT_FOUND
    if status in _RETRY_STATUSES or status in _TOKEN_STATUSES:
        return Verdict.RETRY
    if status in _FINAL_STATUSES:
        return Verdict.REJECTED
    return Verdict.RETRY


def _is_upstreams_fault(status: int) -> bool:
    return status in _RETRY_STATUSES or status in _TOKEN_STATUSES or status in _SERVER_ERRORS


def _read_body(reply: Reply) -> tuple[dict[str, Any] | None, str]:
    """The body's JSON object, or None and why it has none."""
    if reply.too_large:
        return None, f"it is longer than {BODY_BYTES_MAX} bytes"
    if reply.encoded:
        return None, "it has a content encoding that was not asked for"
    fields = _parse(reply.body)
    if fields is None:
        return None, "it is no JSON"
    return (fields, "") if isinstance(fields, dict) else (None, "it is no JSON object")


def _parse(body: bytes) -> Any:
    """The JSON of a body, or None where it is none (or null)."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        if b"\\u" not in body:
            return None
    try:  # orjson refuses halves of surrogate pairs, which say nothing about what was done
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _code(fields: dict[str, Any] | None, redact: Callable[[str], str]) -> int | None:
    code = fields.get("code") if fields else None
    if not isinstance(code, int) or isinstance(code, bool):
        return None
    is_secret = code != _OK and redact(str(code)) != str(code)  # a token may be of digits alone
    return code if not is_secret and -_INTEGER_MAX <= code < _INTEGER_MAX else None


def _message(fields: dict[str, Any] | None, redact: Callable[[str], str]) -> str | None:
    message = fields.get("message") if fields else None
    if not isinstance(message, str):
        return None
    if message == _CONFIRMATION:
        return message
    # What half a surrogate pair stands for, no JSON of ours can hold.
    whole = message.encode("utf-8", "replace").decode()
    return redact(whole)[:MESSAGE_CHARACTERS_MAX]


def _detail(  # what the sentence is made of
    verdict: Verdict,
    status: int,
    code: int | None,
    message: str | None,
    error: str | None,
    redact: Callable[[str], str],
) -> str:
    if verdict is Verdict.STOPPED:
        return _CONFIRMED
    facts = [f"HTTP {status}"]
    facts += [f"code {code}"] if code is not None else []
    facts += [error] if error else []
    facts += [f"message {message!r}"] if message else []
    subject = {
        Verdict.REJECTED: "The API rejected the call",
        Verdict.NOT_FOUND: "The API knows no such task",
        Verdict.RETRY: "The API did not confirm the stop",
    }[verdict]
    # Once more: the quotes around the message may have escaped it into the token.
    return redact(f"{subject} ({', '.join(facts)}).")


def _retry_after_s(reply: Reply) -> float:
    """Seconds, or a date (RFC 9110 §10.2.3), which is measured by the API's own clock."""
    value = (reply.retry_after or "").strip()
    if value.isascii() and value.isdigit():
        return float(value[:10])
    at = _http_date(value)
    now = _http_date(reply.date or "") or datetime.now(UTC)
    try:
        return max(0.0, (at - now).total_seconds()) if at else 0.0
    except OverflowError:  # a time zone that leads out of the calendar
        return 0.0


def _http_date(value: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, TypeError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
