"""Remote control: what Celery offers and Stopline's tasks cannot do is answered with an error.

Celery would say "ok". A message is only a word to the engine, so a limit on messages limits no
calls; and a time limit would end a pool process with all calls that its engine has in flight.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from celery.worker import control

from stopline.contract import DISPATCH_TASK, STOP_TASK

if TYPE_CHECKING:
    from collections.abc import Callable

_REASONS: Final = {
    "rate_limit": "takes no rate limit: its messages only name requests. STOPLINE_MAX_IN_FLIGHT "
    "bounds the calls at a time of a process; cancel_consumer pauses a lane",
    "time_limit": "takes no time limit: it would end every call of its process. "
    "STOPLINE_CALL_TIMEOUT_S is the limit of a call",
}


def install() -> None:
    """Answer for Stopline's tasks; for others, as Celery does."""
    for name, reason in _REASONS.items():
        control.Panel.data[name] = _refusing(control.Panel.data[name], reason)


def _refusing(ask_celery: Callable[..., Any], reason: str) -> Callable[..., Any]:
    def answer(state: Any, task_name: str, *args: Any, **kwargs: Any) -> Any:
        if task_name in {DISPATCH_TASK, STOP_TASK}:
            return {"error": f"{task_name} {reason}."}
        return ask_celery(state, task_name, *args, **kwargs)

    return answer
