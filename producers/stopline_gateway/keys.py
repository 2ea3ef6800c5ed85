"""Keys of callers: how they look, and what is kept of them. Pure.

A key is `slk_<id>_<secret>`. The file has its SHA-256 only; a slow hash is for what people choose,
and these are 32 random bytes.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from enum import StrEnum
from typing import Final, NamedTuple, Self

import orjson
from pydantic import Field, ValidationError

from stopline.contract import Document, Name, RateText, describe, parse_json
from stopline.errors import InvalidRequestError

MARK: Final = "slk"
"""What every key begins with, so that scanners for secrets find one that went astray."""
_ID_BYTES: Final = 5
_SECRET_BYTES: Final = 32
_KEY_CHARACTERS_MAX: Final = 200


class Scope(StrEnum):
    """What a key may do."""

    STOP = "stop"
    """Stop and resume tasks, one at a time or as events; cancel what it asked for itself."""
    BULK = "bulk"
    """Send batches."""
    READ = "read"
    """See requests, outcomes, batches and dead letters, whoever sent them."""
    OPERATE = "operate"
    """Cancel anything; send dead letters again, or drop them."""


class KeyLine(Document):
    """A key as the file has it, one a line."""

    id: str = Field(pattern=r"^[a-z2-7]{1,32}$")
    source: Name
    scopes: tuple[Scope, ...] = Field(min_length=1)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    rate: RateText | None = None

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """A line of the file; raises `InvalidRequestError`."""
        try:
            return cls.model_validate(parse_json(raw))
        except ValidationError as error:
            field, reason = describe(error)
            raise InvalidRequestError(f"{field}: {reason}", field=field) from None

    def to_line(self) -> str:
        """The line itself."""
        return orjson.dumps(self.model_dump(mode="json", exclude_none=True)).decode()

    def is_of(self, key: str) -> bool:
        """Whether this is the line of a key; takes as long whether it is or not."""
        return hmac.compare_digest(_hash(key), self.sha256)


class NewKey(NamedTuple):
    """A key that was just made: nobody can be told it again."""

    key: str
    line: KeyLine


def new_key(source: str, scopes: tuple[Scope, ...], rate: str | None = None) -> NewKey:
    """Make a key; raises `InvalidRequestError` where source or rate are wrong."""
    key_id = _base32(secrets.token_bytes(_ID_BYTES))
    key = f"{MARK}_{key_id}_{secrets.token_urlsafe(_SECRET_BYTES)}"
    fields = {"id": key_id, "source": source, "scopes": scopes, "rate": rate, "sha256": _hash(key)}
    try:
        return NewKey(key, KeyLine.model_validate(fields))
    except ValidationError as error:
        field, reason = describe(error)
        raise InvalidRequestError(f"{field}: {reason}", field=field) from None


def id_of(key: str) -> str | None:
    """The id in a key; None where it is none of ours."""
    mark, _, rest = key.partition("_")
    key_id, _, secret = rest.partition("_")
    is_one = mark == MARK and key_id and secret and len(key) <= _KEY_CHARACTERS_MAX
    return key_id if is_one else None


NOBODY: Final = KeyLine(id="a", source="nobody", scopes=(Scope.READ,), sha256="0" * 64)
"""In the place of the line of an unknown id, so that looking takes as long."""


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()


def _base32(some: bytes) -> str:
    from base64 import b32encode  # noqa: PLC0415  # only where a key is made

    return b32encode(some).decode().lower()
