"""Makes calls for tasks named `poison…` kill the worker process that makes them."""

import os
import signal

from stopline_worker.upstream.task_stop import TaskStopApi

_call = TaskStopApi.call


async def _call_or_die(self: TaskStopApi, target: str, credential: object) -> object:
    if "/poison" in target:
        os.kill(os.getpid(), signal.SIGKILL)
    return await _call(self, target, credential)


TaskStopApi.call = _call_or_die  # type: ignore[method-assign,assignment]  # that is the point
