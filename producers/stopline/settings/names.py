"""The names of settings: what each is called where, and what a misspelt one may have meant."""

from __future__ import annotations

import logging
import os
import stat
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypedDict

from stopline.errors import InvalidSettingsError
from stopline.settings.secret_files import is_somebody_elses, others_may_write

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

    from pydantic import SecretStr

_log = logging.getLogger(__name__)

PREFIX: Final = "STOPLINE_"
API_TOKEN_FILE: Final = "STOPLINE_API_TOKEN_FILE"  # noqa: S105  # a variable's name
SUPERVISED: Final = "STOPLINE_SUPERVISED"
"""Tells a worker that its stdin is a pipe of its supervisor's: when that closes, it drains."""
SIMULATED_TOKEN: Final = "STOPLINE_SIMULATED_TOKEN"  # noqa: S105  # a variable's name
"""The token that the simulated API asks for."""
_OTHERS: Final = frozenset({SUPERVISED, SIMULATED_TOKEN})
"""Variables with the prefix that are no settings."""
_OF_SERVICES: Final = (
    "STOPLINE_ARCHIVE_",
    "STOPLINE_BRIDGE_",
    "STOPLINE_CALLBACKS_",
    "STOPLINE_GATEWAY_",
    "STOPLINE_POLICY_",
    "STOPLINE_SINKS_",
)
"""Prefixes of services that have settings of their own, each in its package."""


class SettingsFields(TypedDict, total=False):
    """The settings as code gives them: see `Settings` in `model.py` for what each means."""

    api_url: str
    api_token: str | SecretStr | None
    api_token_file: Path | str | None
    api_proxy: str | SecretStr | None
    http_client: str | None
    redis_url: str | SecretStr | None
    redis_url_file: Path | str | None
    redis_password: str | SecretStr | None
    redis_password_file: Path | str | None
    sentinel_password: str | SecretStr | None
    sentinel_password_file: Path | str | None
    redis_ca_file: Path | str | None
    redis_cert_file: Path | str | None
    redis_key_file: Path | str | None
    broker_url: str | SecretStr | None
    broker_url_file: Path | str | None
    durability: str
    data_dir: Path | str
    connect_timeout_s: float
    read_timeout_s: float
    call_timeout_s: float
    max_attempts: int
    max_upstream_failures: int | None
    backoff_base_s: float
    backoff_cap_s: float
    deadline_s: float
    outcomes: bool
    outcomes_max: int
    counts: bool
    recent_max: int
    audit_max: int
    credential_hold: bool
    retry_after_max_s: float
    breaker: str | None
    probe_interval_s: float
    rate_limit: str | None
    max_concurrent: int | None
    adaptive_concurrency: bool
    retry_budget: bool
    emergency_share: float
    verify: str | None
    verify_pages: int
    max_in_flight: int
    lease_s: float
    drain_s: float
    visibility_timeout_s: int
    result_ttl_s: int
    dead_letter_ttl_s: int
    idempotency_ttl_s: int


_ENVIRONMENT: Final = "in the environment"
FIELDS: Final = tuple(SettingsFields.__annotations__)


def variable(field: str) -> str:
    """The environment variable of a field of the library's settings."""
    return PREFIX + field.upper()


class Family(NamedTuple):
    """The settings of the library, or of one service: their prefix and their fields."""

    prefix: str
    fields: Collection[str]

    def variable(self, field: str) -> str:
        """The environment variable of a field."""
        return self.prefix + field.upper()

    def is_ours(self, name: str) -> bool:
        """Whether a variable's name is meant for these settings."""
        others = [one for one in _OF_SERVICES if len(one) > len(self.prefix)]
        return name.startswith(self.prefix) and not name.startswith(tuple(others))


def refuse_unknown(values: Mapping[str, Any], family: Family) -> None:
    """Check the names of settings that code gives.

    Raises:
        InvalidSettingsError: one is unknown.
    """
    for name in values:
        if name not in family.fields:
            meant = _meant(name, family.fields, family)
            raise InvalidSettingsError(f"There is no setting {name!r}{meant}")


def warn_of_unknown(dotenv: Path, family: Family) -> None:
    """Say which variables of the environment and of `.env` look like settings and are none."""
    known = {family.variable(field) for field in family.fields} | _OTHERS
    for name, where in (*_variables(), *_lines(dotenv)):
        # Without its prefix, in a file of settings, it is one of the library's most likely.
        is_bare = family.prefix == PREFIX and name.lower() in FIELDS and where != _ENVIRONMENT
        is_ours = family.is_ours(name) or is_bare
        if is_ours and name not in known and (name, where) not in _warned:
            _warned.add((name, where))
            _log.warning(
                "%s (%s) is no setting%s",
                name,
                where,
                _meant(name, known, family),
                extra={"action": "setting_unknown"},
            )


_warned: Final[set[tuple[str, str]]] = set()
"""What was said already: settings may be read more than once in a process."""


def _meant(name: str, known: Collection[str], family: Family) -> str:
    if family.variable(name) in known:
        return f"; did you mean {family.variable(name)}?"
    nearest = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {nearest[0]}?" if nearest else "."


def _variables() -> Iterator[tuple[str, str]]:
    for name in os.environ:
        yield name.upper(), _ENVIRONMENT


def _lines(dotenv: Path) -> Iterator[tuple[str, str]]:
    if not dotenv.is_file():
        return
    from dotenv import dotenv_values  # noqa: PLC0415  # most have no such file

    for name in dotenv_values(dotenv):
        yield name.upper(), f"in {dotenv}"


def check_dotenv(dotenv: Path) -> None:
    """Check that nobody else can change the settings in `.env`.

    Raises:
        InvalidSettingsError: somebody else may write it: it would decide where the token is sent.
    """
    try:
        link, found = dotenv.lstat(), dotenv.stat()
    except OSError:
        return
    if not stat.S_ISREG(found.st_mode):
        raise InvalidSettingsError(f"{dotenv.absolute()} is no regular file. Remove it.")
    try:
        dotenv.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidSettingsError(
            f"{dotenv.absolute()} is no UTF-8 (at byte {error.start + 1})."
        ) from None
    if is_somebody_elses(link) or others_may_write(found):
        raise InvalidSettingsError(
            f"{dotenv.absolute()} can be written by others, so its settings are not to be trusted. "
            "Make it yours (chown, chmod go-w), or remove it."
        )
