"""What a worker process says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from stopline.contract.document import Recorded
from stopline.contract.lanes import Lane
from stopline.contract.times import Moment


class ApiState(StrEnum):
    """How the API is, as the calls of a process tell."""

    ANSWERS = "answers"
    AWAY = "away"
    """No reply, 5xx or 429 for seconds, and nothing else."""
    TOKEN_REFUSED = "token_refused"  # noqa: S105  # a state, no secret
    """401 or 403 for seconds, and nothing else."""


class ProcessRole(StrEnum):
    """What a worker process is there for."""

    CONSUMER = "consumer"
    """It takes messages from the queues."""
    ENGINE = "engine"
    """It makes calls."""
    BRIDGE = "bridge"
    """It reads a stream of events."""


def engine_id(worker: str, pid: int) -> str:
    """The id of the engine in a process of a worker."""
    return f"{worker}/{pid}"


def worker_of(an_engine_id: str) -> str:
    """The worker whose engine has this id."""
    return an_engine_id.rpartition("/")[0]


class BridgeState(Recorded):
    """How far a bridge is in its stream.

    Attributes:
        source: the stream.
        position: of the last message that was acknowledged.
        lag: how many were not yet; None where that is not known.
        received: messages since it began.
        quarantined: how many of them were neither an event nor a stop request.
        problem: what it waits for, if it does.
    """

    source: str
    position: str | None = None
    lag: int | None = None
    received: int = 0
    quarantined: int = 0
    problem: str | None = None


class Heartbeat(Recorded):
    """What a worker process last said of itself; times are the ledger's.

    `version` is Stopline's. `engines` are the ids of a consumer's engines: see `engine_id`.
    `consumed_at` is when
    it last looked at its queues (null: paused, or its broker does not tell), `swept_at` when an
    engine last looked at what is due. `paused` are lanes whose messages somebody told it not to
    take. `api` is how the API is to its calls, `api_problem` what the last failed one said, and
    since `api_failing_at` all of them do.
    """

    process_id: str
    role: ProcessRole
    host: str
    pid: int
    lanes: tuple[Lane, ...]
    beat_at: Moment
    version: str | None = None
    consumed_at: Moment | None = None
    swept_at: Moment | None = None
    in_flight: int | None = None
    engines: tuple[str, ...] = ()
    paused: tuple[Lane, ...] = ()
    api: ApiState | None = None
    api_problem: str | None = None
    api_failing_at: Moment | None = None
    broker_reachable: bool | None = None
    bridge: BridgeState | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """What a process says of itself, as `Heartbeat`; what happened, as its age.

    Attributes:
        since_consumed_s: seconds since it looked at its queues; None: it never did, or cannot tell.
        since_swept_s: the same for what is due.
        since_api_failing_s: the same for the first of the calls that all failed.
    """

    process_id: str
    role: ProcessRole
    host: str
    pid: int
    lanes: tuple[Lane, ...]
    paused: tuple[Lane, ...] = ()
    engines: tuple[str, ...] = ()
    broker_reachable: bool | None = None
    in_flight: int | None = None
    bridge: BridgeState | None = None
    version: str | None = None
    api: ApiState | None = None
    api_problem: str | None = None
    since_consumed_s: float | None = None
    since_swept_s: float | None = None
    since_api_failing_s: float | None = None
