"""Lines of a batch as text, for people's files and for programs. Pure."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

import orjson

from stopline.contract import BatchLine
from stopline.texts import csv_row

if TYPE_CHECKING:
    from collections.abc import Iterable


class ReportFormat(StrEnum):
    """How lines are written."""

    CSV = "csv"
    JSONL = "jsonl"


class Sheet(NamedTuple):
    """Which fields of a line are written."""

    columns: tuple[str, ...]

    def head(self, form: ReportFormat) -> str:
        """What stands before the first line."""
        return csv_row(self.columns) if form is ReportFormat.CSV else ""

    def text(self, form: ReportFormat, lines: Iterable[BatchLine]) -> str:
        """Some lines, a row each; in CSV, an empty cell is null."""
        return "".join(self._line(form, one) for one in lines)

    def _line(self, form: ReportFormat, line: BatchLine) -> str:
        document = line.model_dump(mode="json", include=set(self.columns))
        values = {name: document[name] for name in self.columns}
        if form is ReportFormat.JSONL:
            return orjson.dumps(values).decode() + "\n"
        return csv_row(_cell(value) for value in values.values())


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


REPORT: Final = Sheet(tuple(BatchLine.model_fields))
"""Everything that is known of a line."""
UNDO: Final = Sheet(("user_id", "task_id", "sub_user_id"))
"""Targets, in the form that `stopline bulk` reads."""
