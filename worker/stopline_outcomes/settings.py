"""The settings of what leaves: variables `STOPLINE_SINKS_…` and `STOPLINE_CALLBACKS_…`."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  # pydantic reads annotations at run time
from typing import Final

from pydantic import Field, PositiveInt
from pydantic_settings import SettingsConfigDict

from stopline.settings.environment import Seconds, ServiceSettings

PREFIX: Final = "STOPLINE_SINKS_"


class SinkSettings(ServiceSettings):
    """Every setting with its default. Build it with `load()`."""

    model_config = SettingsConfigDict(env_prefix=PREFIX)

    most: PositiveInt = Field(default=1_000_000, le=100_000_000)
    """How many outcomes are kept while a sink is away, some 700 bytes each; what goes beyond is
    lost to it, and counted."""


class CallbackSettings(ServiceSettings):
    """Every setting of callbacks with its default. Build it with `load()`."""

    model_config = SettingsConfigDict(env_prefix="STOPLINE_CALLBACKS_")

    file: Path | None = None
    """Who is told of outcomes: see docs/outcomes.md. None: nobody."""
    timeout_s: Seconds = Field(default=15, le=300)
    """How long one call may take."""
    backoff_base_s: Seconds = 5
    backoff_cap_s: Seconds = 3600
    give_up_s: Seconds = 86_400
    """How long after it was to be sent first a callback is tried."""
