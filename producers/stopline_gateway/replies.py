"""How replies are written, and what the OpenAPI document says of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson
from starlette.responses import Response

from stopline_gateway.documents import ProblemDocument
from stopline_gateway.problems import MEDIA_TYPE, Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

_OPTIONS: Final = orjson.OPT_NON_STR_KEYS
"""Enum members serve as keys, too."""


def json_reply(
    document: object, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """A reply of JSON; documents are written by their own `to_json` before."""
    body = orjson.dumps(document, option=_OPTIONS)
    return Response(body, status, headers, media_type="application/json")


_ALWAYS: Final = (
    Kind.MALFORMED,
    Kind.UNAUTHORIZED,
    Kind.FORBIDDEN,
    Kind.INVALID,
    Kind.RATE,
    Kind.HEAD,
    Kind.UNAVAILABLE,
    Kind.INTERNAL,
)
"""What may be wrong with any call."""
BODY: Final = (Kind.TOO_SLOW, Kind.TOO_LARGE, Kind.MEDIA_TYPE)
"""What else may be wrong with one that has a body."""


def problems(*kinds: Kind) -> dict[int | str, dict[str, Any]]:
    """What an operation may answer beside what it is for, for the OpenAPI document."""
    by_status: dict[int | str, list[Kind]] = {}
    for kind in (*_ALWAYS, *kinds):
        by_status.setdefault(kind.value.status, []).append(kind)
    return {
        status: {
            "description": " ".join(kind.value.title for kind in some),
            "content": {MEDIA_TYPE: {"schema": _REFERENCE}},
            **({"headers": _RETRY} if status in {429, 503} else {}),
        }
        for status, some in sorted(by_status.items(), key=lambda pair: str(pair[0]))
    }


_REFERENCE: Final = {"$ref": f"#/components/schemas/{ProblemDocument.__name__}"}
_RETRY: Final = {
    "Retry-After": {"description": "Seconds until one more call.", "schema": {"type": "integer"}}
}


def body_of(content: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What the OpenAPI document says of a body that a route reads itself."""
    return {"requestBody": {"required": True, "content": dict(content)}}
