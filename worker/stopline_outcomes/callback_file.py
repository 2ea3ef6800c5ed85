"""The file that says who is told of outcomes: `STOPLINE_CALLBACKS_FILE`, YAML, read strictly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple
from urllib.parse import urlsplit

import yaml
from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError

from stopline.contract import CallbackUrl, Document, describe
from stopline.errors import InvalidSettingsError
from stopline_outcomes.addresses import HostRules
from stopline_outcomes.signing import Secret

if TYPE_CHECKING:
    from pathlib import Path

_BYTES_MAX: Final = 1 << 20


def _checked_secret(text: str) -> str:
    Secret(text)
    return text


_Secrets = Annotated[
    tuple[Annotated[str, AfterValidator(_checked_secret)], ...], Field(min_length=1, max_length=2)
]
_Source = Annotated[str, Field(min_length=1, max_length=200)]


class _OfSource(Document):
    model_config = ConfigDict(hide_input_in_errors=True)

    source: _Source
    url: CallbackUrl | None = None
    secrets: _Secrets | None = None


class _File(Document):
    model_config = ConfigDict(hide_input_in_errors=True)

    secrets: _Secrets
    allow: Annotated[tuple[str, ...], Field(max_length=1000)] = ()
    sources: Annotated[tuple[_OfSource, ...], Field(max_length=1000)] = ()


_FILE: Final = TypeAdapter(_File)


class Subscriber(NamedTuple):
    """What is known of a source.

    Attributes:
        url: where all its outcomes are told; None: only where requests say so.
        secrets: what its callbacks are signed with, the current one first.
    """

    url: str | None
    secrets: tuple[Secret, ...]


class CallbackFile:
    """Who is told, where, and how it is signed.

    Args:
        secrets: of sources that have none of their own.
        sources: by name, or by a beginning with `*`.
        rules: which hosts may be called.
    """

    def __init__(
        self, secrets: tuple[Secret, ...], sources: dict[str, Subscriber], rules: HostRules
    ) -> None:
        self._default = Subscriber(None, secrets)
        self._sources = sources
        self._lengths = sorted({len(one) - 1 for one in sources if one.endswith("*")}, reverse=True)
        self.rules = rules

    def of(self, source: str) -> Subscriber:
        """What is known of a source: its own entry, or that of its longest beginning."""
        if (found := self._sources.get(source)) is not None:
            return found
        for length in self._lengths:
            if (found := self._sources.get(f"{source[:length]}*")) is not None:
                return found
        return self._default

    def allows(self, url: str) -> bool:
        """Whether a URL may be called; its address is looked at when it is."""
        host = urlsplit(url).hostname
        return host is not None and self.rules.allows_name(host)


def read(path: Path) -> CallbackFile:
    """Read the file.

    Raises:
        InvalidSettingsError: naming the file, and the field that is wrong; no secret is repeated.
    """
    document = _parsed(path)
    try:
        found = _FILE.validate_python(document)
    except ValidationError as error:
        field, reason = describe(error)
        raise InvalidSettingsError(f"STOPLINE_CALLBACKS_FILE: {path}: {field}: {reason}") from None
    sources: dict[str, Subscriber] = {}
    names = list(found.allow)
    for at, one in enumerate(found.sources):
        if one.source in sources:
            raise InvalidSettingsError(
                f"STOPLINE_CALLBACKS_FILE: {path}: sources.{at}: {one.source} is there twice"
            )
        sources[one.source] = Subscriber(one.url, _secrets(one.secrets or found.secrets))
        if one.url is not None:  # who writes the file means it; private networks are listed still
            names.append(str(urlsplit(one.url).hostname))
    try:
        rules = HostRules(tuple(names))
    except ValueError as error:
        raise InvalidSettingsError(f"STOPLINE_CALLBACKS_FILE: {path}: allow: {error}") from None
    return CallbackFile(_secrets(found.secrets), sources, rules)


def _secrets(texts: tuple[str, ...]) -> tuple[Secret, ...]:
    return tuple(map(Secret, texts))


def _parsed(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            raw = file.read(_BYTES_MAX + 1)
    except OSError as error:
        raise InvalidSettingsError(
            f"STOPLINE_CALLBACKS_FILE: cannot read {path}: {error.strerror}"
        ) from None
    if len(raw) > _BYTES_MAX:
        raise InvalidSettingsError(f"STOPLINE_CALLBACKS_FILE: {path} has more than a mebibyte")
    try:
        return yaml.safe_load(raw)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise InvalidSettingsError(
            f"STOPLINE_CALLBACKS_FILE: {path}{line}: {error.problem}"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError):
        raise InvalidSettingsError(f"STOPLINE_CALLBACKS_FILE: {path} is no YAML") from None
