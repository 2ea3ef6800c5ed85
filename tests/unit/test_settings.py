"""Settings: where they come from, and how they must fit."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from stopline.errors import InvalidSettingsError
from stopline.servers.redis_server import RedisServer
from stopline.settings import names
from stopline.settings.model import Settings
from stopline.settings.names import FIELDS
from stopline.settings.sentinel import parse_sentinels
from stopline_worker.upstream.api_token import ApiToken
from tests.conftest import wait_until

if TYPE_CHECKING:
    from pathlib import Path


def test_defaults_fit_together() -> None:
    settings = Settings.load()
    assert settings.call_timeout_s < settings.lease_s < settings.visibility_timeout_s
    assert settings.ledger_url() is None


def test_variables_and_a_dotenv_file_are_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("STOPLINE_LEASE_S=44\nSTOPLINE_MAX_ATTEMPTS=3\n")
    monkeypatch.setenv("STOPLINE_MAX_ATTEMPTS", "5")
    settings = Settings.load()
    assert (settings.lease_s, settings.max_attempts) == (44, 5)


def test_secrets_come_from_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("p@ss/w:rd\n")
    monkeypatch.setenv("STOPLINE_REDIS_URL", "redis://redis:6379/0")
    monkeypatch.setenv("STOPLINE_REDIS_PASSWORD_FILE", str(tmp_path / "password"))
    settings = Settings.load()
    assert settings.ledger_url() == "redis://:p%40ss%2Fw%3Ard@redis:6379/0"
    assert settings.queue_url("ledger") == "ledger"


@pytest.mark.parametrize("content", [None, "", "\n"])
def test_a_secret_that_cannot_be_read_is_named(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "token"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InvalidSettingsError, match="STOPLINE_API_TOKEN_FILE"):
        ApiToken.from_settings(Settings.load(api_token_file=path))


def test_nothing_that_prints_shows_a_secret() -> None:
    settings = Settings.load(api_token="s3cret", redis_url="redis://:s3cret@h/0")
    token = ApiToken.from_settings(settings)
    for text in (repr(settings), str(settings), repr(token), str(token), f"{token}"):
        assert "s3cret" not in text


def test_a_token_is_read_again_and_a_broken_file_keeps_the_old_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "token"
    path.write_text("old")
    token = ApiToken.from_settings(Settings.load(api_token_file=path))
    path.write_text("new\n")
    token.reread()
    wait_until(lambda: token.credential.authorization == "Bearer new")
    path.unlink()
    token.reread()
    wait_until(lambda: "cannot read" in caplog.text)
    assert token.credential.authorization == "Bearer new"


@pytest.mark.timeout(30)
def test_a_token_file_that_is_no_file_is_refused_and_holds_nobody_up(tmp_path: Path) -> None:
    """Reading a FIFO waits for somebody to write it."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    with pytest.raises(InvalidSettingsError, match="is no regular file"):
        ApiToken.from_settings(Settings.load(api_token_file=path))


@pytest.mark.parametrize("bad", ["a b", "a\nb", "ü", ""])
def test_a_token_is_visible_ascii(bad: str) -> None:
    with pytest.raises(InvalidSettingsError):
        ApiToken(bad)


def test_an_address_of_sentinels_is_read() -> None:
    found = parse_sentinels("redis-sentinel://me:p%40ss@one,two:7,[::1]:8/3#mymaster")
    assert found.hosts == (("one", 26379), ("two", 7), ("::1", 8))
    assert (found.username, found.password) == ("me", "p@ss")
    assert (found.service, found.database) == ("mymaster", 3)
    assert "p@ss" not in repr(found)


@pytest.mark.parametrize(
    "url",
    [
        "redis-sentinel://one",
        "redis-sentinel:///0#mymaster",
        "redis-sentinel://one/x#mymaster",
        "redis-sentinel://one:x/0#mymaster",
    ],
)
def test_a_wrong_address_of_sentinels_is_refused(url: str) -> None:
    for field in ("redis_url", "broker_url"):
        with pytest.raises(InvalidSettingsError, match=f"STOPLINE_{field.upper()}"):
            Settings.load(**{field: url})


def test_each_address_for_celery_is_whole() -> None:
    """After an error kombu goes on with the next one alone."""
    settings = Settings.load(redis_url="redis-sentinel://:secret@one,[::1]:7/1#m")
    server = RedisServer.of(str(settings.ledger_url()), settings)
    assert server.celery_url == "sentinel://:secret@one:26379/1;sentinel://:secret@[::1]:7/1"
    assert server.celery_transport_options["master_name"] == "m"
    assert "secret" not in repr(server)


