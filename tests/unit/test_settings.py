"""Settings: where they come from, and how they must fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from stopline.errors import InvalidSettingsError
from stopline.settings import Settings
from stopline_worker.api_token import ApiToken

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


def test_a_token_is_read_again_and_a_broken_file_keeps_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("old")
    token = ApiToken.from_settings(Settings.load(api_token_file=path))
    assert not token.reread()
    path.write_text("new\n")
    assert token.reread()
    assert token.authorization() == "Bearer new"
    path.unlink()
    assert not token.reread()
    assert token.authorization() == "Bearer new"


@pytest.mark.parametrize("bad", ["a b", "a\nb", "ü", ""])
def test_a_token_is_visible_ascii(bad: str) -> None:
    with pytest.raises(InvalidSettingsError):
        ApiToken(bad)
