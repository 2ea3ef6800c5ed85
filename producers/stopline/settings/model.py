"""Settings: environment variables with the prefix `STOPLINE_`, also from a `.env` file.

Secrets may come from files (`…_FILE`), as container platforms hand them out. Limits are checked
against each other, because a lease that ends before its call would make two calls of one.
"""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import quote, urlsplit

from pydantic import (
    Field,
    HttpUrl,
    NonNegativeInt,
    PositiveInt,
    SecretStr,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import SettingsConfigDict

from stopline.contract import BreakerText, RateText  # noqa: TC001  # pydantic reads them
from stopline.errors import InvalidSettingsError
from stopline.settings.addresses import check_broker_address, check_ledger_address
from stopline.settings.environment import LONGEST_S, EnvironmentSettings, Seconds, WholeSeconds
from stopline.settings.names import PREFIX, variable

if TYPE_CHECKING:
    from typing import Unpack

    from stopline.settings.names import SettingsFields


class Durability(StrEnum):
    """What a receipt promises of the disk."""

    SERVER = "server"
    """As much as the server's own `appendfsync` does: with everysec, all but the last second."""
    FSYNC = "fsync"
    """The server's append-only file is on disk before there is a receipt."""


class HttpClientKind(StrEnum):
    """What makes the calls."""

    REQWEST = "reqwest"
    """The Rust client, for speed."""
    HTTPX = "httpx"
    """Pure Python."""


class VerifyDialect(StrEnum):
    """How the API lists tasks."""

    V1 = "v1"
    """`/agent-api/user/…/task`: a `status`."""
    V2 = "v2"
    """`/agent-api/new/user/…/task`: `enable` and `call_status`."""


class Settings(EnvironmentSettings):
    """Every setting with its default; times in seconds. Build it with `load()`."""

    model_config = SettingsConfigDict(env_prefix=PREFIX)

    # The upstream API.
    api_url: HttpUrl = HttpUrl("https://ai.api.longlonglong.cn")
    api_token: SecretStr | None = None
    api_token_file: Path | None = None
    """Read again when the API says 401 or 403: the token may have been rotated."""
    api_proxy: SecretStr | None = None
    """A proxy for the calls; those of the environment (HTTPS_PROXY …) are not used."""
    http_client: HttpClientKind | None = None
    """What makes the calls. None: reqwest where its wheel is installed, else httpx."""

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
    connect_timeout_s: Seconds = 5
    read_timeout_s: Seconds = 15
    call_timeout_s: Seconds = 20
    """The whole call, however slowly its reply drips."""

    # Retries.
    max_attempts: PositiveInt = Field(default=8, le=1_000_000)
    """Of attempts whose replies speak of the request and settle nothing: unknown codes, unreadable
    bodies. What is the upstream's fault is tried again until the deadline."""
    max_upstream_failures: PositiveInt | None = Field(default=None, le=1_000_000)
    """A limit for that, too: attempts without a reply, with 5xx, 429, 401 or 403."""
    backoff_base_s: Seconds = 0.5
    backoff_cap_s: Seconds = 60
    """An API that was away is tried by every request within so long after it is back."""
    deadline_s: Seconds = 7200
    """Until when a request without `not_after` may be called for, from its acceptance: an hour's
    outage, and time to go on after it."""

    # Care for the API, by all workers together.
    credential_hold: bool = True
    """Whether calls wait while the API refuses the token (401, 403), but for probes."""
    retry_after_max_s: float = Field(default=300, ge=0, le=LONGEST_S)
    """The longest `Retry-After` of 429 and 503 that all workers keep; 0: only its request does."""
    breaker: BreakerText | None = None
    """`20/50`: where so many of so many last calls failed (no reply, 5xx), calls wait, but for
    probes."""
    probe_interval_s: Seconds = 2
    """From one probe to the next."""
    rate_limit: RateText | None = None
    """Calls of all workers: `50/s`, `600/m`, `20/s,burst=100`."""
    max_concurrent: PositiveInt | None = Field(default=None, le=1_000_000)
    """Calls of all workers at a time."""
    adaptive_concurrency: bool = False
    """Whether fewer than `max_concurrent` are made while the API answers 429, 5xx or not at all."""
    retry_budget: bool = False
    """Whether retries of all workers are bounded: a fifth of the first calls, and ten a second."""
    emergency_share: float = Field(default=0.2, ge=0, le=0.9)
    """Of both, what other lanes leave to the emergency lane."""

    verify: VerifyDialect | None = None
    """Whether the state of a task is read back after a success, and in which dialect of the API's
    lists. Reads count for `rate_limit`."""
    verify_pages: PositiveInt = Field(default=1, le=20)
    """Pages of a hundred tasks that are looked through; a task on none of them is unknown."""

    # The worker.
    max_in_flight: PositiveInt = Field(default=100, le=10_000)
    """Calls at a time, per worker process."""
    lease_s: Seconds = 30
    drain_s: float = Field(default=20, ge=0, le=LONGEST_S)
    """How long calls in flight may go on after SIGTERM."""
    visibility_timeout_s: WholeSeconds = 120
    """After this long the broker gives a message of a dead worker to another one."""

    # How long things are kept.
    result_ttl_s: WholeSeconds = 7 * 86400
    dead_letter_ttl_s: WholeSeconds = 14 * 86400
    idempotency_ttl_s: WholeSeconds = 86400
    outcomes: bool = False
    """Whether outcomes are also kept in the order in which they come, for those who follow them.
    Of workers, clients and services alike."""
    outcomes_max: PositiveInt = Field(default=100_000, le=100_000_000)
    """How many of them: some 700 bytes each."""
    counts: bool = True
    """Whether the ledger counts what is open and what happens, for console, `top` and metrics. Of
    workers, clients and services alike: what some do not count is wrong for all."""
    recent_max: NonNegativeInt = Field(default=1_000, le=1_000_000)
    """How many of the last outcomes can be listed: some 50 bytes each. 0: none."""
    audit_max: PositiveInt = Field(default=100_000, le=100_000_000)
    """How many changes the audit trail keeps: some 200 bytes each."""

    @model_validator(mode="after")
    def _limits_nest(self) -> Self:
        for smaller, larger in (
            ("connect_timeout_s", "call_timeout_s"),
            ("read_timeout_s", "call_timeout_s"),
            ("backoff_base_s", "backoff_cap_s"),
            # What a key leads to must be there for as long as the key is known.
            ("idempotency_ttl_s", "result_ttl_s"),
            ("idempotency_ttl_s", "dead_letter_ttl_s"),
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

    @model_validator(mode="after")
    def _adapts_something(self) -> Self:
        if self.adaptive_concurrency and self.max_concurrent is None:
            most, adapts = variable("max_concurrent"), variable("adaptive_concurrency")
            msg = f"{adapts} needs {most}: the most there may be"
            raise ValueError(msg)
        return self

    @field_validator("redis_url", "broker_url")
    @classmethod
    def _is_an_address(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if value:
            try:
                _CHECKS[str(info.field_name)](value.get_secret_value())
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

    @field_validator("api_url")
    @classmethod
    def _is_base(cls, value: HttpUrl) -> HttpUrl:
        if value.query or value.fragment or value.username or value.password:
            msg = "an address without user, query or fragment: the path of the call is added to it"
            raise ValueError(msg)
        return value

    @field_validator("api_proxy")
    @classmethod
    def _is_proxy(cls, value: SecretStr | None) -> SecretStr | None:
        if value and not _is_address(value.get_secret_value(), _PROXY_SCHEMES):
            # Never the value: it has a password.
            msg = "a proxy is an http://, https://, socks5:// or socks5h:// address"
            raise ValueError(msg)
        return value

    @classmethod
    def load(cls, **overrides: Unpack[SettingsFields]) -> Self:
        """Read the settings; arguments go before variables and `.env`.

        Raises:
            InvalidSettingsError: naming each variable that is wrong, and what is wrong with it; or
                `.env` can be written by somebody else.
        """
        return cls.read({**overrides})

    def ledger_url(self) -> str | None:
        """The ledger's URL with its password, or None for the embedded server."""
        url = self._address("redis_url")
        return None if url is None else _with_password(url, self._secret("redis_password"))

    def sentinels_password(self) -> str | None:
        """The password of the Sentinels themselves."""
        return self._secret("sentinel_password")

    @property
    def has_broker_of_its_own(self) -> bool:
        """Whether the queues are elsewhere than the ledger."""
        return self.broker_url is not None or self.broker_url_file is not None

    def queue_url(self, ledger_url: str) -> str:
        """The broker's URL with its password; the ledger's where none is set."""
        return self._address("broker_url") or ledger_url

    def _address(self, field: str) -> str | None:
        """An address that may come from a file, which was not looked at yet."""
        url = self._secret(field)
        if url is not None and getattr(self, field) is None:
            try:
                _CHECKS[field](url)
            except InvalidSettingsError as error:
                raise InvalidSettingsError(f"{variable(field)}_FILE: {error}") from None
        return url


_PROXY_SCHEMES: Final = frozenset({"http", "https", "socks5", "socks5h"})


def _is_address(url: str, schemes: frozenset[str]) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in schemes and bool(parts.hostname)


_CHECKS: Final = {"redis_url": check_ledger_address, "broker_url": check_broker_address}


def _with_password(url: str, password: str | None) -> str:
    scheme, _, rest = url.partition("://")
    place = re.split("[/?#]", rest, maxsplit=1)[0]
    credentials, _, hosts = place.rpartition("@")
    username, _, given = credentials.partition(":")
    if password is None or given:
        return url
    return f"{scheme}://{username}:{quote(password, safe='')}@{hosts}{rest[len(place) :]}"