def test_a_certificate_needs_its_key_and_both_need_to_be_there(tmp_path: Path) -> None:
    there = tmp_path / "cert.pem"
    there.write_text("x")
    with pytest.raises(InvalidSettingsError, match="STOPLINE_REDIS_KEY_FILE together"):
        Settings.load(redis_cert_file=there)
    with pytest.raises(InvalidSettingsError, match="STOPLINE_REDIS_CA_FILE: cannot read"):
        Settings.load(redis_ca_file=tmp_path / "none.pem")


@pytest.mark.parametrize(
    ("url", "whole"),
    [
        ("redis://host:1/0", "redis://:p%40ss@host:1/0"),
        ("rediss://me@host/0?a=1", "rediss://me:p%40ss@host/0?a=1"),
        ("redis://:own@host", "redis://:own@host"),
        ("redis-sentinel://one,[::1]:7/1#m", "redis-sentinel://:p%40ss@one,[::1]:7/1#m"),
        ("unix:///run/redis.sock", "unix://:p%40ss@/run/redis.sock"),
    ],
)
def test_the_password_goes_into_the_address_where_it_has_none(url: str, whole: str) -> None:
    assert Settings.load(redis_url=url, redis_password="p@ss").ledger_url() == whole


def test_the_fields_that_code_may_give_are_the_settings() -> None:
    assert set(FIELDS) == set(Settings.model_fields)


@pytest.mark.parametrize("make", [Settings, Settings.load])
def test_an_unknown_name_in_code_is_an_error_with_the_nearest(make: Any) -> None:
    with pytest.raises(InvalidSettingsError, match="'redis_ulr'; did you mean redis_url"):
        make(redis_ulr="redis://localhost")


def test_a_misspelt_variable_is_said_with_the_nearest(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setattr(names, "_warned", set())
    monkeypatch.setenv("STOPLINE_REDIS_ULR", "redis://localhost")
    (tmp_path / ".env").write_text("STOPLINE_MAX_ATEMPTS=3\nOTHER=1\nAPI_TOKEN=x\n")
    Settings.load()
    Settings.load()
    said = [one.getMessage() for one in caplog.records]
    assert said == [
        "STOPLINE_REDIS_ULR (in the environment) is no setting; did you mean STOPLINE_REDIS_URL?",
        "STOPLINE_MAX_ATEMPTS (in .env) is no setting; did you mean STOPLINE_MAX_ATTEMPTS?",
        "API_TOKEN (in .env) is no setting; did you mean STOPLINE_API_TOKEN?",
    ]


@pytest.mark.parametrize("mode", [0o646, 0o666])
def test_settings_that_others_may_write_are_refused(tmp_path: Path, mode: int) -> None:
    """They would decide where the token is sent."""
    path = tmp_path / ".env"
    path.write_text("STOPLINE_API_URL=https://evil.example\n")
    path.chmod(mode)
    with pytest.raises(InvalidSettingsError, match="can be written by others"):
        Settings.load()
    path.chmod(0o644)
    assert str(Settings.load().api_url) == "https://evil.example/"


def test_a_dotenv_that_is_no_text_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"STOPLINE_REASON=\xe9\n")
    with pytest.raises(InvalidSettingsError, match="is no UTF-8"):
        Settings.load()


@pytest.mark.parametrize("field", ["redis_url", "broker_url"])
@pytest.mark.parametrize(
    "address",
    [
        "redis://:pa#s3cret@localhost:6379/0",
        "redis://:s3cret/x@localhost",
        "redis://:s3cret@localhost:port",
        "redis://:s3cret@[::1",
        "redis://",
        "ampq://guest:s3cret@localhost",
        "localhost:6379",
    ],
)
def test_an_address_that_cannot_be_read_is_one_sentence_without_it(
    field: str, address: str, tmp_path: Path
) -> None:
    with pytest.raises(InvalidSettingsError) as error:
        Settings.load(**{field: address})
    assert "s3cret" not in str(error.value)
    assert f"STOPLINE_{field.upper()}: the " in str(error.value)
    path = tmp_path / "url"
    path.write_text(address)
    from_file = Settings.load(**{f"{field}_file": path})
    with pytest.raises(InvalidSettingsError) as error:
        from_file.ledger_url() if field == "redis_url" else from_file.queue_url("redis://x")
    assert "s3cret" not in str(error.value)


@pytest.mark.parametrize(
    "values",
    [
        {"result_ttl_s": 10**16},
        {"max_attempts": 10**21},
        {"deadline_s": float("inf")},
        {"deadline_s": float("nan")},
        {"dead_letter_ttl_s": 3600},
        {"backoff_cap_s": 1e300},
    ],
)
def test_what_redis_could_not_count_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(InvalidSettingsError):
        Settings.load(**values)
