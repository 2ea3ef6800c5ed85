"""The seam to HTTP: what a call needs of a client, and which client that is.

There are two, under one suite of tests (`tests/unit/test_http_clients.py`):

| client | for |
|---|---|
| reqwest (`reqwest_client.py`) | speed: the default where its wheel is installed |
| httpx (`httpx_client.py`) | everywhere, and with any transport that httpx can be given |

Both speak HTTP/1.1 and follow no redirects, keep no cookies, decode no bodies, send nothing twice
and read no proxies from the environment; what their users must not do, they cannot.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Protocol

from stopline.errors import InvalidSettingsError
from stopline.settings.model import HttpClientKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stopline.settings.model import Settings
    from stopline_worker.upstream.reply import NoReply, Reply


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long to wait, in seconds: for a connection, for the next piece of a reply, in all."""

    connect_s: float
    read_s: float
    total_s: float


class HttpClient(Protocol):
    """Makes calls over kept connections. For one event loop; `close()` it."""

    async def get(self, url: str, headers: Mapping[str, str]) -> Reply | NoReply:
        """Make one call; what ends it without a reply is a `NoReply`, not an exception.

        Args:
            url: all of it, quoted.
            headers: not changed afterwards: what a client makes of them, it may keep.
        """

    async def close(self) -> None:
        """Close the connections."""


def http_client_of(settings: Settings) -> HttpClient:
    """The client that the settings ask for.

    Raises:
        InvalidSettingsError: it is not installed.
    """
    timeouts = Timeouts(
        settings.connect_timeout_s, settings.read_timeout_s, settings.call_timeout_s
    )
    proxy = settings.api_proxy.get_secret_value() if settings.api_proxy else None
    is_there = find_spec("pyreqwest") is not None
    if settings.http_client is HttpClientKind.REQWEST and not is_there:
        raise InvalidSettingsError(
            "STOPLINE_HTTP_CLIENT: pyreqwest is not installed; install it, or leave this out"
        )
    if is_there and settings.http_client is not HttpClientKind.HTTPX:
        from stopline_worker.upstream.reqwest_client import ReqwestClient  # noqa: PLC0415  # if there

        return ReqwestClient(timeouts, proxy=proxy)
    from stopline_worker.upstream.httpx_client import HttpxClient  # noqa: PLC0415  # the other one

    return HttpxClient(timeouts, proxy=proxy)
