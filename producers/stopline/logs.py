"""Logging of Stopline's own processes: JSON lines, or colours on a terminal; always on stderr."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from structlog.typing import Processor

_NOISY = ("celery.worker.strategy", "celery.app.trace", "alembic")
"""The first two log each message twice, and one of 250 requests says nothing that the ledger does
not; the last lists its plugins."""


def configure_logging(level: int | str | None = None, path: str | None = None) -> None:
    """Send everything through one handler: ours, Celery's, and the libraries'."""
    level = logging.getLevelName(level.upper()) if isinstance(level, str) else level
    handler = logging.FileHandler(path) if path else logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(colours=path is None and sys.stderr.isatty()))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level or logging.INFO)
    logging.captureWarnings(capture=True)
    if root.level > logging.DEBUG:
        for name in _NOISY:
            logging.getLogger(name).setLevel(logging.WARNING)


class _Formatter(logging.Formatter):
    """Loads what formats lines with the first line: most commands write none."""

    def __init__(self, *, colours: bool) -> None:
        super().__init__()
        self._colours = colours
        self._made: logging.Formatter | None = None

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        if self._made is None:
            self._made = _formatter(colours=self._colours)
        return self._made.format(record)


def _formatter(*, colours: bool) -> logging.Formatter:
    import structlog  # noqa: PLC0415  # see _Formatter

    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(allow=_FIELDS),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    rendered = (
        # Not rich's tracebacks: they show local variables, and one of these is the token.
        [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
        if colours
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendered],
    )


_FIELDS = frozenset(
    {"action", "lane", "requests", "request_id", "error", "message_id", "queue", "reason"}
)
"""The fields that Stopline adds to its log lines; a library's extras may hold anything."""
