"""The names of the two Celery tasks, for `inspect registered`, and for who sends by task objects.

No pool process runs them: the consumer does what their messages ask for (`inlet.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from stopline.contract import DISPATCH_TASK, STOP_TASK

if TYPE_CHECKING:
    from celery import Celery


def register(app: Celery) -> None:
    """Add the tasks to an app."""
    for name in (DISPATCH_TASK, STOP_TASK):
        app.task(name=name, typing=False)(_unreachable)


def _unreachable(*_: Any, **__: Any) -> NoReturn:
    msg = "Stopline's workers take its messages themselves; send this task to one of its lanes"
    raise RuntimeError(msg)
