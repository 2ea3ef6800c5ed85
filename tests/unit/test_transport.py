"""Garbage on a queue that cannot even be kept."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from stopline_worker import transport
from stopline_worker.runtime import Runtime

if TYPE_CHECKING:
    import pytest


def test_what_cannot_be_kept_is_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It was popped from its queue, and the ledger is away: nothing else has it."""
    monkeypatch.setenv("STOPLINE_REDIS_URL", "redis://127.0.0.1:1/0")
    monkeypatch.setattr(transport, "runtime", Runtime())
    transport._keep(b"garbage{", "is no JSON", "stopline.default")
    assert base64.b64encode(b"garbage{").decode() in caplog.text
