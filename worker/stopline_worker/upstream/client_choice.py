"""Which HTTP client makes the calls."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, assert_never

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
    check_http_client(settings)
    match settings.http_client or _best_installed():
        case HttpClientKind.REQWEST:
            from stopline_worker.upstream.reqwest_client import (  # noqa: PLC0415  # where it is there
                ReqwestClient,
            )

            return ReqwestClient(timeouts, proxy=proxy)
        case HttpClientKind.HTTPX:
            from stopline_worker.upstream.httpx_client import HttpxClient  # noqa: PLC0415  # the same

            return HttpxClient(timeouts, proxy=proxy)
        case other:
            assert_never(other)


def _best_installed() -> HttpClientKind:
    return HttpClientKind.REQWEST if _has_reqwest() else HttpClientKind.HTTPX


def _has_reqwest() -> bool:
    return find_spec("pyreqwest") is not None


def check_http_client(settings: Settings) -> None:
    """Check, before anything is started, that there is the client that the settings ask for.

    Raises:
        InvalidSettingsError: it is not installed.
    """
    if settings.http_client is HttpClientKind.REQWEST and not _has_reqwest():
        raise InvalidSettingsError(
            "STOPLINE_HTTP_CLIENT: pyreqwest is not installed; install it, or leave this out"
        )
