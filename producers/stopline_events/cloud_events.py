"""CloudEvents 1.0 as they come over HTTP and streams, without IO.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md. Three forms: *structured* (one
JSON document), *binary* (attributes in header fields, the data is the body) and *batch* (an array
of documents). What the CNCF's SDK does otherwise matters here: it takes an event without a `time`
as of now, and `time` decides what a stop supersedes.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal
from urllib.parse import unquote

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from stopline.contract import Moment, describe, parse_json
from stopline.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterable

STRUCTURED: Final = "application/cloudevents+json"
BATCH: Final = "application/cloudevents-batch+json"
HEADER_PREFIX: Final = "ce-"
_Text = Annotated[str, StringConstraints(min_length=1, max_length=1024)]
_NAME: Final = re.compile(r"[a-z0-9]{1,64}")


class Event(BaseModel):
    """An event, its data already read if that is JSON.

    Attributes:
        extensions: attributes beside those of the specification.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    specversion: Literal["1.0"]
    id: _Text
    source: _Text
    type: _Text
    subject: _Text | None = None
    time: Moment | None = None
    datacontenttype: _Text | None = None
    dataschema: _Text | None = None
    data: Any = None
    extensions: Mapping[str, Any] = Field(default_factory=dict)


_ATTRIBUTES: Final = frozenset(Event.model_fields) - {"data", "extensions"}


def parse_structured(raw: bytes) -> Event:
    """An event that is one JSON document; raises `InvalidRequestError`."""
    return event_of(parse_json(raw))


def parse_binary(headers: Iterable[tuple[str, str]], content_type: str, raw: bytes) -> Event:
    """An event whose attributes are header fields, names in lower case.

    Raises:
        InvalidRequestError: it is none.
    """
    fields: dict[str, Any] = {}
    for header, value in headers:
        if not header.startswith(HEADER_PREFIX):
            continue
        name = header.removeprefix(HEADER_PREFIX)
        if name in fields:
            raise InvalidRequestError(f"{header}: it is there more than once", field=header)
        fields[name] = _decoded(header, value)
    if content_type:
        fields["datacontenttype"] = content_type
    # The CNCF's SDK leaves the type out where the sender did.
    if raw and (not content_type or is_json(content_type)):
        fields["data"] = parse_json(raw)
    if raw and "data" not in fields:
        raise InvalidRequestError("datacontenttype: the data is no JSON", field="datacontenttype")
    return event_of(fields)


def is_event(headers: Iterable[tuple[str, str]]) -> bool:
    """Whether header fields have an event's attributes."""
    return any(name == f"{HEADER_PREFIX}specversion" for name, _ in headers)


def _decoded(header: str, value: str) -> str:
    """A header's value, percent-encoded as the HTTP binding has it (§3.1.3.2)."""
    try:
        return unquote(value, errors="strict")
    except UnicodeDecodeError:
        raise InvalidRequestError(f"{header}: it is no UTF-8", field=header) from None


def event_of(fields: object) -> Event:
    """An event from the members of its JSON document; raises `InvalidRequestError`."""
    if not isinstance(fields, dict):
        raise InvalidRequestError("an event is a JSON object")
    known = {name: value for name, value in fields.items() if name in _ATTRIBUTES}
    others = {
        name: value
        for name, value in fields.items()
        if name not in _ATTRIBUTES and name not in {"data", "data_base64"}
    }
    for name in others:
        if not _NAME.fullmatch(name):
            raise InvalidRequestError(
                f"{name[:40]!r}: names of attributes have the characters a-z and 0-9 only"
            )
    present = {name: value for name, value in known.items() if value is not None}
    try:
        return Event.model_validate({**present, "data": _data(fields), "extensions": others})
    except ValidationError as error:
        field, reason = describe(error)
        raise InvalidRequestError(f"{field}: {reason}", field=field) from None


def _data(fields: dict[str, Any]) -> Any:
    if "data_base64" not in fields:
        return fields.get("data")
    if "data" in fields:
        raise InvalidRequestError("data: there is data_base64 as well", field="data")
    content_type = fields.get("datacontenttype")
    if isinstance(content_type, str) and not is_json(content_type):
        raise InvalidRequestError("datacontenttype: the data is no JSON", field="datacontenttype")
    try:
        raw = base64.b64decode(fields["data_base64"], validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise InvalidRequestError("data_base64: this is no base64", field="data_base64") from None
    return parse_json(raw)


def is_json(content_type: str) -> bool:
    """Whether a media type is JSON's."""
    name = content_type.partition(";")[0].strip().lower()
    return name in {"application/json", "text/json"} or name.endswith("+json")
