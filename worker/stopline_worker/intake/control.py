"""Remote control: what Celery offers and Stopline's tasks cannot do is answered with an error.

Celery would say "ok". A message is only a word to the engine, so a limit on messages limits no
calls; and a time limit would end a pool process with all calls that its engine has in flight.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from celery.worker import control

from stopline.contract import DISPATCH_TASK, STOP_TASK, Lane

if TYPE_CHECKING:
    from collections.abc import Callable

    from stopline_worker.process.served_lanes import ServedLanes

_REASONS: Final = {
    "rate_limit": "takes no rate limit: its messages only name requests. STOPLINE_MAX_IN_FLIGHT "
    "bounds the calls at a time of a process; cancel_consumer pauses a lane",
    "time_limit": "takes no time limit: it would end every call of its process. "
    "STOPLINE_CALL_TIMEOUT_S is the limit of a call",
}


_LANES: Final = frozenset(lane.queue for lane in Lane)


def install(lanes: ServedLanes) -> None:
    """Answer for Stopline's tasks and lanes; for others, as Celery does.

    Args:
        lanes: those that this worker was started for: it takes no others, since the emergency lane
            has a worker of its own so that none delays it.
    """
    for name in ("add_consumer", "cancel_consumer"):
        control.Panel.data[name] = _for_its_own_lanes(control.Panel.data[name], lanes)
    for name, reason in _REASONS.items():
        control.Panel.data[name] = _refusing(control.Panel.data[name], reason)


def _for_its_own_lanes(ask_celery: Callable[..., Any], lanes: ServedLanes) -> Callable[..., Any]:
    def answer(state: Any, queue: str, *args: Any, **kwargs: Any) -> Any:
        if queue in _LANES and queue not in {lane.queue for lane in lanes.served}:
            return {"error": f"this worker was not started for {queue}"}
        return ask_celery(state, queue, *args, **kwargs)

    return answer


def _refusing(ask_celery: Callable[..., Any], reason: str) -> Callable[..., Any]:
    def answer(state: Any, task_name: str, *args: Any, **kwargs: Any) -> Any:
        if task_name in {DISPATCH_TASK, STOP_TASK}:
            return {"error": f"{task_name} {reason}."}
        return ask_celery(state, task_name, *args, **kwargs)

    return answer
