"""Where a Redis is and how to talk to it: one server, one behind TLS, or the one Sentinels name."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import quote

from stopline.settings.sentinel import Sentinels, is_sentinel, parse_sentinels

if TYPE_CHECKING:
    from stopline.settings.model import Settings

_TLS_SCHEMES: Final = ("rediss", "rediss-sentinel")


@dataclass(frozen=True, slots=True)
class RedisServer:
    """A Redis as the settings describe it. No IO."""

    url: str = field(repr=False)
    sentinels: Sentinels | None = None
    tls: dict[str, Any] | None = None
    """redis-py's `ssl_…` options; None without TLS."""

    @classmethod
    def of(cls, url: str, settings: Settings) -> Self:
        """The server at an address.

        Raises:
            InvalidSettingsError: the address is malformed.
        """
        scheme = url.partition("://")[0]
        sentinels = None
        if is_sentinel(url):
            sentinels = parse_sentinels(url, settings.sentinels_password())
        return cls(url, sentinels, _tls(settings) if scheme in _TLS_SCHEMES else None)

    # --- redis-py -----------------------------------------------------------------------------

    @property
    def connection_options(self) -> dict[str, Any]:
        """Options for redis-py, beside the address."""
        return dict(self.tls or {})

    @property
    def sentinel_options(self) -> dict[str, Any]:
        """Options for redis-py's connections to the Sentinels themselves."""
        options = {"ssl": True, **self.tls} if self.tls else {}
        if self.sentinels and self.sentinels.own_password:
            options["password"] = self.sentinels.own_password
        return options

    # --- Celery and kombu ---------------------------------------------------------------------

    @property
    def celery_url(self) -> str:
        """The address as Celery takes it, for broker and results backend."""
        if self.sentinels is None:
            return self.url
        one = self.sentinels
        user = quote(one.username or "", safe="")
        # In each: after an error kombu goes on with the next, and forgets those of the first.
        credentials = f"{user}:{quote(one.password, safe='')}@" if one.password else ""
        return ";".join(
            f"sentinel://{credentials}{_bracketed(host)}:{port}/{one.database}"
            for host, port in one.hosts
        )

    @property
    def celery_ssl(self) -> dict[str, Any] | None:
        """The value for `broker_use_ssl` and `redis_backend_use_ssl`."""
        return dict(self.tls) if self.tls else None

    @property
    def celery_transport_options(self) -> dict[str, Any]:
        """What Celery needs to know of Sentinel."""
        if self.sentinels is None:
            return {}
        return {"master_name": self.sentinels.service, "sentinel_kwargs": self.sentinel_options}


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _tls(settings: Settings) -> dict[str, Any]:
    files = {
        "ssl_ca_certs": settings.redis_ca_file,
        "ssl_certfile": settings.redis_cert_file,
        "ssl_keyfile": settings.redis_key_file,
    }
    given = {name: str(path) for name, path in files.items() if path is not None}
    return {"ssl_cert_reqs": ssl.CERT_REQUIRED, **given}
