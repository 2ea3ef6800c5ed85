"""Ends a process whose supervisor is gone: `stopline up` killed with -9 leaves none behind."""

from __future__ import annotations

import os
import signal
import sys
import threading

from stopline.settings.names import SUPERVISED


def drain_with_supervisor() -> None:
    """If stdin is a supervisor's pipe, drain when it closes (SIGTERM to this process)."""
    if os.environ.pop(SUPERVISED, None):
        threading.Thread(target=_wait_for_end, name="supervised", daemon=True).start()


def _wait_for_end() -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
