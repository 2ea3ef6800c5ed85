"""Who changed what: the audit trail."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from stopline.contract.document import Recorded
from stopline.contract.lanes import Lane
from stopline.contract.times import Moment


class AuditAction(StrEnum):
    """What somebody did."""

    STOP = "stop"
    BATCH = "batch"
    """A batch began; how it ended is `batch_end`."""
    BATCH_END = "batch_end"
    CANCEL = "cancel"
    RESUMED = "resumed"
    REDRIVE = "redrive"
    DISCARD = "discard"
    GUARDS = "guards"
    """Other guards were put in the place of those that were there."""
    GUARD_RESET = "guard_reset"
    GUARD_TRIP = "guard_trip"
    """A guard tripped: nobody did that."""
    RELEASE = "release"
    LANE_PAUSE = "lane_pause"
    LANE_RESUME = "lane_resume"
    BATCH_PAUSE = "batch_pause"
    BATCH_RESUME = "batch_resume"


class Actor(NamedTuple):
    """Who changes something through a service, and from where.

    Attributes:
        name: the source that a key speaks for.
        key: the id of that key; None where none was asked for.
        address: the network address of the caller.
    """

    name: str
    key: str | None = None
    address: str | None = None


class AuditEntry(Recorded):
    """One change, as the trail has it; `at` is the server's time.

    `receipt` and `follow` say what became of a stop request: the kind of its receipt, and the
    request to follow. `targets` are of what was cancelled or discarded, as `user/task[/sub_user]`.
    Of more ids or targets than a hundred only `count` tells. `lane`, `reason` and `lasts_s`
    (seconds) are of a lane that was paused or let go on; `source` is a guard's.
    """

    entry_id: str
    at: Moment
    action: AuditAction
    actor: str
    key: str | None = None
    address: str | None = None
    request_ids: tuple[str, ...] = ()
    user_id: str | None = None
    task_id: str | None = None
    sub_user_id: str | None = None
    targets: tuple[str, ...] = ()
    batch_id: str | None = None
    count: int | None = None
    receipt: str | None = None
    follow: str | None = None
    lane: Lane | None = None
    reason: str | None = None
    lasts_s: float | None = None
    source: str | None = None

    def is_about(self, task_id: str) -> bool:
        """Whether it names this task."""
        named = (target.split("/") for target in self.targets)
        return self.task_id == task_id or any(task == task_id for _, task, *_ in named)
