"""The gateway's settings: environment variables with the prefix `STOPLINE_GATEWAY_`."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import Field, PositiveInt
from pydantic_settings import SettingsConfigDict

from stopline.contract import Rate, RateText
from stopline.errors import InvalidSettingsError
from stopline.settings.environment import Seconds, ServiceSettings

if TYPE_CHECKING:
    from stopline_gateway.keys_file import Keys

from pathlib import Path  # noqa: TC003  # pydantic reads annotations at run time

PREFIX: Final = "STOPLINE_GATEWAY_"
Port = Annotated[int, Field(ge=0, le=65535)]
_KILO, _MEGA, _GIGA = 1 << 10, 1 << 20, 1 << 30


class GatewaySettings(ServiceSettings):
    """Every setting with its default; times in seconds, sizes in bytes. Build it with `load()`."""

    model_config = SettingsConfigDict(env_prefix=PREFIX)

    # Where it listens, and who may call.
    host: str = "127.0.0.1"
    port: Port = 8077
    """0: any free one."""
    workers: PositiveInt = Field(default=1, le=256)
    """Processes. One serves some thousands of requests a second."""
    keys_file: Path | None = None
    """The keys of callers: see `stopline gateway key new`. None: no keys, on loopback only."""
    rate: RateText | None = None
    """How often a key may call, where its line in the file says nothing else: `100/s`, `600/m`,
    `20/s,burst=100`. None: as often as it likes."""
    trusted_proxies: str | None = None
    """Addresses of proxies, with commas between them, whose `X-Forwarded-For` is believed for the
    audit trail; `*` for all. None: nobody's."""

    # Limits.
    head_bytes_max: PositiveInt = Field(default=16 * _KILO, le=_MEGA)
    """The request line and all header fields."""
    body_bytes_max: PositiveInt = Field(default=_MEGA, le=64 * _MEGA)
    """A body that is read whole: one stop, events."""
    batch_bytes_max: PositiveInt = Field(default=_GIGA, le=1024 * _GIGA)
    """A batch, which is read line by line."""
    silence_s: Seconds = 20
    """How long a head or a body may take to come, beside two seconds for each kilobyte of it; and
    how long a reply waits for somebody who does not read it."""
    connections_max: PositiveInt = Field(default=20_000, le=1_000_000)
    """Connections of one process."""
    waiters_max: PositiveInt = Field(default=10_000, le=1_000_000)
    """Calls of one process that wait for an outcome (`wait_s`)."""
    streams_max: PositiveInt = Field(default=1_000, le=1_000_000)
    """Streams of outcomes of one process."""
    drain_s: Seconds = 10
    """How long calls in progress may go on after SIGTERM; who waits is told to come back."""

    @property
    def default_rate(self) -> Rate | None:
        """The rate of keys whose lines name none."""
        return None if self.rate is None else Rate.parse(self.rate)

    def check_access(self, keys: Keys | None) -> None:
        """Refuse to let everybody in.

        Raises:
            InvalidSettingsError: there are no keys, and others than this host can call.
        """
        if keys is None and not is_loopback(self.host):
            raise InvalidSettingsError(
                f"{PREFIX}HOST is {self.host}, which others than this machine can reach, and there "
                f"are no keys: anybody could stop any task. Make one with 'stopline gateway key "
                f"new', put its line into a file, and set {PREFIX}KEYS_FILE."
            )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address; names but localhost are not looked up."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
