"""What a client has beside stops: each area is an object of its own."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, TypeVar

from stopline.client.batches import AsyncBatches, Batches
from stopline.client.callbacks import AsyncCallbackControl, CallbackControl
from stopline.client.gates import AsyncGateControl, GateControl
from stopline.client.guards import AsyncGuardControl, GuardControl
from stopline.client.kept_events import AsyncKeptEvents, KeptEvents
from stopline.client.sinks import AsyncSinks, SinkViews
from stopline.client.values import AsyncValues, Values
from stopline.client.views import AsyncViews, Views

if TYPE_CHECKING:
    from collections.abc import Generator

    from stopline.client.verbs import Step
    from stopline.ledger.limits import Limits

T = TypeVar("T")


class Areas:
    """The areas of a `StopClient`."""

    _limits: Limits

    @abstractmethod
    def _take(self, verb: Generator[Step, Any, T]) -> T: ...

    @property
    def view(self) -> Views:
        """What there is to see: counters, open requests, the last outcomes."""
        return Views(self._limits, self._take)

    @property
    def batches(self) -> Batches:
        """Batches: what became of each line; pausing, going on, sending again."""
        return Batches(self._limits, self._take)

    @property
    def callbacks(self) -> CallbackControl:
        """Who is told of outcomes, and who could not be."""
        return CallbackControl(self._limits, self._take)

    @property
    def gate(self) -> GateControl:
        """Whether calls are made now; pauses lanes."""
        return GateControl(self._limits, self._take)

    @property
    def guards(self) -> GuardControl:
        """What keeps back sources that go wild, and what is held."""
        return GuardControl(self._limits, self._take)

    @property
    def events(self) -> KeptEvents:
        """The last events that came in, where they are kept."""
        return KeptEvents(self._limits, self._take)

    @property
    def sinks(self) -> SinkViews:
        """How far those are who keep outcomes elsewhere."""
        return SinkViews(self._limits, self._take)

    @property
    def values(self) -> Values:
        """What a service keeps for a while, for all its processes."""
        return Values(self._take)


class AsyncAreas:
    """The same of an `AsyncStopClient`."""

    _limits: Limits

    @abstractmethod
    async def _take(self, verb: Generator[Step, Any, T]) -> T: ...

    @property
    def view(self) -> AsyncViews:
        """As `Areas.view`."""
        return AsyncViews(self._limits, self._take)

    @property
    def batches(self) -> AsyncBatches:
        """As `Areas.batches`."""
        return AsyncBatches(self._limits, self._take)

    @property
    def callbacks(self) -> AsyncCallbackControl:
        """What a process that sends them needs."""
        return AsyncCallbackControl(self._limits, self._take)

    @property
    def gate(self) -> AsyncGateControl:
        """As `Areas.gate`."""
        return AsyncGateControl(self._limits, self._take)

    @property
    def guards(self) -> AsyncGuardControl:
        """As `Areas.guards`."""
        return AsyncGuardControl(self._limits, self._take)

    @property
    def events(self) -> AsyncKeptEvents:
        """As `Areas.events`."""
        return AsyncKeptEvents(self._limits, self._take)

    @property
    def sinks(self) -> AsyncSinks:
        """As `Areas.sinks`, and what a sink reads."""
        return AsyncSinks(self._limits, self._take)

    @property
    def values(self) -> AsyncValues:
        """As `Areas.values`."""
        return AsyncValues(self._take)
