"""Remote control: what Celery offers and Stopline's tasks cannot do is answered with an error.

Celery would say "ok". No task of ours runs in the pool, so a limit of messages limits no calls; a
time limit would end a pool process with all calls that its engine has in flight; and `revoke` would
write that a request is revoked which is called for all the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from celery.worker import control

from stopline.contract import DISPATCH_TASK, STOP_TASK, Lane

if TYPE_CHECKING:
    from collections.abc import Callable

    from stopline_worker.process.served_lanes import ServedLanes

_REASONS: Final = {
    "rate_limit": "takes no rate limit: it would limit no call. STOPLINE_MAX_IN_FLIGHT "
    "bounds the calls at a time of a process; cancel_consumer pauses a lane",
    "time_limit": "takes no time limit: it would end every call of its process. "
    "STOPLINE_CALL_TIMEOUT_S is the limit of a call",
}


_LANES: Final = frozenset(lane.queue for lane in Lane)


def install(lanes: ServedLanes, knows: Callable[[str], bool]) -> None:
    """Answer for Stopline's tasks and lanes; for others, as Celery does.

    Args:
        knows: whether the ledger knows a request of this id.
        lanes: those that this worker was started for: it takes no others, since the emergency lane
            has a worker of its own so that none delays it.
    """
    for name in ("add_consumer", "cancel_consumer"):
        control.Panel.data[name] = _for_its_own_lanes(control.Panel.data[name], lanes)
    control.Panel.data["revoke"] = _revoking(control.Panel.data["revoke"], knows)
    for name, reason in _REASONS.items():
        control.Panel.data[name] = _refusing(control.Panel.data[name], reason)


def _for_its_own_lanes(ask_celery: Callable[..., Any], lanes: ServedLanes) -> Callable[..., Any]:
    def answer(state: Any, queue: str, *args: Any, **kwargs: Any) -> Any:
        if queue in _LANES and queue not in {lane.queue for lane in lanes.served}:
            return {"error": f"this worker was not started for {queue}"}
        return ask_celery(state, queue, *args, **kwargs)

    return answer


def _revoking(ask_celery: Callable[..., Any], knows: Callable[[str], bool]) -> Callable[..., Any]:
    def answer(state: Any, task_id: Any, *args: Any, **kwargs: Any) -> Any:
        ids = [task_id] if isinstance(task_id, str) else list(task_id or ())
        accepted = [one for one in ids if knows(one)]
        rest = [one for one in ids if one not in accepted]
        told = ask_celery(state, rest, *args, **kwargs) if rest else None
        if accepted:
            names = ", ".join(accepted)
            return {"error": f"accepted already, so end it with 'stopline cancel': {names}"}
        return told

    return answer


def _refusing(ask_celery: Callable[..., Any], reason: str) -> Callable[..., Any]:
    def answer(state: Any, task_name: str, *args: Any, **kwargs: Any) -> Any:
        if task_name in {DISPATCH_TASK, STOP_TASK}:
            return {"error": f"{task_name} {reason}."}
        return ask_celery(state, task_name, *args, **kwargs)

    return answer
