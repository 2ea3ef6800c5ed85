"""Log lines for people and for programs; neither tells what a variable held."""

from __future__ import annotations

import io
import logging
import sys
from typing import TYPE_CHECKING

import orjson
import pytest

from stopline.logs import configure_logging

if TYPE_CHECKING:
    from collections.abc import Iterator


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def root() -> Iterator[None]:
    logger = logging.getLogger()
    before = logger.handlers, logger.level
    yield
    logger.handlers, level = before
    logger.setLevel(level)
    logging.captureWarnings(capture=False)


def _fail() -> None:
    authorization = "Bearer s3cret-in-a-variable"
    assert authorization
    raise ValueError("what happened")


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize("stream", [_Terminal, io.StringIO])
def test_a_traceback_shows_no_variables(
    stream: type[io.StringIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rich's tracebacks do, and one of them is the token."""
    written = stream()
    monkeypatch.setattr(sys, "stderr", written)
    configure_logging("info")
    try:
        _fail()
    except ValueError:
        logging.getLogger("stopline").exception("it failed", extra={"action": "failed"})
    text = written.getvalue()
    assert "what happened" in text
    assert "s3cret" not in text


@pytest.mark.usefixtures("root")
def test_lines_are_json_where_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    configure_logging("info")
    logging.getLogger("x").warning("one\ntwo", extra={"action": "a", "reason": "r", "secret": "s"})
    line = orjson.loads(written.getvalue())
    assert (line["event"], line["action"], line["reason"]) == ("one\ntwo", "a", "r")
    assert "secret" not in line
