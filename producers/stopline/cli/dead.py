"""Commands for dead letters and quarantined messages."""

from __future__ import annotations

from enum import StrEnum
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Final

import typer

from stopline.cli import output
from stopline.cli.agreement import is_agreed, tell_dry_run
from stopline.cli.options import AsJson, By
from stopline.client.sync_client import StopClient
from stopline.contract import (
    DEAD_OUTCOMES,
    DeadFilter,
    DeadLetter,
    DeadMessage,
    Outcome,
    OutcomeKind,
    letter_id,
    parse_moment,
)
from stopline.errors import InvalidRequestError
from stopline.exits import Exit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from stopline.contract import Receipt

app = typer.Typer(
    help="Look at what was not stopped, send it again, or drop it.",
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_CHUNK: Final = 250
_NAMED_MAX: Final = 50
"""So many are named one by one; of more only the count is told."""

DeadOutcome = StrEnum(  # type: ignore[misc]  # its members are those of another enum
    "DeadOutcome", {one.name: one.value for one in OutcomeKind if one in DEAD_OUTCOMES}
)

Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Ids of dead letters.")]
OfOutcome = Annotated[
    DeadOutcome | None, typer.Option("--outcome", help="Only those with this outcome.")
]
OfUser = Annotated[str | None, typer.Option("--user-id", help="Only those of this user.")]
OfBatch = Annotated[str | None, typer.Option("--batch", help="Only those of this batch.")]
Since = Annotated[
    str | None, typer.Option("--since", help="Only those that ended since (RFC 3339).")
]
All = Annotated[bool, typer.Option("--all", help="All of them.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask, however many there are.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say how many; change nothing.")]


def _filter(
    outcome: str | None, user_id: str | None, batch_id: str | None, since: str | None
) -> DeadFilter:
    return DeadFilter(
        outcome=OutcomeKind(outcome) if outcome else None,
        user_id=user_id,
        batch_id=batch_id,
        since=parse_moment(since, "--since") if since else None,
    )


def _found(
    client: StopClient,
    wanted: DeadFilter,
    *,
    until: datetime | None = None,
    newest_first: bool = False,
) -> Iterator[DeadLetter]:
    letters = client.dead_letters(since=wanted.since, until=until, newest_first=newest_first)
    return (letter for letter in letters if wanted.matches(letter))


@app.command("list")
def list_(
    outcome: OfOutcome = None,
    user_id: OfUser = None,
    batch_id: OfBatch = None,
    since: Since = None,
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many to show.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List dead letters and quarantined messages, the newest first."""
    wanted = _filter(outcome, user_id, batch_id, since)
    with StopClient() as client:
        found = _found(client, wanted, newest_first=True)
        output.print_some(found, limit, output.print_letter, as_json=as_json)


@app.command()
def show(letter_id: Annotated[str, typer.Argument(metavar="ID")], as_json: AsJson = False) -> None:
    """Show one whole."""
    with StopClient() as client:
        letter = client.dead_letter(letter_id)
    if as_json:
        output.print_json(letter.to_json())
    elif isinstance(letter, DeadMessage):
        output.console.print(output.facts(letter.to_json()))
    else:
        output.print_status(letter)


@app.command()
def redrive(  # noqa: PLR0913, PLR0917  # each is an option
    ids: Ids = None,
    outcome: OfOutcome = None,
    user_id: OfUser = None,
    batch_id: OfBatch = None,
    since: Since = None,
    everything: All = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    by: By = "redrive",
    as_json: AsJson = False,
) -> None:
    """Send them again: each request as a new one, each message as it came."""
    wanted = _filter(outcome, user_id, batch_id, since)
    report = _Redriven()
    with StopClient() as client:
        chosen = _Chosen(client, ids, wanted, everything)
        if dry_run:
            tell_dry_run(chosen.count(), as_json=as_json)
            return
        if chosen.is_everything and not yes and not is_agreed("sent again", chosen.count()):
            return
        for letters in chosen.chunks("sending again"):
            sendable = [one for one in letters if isinstance(one, Outcome) or one.can_be_redriven]
            report.add(letters, client.redrive(sendable, by=by))
    report.print(as_json=as_json)
    if report.left_some:
        raise typer.Exit(Exit.NOT_ALL_STOPPED)


@app.command()
def discard(  # noqa: PLR0913, PLR0917  # each is an option
    ids: Ids = None,
    outcome: OfOutcome = None,
    user_id: OfUser = None,
    batch_id: OfBatch = None,
    since: Since = None,
    everything: All = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Drop them from the list."""
    wanted = _filter(outcome, user_id, batch_id, since)
    discarded = 0
    with StopClient() as client:
        chosen = _Chosen(client, ids, wanted, everything)
        if dry_run:
            tell_dry_run(chosen.count(), as_json=as_json)
            return
        if chosen.is_everything and not yes and not is_agreed("dropped", chosen.count()):
            return
        for letters in chosen.chunks("dropping"):
            discarded += sum(client.discard([letter_id(one) for one in letters]).values())
    if as_json:
        output.print_json({"discarded": discarded})
    else:
        output.console.print(output.facts({"discarded": discarded}))


class _Chosen:
    """The letters that ids, filters or --all mean."""

    def __init__(
        self, client: StopClient, ids: list[str] | None, wanted: DeadFilter, everything: bool
    ) -> None:
        if bool(ids) + (not wanted.is_empty or everything) != 1:
            raise InvalidRequestError(
                "give ids, or a filter (--outcome, --user-id, --batch, --since), or --all"
            )
        self._client = client
        self._ids = list(dict.fromkeys(ids or ()))
        self._wanted = wanted
        # What is counted and asked for is what is touched: nothing that dies from now on.
        self._until = client.now()

    @property
    def is_everything(self) -> bool:
        """Whether nobody said which."""
        return not self._ids and self._wanted.is_empty

    def count(self) -> int:
        """How many there are."""
        if self._ids:
            return len(list(self._letters()))
        if self._wanted.is_empty:
            return self._client.dead_count(until=self._until)
        return sum(1 for _ in _found(self._client, self._wanted, until=self._until))

    def _letters(self) -> Iterator[DeadLetter]:
        if self._ids:
            # All are looked up before any is touched.
            return iter([self._client.dead_letter(one) for one in self._ids])
        return _found(self._client, self._wanted, until=self._until)

    def chunks(self, what: str) -> Iterator[list[DeadLetter]]:
        """As many at a time as one call takes, with a bar."""
        letters = self._letters()
        # Of those that a filter means, nobody knows how many there are before all were looked at.
        total = self.count() if self._ids or self._wanted.is_empty else None
        with output.progress() as bars:
            bar = bars.add_task(what, total=total)
            while chunk := list(islice(letters, _CHUNK)):
                yield chunk
                bars.advance(bar, len(chunk))


class _Redriven:
    """What became of letters that were to be sent again."""

    def __init__(self) -> None:
        self._again: dict[str, Receipt] = {}
        self._messages = 0
        self._kept: list[str] = []

    def add(self, letters: Iterable[DeadLetter], receipts: dict[str, Receipt]) -> None:
        """Count what came of some."""
        self._again |= receipts
        for letter in letters:
            if isinstance(letter, DeadMessage):
                self._messages += letter.can_be_redriven
                self._kept += [] if letter.can_be_redriven else [letter.message_id]

    @property
    def left_some(self) -> bool:
        """Whether some could not be sent again."""
        return bool(self._kept)

    def print(self, *, as_json: bool) -> None:
        """Tell people or programs."""
        if as_json:
            output.print_json(
                {
                    "redriven": {old: one.to_json() for old, one in self._again.items()},
                    "messages": self._messages,
                    "kept": self._kept,
                }
            )
            return
        output.console.print(
            output.facts(
                {"requests sent again": len(self._again), "messages sent again": self._messages}
            )
        )
        if len(self._again) <= _NAMED_MAX:
            for old, receipt in self._again.items():
                output.say(f"{old} → {receipt.request_id}")
        for kept in self._kept[:_NAMED_MAX]:
            output.say(f"{kept} cannot be sent again: it was kept in part, or is of a stream")
        if len(self._kept) > _NAMED_MAX:
            output.say(f"… and {len(self._kept) - _NAMED_MAX} more")
