"""Makes calls for tasks named `poison…` kill the worker process that makes them."""

import os
import signal

from stopline.contract import Target
from stopline_worker.upstream.task_stop import TaskStopApi

_call = TaskStopApi.call


async def _call_or_die(self: TaskStopApi, target: Target, credential: object) -> object:
    if target.task_id.startswith("poison"):
        os.kill(os.getpid(), signal.SIGKILL)
    return await _call(self, target, credential)


TaskStopApi.call = _call_or_die  # type: ignore[method-assign,assignment]  # that is the point
