"""The settings of what leaves: environment variables with the prefix `STOPLINE_SINKS_`."""

from __future__ import annotations

from typing import Any, Final, Self

from pydantic import Field, PositiveInt
from pydantic_settings import SettingsConfigDict

from stopline.settings.environment import EnvironmentSettings

PREFIX: Final = "STOPLINE_SINKS_"


class SinkSettings(EnvironmentSettings):
    """Every setting with its default. Build it with `load()`."""

    model_config = SettingsConfigDict(env_prefix=PREFIX)

    most: PositiveInt = Field(default=1_000_000, le=100_000_000)
    """How many outcomes are kept while a sink is away, some 700 bytes each; what goes beyond is
    lost to it, and counted."""

    @classmethod
    def load(cls, **overrides: Any) -> Self:
        """Read the settings; arguments go before variables and `.env`.

        Raises:
            InvalidSettingsError: naming each variable that is wrong, and what is wrong with it.
        """
        return cls.read({name: value for name, value in overrides.items() if value is not None})
