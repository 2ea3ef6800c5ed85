"""What all settings share: variables with a prefix, also from a `.env` file, read whole or not."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final, Self

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from stopline.errors import InvalidSettingsError
from stopline.settings.names import Family, check_dotenv, refuse_unknown, warn_of_unknown
from stopline.settings.secret_files import read_secret

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

    @model_validator(mode="after")
    def _one_source_each(self) -> Self:
        """A secret comes from a variable or from a file (`…_FILE`), not from both."""
        fields = type(self).model_fields
        for field in (one for one in fields if f"{one}_file" in fields):
            if getattr(self, field) is not None and getattr(self, f"{field}_file") is not None:
                variable = self.family().variable(field)
                msg = f"set either {variable} or {variable}_FILE, not both"
                raise ValueError(msg)
        return self

    def _secret(self, field: str) -> str | None:
        """A secret, from its variable or its file; raises `InvalidSettingsError`."""
        value: SecretStr | None = getattr(self, field)
        if value is not None:
            return value.get_secret_value()
        path: Path | None = getattr(self, f"{field}_file")
        variable = self.family().variable(f"{field}_file")
        return None if path is None else read_secret(path, variable)


class ServiceSettings(EnvironmentSettings):
    """Settings of one service. Build them with `load()`."""

    @classmethod
    def load(cls, **overrides: Any) -> Self:
        """Read the settings; arguments that are not None go before variables and `.env`.

        Raises:
            InvalidSettingsError: naming each variable that is wrong, and what is wrong with it.
        """
        return cls.read({name: value for name, value in overrides.items() if value is not None})
