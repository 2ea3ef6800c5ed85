"""What is done about events: the fixed types, and for others the rules in force."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path  # noqa: TC003  # pydantic reads annotations at run time
from typing import TYPE_CHECKING, Final

import orjson
from pydantic import NonNegativeInt  # noqa: TC002  # pydantic reads annotations at run time
from pydantic_settings import SettingsConfigDict

from stopline.settings.environment import ServiceSettings
from stopline_events.decisions import Ignored, Ruled, decide
from stopline_events.rules.book import EVENT_BYTES_MAX
from stopline_events.rules.rule_file import RuleFile
from stopline_events.rules.tally import RuleTally

if TYPE_CHECKING:
    from collections.abc import Callable

    from stopline import AsyncStopClient
    from stopline_events.cloud_events import Event
    from stopline_events.decisions import Decision

_BUFFERED_MAX: Final = 2_000
_CHUNK: Final = 250


class PolicySettings(ServiceSettings):
    """The settings of rules, for gateway and bridge alike. Build it with `load()`."""

    model_config = SettingsConfigDict(env_prefix="STOPLINE_POLICY_")

    file: Path | None = None
    """Rules over events. None: only the fixed types mean something."""
    record_max: NonNegativeInt = 0
    """How many of the last events are kept for `stopline policy replay`; 0: none."""


class Policy:
    """Decides, counts what rules said, and keeps events where they are wanted.

    Args:
        client: of the ledger, for counts and kept events.
        settings: where the rules are.

    Raises:
        PolicyFileError: the file of rules is wrong.
    """

    def __init__(self, client: AsyncStopClient, settings: PolicySettings) -> None:
        self._client = client
        self._rules = None if settings.file is None else RuleFile(settings.file)
        self._tally = RuleTally(client)
        self._record_max = settings.record_max
        self._events: list[str] = []

    @property
    def has_rules(self) -> bool:
        """Whether rules are in force: then they alone decide about alerts and decisions."""
        return self._rules is not None

    @property
    def problem(self) -> str | None:
        """What is wrong with the file of rules as it is now."""
        return None if self._rules is None else self._rules.problem

    def decide(
        self,
        event: Event,
        *,
        speak_for: Callable[[str | None], str | None] = lambda source: source,
        arrived_at: datetime | None = None,
    ) -> Decision:
        """What an event asks for, by its type or by the rules; as `decisions.decide`."""
        self._keep(event, arrived_at)
        decision = decide(event, speak_for=speak_for, arrived_at=arrived_at)
        if not isinstance(decision, Ignored) or self._rules is None:
            return decision
        ruled = self._rules.book.decide(event, arrived_at=arrived_at or datetime.now(UTC))
        self._tally.add(ruled)
        return ruled if ruled.fired or ruled.failed else decision

    def _keep(self, event: Event, arrived_at: datetime | None) -> None:
        if not self._record_max or len(self._events) >= _BUFFERED_MAX:
            return
        at = event.time or arrived_at or datetime.now(UTC)
        try:
            document = {**event.model_dump(mode="json", exclude_none=True), "time": at.isoformat()}
            document |= document.pop("extensions", {})
            raw = orjson.dumps(document, default=str)
        except (ValueError, TypeError, RecursionError, OverflowError):
            return  # what rules could not read either
        if len(raw) <= EVENT_BYTES_MAX:
            self._events.append(raw.decode())

    async def flush(self) -> None:
        """Look at the file; tell the ledger what was counted, and what is to be kept.

        Once a second is enough.
        """
        if self._rules is not None:
            _ = self._rules.book
        await self._tally.flush()
        while self._events:
            some = self._events[:_CHUNK]
            await self._client.events.keep(some, self._record_max)
            del self._events[: len(some)]


__all__ = ["Policy", "PolicySettings", "Ruled"]
