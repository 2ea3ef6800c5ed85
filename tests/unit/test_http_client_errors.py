"""Every error that an HTTP client can raise is mapped; and which client the settings choose."""

from __future__ import annotations

import inspect
import ssl
from typing import TYPE_CHECKING

import httpx
import pytest
from pyreqwest import exceptions

from stopline import InvalidSettingsError, Settings
from stopline_worker.upstream import client_choice, httpx_client, reqwest_client
from stopline_worker.upstream.client_choice import http_client_of
from stopline_worker.upstream.httpx_client import HttpxClient
from stopline_worker.upstream.reqwest_client import ReqwestClient

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Iterator

    from stopline_worker.upstream.http_client import HttpClient

    Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
    Make = Callable[..., HttpClient]


def _errors(module: object) -> Iterator[type[BaseException]]:
    for _, one in inspect.getmembers(module, inspect.isclass):
        if issubclass(one, Exception) and not issubclass(one, Warning):
            yield one


def _made(kind: type[BaseException]) -> BaseException:
    """An instance, without calling constructors that want whole requests."""
    return kind.__new__(kind)


@pytest.mark.parametrize(
    "kind", [*_errors(httpx), ssl.SSLError, ConnectionResetError, TimeoutError, OSError]
)
def test_every_error_of_httpx_is_mapped(kind: type[BaseException]) -> None:
    assert httpx_client.kind_of(_made(kind)) is not None


@pytest.mark.parametrize("kind", [KeyError, TypeError, RuntimeError])
def test_a_fault_of_our_own_is_not(kind: type[BaseException]) -> None:
    assert httpx_client.kind_of(kind()) is None


def test_every_error_of_reqwest_while_it_calls_is_mapped() -> None:
    known = [kind for kind, _ in reqwest_client.ERROR_KINDS]
    for error in _errors(exceptions):
        if issubclass(error, exceptions.PyreqwestError):
            assert any(issubclass(error, kind) for kind in known)


@pytest.mark.parametrize("module", [httpx_client, reqwest_client])
def test_no_class_stands_behind_its_base(module: object) -> None:
    kinds = module.ERROR_KINDS  # type: ignore[attr-defined]  # both have them
    for index, (kind, _) in enumerate(kinds):
        for earlier, _ in kinds[:index]:
            assert not issubclass(kind, earlier), f"{kind} is never reached"


def test_the_settings_choose(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(http_client_of(Settings.load()), ReqwestClient)
    assert isinstance(http_client_of(Settings.load(http_client="httpx")), HttpxClient)
    monkeypatch.setattr(client_choice, "find_spec", lambda _name: None)
    assert isinstance(http_client_of(Settings.load()), HttpxClient)
    with pytest.raises(InvalidSettingsError, match="STOPLINE_HTTP_CLIENT: pyreqwest"):
        http_client_of(Settings.load(http_client="reqwest"))
