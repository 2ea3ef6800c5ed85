"""Settings: environment variables with the prefix `STOPLINE_`, also from a `.env` file.

Secrets may come from files (`…_FILE`), as container platforms hand them out. Limits are checked
against each other, because a lease that ends before its call would make two calls of one.
"""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Self
from urllib.parse import quote, urlsplit

from pydantic import (
    Field,
    HttpUrl,
    PositiveFloat,
    PositiveInt,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from stopline.errors import InvalidSettingsError
from stopline.sentinel import SCHEMES, is_sentinel, parse_sentinels

PREFIX = "STOPLINE_"


def variable(field: str) -> str:
    """The environment variable of a field."""
    return PREFIX + field.upper()


class Durability(StrEnum):
    """What a receipt promises of the disk."""

    SERVER = "server"
    """As much as the server's own `appendfsync` does: with everysec, all but the last second."""
    FSYNC = "fsync"
    """The server's append-only file is on disk before there is a receipt."""


class Settings(BaseSettings):
    """Every setting with its default; times in seconds. Build it with `load()`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    # The upstream API.
    api_url: HttpUrl = HttpUrl("https://ai.api.longlonglong.cn")
    api_token: SecretStr | None = None
    api_token_file: Path | None = None
    """Read again when the API says 401 or 403: the token may have been rotated."""
    api_proxy: SecretStr | None = None
    """A proxy for the calls; those of the environment (HTTPS_PROXY …) are not used."""

    # Redis and the broker.
    redis_url: SecretStr | None = None
    """Ledger and results. None: the embedded server."""
    redis_url_file: Path | None = None
    redis_password: SecretStr | None = None
    """Put into `redis_url` where that has none, so that only this part is a secret."""
    redis_password_file: Path | None = None
    sentinel_password: SecretStr | None = None
    """Of the Sentinels themselves, where they have one."""
    sentinel_password_file: Path | None = None
    redis_ca_file: Path | None = None
    """Whom to trust for `rediss://`, beside the system's authorities; for the broker as well."""
    redis_cert_file: Path | None = None
    """A client certificate, with its key; for the broker as well."""
    redis_key_file: Path | None = None
    broker_url: SecretStr | None = None
    """None: the same as `redis_url`."""
    broker_url_file: Path | None = None
    durability: Durability = Durability.SERVER
    data_dir: Path = Path(".stopline")
    """The embedded server's files."""

    # One call.
    connect_timeout_s: PositiveFloat = 5
    read_timeout_s: PositiveFloat = 15
    call_timeout_s: PositiveFloat = 20
    """The whole call, however slowly its reply drips."""

    # Retries.
    max_attempts: PositiveInt = 8
    backoff_base_s: PositiveFloat = 0.5
    backoff_cap_s: PositiveFloat = 60
    deadline_s: PositiveFloat = 3600
    """Until when a request without `not_after` may be called for, from its acceptance."""

    # The worker.
    max_in_flight: PositiveInt = Field(default=100, le=10_000)
    """Calls at a time, per worker process."""
    lease_s: PositiveFloat = 30
    drain_s: float = Field(default=20, ge=0)
    """How long calls in flight may go on after SIGTERM."""
    visibility_timeout_s: PositiveInt = 120
    """After this long the broker gives a message of a dead worker to another one."""

    # How long things are kept.
    result_ttl_s: PositiveInt = 7 * 86400
    dead_letter_ttl_s: PositiveInt = 14 * 86400
    idempotency_ttl_s: PositiveInt = 86400

    @model_validator(mode="after")
    def _limits_nest(self) -> Self:
        for smaller, larger in (
            ("connect_timeout_s", "call_timeout_s"),
            ("read_timeout_s", "call_timeout_s"),
            ("backoff_base_s", "backoff_cap_s"),
            ("idempotency_ttl_s", "result_ttl_s"),
            ("deadline_s", "result_ttl_s"),
        ):
            self._check(smaller, larger, strictly=False)
        self._check("call_timeout_s", "lease_s", strictly=True)
        self._check("lease_s", "visibility_timeout_s", strictly=True)
        return self

    def _check(self, smaller: str, larger: str, *, strictly: bool) -> None:
        low, high = getattr(self, smaller), getattr(self, larger)
        if low > high or (strictly and low == high):
            relation = "less than" if strictly else "at most"
            msg = f"{variable(smaller)} ({low:g}) must be {relation} {variable(larger)} ({high:g})"
            raise ValueError(msg)

    @field_validator("redis_url")
    @classmethod
    def _is_redis(cls, value: SecretStr | None) -> SecretStr | None:
        if value and value.get_secret_value().partition("://")[0] not in SCHEMES:
            msg = f"the ledger's address begins with {', '.join(f'{one}://' for one in SCHEMES)}"
            raise ValueError(msg)
        return value

    @field_validator("redis_url", "broker_url")
    @classmethod
    def _names_sentinels(cls, value: SecretStr | None) -> SecretStr | None:
        if value and is_sentinel(value.get_secret_value()):
            try:
                parse_sentinels(value.get_secret_value())
            except InvalidSettingsError as error:
                raise ValueError(str(error)) from None
        return value

    @field_validator("redis_ca_file", "redis_cert_file", "redis_key_file")
    @classmethod
    def _is_readable(cls, value: Path | None) -> Path | None:
        if value is not None:
            try:
                value.open("rb").close()
            except OSError as error:
                msg = f"cannot read {value}: {error.strerror}"
                raise ValueError(msg) from None
        return value

    @model_validator(mode="after")
    def _certificate_has_its_key(self) -> Self:
        if (self.redis_cert_file is None) != (self.redis_key_file is None):
            msg = f"set {variable('redis_cert_file')} and {variable('redis_key_file')} together"
            raise ValueError(msg)
        return self

    @field_validator("api_proxy")
    @classmethod
    def _is_proxy(cls, value: SecretStr | None) -> SecretStr | None:
        parts = urlsplit(value.get_secret_value()) if value else None
        if parts and not (parts.scheme in {"http", "https"} and parts.hostname):
            msg = "a proxy is an http:// or https:// address"  # never the value: it has a password
            raise ValueError(msg)
        return value

    @model_validator(mode="after")
    def _one_source_each(self) -> Self:
        for field in (
            "api_token",
            "redis_url",
            "redis_password",
            "sentinel_password",
            "broker_url",
        ):
            if getattr(self, field) is not None and getattr(self, f"{field}_file") is not None:
                msg = f"set either {variable(field)} or {variable(field)}_FILE, not both"
                raise ValueError(msg)
        return self

    @classmethod
    def load(cls, **overrides: object) -> Self:
        """Read the settings.

        Raises:
            InvalidSettingsError: naming each variable that is wrong, and what is wrong with it.
        """
        try:
            return cls(**overrides)  # type: ignore[arg-type]  # checked by pydantic itself
        except ValidationError as error:
            lines = [
                ": ".join(
                    [
                        *(variable(str(part)) for part in one["loc"][:1]),
                        one["msg"].removeprefix("Value error, "),
                    ]
                )
                for one in error.errors(include_url=False, include_input=False)
            ]
            raise InvalidSettingsError("Settings are wrong: " + "; ".join(lines)) from None

    def ledger_url(self) -> str | None:
        """The ledger's URL with its password, or None for the embedded server."""
        url = self._secret("redis_url")
        return None if url is None else _with_password(url, self._secret("redis_password"))

    def sentinels_password(self) -> str | None:
        """The password of the Sentinels themselves."""
        return self._secret("sentinel_password")

    def queue_url(self, ledger_url: str) -> str:
        """The broker's URL with its password; the ledger's where none is set."""
        return self._secret("broker_url") or ledger_url

    def _secret(self, field: str) -> str | None:
        value: SecretStr | None = getattr(self, field)
        if value is not None:
            return value.get_secret_value()
        path: Path | None = getattr(self, f"{field}_file")
        return None if path is None else read_secret(path, f"{variable(field)}_FILE")


def read_secret(path: Path, name: str) -> str:
    """The content of a secret's file, without its last line break.

    Raises:
        InvalidSettingsError: the file cannot be read, or is empty.
    """
    try:
        secret = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise InvalidSettingsError(f"{name}: cannot read {path}: {reason}") from None
    if not secret:
        raise InvalidSettingsError(f"{name}: {path} is empty")
    return secret


def _with_password(url: str, password: str | None) -> str:
    scheme, _, rest = url.partition("://")
    place = re.split("[/?#]", rest, maxsplit=1)[0]
    credentials, _, hosts = place.rpartition("@")
    username, _, given = credentials.partition(":")
    if password is None or given:
        return url
    return f"{scheme}://{username}:{quote(password, safe='')}@{hosts}{rest[len(place) :]}"
