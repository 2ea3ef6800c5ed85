"""Which HTTP client makes the calls."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from stopline.errors import InvalidSettingsError
from stopline.settings.model import HttpClientKind
from stopline_worker.upstream.http_client import Timeouts

if TYPE_CHECKING:
    from stopline.settings.model import Settings
    from stopline_worker.upstream.http_client import HttpClient


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
