"""How values are told to people, in a terminal as in a page."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_SECONDS_READ_BETTER_S: Final = 120


def shown(value: object) -> str:
    r"""Text whose control characters are written out, as `\x1b` is.

    Those that turn the direction of a text, too: what somebody else wrote is shown, never obeyed.
    """
    text = str(value)
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape", "surrogatepass").decode()
        for one in text
    )


def duration_text(seconds: float | None) -> str:
    """A duration in the unit that suits it."""
    if seconds is None:
        return "-"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < _SECONDS_READ_BETTER_S:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def csv_row(cells: Iterable[object]) -> str:
    """A row of CSV, with its end of line."""
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()
