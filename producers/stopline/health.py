"""Which part of a deployment stands still, judged by its heartbeats. Pure.

A heartbeat says that a process lives; what it carries says that it does its work: a consumer looks
at its queues every second, an engine at what is due. A worker that is alive but consumes nothing is
the known way in which Celery workers fail (celery#8030, #8091, #10205, kombu#2492).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from stopline.contract import ApiState, Lane, ProcessRole, rfc3339, worker_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime

    from stopline.contract import Callbacks, Gate, Guards, Heartbeat, Sinks

BEAT_INTERVAL_S: Final = 5.0
SILENT_S: Final = 20.0
"""Without a heartbeat for so long, a process is gone or hangs."""
CONSUMPTION_STILL_S: Final = 30.0
_OF_WORKERS: Final = (ProcessRole.CONSUMER, ProcessRole.ENGINE)
_SWEEP_MARGIN_S: Final = 15.0
"""An engine whose calls are all in flight sweeps when the first of them ends."""


@dataclass(frozen=True, slots=True)
class Standstill:
    """A part that stands still: which, and since when or why."""

    part: str
    problem: str


@dataclass(frozen=True, slots=True)
class Notice:
    """What people should know, and what starting workers again does not mend."""

    part: str
    text: str


@dataclass(frozen=True, slots=True)
class ApiTrouble:
    """What the calls of the engines say of the API, where it does not answer."""

    state: ApiState
    since: datetime | None
    problem: str
    engines: int
    of_engines: int

    @property
    def sentence(self) -> str:
        """One for people."""
        what = "refuses the token" if self.state is ApiState.TOKEN_REFUSED else "does not answer"
        since = f" since {rfc3339(self.since)}" if self.since else ""
        return (
            f"{what}{since}, as {self.engines} of {self.of_engines} engines see it; requests wait "
            f"for it: {self.problem}"
        )


class Around(NamedTuple):
    """What else a deployment waits for; None: nobody looked.

    Attributes:
        gate: whether calls are made.
        guards: what keeps back sources that go wild.
        sinks: who keeps outcomes elsewhere.
        callbacks: who is told of outcomes.
    """

    gate: Gate | None = None
    guards: Guards | None = None
    sinks: Sinks | None = None
    callbacks: Callbacks | None = None

    @property
    def is_shut(self) -> bool:
        """Whether calls wait for the API."""
        return self.gate is not None and self.gate.cause is not None

    def notices(self) -> Iterator[Notice]:
        """What people should know of it."""
        parts = (self.gate, self.guards, self.sinks, self.callbacks)
        for one in parts:
            if one is not None:
                yield from (Notice(*told) for told in one.notices())
        if self.gate is not None and self.is_shut and self.gate.said:
            yield Notice("API", self.gate.said)


_NOTHING: Final = Around()


@dataclass(frozen=True, slots=True)
class Health:
    """What the heartbeats say."""

    processes: tuple[Heartbeat, ...]
    standstills: tuple[Standstill, ...]
    paused: tuple[Lane, ...] = ()
    """Lanes whose messages nobody takes, because somebody told the workers so."""
    api: ApiTrouble | None = None
    around: Around = _NOTHING

    @property
    def notices(self) -> tuple[Notice, ...]:
        """What is no standstill of a worker's, and people should know."""
        paused = (
            Notice(f"lane {lane}", "paused: its consumers were told to take nothing (add_consumer)")
            for lane in self.paused
        )
        api = (Notice("API", self.api.sentence),) if self.api and not self.around.is_shut else ()
        bridges = (
            Notice(_part(beat), f"waits: {beat.bridge.problem}")
            for beat in self.processes
            if beat.bridge is not None and beat.bridge.problem
        )
        return (*self.around.notices(), *paused, *api, *bridges)

    @property
    def is_healthy(self) -> bool:
        """Whether there are workers, and all processes work."""
        workers = [beat for beat in self.processes if beat.role in _OF_WORKERS]
        return bool(workers) and not self.standstills


def examine(
    heartbeats: Iterable[Heartbeat],
    now: datetime,
    *,
    call_timeout_s: float,
    lanes: Iterable[Lane] = Lane,
    is_gone: Callable[[Heartbeat], bool] = lambda _beat: False,
    around: Around = _NOTHING,
) -> Health:
    """Judge heartbeats.

    Args:
        heartbeats: those of the processes in question.
        now: the ledger's time.
        call_timeout_s: how long a call may last.
        lanes: those that somebody must serve.
        is_gone: whether a process is known to have ended, so that its heartbeat means nothing.
        around: what else the deployment waits for.
    """
    processes = tuple(_current(heartbeats, now, is_gone))
    fresh = [beat for beat in processes if not _is_silent(beat, now)]
    standstills = [
        *(Standstill(_part(beat), _silence(beat, now)) for beat in processes if beat not in fresh),
        *(
            Standstill(_part(beat), problem)
            for beat in fresh
            if (problem := _problem(beat, now, call_timeout_s))
        ),
        *_missing(processes, fresh),
        *_unserved(fresh, lanes),
    ]
    return Health(
        processes,
        tuple(standstills),
        tuple(_paused(fresh)),
        _api_trouble(fresh),
        around,
    )


