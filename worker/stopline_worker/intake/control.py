"""Remote control: what Celery offers and Stopline's tasks cannot do is answered with an error.

Celery would say "ok". No task of ours runs in the pool, so a limit of messages limits no calls; a
time limit would end a pool process with all calls that its engine has in flight; and `revoke` would
write that a request is revoked which is called for all the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from celery.worker import control
from celery.worker import state as worker_state

from stopline.contract import DISPATCH_TASK, STOP_TASK
from stopline_worker.intake.celery_results import revocation

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stopline_worker.process.served_lanes import ServedLanes

    Report = Callable[[Sequence[tuple[str, bytes]]], tuple[bool, ...]]

_REASONS: Final = {
    "rate_limit": "takes no rate limit: it would limit no call. STOPLINE_MAX_IN_FLIGHT "
    "bounds the calls at a time of a process; cancel_consumer pauses a lane",
    "time_limit": "takes no time limit: it would end every call of its process. "
    "STOPLINE_CALL_TIMEOUT_S is the limit of a call",
}
_NAMED_MAX: Final = 5


def install(lanes: ServedLanes, report: Report) -> None:
    """Answer for Stopline's tasks and lanes; for others, as Celery does.

    Args:
        report: writes results of messages that are not accepted; which of them it wrote.
        lanes: those that this worker was started for: it takes no others, since the emergency lane
            has a worker of its own so that none delays it.
    """
    for name in ("add_consumer", "cancel_consumer"):
        control.Panel.data[name] = _for_its_own_lanes(control.Panel.data[name], lanes)
    control.Panel.data["revoke"] = _revoking(report)
    for name, reason in _REASONS.items():
        control.Panel.data[name] = _refusing(control.Panel.data[name], reason)


def _for_its_own_lanes(ask_celery: Callable[..., Any], lanes: ServedLanes) -> Callable[..., Any]:
    def answer(state: Any, queue: str, *args: Any, **kwargs: Any) -> Any:
        if queue not in {lane.queue for lane in lanes.served}:
            return {"error": f"this worker was not started for {queue}"}
        return ask_celery(state, queue, *args, **kwargs)

    return answer


def _revoking(report: Report) -> Callable[..., Any]:
    """Celery asks its backend for each id, and writes over requests that are accepted."""

    def answer(_state: Any, task_id: Any, *_: Any, **__: Any) -> Any:
        ids = [task_id] if isinstance(task_id, str) else [str(one) for one in task_id or ()]
        worker_state.revoked.update(ids)
        written = report([(one, revocation(one)) for one in ids])
        late = [one for one, is_written in zip(ids, written, strict=True) if not is_written]
        if not late:
            return {"ok": f"{len(ids)} revoked"}
        names = ", ".join(late[:_NAMED_MAX])
        more = f" and {len(late) - _NAMED_MAX} more" if len(late) > _NAMED_MAX else ""
        return {"error": f"accepted already, so end it with 'stopline cancel': {names}{more}"}

    return answer


def _refusing(ask_celery: Callable[..., Any], reason: str) -> Callable[..., Any]:
    def answer(state: Any, task_name: str, *args: Any, **kwargs: Any) -> Any:
        if task_name in {DISPATCH_TASK, STOP_TASK}:
            return {"error": f"{task_name} {reason}."}
        return ask_celery(state, task_name, *args, **kwargs)

    return answer
