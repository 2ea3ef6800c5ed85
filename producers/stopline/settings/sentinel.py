"""The address of a Redis whose master Sentinels name.

redis-py has none, so it is that of the Lettuce client:

    redis-sentinel://[[user]:password@]host[:26379][,host…][/database]#service
    rediss-sentinel://…   the same with TLS, to the Sentinels as well
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote

from stopline.errors import InvalidSettingsError

SCHEMES: Final = ("redis", "rediss", "unix", "redis-sentinel", "rediss-sentinel")
"""How the address of a Redis may begin."""
_SENTINEL_PORT: Final = 26379
# Not urllib's parser: it refuses a list of hosts with an IPv6 address in it.
_ADDRESS: Final = re.compile(
    r"rediss?-sentinel://"
    r"(?:(?P<username>[^:@/]*):(?P<password>[^@/]*)@)?"
    r"(?P<places>[^@/#?]+)(?:/(?P<database>\d*))?#(?P<service>[^#]+)"
)


@dataclass(frozen=True, slots=True)
class Sentinels:
    """The Sentinels of a service, and what they are asked for."""

    hosts: tuple[tuple[str, int], ...]
    service: str
    database: int
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    own_password: str | None = field(default=None, repr=False)


def is_sentinel(url: str) -> bool:
    """Whether an address is one of Sentinels."""
    return url.partition("://")[0].endswith("-sentinel")


def parse_sentinels(url: str, own_password: str | None = None) -> Sentinels:
    """Read an address of Sentinels.

    Raises:
        InvalidSettingsError: it is malformed; the message does not repeat it.
    """
    match = _ADDRESS.fullmatch(url)
    if match is None:
        raise InvalidSettingsError(
            "an address of Sentinels is redis-sentinel://HOST[:PORT][,HOST…][/DATABASE]#SERVICE"
        )
    return Sentinels(
        hosts=tuple(_place(place) for place in match["places"].split(",")),
        service=unquote(match["service"]),
        database=int(match["database"] or 0),
        username=unquote(match["username"] or "") or None,
        password=unquote(match["password"] or "") or None,
        own_password=own_password,
    )


def _place(place: str) -> tuple[str, int]:
    host, _, port = place.rpartition(":") if not place.endswith("]") else (place, "", "")
    if not host:
        host, port = place, ""
    if not (host and (port.isdigit() or not port)):
        raise InvalidSettingsError("a Sentinel's place is HOST or HOST:PORT")
    return host.strip("[]"), int(port or _SENTINEL_PORT)
