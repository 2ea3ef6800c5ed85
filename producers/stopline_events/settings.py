"""The bridge's settings: environment variables with the prefix `STOPLINE_BRIDGE_`."""

from __future__ import annotations

import ssl
from enum import StrEnum
from pathlib import Path  # noqa: TC003  # pydantic reads annotations at run time
from typing import Any, Final

from pydantic import Field, PositiveInt, SecretStr
from pydantic_settings import SettingsConfigDict

from stopline.errors import InvalidSettingsError
from stopline.settings.environment import Seconds, ServiceSettings

PREFIX: Final = "STOPLINE_BRIDGE_"


class KafkaSecurity(StrEnum):
    """How brokers of Kafka are talked to."""

    PLAINTEXT = "PLAINTEXT"
    SSL = "SSL"
    SASL_PLAINTEXT = "SASL_PLAINTEXT"
    SASL_SSL = "SASL_SSL"


class BridgeSettings(ServiceSettings):
    """Every setting with its default. Build it with `load()`."""

    model_config = SettingsConfigDict(env_prefix=PREFIX)

    url: SecretStr | None = None
    """Of the Redis or the NATS that has the stream."""
    url_file: Path | None = None
    group: str = Field(default="stopline", min_length=1, max_length=200)
    """The consumer group, or the durable consumer: whose position the stream's server keeps."""
    together: PositiveInt = Field(default=250, le=10_000)
    """Messages that are read at a time."""
    claim_after_s: Seconds = 30
    """Messages of a bridge that was silent for so long go to others."""
    nats_credentials_file: Path | None = None
    kafka_security: KafkaSecurity = KafkaSecurity.PLAINTEXT
    kafka_sasl_mechanism: str = "PLAIN"
    kafka_username: str | None = None
    kafka_password: SecretStr | None = None
    kafka_password_file: Path | None = None
    kafka_ca_file: Path | None = None

    def address(self) -> str:
        """The URL; raises `InvalidSettingsError` where there is none."""
        url = self._secret("url")
        if url is None:
            raise InvalidSettingsError(f"set {PREFIX}URL, or {PREFIX}URL_FILE to a file with it")
        return url

    def kafka_options(self) -> dict[str, Any]:
        """Options for aiokafka's consumer; raises `InvalidSettingsError`."""
        options: dict[str, Any] = {"security_protocol": self.kafka_security.value}
        if self.kafka_security in {KafkaSecurity.SSL, KafkaSecurity.SASL_SSL}:
            options["ssl_context"] = ssl.create_default_context(cafile=self._ca_file())
        if self.kafka_security in {KafkaSecurity.SASL_PLAINTEXT, KafkaSecurity.SASL_SSL}:
            password = self._secret("kafka_password")
            if self.kafka_username is None or password is None:
                raise InvalidSettingsError(
                    f"{PREFIX}KAFKA_SECURITY is {self.kafka_security}: set {PREFIX}KAFKA_USERNAME "
                    f"and {PREFIX}KAFKA_PASSWORD, or …_FILE"
                )
            options["sasl_mechanism"] = self.kafka_sasl_mechanism
            options["sasl_plain_username"] = self.kafka_username
            options["sasl_plain_password"] = password
        return options

    def _ca_file(self) -> str | None:
        path = self.kafka_ca_file
        if path is not None and not path.is_file():
            raise InvalidSettingsError(f"{PREFIX}KAFKA_CA_FILE: there is no file {path}")
        return None if path is None else str(path)
