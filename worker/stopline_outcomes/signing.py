"""Signatures of callbacks (https://www.standardwebhooks.com). Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import Final

PREFIX: Final = "whsec_"
_BYTES: Final = range(24, 65)
"""How long a secret may be, as the specification says."""


class Secret:
    """A secret that callbacks are signed with; it appears in no text."""

    def __init__(self, text: str) -> None:
        """Take a secret as it is written; raises `ValueError`."""
        try:
            self._key = base64.b64decode(text.removeprefix(PREFIX), validate=True)
        except binascii.Error:
            self._key = b""
        if not text.startswith(PREFIX) or len(self._key) not in _BYTES:
            msg = f"a secret is {PREFIX} and 24 to 64 bytes in base64"
            raise ValueError(msg)

    def __repr__(self) -> str:
        return "Secret(…)"

    def sign(self, callback_id: str, at_s: int, body: bytes) -> str:
        """The signature, as `webhook-signature` has it."""
        signed = b".".join((callback_id.encode(), str(at_s).encode(), body))
        digest = hmac.new(self._key, signed, hashlib.sha256).digest()
        return f"v1,{base64.b64encode(digest).decode()}"


def headers(
    secrets: tuple[Secret, ...], callback_id: str, at_s: int, body: bytes
) -> list[tuple[str, str]]:
    """What says who sent a body, and when; with two secrets, during a rotation, both signatures."""
    signatures = " ".join(one.sign(callback_id, at_s, body) for one in secrets)
    return [
        ("webhook-id", callback_id),
        ("webhook-timestamp", str(at_s)),
        ("webhook-signature", signatures),
    ]
