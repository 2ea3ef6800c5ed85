"""What all settings share: variables with a prefix, also from a `.env` file, read whole or not."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final, Self

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from stopline.errors import InvalidSettingsError
from stopline.settings.names import Family, check_dotenv, refuse_unknown, warn_of_unknown

DOTENV: Final = ".env"
LONGEST_S: Final = 10 * 366 * 86400
"""Ten years. Redis counts times to live in milliseconds of 64 bits, and answers an error beyond."""
Seconds = Annotated[float, Field(gt=0, le=LONGEST_S, allow_inf_nan=False)]
WholeSeconds = Annotated[int, Field(gt=0, le=LONGEST_S)]


class EnvironmentSettings(BaseSettings):
    """Settings of the library or of one service; a class of them names its prefix."""

    model_config = SettingsConfigDict(
        env_file=DOTENV,
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    def __init__(self, **values: Any) -> None:
        refuse_unknown(values, self.family())
        super().__init__(**values)

    @classmethod
    def family(cls) -> Family:
        """The names of these settings."""
        return Family(cls.model_config["env_prefix"], tuple(cls.model_fields))

    @classmethod
    def read(cls, overrides: dict[str, Any]) -> Self:
        """Read the settings; what code gives goes before variables and `.env`.

        Raises:
            InvalidSettingsError: naming each variable that is wrong, and what is wrong with it; or
                `.env` can be written by somebody else.
        """
        family = cls.family()
        check_dotenv(Path(DOTENV))
        warn_of_unknown(Path(DOTENV), family)
        try:
            return cls(**overrides)
        except ValidationError as error:
            lines = [
                ": ".join(
                    [
                        *(family.variable(str(part)) for part in one["loc"][:1]),
                        one["msg"].removeprefix("Value error, "),
                    ]
                )
                for one in error.errors(include_url=False, include_input=False)
            ]
            raise InvalidSettingsError("Settings are wrong: " + "; ".join(lines)) from None
