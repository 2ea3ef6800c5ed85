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
    CLIENTS,
    GOOD,
    TIMEOUTS,
    answering,
    ask_with,
    get,
    kind_of,
    serving,
)

if TYPE_CHECKING:
    from tests.support.http_server import Make


@pytest.fixture(params=CLIENTS)
def make(request: pytest.FixtureRequest) -> Make:
    """One of the two clients' classes."""
    return CLIENTS[request.param]


def _tls() -> tuple[trustme.CA, ssl.SSLContext]:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return authority, context


async def _ask_over_tls(make: Make, context: ssl.SSLContext) -> Reply | NoReply:
    async with serving(answering(GOOD), context) as port:
        return await get(make(TIMEOUTS), f"https://127.0.0.1:{port}/")


def test_a_system_without_certificates_trusts_mozillas(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bare container has none, and must not keep the worker from starting."""
    monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent")
    monkeypatch.setenv("SSL_CERT_DIR", "/nonexistent")
    assert ask_with(make, answering(GOOD)) == Reply(200, b"{}")
    assert kind_of(asyncio.run(_ask_over_tls(make, _tls()[1]))) is CallErrorKind.TLS


def test_a_reply_over_tls_that_does_not_come_is_a_timeout_all_the_same(
    make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    authority, context = _tls()
    file = tmp_path_factory.mktemp("tls") / "authority.pem"
    file.write_bytes(authority.cert_pem.bytes())
    monkeypatch.setenv("SSL_CERT_FILE", str(file))

    async def ask(read_s: float) -> Reply | NoReply:
        async with serving(answering(b"", then="hang"), context) as port:
            client = make(Timeouts(connect_s=0.5, read_s=read_s, total_s=0.5))
            return await get(client, f"https://127.0.0.1:{port}/")

    for read_s in (0.2, 0.5):
        assert kind_of(asyncio.run(ask(read_s))) is CallErrorKind.TIMEOUT


def test_a_system_with_an_empty_directory_of_certificates_trusts_mozillas(
    make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent")
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path_factory.mktemp("empty")))
    assert ask_with(make, answering(GOOD)) == Reply(200, b"{}")


def test_a_certificate_of_nobody_we_know_is_a_tls_error(make: Make) -> None:
    result = asyncio.run(_ask_over_tls(make, _tls()[1]))
    assert kind_of(result) is CallErrorKind.TLS
    assert isinstance(result, NoReply)
    assert "certificate" in result.message.lower()


def test_certificates_are_trusted_as_ssl_cert_file_says(
    make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    authority, context = _tls()
    file = tmp_path_factory.mktemp("tls") / "authority.pem"
    file.write_bytes(authority.cert_pem.bytes())
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    assert asyncio.run(_ask_over_tls(make, context)) == Reply(200, b"{}")
