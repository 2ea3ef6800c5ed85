"""Bodies of requests: read within limits, in no other form than their own."""

from __future__ import annotations

import asyncio
import zlib
from email.message import Message
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect

from stopline.contract import describe, parse_json
from stopline.errors import InvalidRequestError
from stopline_gateway.problems import Kind, Problem

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

T = TypeVar("T", bound=BaseModel)

BYTES_PER_S_MIN: Final = 500
"""A body that comes more slowly is not waited for: as Apache's mod_reqtimeout has it."""
_TYPE_CHARACTERS_MAX: Final = 200
_GZIP: Final = 16 + zlib.MAX_WBITS
_SMALL_BYTES: Final = 16 << 10
"""A body of so many bytes has one time limit for all of it."""


class BodyLimits(NamedTuple):
    """How large a body may be, and how long it may be silent at the beginning."""

    bytes_max: int
    silence_s: float


_ABOUT_BODIES: Final = frozenset({b"content-type", b"content-encoding"})
_KNOWN: Final = {
    (b"content-type", f"{name}{charset}".encode()): name
    for name in ("application/json", "application/cloudevents+json", "application/x-ndjson")
    for charset in ("", "; charset=utf-8")
}
"""The header field of nearly all, word for word."""


def media_type(request: Request) -> str:
    """What a request says that its body is, in lower case; empty: nothing.

    Raises:
        Problem: it says two things, or that the body is compressed.
    """
    given = [pair for pair in request.scope["headers"] if pair[0] in _ABOUT_BODIES]
    if len(given) == 1 and (known := _KNOWN.get(given[0])):
        return known
    return _media_type(request)


def _media_type(request: Request) -> str:
    given = request.headers.getlist("content-type")
    if len(given) > 1:
        raise Problem(Kind.MALFORMED, "The header field Content-Type is there more than once.")
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in {"", "identity"}:
        raise Problem(Kind.MEDIA_TYPE, "Compressed bodies are not taken: send it as it is.")
    if given and len(given[0]) > _TYPE_CHARACTERS_MAX:
        raise Problem(Kind.MEDIA_TYPE, "The header field Content-Type is too long.")
    parsed = Message()
    parsed["content-type"] = given[0] if given else ""
    charset = str(parsed.get_param("charset") or "utf-8").lower()
    if charset not in {"utf-8", "utf8", "us-ascii"}:
        raise Problem(Kind.MEDIA_TYPE, f"charset {charset[:40]}: UTF-8 is needed.")
    return parsed.get_content_type() if given else ""


def require(found: str, *names: str) -> None:
    """Refuse a body that is in none of these formats."""
    if found not in names:
        wanted = " or ".join(names)
        given = f"not {found[:80]}" if found else "and the request names none"
        raise Problem(Kind.MEDIA_TYPE, f"Content-Type: {wanted} is needed, {given}.")


async def blocks(request: Request, limits: BodyLimits) -> AsyncIterator[bytes]:
    """The body as it comes.

    Raises:
        Problem: it is too large, or takes too long.
    """
    _check_length(request, limits)
    loop, stream = asyncio.get_running_loop(), request.stream()
    received, waited_s = 0, 0.0
    while True:
        began = loop.time()
        left_s = limits.silence_s + received / BYTES_PER_S_MIN - waited_s
        try:
            async with asyncio.timeout(max(0.0, left_s)):
                block = await anext(stream, None)
        except TimeoutError:
            raise Problem(
                Kind.TOO_SLOW,
                f"{received} bytes came in {waited_s + left_s:.0f} s.",
                headers=_CLOSE,
            ) from None
        except ClientDisconnect:
            raise Problem(
                Kind.MALFORMED, "The body ended before its end.", headers=_CLOSE
            ) from None
        if block is None:
            return
        waited_s += loop.time() - began
        received += len(block)
        if received > limits.bytes_max:
            raise _too_large(limits)
        if block:
            yield block


_CLOSE: Final = {"Connection": "close"}
"""The rest of the body may still come, and would be read for nothing."""


def _check_length(request: Request, limits: BodyLimits) -> None:
    length = _length(request)
    if length is not None and length > limits.bytes_max:
        raise _too_large(limits)


def _length(request: Request) -> int | None:
    """How long the body is, where the head says it; the server gives no more than that."""
    for name, value in request.scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else None
    return None


def _too_large(limits: BodyLimits) -> Problem:
    return Problem(
        Kind.TOO_LARGE, f"At most {limits.bytes_max} bytes are taken here.", headers=_CLOSE
    )


async def read_json(request: Request, limits: BodyLimits, *names: str) -> Any:
    """A body of JSON, whole; raises `Problem`."""
    require(media_type(request), *(names or ("application/json",)))
    return json_of(await read(request, limits))


async def read_zipped_json(request: Request, limits: BodyLimits) -> Any:
    """The same where it may be compressed with gzip; the limit is for what it unfolds to."""
    if request.headers.get("content-encoding", "").strip().lower() != "gzip":
        return await read_json(request, limits)
    require(request.headers.get("content-type", "").partition(";")[0].strip(), "application/json")
    raw = await read(request, limits)
    unfold = zlib.decompressobj(_GZIP)
    try:
        body = unfold.decompress(raw, limits.bytes_max + 1)
    except zlib.error:
        raise Problem(Kind.MALFORMED, "The body is no gzip.") from None
    if len(body) > limits.bytes_max or unfold.unconsumed_tail:
        raise _too_large(limits)
    if not unfold.eof or unfold.unused_data:
        raise Problem(Kind.MALFORMED, "The body is no whole gzip of one part.")
    return json_of(body)


async def read(request: Request, limits: BodyLimits) -> bytes:
    """A body, whole; raises `Problem`."""
    length = _length(request)
    if length is None or length > min(_SMALL_BYTES, limits.bytes_max):
        return b"".join([block async for block in blocks(request, limits)])
    try:
        async with asyncio.timeout(limits.silence_s):
            body = await request.body()
    except TimeoutError:
        raise Problem(Kind.TOO_SLOW, "The body did not come in time.", headers=_CLOSE) from None
    except ClientDisconnect:
        raise Problem(Kind.MALFORMED, "The body ended before its end.", headers=_CLOSE) from None
    return body


def json_of(raw: bytes) -> Any:
    """The value of a body of JSON; raises `Problem`."""
    try:
        return parse_json(raw)
    except InvalidRequestError as error:
        raise Problem(Kind.MALFORMED, f"{error}.", field=error.field) from None


async def read_object(request: Request, limits: BodyLimits) -> dict[str, Any]:
    """A body that is a JSON object; raises `Problem`."""
    fields = await read_json(request, limits)
    if not isinstance(fields, dict):
        raise Problem(Kind.INVALID, "The body is a JSON object with named fields.")
    return fields


async def read_document(request: Request, limits: BodyLimits, kind: type[T]) -> T:
    """A body that is a document; raises `Problem`, which names the first field that is wrong."""
    fields = await read_object(request, limits)
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        field, reason = describe(error)
        raise Problem(Kind.INVALID, f"{field}: {reason}", field=field) from None


async def read_none(request: Request) -> None:
    """Refuse a body where there is none to be.

    Raises:
        Problem: there is one.
    """
    async for _ in blocks(request, BodyLimits(0, 1.0)):
        pass
