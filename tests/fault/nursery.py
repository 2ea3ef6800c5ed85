"""Forks workers that are warm, for who kills hundreds of them: a start takes half a second.

A line on stdin starts one, and its process id is the answer. With `--stock` they have kombu's own
Redis transport, which loses what it popped and had not noted.
"""

from __future__ import annotations

import os
import signal
import sys

import kombu.transport.redis
import uvloop  # noqa: F401

import stopline_worker.process.runtime
import stopline_worker.upstream.client_choice  # noqa: F401

_ARGUMENTS = [
    *("worker", "--pool", "threads", "--concurrency", "1", "--loglevel", "warning"),
    *("-Q", "stopline.emergency,stopline.default,stopline.bulk"),
    *("--without-gossip", "--without-mingle", "--without-heartbeat"),
]


def _work(*, stock: bool) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.dup2(2, 1)  # stdout is for answers
    from stopline_worker.app import app  # noqa: PLC0415  # what it makes is of one process

    if stock:
        kombu.transport.TRANSPORT_ALIASES["redis"] = "kombu.transport.redis:Transport"
    app.worker_main([*_ARGUMENTS, "-n", f"w{os.getpid()}@%h"])


def main() -> None:
    """Fork as told."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    for _ in sys.stdin:
        pid = os.fork()
        if not pid:
            _work(stock="--stock" in sys.argv)
            os._exit(0)
        print(pid, flush=True)  # noqa: T201  # the answer


if __name__ == "__main__":
    main()
