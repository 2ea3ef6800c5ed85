"""What commands print: text for people, JSON for programs; messages go to stderr.

Whatever came from outside is shown, never obeyed: it is no markup of rich's, and control characters
are written out (`shown`), so that a routing key cannot move the cursor of who looks at it.
"""

from __future__ import annotations

import logging
import sys
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeVar

import orjson
from rich.console import Console
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from stopline.contract import (
    DeadMessage,
    Document,
    OpenRequest,
    Outcome,
    OutcomeKind,
    State,
    Verified,
    letter_id,
)
from stopline.texts import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from stopline.contract import Batch, DeadLetter, Receipt, Status

T = TypeVar("T", bound=Document)
_log = logging.getLogger("stopline")
console = Console()
messages = Console(stderr=True)

_STYLES: Final = {
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
    lines = "\n".join(shown(line) for line in text.split("\n"))
    messages.print(lines, highlight=False, markup=False, soft_wrap=True, emoji=False)


def announce(text: str, action: str, level: int = logging.INFO) -> None:
    """What a command that runs for long says: for people, or as a line among JSON logs."""
    if messages.is_terminal:
        say(text)
    else:
        _log.log(level, text, extra={"action": action})


def styled(word: object) -> Text:
    """A text; a word of Stopline's vocabulary in its colour."""
    return Text(shown(word), style=_STYLES.get(str(word), ""), overflow="fold")


def progress() -> Progress:
    """A bar for long work, where somebody looks at it."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=messages,
        disable=not messages.is_terminal,
    )


def facts(pairs: Mapping[str, object]) -> Table:
    """Names and values; what is None is left out."""
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in pairs.items():
        if value is not None:
            table.add_row(name, styled(value))
    return table


def print_receipt(receipt: Receipt) -> None:
    """A receipt."""
    console.print(facts(receipt.to_json()))


def print_status(status: Status) -> None:
    """An outcome, or where an open request is, with every attempt."""
    document = status.to_json()
    attempts, joined = document.pop("attempts"), document.pop("joined")
    document["joined_count"] = document["joined_count"] or None
    if document.get("verified") == Verified.NOT_CHECKED:
        del document["verified"]
    console.print(facts(document))
    if isinstance(status, OpenRequest) and status.state is State.HELD:
        say(f"The guard {status.held_by} holds it: 'stopline held release {status.request_id}'.")
    if joined:
        console.print(Text("joined", style="bold"))
        for one in joined:
            print_block((one["at"], one["source"]), one["reason"])
    if attempts:
        console.print(Text("attempts", style="bold"))
        for one in attempts:
            print_block(*_attempt(one))


def print_request(one: Status) -> None:
    """A request of many: id, where it is, its target; below that who asks, and why."""
    if isinstance(one, Outcome):
        at, where = one.finished_at, one.outcome.value
    elif one.state is State.HELD:
        at, where = one.accepted_at, f"held ({one.held_for}) {one.lane}"
    else:
        at, where = one.next_at, f"{one.state} {one.lane}"
    words = (one.request_id, where, f"{at:%Y-%m-%d %H:%M:%S}Z", one.target)
    line = Text("  ").join(styled(word) for word in words)
    console.print(line, highlight=False, soft_wrap=True)
    made = one.attempts[-1].number if one.attempts else 0  # of many the middle ones are left out
    attempts = f"{made} attempt{'s' if made > 1 else ''}" if made else None
    about = (one.source, one.reason, attempts, one.detail if isinstance(one, Outcome) else None)
    text = "; ".join(word for word in about if word)
    console.print(Padding(Text(shown(text), style="dim", overflow="fold"), (0, 0, 0, 2)))


def _attempt(one: Mapping[str, Any]) -> tuple[tuple[object, ...], str | None]:
    """What matters of an attempt, and below it what the API said."""
    measured = (
        one["number"],
        one["started_at"],
        one["verdict"],
        _unit("HTTP ", one["http_status"]),
        _unit("code ", one["code"]),
        _unit("", one["duration_ms"], " ms"),
        _unit("next in ", one["retry_in_s"], " s"),
    )
    said = [text for text in (one["error"], one["message"]) if text]
    return measured, ": ".join(said) or None


def _unit(before: str, value: object, after: str = "") -> str | None:
    return None if value is None else f"{before}{value}{after}"


def print_block(facts_: Iterable[object], below: str | None) -> None:
    """A line of facts, and a text under it: at any width nothing is cut."""
    line = Text("  ").join(styled(one) for one in facts_ if one is not None)
    console.print(Padding(line, (0, 0, 0, 2)), highlight=False)
    if below:
        console.print(Padding(Text(shown(below), style="dim", overflow="fold"), (0, 0, 0, 4)))


def print_finding(style: str, level: str, checked: str, found: str) -> None:
    """One thing that was looked at, and what was found."""
    line = Text.assemble((f"{level:<12}", style), (f"{shown(checked)}: ", "bold"), shown(found))
    line.overflow = "fold"
    console.print(line, highlight=False)


def print_advice(advice: str) -> None:
    """What to do, below that."""
    text = Text(f"→ {shown(advice)}", overflow="fold")
    console.print(Padding(text, (0, 0, 0, 12)), highlight=False)


def print_counts(counts: Mapping[Any, int], *, as_json: bool) -> None:
    """How many of each kind; those of which there are none are left out for people."""
    if as_json:
        print_json(counts)
    else:
        console.print(facts({kind: count or None for kind, count in counts.items()}))


def show_batch(batch: Batch, *, as_json: bool) -> None:
    """Progress and report of a batch."""
    if as_json:
        print_json(batch.to_json())
    else:
        print_batch(batch)


def print_batch(batch: Batch) -> None:
    """Progress and report of a batch, for people."""
    document = batch.to_json()
    outcomes, receipts = document.pop("outcomes"), document.pop("receipts")
    if batch.paused is not None:
        paused = batch.paused
        document["paused"] = f"{paused.at:%Y-%m-%d %H:%M:%S}Z by {paused.by}: {paused.reason}"
    console.print(facts(document))
    table = Table("receipts", "", "outcomes", " ")
    left = [(styled(kind), str(count)) for kind, count in receipts.items() if count]
    right = [(styled(kind), str(count)) for kind, count in outcomes.items() if count]
    for row in range(max(len(left), len(right))):
        cells = [side[row] if row < len(side) else ("", "") for side in (left, right)]
        table.add_row(*cells[0], *cells[1])
    console.print(table)


def print_some(found: Iterator[T], limit: int, show: Callable[[T], None], *, as_json: bool) -> None:
    """The first of a list, each as JSON or as `show` does; says whether there are more, or none."""
    shown = 0
    for one in islice(found, limit):
        shown += 1
        if as_json:
            print_json(one.to_json())
        else:
            show(one)
    if as_json:
        return
    if next(found, None) is not None:
        say(f"There are more than {limit}; use --limit.")
    elif shown == 0:
        say("There are none.")


def print_letter(letter: DeadLetter) -> None:
    """A dead letter: id, what it is, when; below that its target or queue, and why."""
    if isinstance(letter, DeadMessage):
        kind, at = "message", letter.quarantined_at
        where, why = {"queue": letter.queue, "from": letter.origin}, letter.reason
    else:
        kind, at = str(letter.outcome), letter.finished_at
        target = "/".join(filter(None, (letter.user_id, letter.task_id, letter.sub_user_id)))
        where, why = {"target": target}, letter.detail
    words = (Text(letter_id(letter)), styled(kind), Text(f"{at:%Y-%m-%d %H:%M:%S}Z"))
    line = Text("  ").join(words)
    console.print(line, highlight=False, soft_wrap=True)
    console.print(Padding(facts({**where, "why": why}), (0, 0, 0, 2)))


def is_stopped(status: Status) -> bool:
    """Whether a request ended `stopped`."""
    return isinstance(status, Outcome) and status.outcome is OutcomeKind.STOPPED
