"""What commands print: tables for people, JSON for programs; messages go to stderr."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import orjson
from rich.console import Console
from rich.table import Column, Table

from stopline.contract import DeadMessage, Outcome, OutcomeKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from stopline.contract import Batch, DeadLetter, Receipt, Status

console = Console()
messages = Console(stderr=True)

_STYLES = {
    "stopped": "green",
    "accepted": "green",
    "joined": "cyan",
    "satisfied": "green",
    "duplicate": "cyan",
    "superseded": "yellow",
    "cancelled": "yellow",
    "expired": "red",
    "rejected": "red",
    "not_found": "red",
    "exhausted": "red",
    "quarantined": "red",
}


def print_json(document: object) -> None:
    """One JSON document on a line of stdout."""
    # Enum members serve as keys, too.
    option = orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS
    sys.stdout.buffer.write(orjson.dumps(document, option=option))
    sys.stdout.buffer.flush()


def say(text: str) -> None:
    """A message for people, on stderr."""
    messages.print(text, highlight=False, markup=False, soft_wrap=True)


def styled(word: object) -> str:
    """A word of Stopline's vocabulary in its colour."""
    style = _STYLES.get(str(word))
    return f"[{style}]{word}[/]" if style else str(word)


def facts(pairs: Mapping[str, object]) -> Table:
    """Names and values; what is None is left out."""
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in pairs.items():
        if value is not None:
            table.add_row(name, _escaped(value))
    return table


def _escaped(value: object) -> str:
    text = str(value)
    return styled(text) if text in _STYLES else text.replace("[", r"\[")


def print_receipt(receipt: Receipt) -> None:
    """A receipt."""
    console.print(facts(receipt.to_json()))


def print_status(status: Status) -> None:
    """An outcome, or where an open request is, with every attempt."""
    document = status.to_json()
    attempts, joined = document.pop("attempts"), document.pop("joined")
    document["joined_count"] = document["joined_count"] or None
    console.print(facts(document))
    if joined:
        console.print(_rows("joined", joined))
    if attempts:
        console.print(_rows("attempts", attempts))


def _rows(title: str, documents: list[dict[str, Any]]) -> Table:
    names = [name for name in documents[0] if any(one[name] is not None for one in documents)]
    table = Table(*names, title=title, title_justify="left")
    for one in documents:
        table.add_row(*("" if one[name] is None else _escaped(one[name]) for name in names))
    return table


def print_batch(batch: Batch) -> None:
    """Progress and report of a batch."""
    document = batch.to_json()
    outcomes, receipts = document.pop("outcomes"), document.pop("receipts")
    console.print(facts(document))
    table = Table("receipts", "", "outcomes", " ")
    left = [(styled(kind), str(count)) for kind, count in receipts.items() if count]
    right = [(styled(kind), str(count)) for kind, count in outcomes.items() if count]
    for row in range(max(len(left), len(right))):
        cells = [side[row] if row < len(side) else ("", "") for side in (left, right)]
        table.add_row(*cells[0], *cells[1])
    console.print(table)


def print_letters(letters: Iterable[DeadLetter]) -> int:
    """Dead letters, a row each; returns how many there were."""
    table = Table(Column("id", no_wrap=True, min_width=36), "what", "target", "when", "why")
    for letter in letters:
        table.add_row(*_letter_row(letter))
    console.print(table)
    return table.row_count


def _letter_row(letter: DeadLetter) -> tuple[str, ...]:
    if isinstance(letter, DeadMessage):
        return (
            letter.message_id,
            "message",
            letter.queue or "",
            f"{letter.quarantined_at:%Y-%m-%d %H:%M:%S}Z",
            _escaped(letter.reason),
        )
    target = "/".join(filter(None, (letter.user_id, letter.task_id, letter.sub_user_id)))
    return (
        letter.request_id,
        styled(letter.outcome),
        target,
        f"{letter.finished_at:%Y-%m-%d %H:%M:%S}Z",
        _escaped(letter.detail),
    )


def is_stopped(status: Status) -> bool:
    """Whether a request ended `stopped`."""
    return isinstance(status, Outcome) and status.outcome is OutcomeKind.STOPPED
