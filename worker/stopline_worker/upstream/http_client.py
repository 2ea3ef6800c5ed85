"""The seam to HTTP: what a call needs of a client.

There are two (`client_choice.py`), under one suite of tests (`tests/unit/test_http_clients*.py`):

| client | for |
|---|---|
| reqwest (`reqwest_client.py`) | speed, and kept connections: the default where its wheel is |
| httpx (`httpx_client.py`) | everywhere, with any transport of httpx's; a connection a call |

Both speak HTTP/1.1 and follow no redirects, keep no cookies, decode no bodies, send nothing twice
and read no proxies from the environment; what their users must not do, they cannot.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stopline_worker.upstream.reply import NoReply, Reply


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long to wait, in seconds: for a connection, for a reply to begin or go on, in all."""

    connect_s: float
    read_s: float
    total_s: float


class HttpClient(Protocol):
    """Makes calls. For one event loop; `close()` it."""

    async def get(self, url: str, headers: Mapping[str, str]) -> Reply | NoReply:
        """Make one call; what ends it without a reply is a `NoReply`, not an exception.

        Args:
            url: all of it, quoted.
            headers: not changed afterwards: what a client makes of them, it may keep.
        """

    async def close(self) -> None:
        """Close the connections."""
