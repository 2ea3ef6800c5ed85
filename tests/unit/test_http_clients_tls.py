"""Both HTTP clients keep one contract about certificates, too."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING

import pytest
import trustme

from stopline_worker.upstream.http_client import Timeouts
from stopline_worker.upstream.reply import CallErrorKind, NoReply, Reply
from tests.support.http_server import (
    GOOD,
    TIMEOUTS,
    answering,
    ask_with,
    error_kind,
    get,
    serving,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.http_server import Make


def _server_of(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture
def unknown() -> ssl.SSLContext:
    """A server whose certificate is of nobody we know."""
    return _server_of(trustme.CA())


@pytest.fixture
def trusted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ssl.SSLContext:
    """A server whose authority `SSL_CERT_FILE` names."""
    authority = trustme.CA()
    file = tmp_path / "authority.pem"
    file.write_bytes(authority.cert_pem.bytes())
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    return _server_of(authority)


async def _ask_over_tls(make: Make, context: ssl.SSLContext) -> Reply | NoReply:
    async with serving(answering(GOOD), context) as port:
        return await get(make(TIMEOUTS), f"https://127.0.0.1:{port}/")


def test_a_system_without_certificates_trusts_mozillas(
    make: Make, monkeypatch: pytest.MonkeyPatch, unknown: ssl.SSLContext
) -> None:
    """A bare container has none, and must not keep the worker from starting."""
    monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent")
    monkeypatch.setenv("SSL_CERT_DIR", "/nonexistent")
    assert ask_with(make, answering(GOOD)) == Reply(200, b"{}")
    assert error_kind(asyncio.run(_ask_over_tls(make, unknown))) is CallErrorKind.TLS


def test_a_reply_over_tls_that_does_not_come_is_a_timeout_all_the_same(
    make: Make, trusted: ssl.SSLContext
) -> None:
    async def ask(read_s: float) -> Reply | NoReply:
        async with serving(answering(b"", then="hang"), trusted) as port:
            client = make(Timeouts(connect_s=0.5, read_s=read_s, total_s=0.5))
            return await get(client, f"https://127.0.0.1:{port}/")

    for read_s in (0.2, 0.5):
        assert error_kind(asyncio.run(ask(read_s))) is CallErrorKind.TIMEOUT


def test_a_system_with_an_empty_directory_of_certificates_trusts_mozillas(
    make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent")
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    assert ask_with(make, answering(GOOD)) == Reply(200, b"{}")


def test_a_certificate_of_nobody_we_know_is_a_tls_error(
    make: Make, unknown: ssl.SSLContext
) -> None:
    result = asyncio.run(_ask_over_tls(make, unknown))
    assert error_kind(result) is CallErrorKind.TLS
    assert isinstance(result, NoReply)
    assert "certificate" in result.message.lower()


def test_certificates_are_trusted_as_ssl_cert_file_says(
    make: Make, trusted: ssl.SSLContext
) -> None:
    assert asyncio.run(_ask_over_tls(make, trusted)) == Reply(200, b"{}")