def _paused(fresh: Iterable[Heartbeat]) -> Iterator[Lane]:
    consumers = [beat for beat in fresh if beat.role is ProcessRole.CONSUMER]
    for lane in Lane:
        serving = [beat for beat in consumers if lane in beat.lanes]
        if serving and all(lane in beat.paused for beat in serving):
            yield lane


def _api_trouble(fresh: Iterable[Heartbeat]) -> ApiTrouble | None:
    """None unless some engine's calls fail; the worst that any says."""
    engines = [beat for beat in fresh if beat.role is ProcessRole.ENGINE and beat.api]
    failing = [beat for beat in engines if beat.api is not ApiState.ANSWERS]
    if not failing:
        return None
    worst = max(failing, key=lambda beat: beat.api is ApiState.TOKEN_REFUSED)
    since = min((beat.api_failing_at for beat in failing if beat.api_failing_at), default=None)
    return ApiTrouble(
        worst.api or ApiState.AWAY, since, worst.api_problem or "", len(failing), len(engines)
    )


def _current(
    heartbeats: Iterable[Heartbeat], now: datetime, is_gone: Callable[[Heartbeat], bool]
) -> Iterator[Heartbeat]:
    """Without those of processes that ended and were replaced."""
    alive = [beat for beat in heartbeats if not is_gone(beat)]
    consumers = [beat for beat in alive if beat.role is ProcessRole.CONSUMER]
    listed = {engine for beat in consumers for engine in beat.engines}
    told = {beat.host for beat in consumers if not _is_silent(beat, now)}
    for beat in alive:
        replaced = beat.role is ProcessRole.ENGINE and beat.host in told
        if not (replaced and beat.process_id not in listed and _is_silent(beat, now)):
            yield beat


def _is_silent(beat: Heartbeat, now: datetime) -> bool:
    return now - beat.beat_at > timedelta(seconds=SILENT_S)


def _silence(beat: Heartbeat, now: datetime) -> str:
    return f"no heartbeat for {_age_s(now, beat.beat_at):.0f} s: it hangs, or was killed"


def _problem(beat: Heartbeat, now: datetime, call_timeout_s: float) -> str | None:
    if beat.role is ProcessRole.ENGINE:
        return _late("swept", beat.swept_at, now, call_timeout_s + _SWEEP_MARGIN_S)
    if beat.role is ProcessRole.BRIDGE:
        return None
    if beat.broker_reachable is False:
        return "the broker is out of reach"
    if beat.consumed_at is None:
        return None
    return _late("looked at its queues", beat.consumed_at, now, CONSUMPTION_STILL_S)


def _late(did: str, last: datetime | None, now: datetime, limit_s: float) -> str | None:
    if last is None:
        return f"has not {did} yet"
    age_s = _age_s(now, last)
    return f"last {did} {age_s:.0f} s ago" if age_s > limit_s else None


def _missing(processes: Iterable[Heartbeat], fresh: Iterable[Heartbeat]) -> Iterator[Standstill]:
    """Processes that others of their worker speak of, and that say nothing themselves."""
    known = {beat.process_id for beat in processes}
    expected: dict[str, ProcessRole] = {}
    for beat in fresh:
        if beat.role is ProcessRole.BRIDGE:
            continue
        if beat.role is ProcessRole.CONSUMER:
            expected |= dict.fromkeys(beat.engines, ProcessRole.ENGINE)
        else:
            expected[worker_of(beat.process_id)] = ProcessRole.CONSUMER
    for process_id, role in expected.items():
        if process_id not in known:
            yield Standstill(f"{role} {process_id}", "no heartbeat: it hangs, or is starting")


def _unserved(fresh: Iterable[Heartbeat], lanes: Iterable[Lane]) -> Iterator[Standstill]:
    served = {(beat.role, lane) for beat in fresh for lane in beat.lanes}
    for lane in lanes:
        for role in _OF_WORKERS:
            if (role, lane) not in served:
                yield Standstill(f"lane {lane}", f"no {role} serves it")


def _part(beat: Heartbeat) -> str:
    return f"{beat.role} {beat.process_id}"


def _age_s(now: datetime, moment: datetime) -> float:
    return (now - moment).total_seconds()
