"""Addresses of Redis and brokers: which may be given, and what is wrong with one. Pure.

What is wrong with an address is said without the address: it may hold a password.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from stopline.errors import InvalidSettingsError
from stopline.settings.sentinel import SCHEMES, is_sentinel, parse_sentinels

BROKER_SCHEMES: Final = (*SCHEMES, "amqp", "amqps", "pyamqp")
"""How the address of a broker may begin: what Stopline was tried with."""
_PATHS: Final = ("unix",)
"""Schemes whose addresses name a file, not a host."""


def check_ledger_address(url: str) -> None:
    """Check the address of the ledger.

    Raises:
        InvalidSettingsError: it is of no Redis, or cannot be read.
    """
    _check(url, SCHEMES, "the ledger's address")


def check_broker_address(url: str) -> None:
    """Check the address of the broker.

    Raises:
        InvalidSettingsError: it is of no broker that Stopline knows, or cannot be read.
    """
    _check(url, BROKER_SCHEMES, "the broker's address")


def _check(url: str, schemes: tuple[str, ...], what: str) -> None:
    scheme, separator, _ = url.partition("://")
    if not separator or scheme not in schemes:
        known = ", ".join(f"{one}://" for one in schemes)
        raise InvalidSettingsError(f"{what} begins with {known}")
    if is_sentinel(url):
        parse_sentinels(url)
    elif scheme not in _PATHS and not _names_a_host(url):
        raise InvalidSettingsError(
            f"{what} cannot be read: it is {scheme}://[[USER]:PASSWORD@]HOST[:PORT][/…]. In a "
            "password, characters like # / ? @ are written as %23 %2F %3F %40 (for Redis, it may "
            "also stand in STOPLINE_REDIS_PASSWORD as it is)"
        )


def _names_a_host(url: str) -> bool:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # its message repeats a part of the address
        return False
    # An @ behind the host was meant to stand before it: something in the password ended that early.
    is_whole = not parts.fragment and "@" not in parts.path + parts.query
    return bool(parts.hostname) and is_whole and port != 0
